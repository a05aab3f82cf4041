"""What GitHub sends with each event, as far as anybody here reads it, in GitHub's shape.

Fields: https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ZERO = "0" * 40


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A repository, as payloads describe one."""

    name: str  # owner/name
    server: str
    api: str
    number: int = 4242
    fork: bool = False
    default_branch: str = "main"
    private: bool = True

    def payload(self) -> dict[str, Any]:
        """Return the object under ``repository``."""
        owner, _, name = self.name.partition("/")
        return {
            "id": self.number, "node_id": f"R_{self.number}", "name": name, "full_name": self.name,
            "private": self.private, "owner": user(owner), "html_url": f"{self.server}/{self.name}",
            "description": None, "fork": self.fork, "url": f"{self.api}/repos/{self.name}",
            "git_url": f"git://github.com/{self.name}.git", "clone_url": f"{self.server}/{self.name}.git",
            "default_branch": self.default_branch, "visibility": "private" if self.private else "public",
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Pull:
    """A pull request as it stands."""

    number: int
    title: str
    body: str | None
    base: Repository
    base_ref: str
    base_sha: str
    head: Repository
    head_ref: str
    head_sha: str
    merge_sha: str
    author: str = "grace"

    def payload(self) -> dict[str, Any]:
        """Return the object under ``pull_request``."""
        return {
            "url": f"{self.base.api}/repos/{self.base.name}/pulls/{self.number}",
            "id": 1000 + self.number, "node_id": f"PR_{self.number}",
            "html_url": f"{self.base.server}/{self.base.name}/pull/{self.number}",
            "number": self.number, "state": "open", "locked": False, "title": self.title,
            "user": user(self.author), "body": self.body, "labels": [], "draft": False, "merged": False,
            "merge_commit_sha": self.merge_sha,
            "author_association": "CONTRIBUTOR" if self.head.fork else "MEMBER",
            "head": _side(self.head, self.head_ref, self.head_sha),
            "base": _side(self.base, self.base_ref, self.base_sha),
        }  # fmt: skip


def _side(repository: Repository, ref: str, sha: str) -> dict[str, Any]:
    owner = repository.name.partition("/")[0]
    return {
        "label": f"{owner}:{ref}", "ref": ref, "sha": sha, "user": user(owner),
        "repo": repository.payload(),
    }  # fmt: skip


def user(login: str) -> dict[str, Any]:
    """Return a person."""
    number = sum(login.encode())
    return {
        "login": login,
        "id": number,
        "node_id": f"U_{number}",
        "type": "User",
        "site_admin": False,
    }


def _common(repository: Repository, actor: str) -> dict[str, Any]:
    return {"repository": repository.payload(), "sender": user(actor)}


def push(
    repository: Repository,
    *,
    ref: str,
    before: str,
    after: str,
    commits: list[dict[str, Any]],
    actor: str,
) -> dict[str, Any]:
    """Return a push of ``commits`` (oldest first) to a branch."""
    return {
        "ref": ref, "before": before, "after": after, "created": before == ZERO, "deleted": False,
        "forced": False, "base_ref": None, "compare": f"{repository.server}/{repository.name}/compare",
        "commits": commits, "head_commit": commits[-1] if commits else None,
        "pusher": {"name": actor, "email": f"{actor}@example.org"}, **_common(repository, actor),
    }  # fmt: skip


def pull_request(
    pull: Pull, *, action: str, actor: str, before: str | None = None
) -> dict[str, Any]:
    """Return ``opened``, ``synchronize`` (with the head it had ``before``) or ``closed``."""
    payload = {"action": action, "number": pull.number, "pull_request": pull.payload()}
    if action == "synchronize":
        payload |= {"before": before, "after": pull.head_sha}
    return {**payload, **_common(pull.base, actor)}


def merge_group(
    repository: Repository,
    *,
    head_sha: str,
    head_ref: str,
    base_sha: str,
    base_ref: str,
    actor: str,
) -> dict[str, Any]:
    """Return a merge queue's request for checks."""
    group = {"head_sha": head_sha, "head_ref": head_ref, "base_sha": base_sha, "base_ref": base_ref}
    return {"action": "checks_requested", "merge_group": group, **_common(repository, actor)}


def schedule(repository: Repository, *, cron: str) -> dict[str, Any]:
    """Return the clock's event."""
    return {"schedule": cron, "repository": repository.payload()}


def workflow_dispatch(
    repository: Repository, *, ref: str, workflow: str, inputs: dict[str, Any], actor: str
) -> dict[str, Any]:
    """Return a person's, or our own, dispatch."""
    return {"inputs": inputs, "ref": ref, "workflow": workflow, **_common(repository, actor)}


def workflow_run(
    repository: Repository,
    *,
    run_id: str,
    event: str,
    conclusion: str,
    head: Repository,
    head_branch: str,
    head_sha: str,
    name: str,
    path: str,
    actor: str,
) -> dict[str, Any]:
    """Return the end of a run. Of a fork's pull request, ``pull_requests`` is empty, as it is there."""
    url = f"{repository.api}/repos/{repository.name}/actions/runs/{run_id}"
    run = {
        "id": int(run_id), "name": name, "head_branch": head_branch, "head_sha": head_sha, "path": path,
        "run_number": int(run_id), "event": event, "status": "completed", "conclusion": conclusion,
        "workflow_id": 1, "url": url, "html_url": f"{repository.server}/{repository.name}/actions/runs/{run_id}",
        "pull_requests": [], "actor": user(actor), "triggering_actor": user(actor), "run_attempt": 1,
        "head_repository": head.payload(), "repository": repository.payload(),
        "artifacts_url": f"{url}/artifacts",
    }  # fmt: skip
    workflow = {"id": 1, "name": name, "path": path, "state": "active"}
    return {
        "action": "completed", "workflow_run": run, "workflow": workflow, **_common(repository, actor),
    }  # fmt: skip
