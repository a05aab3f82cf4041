"""What is read from GitHub: pull requests, artifacts, files, and how the repository is set up."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tidegate.adapters.host.addresses import repository_path, segment
from tidegate.adapters.host.api import JSON, Api, ForbiddenError, NotFoundError
from tidegate.adapters.host.saying import understood
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from pathlib import Path

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

Seen = Mapping[str, Any]  # an answer of GitHub about settings, in its own words


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenPull:
    """An open pull request; ``base_sha`` is the newest commit of the branch it is to go into."""

    number: int
    base_sha: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """A run's artifact: a zip of ``size`` bytes."""

    id: int
    size: int
    digest: str  # "sha256:..." of the zip


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """An environment and what must happen before a job may enter it."""

    name: str
    reviewers: bool  # somebody must approve
    wait_minutes: int
    protected_branches: bool  # only branches under protection
    branches: tuple[str, ...] | None  # only branches of these patterns; None: no such list
    other_rules: tuple[str, ...]  # kinds of rules that are not known here


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How the repository is set up. None, anywhere: the token may not see it. Never "fine"."""

    repository: Seen | None  # default_branch, private, archived, id, owner, ...
    workflow: Seen | None  # default_workflow_permissions, can_approve_pull_request_reviews
    actions: Seen | None  # enabled, allowed_actions, sha_pinning_required
    selected_actions: Seen | None  # only where allowed_actions is "selected"
    environments: tuple[Environment, ...] | None


class GitHubReader:
    """The reading side of one repository on GitHub. Every method raises as ``Api.get``."""

    def __init__(self, api: Api, repository: str) -> None:
        self._api = api
        self._repository = repository
        self._at = repository_path(repository)

    def __repr__(self) -> str:
        return f"GitHubReader({self._repository!r})"

    # --- a run of a fork --------------------------------------------------------------------------

    @understood()
    def open_pull(
        self, *, head_repository_id: int, owner: str, branch: str, sha: str
    ) -> OpenPull | None:
        """Return the open pull request into this repository whose newest commit is ``sha``.

        Names alone prove nothing: the head's repository must be the one with that id. Of several
        (into different branches) the first.
        """
        found = self._api.pages(
            f"{self._at}/pulls", state="open", head=f"{owner}:{branch}", direction="asc"
        )
        for pull in found:
            head, base = pull["head"], pull["base"]
            if (
                pull["state"] == "open"
                and head["sha"] == sha
                and head["ref"] == branch
                and (head.get("repo") or {}).get("id") == head_repository_id
                and str(base["repo"]["full_name"]).lower() == self._repository.lower()
            ):
                return OpenPull(number=int(pull["number"]), base_sha=str(base["sha"]))
        return None

    # --- artifacts --------------------------------------------------------------------------------

    @understood()
    def artifact(self, name: str, run: int) -> Artifact | None:
        """Return a run's artifact of that name: the newest, where a run was repeated."""
        rows = self._api.pages(f"{self._at}/actions/runs/{run}/artifacts", name=name)
        return _newest(
            row
            for row in rows
            if row["name"] == name and (row["workflow_run"] or {}).get("id") == run
        )

    @understood()
    def newest_artifact(self, name: str, *, repository_id: int, branch: str) -> Artifact | None:
        """Return the newest artifact of that name that a run of this repository's branch made.

        A fork's branch may have any name, and a fork's run lists its artifacts here too: only
        runs whose head is in the repository with this id count.
        """
        rows = self._api.pages(f"{self._at}/actions/artifacts", name=name)

        def trusted(row: Mapping[str, Any]) -> bool:
            run = row["workflow_run"] or {}
            return (
                row["name"] == name
                and run.get("repository_id") == repository_id
                and run.get("head_repository_id") == repository_id
                and run.get("head_branch") == branch
            )

        return _newest(row for row in rows if trusted(row))

    def download_artifact(self, artifact: int, into: Path, *, at_most: int) -> None:
        """Write an artifact's zip to a file; OutsideError when larger than ``at_most`` bytes."""
        at = f"{self._at}/actions/artifacts/{artifact}/zip"
        self._api.download(at, into, at_most=at_most, accept=JSON)

    # --- cost -------------------------------------------------------------------------------------

    @understood()
    def minutes(self, run: int, model: str) -> int | None:
        """Return the runner minutes that a run's finished jobs took for a model; None if none are known.

        Each job counts as GitHub bills it: whole minutes, the last one started counts whole. A job is
        the model's when its name says so (a matrix puts its values there), and every job is where
        none does.
        """
        jobs = list(self._api.pages(f"{self._at}/actions/runs/{run}/jobs", filter="latest"))
        own = [job for job in jobs if f"({model}," in str(job["name"])] or jobs
        took = [_minutes(job["started_at"], job["completed_at"]) for job in own]
        known = [each for each in took if each is not None]
        return sum(known) if known else None

    # --- files ------------------------------------------------------------------------------------

    @understood()
    def file(self, path: str, ref: str) -> bytes:
        """Return a file's bytes at a commit, branch or tag, without a checkout."""
        parts = "/".join(segment(part) for part in path.split("/"))
        found = self._api.get(f"{self._at}/contents/{parts}", ref=ref)
        if not isinstance(found, dict) or found.get("type") != "file":
            raise OutsideError(f"{path} at {ref} is not a file")
        if found.get("encoding") != "base64":  # larger than a megabyte
            found = self._api.get(f"{self._at}/git/blobs/{segment(found['sha'])}")
        try:
            return base64.b64decode(found["content"])
        except (KeyError, TypeError, binascii.Error):
            raise OutsideError(f"GitHub's answer does not hold {path} at {ref}") from None

    @understood()
    def tree(self, ref: str) -> list[str]:
        """Return the paths of all files at a commit, branch or tag."""
        found = self._api.get(f"{self._at}/git/trees/{segment(ref)}", recursive="1")
        if found["truncated"]:
            raise OutsideError(f"the repository has more files at {ref} than GitHub lists")
        return [str(entry["path"]) for entry in found["tree"] if entry["type"] == "blob"]

    # --- settings ---------------------------------------------------------------------------------

    @understood()
    def settings(self) -> Settings:
        """Return what the token may see of how the repository is set up."""
        actions = self._visible(f"{self._at}/actions/permissions")
        selected = actions is not None and actions.get("allowed_actions") == "selected"
        return Settings(
            repository=self._visible(self._at),
            workflow=self._visible(f"{self._at}/actions/permissions/workflow"),
            actions=actions,
            selected_actions=(
                self._visible(f"{self._at}/actions/permissions/selected-actions")
                if selected
                else None
            ),
            environments=self._environments(),
        )

    @understood()
    def branch_rules(self, branch: str) -> tuple[Seen, ...] | None:
        """Return the rules that hold for a branch, which need not exist; None: cannot see.

        Rules of rulesets only: GitHub shows older branch protection to administrators alone.
        """
        try:
            return tuple(self._api.pages(f"{self._at}/rules/branches/{segment(branch)}"))
        except (ForbiddenError, NotFoundError):
            return None

    def _visible(self, path: str) -> Seen | None:
        try:
            found = self._api.get(path)
        except (ForbiddenError, NotFoundError):
            return None
        return found if isinstance(found, dict) else None

    def _environments(self) -> tuple[Environment, ...] | None:
        try:
            rows = list(self._api.pages(f"{self._at}/environments"))
            return tuple(self._environment(row) for row in rows)
        except (ForbiddenError, NotFoundError):
            return None

    def _environment(self, row: Mapping[str, Any]) -> Environment:
        rules = row.get("protection_rules") or []
        kinds = {str(rule.get("type")) for rule in rules}
        policy = row.get("deployment_branch_policy") or {}
        waits = [int(rule.get("wait_timer") or 0) for rule in rules]
        return Environment(
            name=str(row["name"]),
            reviewers="required_reviewers" in kinds,
            wait_minutes=max(waits, default=0),
            protected_branches=bool(policy.get("protected_branches")),
            branches=(
                self._patterns(str(row["name"])) if policy.get("custom_branch_policies") else None
            ),
            other_rules=tuple(
                sorted(kinds - {"required_reviewers", "wait_timer", "branch_policy"})
            ),
        )

    def _patterns(self, environment: str) -> tuple[str, ...]:
        at = f"{self._at}/environments/{segment(environment)}/deployment-branch-policies"
        return tuple(
            str(row["name"]) for row in self._api.pages(at) if row.get("type", "branch") == "branch"
        )


def _minutes(started: object, completed: object) -> int | None:
    try:
        began, ended = (datetime.fromisoformat(str(at)) for at in (started, completed))
    except ValueError:  # it still runs, or never did
        return None
    return max(0, math.ceil((ended - began).total_seconds() / 60))


def _newest(rows: Any) -> Artifact | None:
    """Return the newest artifact that is still there.

    Raises:
        OutsideError: GitHub names no digest for it, so its bytes could not be checked.
    """
    row = max((row for row in rows if not row["expired"]), key=lambda row: row["id"], default=None)
    if row is None:
        return None
    digest = str(row.get("digest") or "")
    if not _DIGEST.fullmatch(digest):
        raise OutsideError(
            f"GitHub names no digest of the artifact {row['name']}",
            remedy="Upload it with actions/upload-artifact of version 4 or newer.",
        )
    return Artifact(id=int(row["id"]), size=int(row["size_in_bytes"]), digest=digest)
