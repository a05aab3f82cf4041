"""The story's folders and processes: a bare origin, a user's clone, a box that serves, passengers."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate import hook
from tidegate.demo import data, driver
from tidegate.endpoint import control
from tidegate.git import text
from tidegate.home import Home
from tidegate.resources import resource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ENDPOINT = "flight-delays"
_USER = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
_PORT = re.compile(r"port: (\d+)")
_PATIENCE = 8.0  # seconds that a process has to end before it is killed


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything the story keeps, in one folder."""

    folder: Path

    @property
    def origin(self) -> Path:
        """The bare repository that everybody pushes to."""
        return self.folder / "origin.git"

    @property
    def work(self) -> Path:
        """The data scientist's clone."""
        return self.folder / "work"

    @property
    def home(self) -> Home:
        """The box's state directory."""
        return Home(self.folder / "home")

    @property
    def pages(self) -> Path:
        """What is left to read."""
        return self.folder / "pages"

    @property
    def traffic(self) -> Path:
        """The replay's status."""
        return self.folder / "traffic.json"

    @property
    def rate(self) -> Path:
        """How many requests a second the replay shall send."""
        return self.folder / "rate"

    @property
    def box(self) -> hook.Box:
        """Where pushes are run."""
        return hook.Box(bare=self.origin, runner=self.folder / "runner", home=self.home.root)

    @property
    def endpoint(self) -> Path:
        """The embedded endpoint's folder."""
        return self.home.endpoint(ENDPOINT)

    @property
    def port(self) -> int:
        """Where the endpoint listens."""
        found = _PORT.search((self.work / "mlops.yaml").read_text())
        assert found is not None
        return int(found[1])

    def prepare(self) -> None:
        """Make data, repositories and hook; what is there already is kept."""
        self.pages.mkdir(parents=True, exist_ok=True)
        data.build(self.folder / "data")
        if not (self.origin / "HEAD").exists():
            self.origin.mkdir(exist_ok=True)
            text(self.origin, "init", "--quiet", "--bare", "--initial-branch", "main")
        hook.install(self.origin, self.box.runner, self.home.root)
        if not (self.work / ".git" / "HEAD").exists():
            text(self.folder, "clone", "--quiet", str(self.origin), str(self.work))
            text(self.work, "symbolic-ref", "HEAD", "refs/heads/main")

    def commit(self, message: str, overlay: str | None) -> str:
        """Return the commit with this subject; the user makes it if it is not there yet."""
        if text(self.work, "for-each-ref", "refs/heads/main"):
            for line in text(self.work, "log", "--format=%H %s").splitlines():
                commit, _, subject = line.partition(" ")
                if subject == message:
                    return commit
        example = resource("examples/flight-delays")
        if overlay is None:
            self._begin(example)
        else:
            for path in (example / overlay).iterdir():
                shutil.copyfile(path, self.work / path.name)
        text(self.work, "add", "--all")
        text(self.work, *_USER, "commit", "--quiet", "--message", message)
        return text(self.work, "rev-parse", "HEAD")

    def _begin(self, example: Path) -> None:
        config = (example / "mlops.yaml").read_text()
        config = _PORT.sub(f"port: {_free_port()}", config, count=1)
        config = "".join(line for line in config.splitlines(keepends=True) if "$schema" not in line)
        (self.work / "mlops.yaml").write_text(config)
        shutil.copyfile(example / "train.py", self.work / "train.py")
        (self.work / "data").mkdir(exist_ok=True)
        for name in data.HISTORY:
            shutil.copyfile(self.folder / "data" / name, self.work / "data" / name)

    @contextlib.contextmanager
    def passengers(self, *, rate: float, seconds: float) -> Iterator[None]:
        """Replay flights while the block runs."""
        self.pace(rate)
        arguments = {
            "--port": self.port, "--live": self.folder / "data" / data.LIVE,
            "--labels": self.endpoint / "labels.jsonl", "--status": self.traffic,
            "--rate-file": self.rate, "--seconds": seconds,
        }  # fmt: skip
        flat = [str(part) for pair in arguments.items() for part in pair]
        with (self.folder / "traffic.log").open("ab") as log:
            replay = subprocess.Popen(
                [sys.executable, "-m", "tidegate.demo.traffic", *flat],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            yield
        finally:
            _end(replay)

    def pace(self, rate: float) -> None:
        """Have the replay send this many requests a second."""
        unfinished = self.rate.with_name("rate.part")
        unfinished.write_text(f"{rate:g}\n")
        unfinished.replace(self.rate)

    @property
    def replay(self) -> driver.Status:
        """How the replay stands."""
        return driver.read(self.traffic) or driver.Status()

    def commits(self) -> list[str]:
        """Return every commit that was pushed."""
        if not (self.origin / "HEAD").exists():
            return []
        return text(self.origin, "rev-list", "--branches=main").split()

    def stop(self, commits: Sequence[str]) -> None:
        """End the jobs of these commits and the endpoint."""
        for commit in commits:
            _end_job(self.box.place(commit))
        control.stop(self.endpoint)


def environment() -> dict[str, str]:
    """Return what a push runs in: quiet libraries, one thread each beside the serving models."""
    quiet = {"MLFLOW_LOGGING_LEVEL": "ERROR", "MLFLOW_DISABLE_TELEMETRY": "true"}
    return {**os.environ, "OMP_NUM_THREADS": "1", **quiet}


def _end_job(place: hook.Place) -> None:
    """End a job with everything it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + _PATIENCE
        if place.lives:
            with contextlib.suppress(ProcessLookupError, OSError, ValueError):
                os.killpg(int((place.folder / "pid").read_text()), number)
        while place.lives and time.monotonic() < deadline:
            time.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    """Return the example's port, or another one where that is taken."""
    for wanted in (8900, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", wanted))
            return int(probe.getsockname()[1])
    raise AssertionError("the system always has a free port")
