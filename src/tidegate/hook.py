"""One box without a CI server: a push to a bare repository runs the pipeline on this machine.

:func:`install` writes the repository's post-receive hook. Each push to the branch becomes a *job*
in a session of its own, with a clone of its own: the push shows what the job prints, but whoever
interrupts the push does not stop the job, and a newer push meets a live canary as its policy says
(it supersedes it). When the push is decided the job ticks on until the probation is over. A job
that was killed is taken up by the next push of the same commit, or by
``python -m tidegate.hook again COMMIT ...``; nothing happens twice.

    RUNNER/<commit>/        the job's clone, gone when the job is
    HOME/pushes/<commit>/   log, ticks.log, exit (the exit code), lock (held while the job lives)
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tidegate.errors import ConfigError, Exit, OutsideError, TidegateError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MARK = "Written by `tidegate init --hook`"
_HOOK = f"""\
#!/bin/sh
# {_MARK}: a push to {{branch}} runs the pipeline on this machine.
# Remove this file to stop that. What a push did: {{home}}/pushes/
while read -r old new ref; do
  if [ "$ref" = {{ref}} ]; then
    exec {{python}} -m tidegate.hook receive "$new" --bare {{bare}} --runner {{runner}} --home {{home}}
  fi
done
"""
_NOTHING = "0" * 40
_PAUSE = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """Where pushes arrive, where they are run, and where the state is."""

    bare: Path
    runner: Path
    home: Path

    def place(self, commit: str) -> Place:
        """Return where the job of a commit keeps its things."""
        short = commit[:12]
        return Place(commit=commit, clone=self.runner / short, folder=self.home / "pushes" / short)

    @property
    def options(self) -> list[str]:
        """The same as command-line options."""
        return ["--bare", str(self.bare), "--runner", str(self.runner), "--home", str(self.home)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """One push's job on the disk."""

    commit: str
    clone: Path
    folder: Path

    @property
    def log(self) -> Path:
        """What the job printed until its decision."""
        return self.folder / "log"

    @property
    def ticks(self) -> Path:
        """What it printed afterwards."""
        return self.folder / "ticks.log"

    @property
    def code(self) -> int | None:
        """The exit code of ``tidegate run``; None while there is none."""
        try:
            return int((self.folder / "exit").read_text())
        except (FileNotFoundError, ValueError):
            return None

    def forget(self) -> None:
        """Let the job be run again although it was decided."""
        (self.folder / "exit").unlink(missing_ok=True)

    @property
    def lives(self) -> bool:
        """Whether the job runs."""
        try:
            with (self.folder / "lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False


def install(bare: Path, runner: Path, home: Path, branch: str = "main") -> Path:
    """Make pushes to ``branch`` of ``bare`` run the pipeline here; return the hook's path.

    Raises:
        ConfigError: not a bare repository, or there is a post-receive hook of somebody else's.
    """
    if not (bare / "objects").is_dir():
        raise ConfigError(
            f"{bare} is not a bare git repository", remedy=f"Make one: git init --bare {bare}"
        )
    path = bare / "hooks" / "post-receive"
    if path.exists() and _MARK not in path.read_text(errors="replace"):
        raise ConfigError(
            f"{path} is there already, and not ours", remedy="Move it away, or call ours from it."
        )
    text = _HOOK.format(
        branch=branch,
        ref=shlex.quote(f"refs/heads/{branch}"),
        python=shlex.quote(sys.executable),
        bare=shlex.quote(str(bare.resolve())),
        runner=shlex.quote(str(runner.absolute())),
        home=shlex.quote(str(home.absolute())),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def push(box: Box, commit: str, out: BinaryIO) -> int:
    """Run a commit's job, or join the one that runs, and show its output until its decision.

    Raises:
        OutsideError: the job ended without a decision; the same call again takes it up.
    """
    place = box.place(commit)
    began = place.log.stat().st_size if place.log.exists() and not place.lives else 0
    if place.code is None:
        _start(box, place)
    _show(place, out, began)
    code = place.code
    if code is None:
        raise OutsideError(
            f"the job of {commit[:12]} ended without a decision",
            remedy=f"Its output stands above. Take it up again: {shlex.join(again(box, commit))}",
        )
    return code


def again(box: Box, commit: str) -> list[str]:
    """Return the command that takes a commit's job up again, or joins it."""
    return [sys.executable, "-m", "tidegate.hook", "again", commit, *box.options]


def _start(box: Box, place: Place) -> None:
    """Start the job in a session of its own, unless it lives. The lock passes to the child."""
    place.folder.mkdir(parents=True, exist_ok=True)
    with (place.folder / "lock").open("wb") as lock, place.log.open("ab") as log:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        job = subprocess.Popen(
            [sys.executable, "-m", "tidegate.hook", "job", place.commit, *box.options],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            pass_fds=[lock.fileno()], env=_environment(box.home), cwd=box.bare,
        )  # fmt: skip
        (place.folder / "pid").write_text(f"{job.pid}\n")
        job.returncode = 0  # it outlives us on purpose: no warning about that


def _show(place: Place, out: BinaryIO, began: int) -> None:
    with place.log.open("rb") as log:
        log.seek(began)
        while True:
            over = place.code is not None or not place.lives
            if text := log.read():
                out.write(text)
                out.flush()
            elif over:
                return
            else:
                time.sleep(_PAUSE)


def _environment(home: Path) -> Mapping[str, str]:
    """Return ours without git's hook variables, with this interpreter first on the path."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', os.defpath)}"
    return {**kept, "PATH": path, "TIDEGATE_HOME": str(home), "PYTHONUNBUFFERED": "1"}


def job(box: Box, commit: str) -> int:
    """Do what a push asks for: ``tidegate run`` in a fresh clone, then tick until all is settled."""
    place = box.place(commit)
    code = Exit.OUTSIDE.value
    with _clone(box, place) as folder:
        if folder is not None:
            code = subprocess.run(_tidegate("run"), cwd=folder, check=False).returncode
        unfinished = place.folder / "exit.part"
        unfinished.write_text(f"{code}\n")
        unfinished.replace(place.folder / "exit")
        if folder is not None:
            _tick_on(place, folder)
    return code


@contextlib.contextmanager
def _clone(box: Box, place: Place) -> Iterator[Path | None]:
    shutil.rmtree(place.clone, ignore_errors=True)
    place.clone.parent.mkdir(parents=True, exist_ok=True)
    commands = (
        ["git", "clone", "--quiet", "--no-checkout", str(box.bare), str(place.clone)],
        ["git", "-C", str(place.clone), "checkout", "--quiet", "--detach", place.commit],
    )
    try:
        done = all(subprocess.run(c, check=False).returncode == 0 for c in commands)
        yield place.clone if done else None
    finally:
        shutil.rmtree(place.clone, ignore_errors=True)


def _tick_on(place: Place, folder: Path) -> None:
    from tidegate.load import load

    try:
        interval = load(folder / "mlops.yaml").release.canary.interval
    except TidegateError:
        return  # `tidegate run` has said it
    every = f"{min(max(interval / 4, 0.5), 15.0):g}s"
    with place.ticks.open("ab") as log:
        tick = _tidegate("tick", "--every", every, "--until-idle")
        subprocess.run(tick, cwd=folder, check=False, stdout=log, stderr=log)


def _tidegate(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tidegate", *arguments]


def main(arguments: list[str] | None = None) -> int:
    """Receive a push, take one up again, or be its job."""
    parser = argparse.ArgumentParser(prog="python -m tidegate.hook")
    parser.add_argument("verb", choices=("receive", "again", "job"))
    parser.add_argument("commit")
    for name in ("--bare", "--runner", "--home"):
        parser.add_argument(name, type=Path, required=True)
    args = parser.parse_args(arguments)
    box = Box(bare=args.bare, runner=args.runner, home=args.home)
    if args.commit == _NOTHING:  # the branch was deleted
        return 0
    if args.verb == "job":
        return job(box, args.commit)
    try:
        code = push(box, args.commit, sys.stdout.buffer)
    except TidegateError as error:
        sys.stderr.write(f"tidegate: {error}\n  {error.remedy}\n")
        return error.exit_code
    sys.stdout.write(f"tidegate: this push ended with exit code {code}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
