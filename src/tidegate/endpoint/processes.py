"""The endpoint's processes: start detached, look whether alive, end with all their children."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.endpoint import launch
from tidegate.errors import OutsideError
from tidegate.runner import without_credentials

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FLOCK = "hhxxxxqqixxxx"


def start(
    command: Sequence[str],
    *,
    lock: Path,
    log: Path,
    stopped: Path,
    environment: Mapping[str, str] | None = None,
) -> bool:
    """Start ``command`` detached, in the lock's endpoint folder; False if it ran already.

    Raises:
        OutsideError: the process could not be made.
    """
    arguments = [str(lock), str(log), str(stopped), "--", *command]
    done = subprocess.run(
        [sys.executable, "-I", "-S", launch.__file__, *arguments],
        cwd=stopped.parent,
        # No credentials: models run there. And without RUNNER_TRACKING_ID, by which a GitHub runner
        # ends what its job left running.
        env={**without_credentials(os.environ), **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    if done.returncode in {launch.ALREADY, launch.STOPPED}:
        return False
    if done.returncode != 0:
        raise OutsideError(
            f"Cannot start {command[0]}: {done.stderr.strip()[-400:]}",
            remedy="See whether the machine has processes, memory and disk left.",
        )
    return True


def held(lock: Path) -> bool:
    """Whether the process behind ``lock`` lives. Changes nothing."""
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        query = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        answer = struct.unpack(_FLOCK, fcntl.fcntl(handle, fcntl.F_OFD_GETLK, query))
        return bool(answer[0] != fcntl.F_UNLCK)
    finally:
        os.close(handle)


def alive(lock: Path) -> int | None:
    """Return the process id behind ``lock`` while it is held, else None."""
    while held(lock):
        if pid := _identity(lock)[0]:
            return pid
        time.sleep(0.001)  # it has just been forked and is about to write its id
    return None


def end(lock: Path, *, grace: float) -> None:
    """End the process group behind ``lock``: asked first, killed after ``grace`` seconds."""
    pid = alive(lock)
    if pid is not None:
        _signal(pid, signal.SIGTERM if grace > 0 else signal.SIGKILL)
        deadline = time.monotonic() + grace
        while held(lock) and time.monotonic() < deadline:
            time.sleep(0.01)
        if held(lock):
            _signal(pid, signal.SIGKILL)
        while held(lock):
            time.sleep(0.005)
    sweep(lock)


def kill_group(pid: int) -> None:
    """Send SIGKILL to a process group whose lock file somebody has deleted."""
    _signal(pid, signal.SIGKILL)


def ask_to_end(lock: Path) -> None:
    """Send SIGTERM to the process group behind ``lock`` and return at once."""
    pid = alive(lock)
    if pid is not None:
        _signal(pid, signal.SIGTERM)


def kill(lock: Path) -> None:
    """Send SIGKILL to the process group behind ``lock`` and return at once."""
    pid = alive(lock)
    if pid is not None:
        _signal(pid, signal.SIGKILL)


def sweep(lock: Path) -> None:
    """Kill what a dead process left behind: the children in its process group.

    A group's number is not given away while a member lives, so when the leader is gone and the
    machine was not rebooted since, its members are ours.
    """
    pid, boot = _identity(lock)
    if pid and boot == boot_id() and _gone(pid):
        _signal(pid, signal.SIGKILL)


def boot_id() -> str:
    """Return what tells this boot of the machine from every other one."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _identity(lock: Path) -> tuple[int, str]:
    """The recorded process id and boot; 0 in the instant before they are written."""
    try:
        words = lock.read_text(encoding="ascii").split()
    except FileNotFoundError:
        return 0, ""
    return (int(words[0]), words[1]) if len(words) == 2 else (0, "")


def _gone(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] in {"Z", "X"}


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
