"""The files of the user's own metrics as a commit has them: those that were agreed on, not those checked out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.errors import OutsideError
from tidegate.git import git

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

_FILES = frozenset({"100644", "100755"})  # modes; links and submodules lead elsewhere


def unpack(
    repository: Path, commit: str, folder: str, into: Path, *, only: Collection[str] | None = None
) -> None:
    """Write the files of a commit's folder, byte for byte as they were committed.

    No filter of git's runs and no attribute counts: what is checked out has no say.

    Args:
        repository: its top folder, or one in it.
        commit: which has the files.
        folder: from the repository's top; "" is the top itself.
        into: a folder that is there.
        only: these alone, by their path in the folder, where they are there; None: all.

    Raises:
        OutsideError: git fails, or has a file whose name leads out of the folder.
    """
    listed = git(repository, "ls-tree", "-r", "-z", "--full-tree", f"{commit}:{folder}")
    for line in filter(None, listed.split(b"\0")):
        about, _, raw = line.partition(b"\t")
        mode, _, blob = about.decode().split()
        name = raw.decode(errors="surrogateescape")
        if mode not in _FILES or (only is not None and name not in only):
            continue
        if {"", ".", ".."} & set(name.split("/")):
            raise OutsideError(f"{commit[:12]} has a file {name!r}, which leads out of its folder")
        path = into / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(git(repository, "cat-file", "blob", blob))
