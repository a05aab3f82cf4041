"""Digests of files, folders and recipes: what a thing is, whatever it is called."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from tidegate.errors import OutsideError
from tidegate.git import text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes.

    Raises:
        OutsideError: the file cannot be read.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe or a device has no end
            raise OutsideError(f"{path}: not a regular file")
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise OutsideError(f"{path}: {error.strerror}") from None


def folder_digest(folder: Path) -> str:
    """Return the SHA-256 over every file's relative path and content, in order of path.

    Raises:
        OutsideError: the folder is missing or empty, or holds a link or another odd file.
    """
    total = hashlib.sha256()
    paths = sorted(path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())
    if not paths:
        raise OutsideError(f"{folder}: no files")
    for path in paths:
        if path.is_symlink() or not path.is_file():
            raise OutsideError(f"{path}: a model folder holds regular files only")
        name = os.fsencode(path.relative_to(folder).as_posix())
        total.update(name + f"\0{file_digest(path)}\n".encode())
    return total.hexdigest()


def recipe_digest(
    repository: Path, folder: Path, config: str, data: list[str], paths: Sequence[str] = ()
) -> str:
    """Return the digest of how a model was made: code tree, configuration and data.

    The code tree is git's, of the folder that holds ``mlops.yaml`` at HEAD; ``paths`` are globs of
    further files, from the repository's top.
    """
    inside = folder.resolve().relative_to(repository.resolve()).as_posix()
    tree = text(repository, "rev-parse", "HEAD^{tree}" if inside == "." else f"HEAD:{inside}")
    parts = [tree, config, *data]
    if paths:
        globs = [f":(top,glob){path}" for path in paths]
        parts.append(text(repository, "ls-files", "--stage", "--", *globs))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
