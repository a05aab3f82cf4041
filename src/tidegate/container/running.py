"""Running the user's commands in a training job's container. Standard library, Python 3.9 or newer."""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

GRACE = 100.0  # seconds between SIGTERM and SIGKILL; SageMaker gives 120
FAILED = 70  # our own exit code, where no command of the user's has one
TAIL = 25  # lines of output that a failure repeats
SHOWN = 750  # characters of them: SageMaker shows the first 1,024 of a failure


class JobError(Exception):
    """The job cannot go on; what it says is shown to people."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


def told(error: Exception) -> str:
    """Return an error in words."""
    return str(error) if isinstance(error, JobError) else f"{type(error).__name__}: {error}"


def say(text: str) -> None:
    """Write a line of our own to the log."""
    sys.stdout.buffer.write(f"tidegate: {text}\n".encode(errors="replace"))
    sys.stdout.buffer.flush()


class Commands:
    """Runs the user's commands one after another, and ends them when the cloud ends us."""

    def __init__(self) -> None:
        self.stopping = False
        self._child: subprocess.Popen[bytes] | None = None

    def listen(self) -> None:
        """Forward SIGTERM to the user's processes from now on."""
        signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, _number: int, _frame: object) -> None:
        self.stopping = True
        child = self._child
        if child is None:
            raise JobError("the job was stopped", 128 + signal.SIGTERM)
        group(child, signal.SIGTERM)
        timer = threading.Timer(GRACE, group, (child, signal.SIGKILL))
        timer.daemon = True
        timer.start()

    def run(self, command: str, what: str, folder: Path, env: dict[str, str]) -> float:
        """Run a shell command, its output repeated in ours, and return its seconds.

        Raises:
            JobError: it failed, with its last lines, or the job was stopped.
        """
        say(f"{what}: {command}")
        began = time.monotonic()
        child = subprocess.Popen(
            ["/bin/sh", "-c", command], cwd=folder, env=env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self._child = child
        last: collections.deque[bytes] = collections.deque(maxlen=TAIL)
        reader = threading.Thread(target=repeat, args=(child, last), daemon=True)
        reader.start()
        code = child.wait()
        self._child = None
        group(child, signal.SIGKILL)  # what it left running would hold its output open
        reader.join(10)
        if self.stopping:
            raise JobError("the job was stopped", 128 + signal.SIGTERM)
        if code != 0:
            ending = f"signal {-code}" if code < 0 else f"exit code {code}"
            lines = b"".join(last).decode(errors="replace").rstrip("\n")[-SHOWN:]
            shown = f"\n{lines}" if lines else ""
            raise JobError(
                f"{what} failed with {ending}: {command}{shown}", code if code > 0 else 128 - code
            )
        return time.monotonic() - began


def repeat(child: subprocess.Popen[bytes], last: collections.deque[bytes]) -> None:
    """Copy a process's output to ours as it comes, and keep its last lines."""
    assert child.stdout is not None
    for line in child.stdout:
        last.append(line[:2000] if line.endswith(b"\n") else line[:2000] + b"\n")
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()


def group(child: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to a process and everything it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)
