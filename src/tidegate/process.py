"""Running the user's commands: output streamed, time bounded, nothing left behind."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from tidegate.errors import ConfigError, NotJudgedError
from tidegate.grants import Job
from tidegate.runner import Runner, without_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

_SHELL_SIGNAL = 128  # a shell adds it to the number of the signal that ended its command
_NO_USER_CODE = frozenset({Job.DECIDE, Job.TRAIN})
_GRACE = 5.0  # seconds between SIGTERM and SIGKILL


def run_command(
    command: str, *, what: str, folder: Path, env: Mapping[str, str], timeout: float
) -> float:
    """Run a shell command of the user's in ``folder`` and return its duration in seconds.

    Its output goes to our standard error as it comes; on a GitHub runner, nothing in it is taken
    for a command. The command gets a process group of its own, no credentials in its environment,
    and all of it is ended when it takes longer than ``timeout`` seconds or we are interrupted.

    Raises:
        NotJudgedError: the command failed or took too long; ``what`` names it in the message.
    """
    with (
        commands_stopped(),
        started(command, what=what, folder=folder, env=env, timeout=timeout) as finish,
    ):
        return finish()


@contextmanager
def commands_stopped() -> Iterator[None]:
    """Keep the runner from obeying what the user's command prints (``::set-output``, ...)."""
    if (runner := Runner.find()) is None:
        yield
        return
    line = runner.stop_commands()
    try:
        yield
    finally:
        runner.resume_commands(line)


@contextmanager
def started(  # noqa: PLR0913 (what a process needs)
    command: str | list[str],
    *,
    what: str,
    folder: Path,
    env: Mapping[str, str],
    timeout: float,
    log: Path | None = None,
) -> Iterator[Callable[[], float]]:
    """Start a command beside others; calling what is yielded waits for it, as above.

    Its process group ends with the block, however that is left. With ``log``, its output goes
    there instead, and the last line stands in the error.

    Raises:
        ConfigError: the job may take a cloud role that no code of the user's may be beside.
    """
    refuse_beside_role(what, os.environ)
    began = time.monotonic()
    child: subprocess.Popen[bytes] | None = None
    shown = command if isinstance(command, str) else shlex.join(command)

    def finish() -> float:
        assert child is not None
        try:
            code = child.wait(max(0.0, began + timeout - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise NotJudgedError(
                f"{what} took longer than {timeout:g} s and was ended: {shown}",
                remedy="Raise its timeout in mlops.yaml if it needs longer.",
            ) from None
        if code != 0 and log:
            raise NotJudgedError(f"{what} failed: {_last_line(log) or _ending(code)}")
        if code != 0:
            raise NotJudgedError(
                f"{what} failed with {_ending(code)}: {shown}",
                remedy=f"Its output stands above. Run the command by itself in {folder} to see more.",
            )
        return time.monotonic() - began

    try:
        with log.open("w") if log else nullcontext(sys.stderr) as output, _signals_held_back():
            output.flush()  # what we said so far stands above what it says
            child = subprocess.Popen(
                command,
                shell=isinstance(command, str),  # the user's own command, from the user's own file
                cwd=folder,
                env={**without_credentials(os.environ), **env},
                stdin=subprocess.DEVNULL,
                stdout=output.fileno(),
                stderr=output.fileno(),
                start_new_session=True,
            )
        yield finish
    finally:
        if child is not None:
            _end_group(child)


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Let a signal interrupt us only after the block: a child that is just being made would be nobody's."""
    if threading.current_thread() is not threading.main_thread():  # signals are the main one's
        yield
        return
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    ours = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in ours:
        signal.signal(number, lambda late, _frame: came.append(late))
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        for late in came:
            signal.raise_signal(late)


def refuse_beside_role(what: str, env: Mapping[str, str]) -> None:
    """Run nothing of the user's in a job that decides, or that starts training in a cloud.

    A job's processes can read each other's memory, so the role would be the command's, too.

    Raises:
        ConfigError: TIDEGATE_JOB names such a job.
    """
    if (job := env.get("TIDEGATE_JOB")) in _NO_USER_CODE:
        raise ConfigError(
            f"{what} was to run in the job {job}, which may take a cloud role",
            remedy="That job runs Tidegate's own code alone. mlops.yaml of this very commit says where "
            "training runs (train.compute): run all jobs of the workflow again.",
        )


def _ending(code: int) -> str:
    if code < 0:
        return f"signal {-code}"
    by_signal = f" (signal {code - _SHELL_SIGNAL})" if code > _SHELL_SIGNAL else ""
    return f"exit code {code}{by_signal}"


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


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
