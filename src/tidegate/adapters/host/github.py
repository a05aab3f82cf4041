"""GitHub as the place where people read: comments, checks, deployments, issues, pull requests.

Every method finds what an earlier call left before it writes, and looks again when the answer to a
creation was lost, so that saying a thing twice leaves one of it. What others wrote is never
touched, whatever marker it carries.

https://docs.github.com/en/rest
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tidegate.adapters.host.addresses import repository_path, segment
from tidegate.adapters.host.answers import ForbiddenError, InvalidError, NotFoundError
from tidegate.adapters.host.checks import publish
from tidegate.adapters.host.saying import (
    check_length,
    check_marker,
    cut,
    lines,
    once,
    says,
    understood,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate.adapters.host.api import Api
    from tidegate.core.notices import Check, Comment, HostDeployment, Issue, Proposal

BODY = 65_536  # characters of a comment, an issue or a pull request
DESCRIPTION = 140  # characters of a deployment's description
LABEL = "tidegate"

Row = dict[str, Any]  # an object in the API's own words


class GitHubHost:
    """One repository on GitHub.

    Args:
        api: the API with a job's token.
        repository: ``owner/name``.
        author: the login under which that token writes.
        default_branch: where merges and dispatches go.
    """

    def __init__(
        self,
        api: Api,
        repository: str,
        *,
        author: str = "github-actions[bot]",
        default_branch: str,
    ) -> None:
        self._api = api
        self._repository = repository
        self._at = repository_path(repository)
        self._author = author
        self._branch = default_branch

    def __repr__(self) -> str:
        return f"GitHubHost({self._repository!r})"

    # --- pull requests ------------------------------------------------------------------------

    @understood()
    def pull_of(self, commit: str) -> int | None:
        """Return the number of the merged pull request that brought a commit to the default branch."""
        found = self._api.pages(f"{self._at}/commits/{segment(commit)}/pulls")
        merged = (
            pull["number"]
            for pull in found
            if pull["merged_at"]
            and pull["base"]["ref"] == self._branch
            and self._is_ours(pull["base"])
        )
        return min(merged, default=None)

    @understood()
    def propose(self, proposal: Proposal) -> str | None:
        """Open a pull request from a branch of this repository, unless it ever had one.

        Returns:
            Its page; None where the repository does not let workflows open pull requests.
        """
        check_length(proposal.body, BODY, "the pull request")

        def look() -> str | None:
            head = f"{self._repository.partition('/')[0]}:{proposal.branch}"
            pulls = self._api.pages(f"{self._at}/pulls", state="all", head=head, direction="asc")
            ours = (  # GitHub ignores a filter that it does not understand
                pull
                for pull in pulls
                if pull["head"]["ref"] == proposal.branch and self._is_ours(pull["head"])
            )
            return next((str(pull["html_url"]) for pull in ours), None)

        def create() -> str:
            body = {
                "title": proposal.title,
                "head": proposal.branch,
                "base": proposal.base,
                "body": proposal.body,
            }
            return str(self._api.send("POST", f"{self._at}/pulls", body)["html_url"])

        try:
            return once(look, create)
        except (ForbiddenError, InvalidError) as refused:
            if "not permitted to create" in str(refused):
                return None
            if isinstance(refused, InvalidError) and (url := look()):
                return url  # somebody was faster
            raise

    def _is_ours(self, side: Mapping[str, Any]) -> bool:
        """Whether a side of a pull request is in this repository."""
        name = (side.get("repo") or {}).get("full_name") or ""
        return str(name).lower() == self._repository.lower()

    # --- comments -------------------------------------------------------------------------------

    @understood()
    def comment(self, comment: Comment) -> str:
        """Create the comment, or edit it where it differs; return its page."""
        check_marker(comment.marker, comment.body)
        check_length(comment.body, BODY, "the comment")
        listing = f"{self._at}/issues/{comment.pull}/comments"

        def look() -> Row | None:
            found = [row for row in self._api.pages(listing) if self._wrote(row, comment.marker)]
            oldest: Row | None
            oldest, *others = sorted(found, key=lambda row: int(row["id"])) or [None]
            for row in others:
                # Two jobs were equally fast. The younger would go on telling an old story.
                self._api.send("DELETE", f"{self._at}/issues/comments/{row['id']}")
            return oldest

        def create() -> Row:
            return dict(self._api.send("POST", listing, {"body": comment.body}))

        row = once(look, create)
        if not says(row["body"], comment.body):
            row = self._api.send(
                "PATCH", f"{self._at}/issues/comments/{row['id']}", {"body": comment.body}
            )
        return str(row["html_url"])

    def _wrote(self, row: Mapping[str, Any], marker: str) -> bool:
        """Whether a comment or issue is ours and begins with a marker."""
        user = row.get("user") or {}
        first = lines(row.get("body") or "").partition("\n")[0]
        ours: bool = user.get("login") == self._author and user.get("type") == "Bot"
        return ours and first == marker

    # --- issues ---------------------------------------------------------------------------------

    @understood()
    def issue(self, issue: Issue) -> str:
        """Open the issue, unless one with its marker was ever opened; return its page."""
        check_marker(issue.marker, issue.body)
        check_length(issue.body, BODY, "the issue")

        def look() -> str | None:
            rows = self._api.pages(f"{self._at}/issues", state="all", labels=LABEL)
            for row in rows:
                if "pull_request" not in row and self._wrote(row, issue.marker):
                    return str(row["html_url"])
            return None

        def create() -> str:
            labels = list(dict.fromkeys((LABEL, *issue.labels)))
            body = {"title": issue.title, "body": issue.body, "labels": labels}
            return str(self._api.send("POST", f"{self._at}/issues", body)["html_url"])

        return once(look, create)

    @understood()
    def check(self, check: Check) -> str:
        """Create or replace the check run of this name on this commit; return its page."""
        return publish(self._api, self._at, check)

    # --- deployments --------------------------------------------------------------------------

    @understood()
    def deployment(self, deployment: HostDeployment) -> None:
        """Create the deployment once, and add a status where state or description are new."""
        task = f"tidegate:{deployment.key}"
        listing = f"{self._at}/deployments"

        def look() -> Row | None:
            rows = self._api.pages(listing, environment=deployment.environment, task=task)
            ours = (
                row
                for row in rows
                if row["task"] == task and row["environment"] == deployment.environment
            )
            return min(ours, key=lambda row: int(row["id"]), default=None)

        def create() -> Row:
            body = {
                "ref": deployment.commit,
                "task": task,
                "environment": deployment.environment,
                "payload": {"tidegate": deployment.key},
                # A rollout is decided by the gate, not by the commit's other checks.
                "auto_merge": False,
                "required_contexts": [],
            }
            return dict(self._api.send("POST", listing, body))

        self._report(deployment, f"{listing}/{once(look, create)['id']}/statuses")

    def _report(self, deployment: HostDeployment, listing: str) -> None:
        """Say how a deployment is, where that is news."""
        description = cut(deployment.description, DESCRIPTION)

        def look() -> Row | None:
            told = list(self._api.pages(listing))
            newest: Row | None = max(told, key=lambda row: int(row["id"]), default=None)
            if newest is None:
                return None
            same = (newest["state"], newest["description"]) == (deployment.state.value, description)
            return newest if same else None

        def create() -> Row:
            body = {
                "state": deployment.state.value,
                "description": description,
                # Otherwise GitHub would call the other models of this environment inactive.
                "auto_inactive": False,
            }
            if deployment.url:
                body["log_url"] = deployment.url
            return dict(self._api.send("POST", listing, body))

        once(look, create)

    # --- workflows ------------------------------------------------------------------------------

    def dispatch(self, workflow: str, inputs: Mapping[str, str]) -> None:
        """Start a workflow by its file name, on the default branch."""
        try:
            self._api.send(
                "POST",
                f"{self._at}/actions/workflows/{segment(workflow)}/dispatches",
                {"ref": self._branch, "inputs": dict(inputs)},
                # A second pass finds the ledger ahead of it and does nothing; no pass at all
                # would leave a rollout without its eyes.
                repeatable=True,
            )
        except NotFoundError as missing:
            raise NotFoundError(
                str(missing),
                status=missing.status,
                body=missing.body,
                remedy=f"The default branch has no workflow file {workflow} that GitHub knows, or "
                "the job lacks `actions: write`.",
            ) from None
