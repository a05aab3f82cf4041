"""The branch that takes a commit back: made by git, pushed once, for a person to merge."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.errors import OutsideError
from tidegate.git import GitError, git, text
from tidegate.render.issue import branch_of

if TYPE_CHECKING:
    from tidegate.render.issue import TakenBack

_WHO = {
    "GIT_AUTHOR_NAME": "tidegate",
    "GIT_AUTHOR_EMAIL": "tidegate@localhost",
    "GIT_COMMITTER_NAME": "tidegate",
    "GIT_COMMITTER_EMAIL": "tidegate@localhost",
}


def push_revert(repository: Path, case: TakenBack) -> str | None:
    """Push a branch on which the default branch no longer has the case's commit; return its name.

    None when git cannot take it back by itself (a conflict, or a commit that is not there). The branch
    that an earlier call pushed is found again.

    Raises:
        OutsideError: the remote cannot be reached, or does not take the branch.
    """
    branch = branch_of(case.model, case.story.rollout.id)
    if text(repository, "ls-remote", "origin", f"refs/heads/{branch}"):
        return branch
    git(repository, "fetch", "--quiet", "--no-tags", "origin", f"refs/heads/{case.base}")
    newest = text(repository, "rev-parse", "FETCH_HEAD")
    with tempfile.TemporaryDirectory(prefix="tidegate-revert-") as temporary:
        folder = Path(temporary) / "tree"
        git(repository, "worktree", "add", "--quiet", "--detach", str(folder), newest)
        try:
            reverted = _reverted(folder, case.commit)
        finally:
            git(repository, "worktree", "remove", "--force", str(folder))
    if reverted is None:
        return None
    try:
        git(repository, "push", "--quiet", "origin", f"{reverted}:refs/heads/{branch}")
    except GitError as error:
        raise OutsideError(
            f"the branch {branch} cannot be pushed: {error.stderr.strip()}",
            remedy="A rule may forbid it, or the commit changes workflows, which this token may not.",
        ) from None
    return branch


def _reverted(folder: Path, commit: str) -> str | None:
    try:
        parents = text(folder, "rev-list", "--parents", "-n", "1", commit).split()[1:]
        mainline = ("--mainline", "1") if len(parents) > 1 else ()
        git(folder, "revert", "--no-edit", *mainline, commit, env=_WHO)
    except GitError:
        return None
    return text(folder, "rev-parse", "HEAD")
