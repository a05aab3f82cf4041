"""Running the user's commands: output streamed, time bounded, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tidegate.errors import NotJudgedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SHELL_SIGNAL = 128  # a shell adds it to the number of the signal that ended its command
_GRACE = 5.0  # seconds between SIGTERM and SIGKILL


def run_command(
    command: str, *, what: str, folder: Path, env: Mapping[str, str], timeout: float
) -> float:
    """Run a shell command of the user's in ``folder`` and return its duration in seconds.

    Its output goes to our standard error as it comes. The command gets a process group of its
    own, and all of it is ended when it takes longer than ``timeout`` seconds or we are interrupted.

    Raises:
        NotJudgedError: the command failed or took too long; ``what`` names it in the message.
    """
    began = time.monotonic()
    child = subprocess.Popen(  # noqa: S602 (the user's own command, from the user's own file)
        command,
        shell=True,
        cwd=folder,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        start_new_session=True,
    )
    try:
        code = child.wait(timeout)
    except subprocess.TimeoutExpired:
        raise NotJudgedError(
            f"{what} took longer than {timeout:g} s and was ended: {command}",
            remedy="Raise its timeout in mlops.yaml if it needs longer.",
        ) from None
    finally:
        _end_group(child)
    if code != 0:
        ending = f"signal {-code}" if code < 0 else f"exit code {code}"
        if code > _SHELL_SIGNAL:
            ending += f" (signal {code - _SHELL_SIGNAL})"
        raise NotJudgedError(
            f"{what} failed with {ending}: {command}",
            remedy=f"Its output stands above. Run the command by itself in {folder} to see more.",
        )
    return time.monotonic() - began


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """End whatever the command left running, the polite way first."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + _GRACE
        while time.monotonic() < deadline and _alive(child.pid):
            child.poll()
            time.sleep(0.02)
    child.wait()


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True
