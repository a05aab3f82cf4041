"""The ledger on a git branch: an orphan branch per model, fast-forward-only pushes.

A write builds its commit with plumbing commands (no work tree is touched) and moves the branch
with compare-and-swap: ``git update-ref NEW OLD`` in the same repository, a push without force to
a remote (https://git-scm.com/docs/git-push: a branch is only fast-forwarded).
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from tidegate.errors import LedgerMovedError, OutsideError
from tidegate.git import GitError, git, text
from tidegate.ports import Snapshot

if TYPE_CHECKING:
    from pathlib import Path

_NONE = "0" * 40
_AUTHOR = {
    "GIT_AUTHOR_NAME": "tidegate",
    "GIT_AUTHOR_EMAIL": "tidegate@localhost",
    "GIT_COMMITTER_NAME": "tidegate",
    "GIT_COMMITTER_EMAIL": "tidegate@localhost",
}


class GitLedger:
    """One model's ledger branch, in ``repository`` or at its remote."""

    def __init__(self, repository: Path, branch: str, *, remote: str | None) -> None:
        self._repository = repository
        self._remote = remote
        self._branch = branch
        self._ref = f"refs/heads/{branch}"
        self._local = f"refs/tidegate/{branch}" if remote else self._ref

    def read(self) -> Snapshot:
        """Return the newest commit and its files, freshly fetched from the remote.

        Raises:
            OutsideError: git or the remote cannot be reached.
        """
        commit = self._fetch() if self._remote else self._resolve()
        if commit is None:
            return Snapshot(commit=None, files={})
        return Snapshot(commit=commit, files=_Files(self._repository, commit))

    def _resolve(self) -> str | None:
        found = text(self._repository, "for-each-ref", "--format=%(objectname)", self._local)
        return found or None

    def _fetch(self) -> str | None:
        assert self._remote is not None
        listed = text(self._repository, "ls-remote", self._remote, self._ref)
        if not listed:
            return None
        commit = listed.split()[0]
        if self._resolve() != commit:
            # Objects only, no refs: two passes in one clone would fight for the refs' locks.
            quiet = ("--quiet", "--no-tags", "--no-write-fetch-head", "--refmap=")
            git(self._repository, "fetch", *quiet, self._remote, self._ref)
            self._remember(commit)
        return commit

    def _remember(self, commit: str) -> None:
        """Keep a ref to what was seen, so that the next fetch brings only what is new."""
        with contextlib.suppress(GitError):  # another pass holds the lock: it remembers as much
            git(self._repository, "update-ref", self._local, commit)

    def write(self, base: Snapshot, files: Mapping[str, bytes], message: str) -> Snapshot:
        """Commit ``files`` over ``base`` and move the branch to it.

        Raises:
            LedgerMovedError: ``base`` is not the newest commit any more; nothing was changed.
            OutsideError: git or the remote cannot be reached.
        """
        commit = self._commit(base, files, message)
        if self._remote:
            self._push(commit)
        else:
            self._move(self._ref, commit, base.commit)
        return Snapshot(commit=commit, files=_Files(self._repository, commit))

    def _commit(self, base: Snapshot, files: Mapping[str, bytes], message: str) -> str:
        with tempfile.TemporaryDirectory(prefix="tidegate-index-") as folder:
            tree = self._tree(base, files, {"GIT_INDEX_FILE": f"{folder}/index"})
        parent = ("-p", base.commit) if base.commit else ()
        return (
            git(self._repository, "commit-tree", tree, *parent, "-m", message, env=_AUTHOR)
            .decode()
            .strip()
        )

    def _tree(self, base: Snapshot, files: Mapping[str, bytes], index: Mapping[str, str]) -> str:
        """Return the tree of ``base`` with ``files`` written over it, by an index of its own."""
        git(self._repository, "read-tree", base.commit or "--empty", env=index)
        entries = b""
        for path, content in files.items():
            blob = git(self._repository, "hash-object", "-w", "--stdin", stdin=content).decode()
            entries += f"100644 {blob.strip()}\t{path}\n".encode()
        git(self._repository, "update-index", "--index-info", stdin=entries, env=index)
        return git(self._repository, "write-tree", env=index).decode().strip()

    def _push(self, commit: str) -> None:
        assert self._remote is not None
        try:
            git(self._repository, "push", "--quiet", self._remote, f"{commit}:{self._ref}")
        except GitError as error:
            if _lost_race(error.stderr):
                raise LedgerMovedError("another process appended to the ledger first") from None
            raise OutsideError(
                f"the ledger branch {self._branch} cannot be pushed: {error.stderr.strip()}",
                remedy="The job needs write access to the branch; a rule may forbid its push.",
            ) from None
        self._remember(commit)

    def _move(self, ref: str, commit: str, expected: str | None) -> None:
        try:
            git(self._repository, "update-ref", ref, commit, expected or _NONE)
        except GitError as error:
            if "cannot lock ref" in error.stderr:
                raise LedgerMovedError("another process appended to the ledger first") from None
            raise


def _lost_race(stderr: str) -> bool:
    """Tell a push that came second from one that is not allowed or did not arrive."""
    signs = ("non-fast-forward", "fetch first", "cannot lock ref", "reference already exists",
             "incorrect old value", "failed to update ref")  # fmt: skip
    return any(sign in stderr for sign in signs)


class _Files(Mapping[str, bytes]):
    """The files of one commit, read when they are asked for."""

    def __init__(self, repository: Path, commit: str) -> None:
        self._repository = repository
        self._commit = commit
        self._names = text(repository, "ls-tree", "-r", "--name-only", "-z", commit).split("\0")

    def __getitem__(self, name: str) -> bytes:
        if name not in self._names:
            raise KeyError(name)
        return git(self._repository, "cat-file", "blob", f"{self._commit}:{name}")

    def __iter__(self) -> Iterator[str]:
        return iter(name for name in self._names if name)

    def __len__(self) -> int:
        return sum(1 for _ in self)
