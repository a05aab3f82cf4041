"""Running git: one place that knows how, and turns its failures into our errors."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_TIMEOUT = 120.0
# A machine's work tree may have seen the user's code, which can write into .git: none of its hooks
# and no monitor of its choice runs in our processes. (What else .git/config can name, git needs.)
_OURS = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false")


class GitError(OutsideError):
    """git said no; ``stderr`` is what it said."""

    def __init__(self, arguments: tuple[str, ...], stderr: str) -> None:
        super().__init__(f"git {arguments[0]} failed: {stderr.strip() or 'no message'}")
        self.stderr = stderr


def git(
    folder: Path, *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None
) -> bytes:
    """Run one git command in ``folder`` and return its standard output.

    Raises:
        GitError: git exited with a code other than 0, or took longer than two minutes.
        OutsideError: there is no git.
    """
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", **(env or {})}
    try:
        done = subprocess.run(
            ["git", *_OURS, "-C", str(folder), *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            timeout=_TIMEOUT,
            env=environment,
        )
    except FileNotFoundError:
        raise OutsideError("git is not installed", remedy="Install git 2.34 or newer.") from None
    except subprocess.TimeoutExpired:
        raise GitError(arguments, f"no answer within {_TIMEOUT:g} s") from None
    if done.returncode != 0:
        raise GitError(arguments, done.stderr.decode(errors="replace"))
    return done.stdout


def text(folder: Path, *arguments: str) -> str:
    """Run git and return its output as text without the last newline."""
    return git(folder, *arguments).decode().rstrip("\n")
