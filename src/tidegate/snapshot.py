"""The committed files as a tar, for a machine that has no checkout. The holdout is never in it."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

from tidegate.errors import ConfigError, OutsideError
from tidegate.git import git, text

if TYPE_CHECKING:
    from pathlib import Path


def snapshot(repository: Path, holdout: Path, into: Path) -> None:
    """Write the files of HEAD as a tar, except the holdout and its copies.

    Args:
        repository: its top folder.
        holdout: the rows that will judge; left out by its name, where it leads, and its content.
        into: the tar.

    Raises:
        ConfigError: ``.gitattributes`` keeps files out of archives: training would miss them.
        OutsideError: git fails, or put something into the tar that must not be in it.
    """
    tracked = _tracked(repository)
    held = _held_back(repository, holdout, tracked)
    excluded = [f":(exclude,top,literal){name}" for name in sorted(held)]
    git(repository, "archive", "--format=tar", f"--output={into}", "HEAD", "--", ".", *excluded)
    with tarfile.open(into) as archive:
        packed = {member.name for member in archive if not member.isdir()}
    if strays := packed & held:
        raise OutsideError(f"git packs {min(strays)}, which it was asked to leave out")
    if missing := set(tracked) - held - packed:
        raise ConfigError(
            f"{min(missing)} is committed, and git leaves it out of archives",
            remedy="Take `export-ignore` for it out of .gitattributes: a training job elsewhere "
            "is sent what `git archive` packs.",
        )


def _tracked(repository: Path) -> dict[str, str]:
    """Return name -> blob of every file of HEAD, submodules' aside."""
    found = {}
    for line in git(repository, "ls-tree", "-r", "-z", "--full-tree", "HEAD").split(b"\0"):
        if line:
            about, _, name = line.partition(b"\t")
            _, kind, blob = about.decode().split()
            if kind == "blob":
                found[name.decode(errors="surrogateescape")] = blob
    return found


def _held_back(repository: Path, holdout: Path, tracked: dict[str, str]) -> set[str]:
    top = repository.resolve()
    names = {
        path.relative_to(top).as_posix()
        for path in (holdout.parent.resolve() / holdout.name, holdout.resolve())
        if path.is_relative_to(top)
    }
    # As its bytes are, and as git's filters (line ends, large files) would keep it.
    blobs = {
        text(repository, "hash-object", *way, str(holdout.resolve()))
        for way in (("--no-filters",), ())
    }
    return {name for name, blob in tracked.items() if name in names or blob in blobs}
