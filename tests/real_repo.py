"""A small real repository: a bare origin, data, a training script, and a model that is one number.

The model is ``slope.txt``: it answers ``0.5 + slope * (x - 0.5)``, and the truth is 1 with
probability x, so that slope 1 is perfect and slope 0 knows nothing. It needs no MLflow: the shell
trains it, and a script of fifteen lines predicts with it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.endpoint.serving import workshop
from tests.fakes import FakeMetrics, FakeTarget
from tidegate.cli import main
from tidegate.commands import hold, operate, recording, release
from tidegate.commands.context import Context
from tidegate.git import text
from tidegate.home import Home

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt
    import pytest

    from tidegate.book import Book
    from tidegate.core.state import State
    from tidegate.perform import World
    from tidegate.ports import Deployment

ROWS = 4000

PREDICT = """\
import os, pathlib
import pyarrow as pa, pyarrow.parquet as pq
slope = float((pathlib.Path(os.environ["TIDEGATE_MODEL_DIR"]) / "slope.txt").read_text())
rows = pq.ParquetFile(os.environ["TIDEGATE_INPUT"]).read()
answers = [0.5 + slope * (x - 0.5) for x in rows["x"].to_pylist()]
name = os.environ["TIDEGATE_ID"]
table = pa.table({"id": rows[name], "prediction": answers})
pq.write_table(table, os.environ["TIDEGATE_OUTPUT"])
"""

CONFIG: dict[str, Any] = {
    "version": 1,
    "model": {"name": "coin", "task": "binary"},
    "data": {"train": "train.parquet", "holdout": "holdout.parquet", "target": "y", "id": "id"},
    "train": {"run": "sh train.sh", "timeout": "30s"},
    "predict": {"run": f"{sys.executable} predict.py", "timeout": "30s"},
    "gate": {"rules": [{"metric": "brier", "at_most": 0.24, "margin": 0.005}]},
    "release": {
        "canary": {
            "steps": ["50%"],
            "warmup": "1m",
            "bake": "2m",
            "deadline": "4h",
            "probation": {"for": "2m", "holdback": "10%"},
            "guards": [{"metric": "error_rate", "margin": "2x", "negligible": "5%"}],
        }
    },
}


def training(slope: float | str) -> str:
    """Return a training script whose model has this slope."""
    return (
        f'echo "training on $TIDEGATE_TRAIN"\nprintf %s {slope} > "$TIDEGATE_MODEL_DIR/slope.txt"\n'
    )


def with_changes(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with some keys, given as dotted paths, set; None deletes."""
    config = deepcopy(CONFIG)
    for path, value in changes.items():
        *parents, last = path.split(".")
        here = config
        for part in parents:
            here = here.setdefault(part, {})
        if value is None:
            here.pop(last, None)
        else:
            here[last] = value
    return config


@functools.cache
def rows(count: int = ROWS, seed: int = 5) -> pa.Table:
    """Return rows with an id, a number x, a group, and the truth y."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=count)
    return pa.table(
        {
            "id": pa.array([f"row-{seed}-{i}" for i in range(count)]),
            "x": pa.array(x),
            "group": pa.array(rng.choice(["a", "b"], count)),
            "y": pa.array((rng.uniform(size=count) < x).astype(np.int64)),
        }
    )


@functools.cache
def empty_store() -> Path:
    """Return a migrated, empty MLflow store: making one takes seconds, copying one nothing."""
    from tidegate.adapters.tracking.mlflow import open_run

    folder = workshop() / "tracking"
    open_run(folder / "first", template=folder / "empty")
    (template,) = folder.glob("empty-*.db")
    return template


@dataclass
class Repo:
    """A work tree with a bare origin."""

    path: Path

    @classmethod
    def make(cls, root: Path, *, slope: float | str = 0.8, **changes: Any) -> Repo:
        """Make it, with one commit; ``changes`` (a__b=value) are made to the configuration."""
        repo = cls(root / "work")
        repo.path.mkdir(parents=True)
        text(root, "init", "--quiet", "--bare", "--initial-branch=main", str(root / "origin.git"))
        text(repo.path, "init", "--quiet", "--initial-branch=main")
        text(repo.path, "config", "user.name", "Ada")
        text(repo.path, "config", "user.email", "ada@example.org")
        text(repo.path, "remote", "add", "origin", str(root / "origin.git"))
        pq.write_table(rows(400, 4), repo.path / "train.parquet")
        pq.write_table(rows(), repo.path / "holdout.parquet")
        repo.configure(**changes)
        repo.write("predict.py", PREDICT)
        repo.write(".gitignore", ".tidegate/\n")
        repo.commit(training(slope))
        store = empty_store()
        for copy in (repo.home.root / "tracking" / store.name, repo.home.registry / "mlflow.db"):
            copy.parent.mkdir(parents=True)
            shutil.copyfile(store, copy)
        return repo

    @property
    def home(self) -> Home:
        return Home(self.path / ".tidegate")

    @property
    def head(self) -> str:
        return text(self.path, "rev-parse", "HEAD")

    @property
    def bundle(self) -> Path:
        return self.home.bundle(self.head)

    @property
    def config(self) -> Path:
        return self.path / "mlops.yaml"

    def write(self, name: str, content: str) -> None:
        (self.path / name).write_text(content)

    def configure(self, **changes: Any) -> None:
        """Write mlops.yaml; JSON is YAML."""
        dotted = {key.replace("__", "."): value for key, value in changes.items()}
        self.write("mlops.yaml", json.dumps(with_changes(dotted), indent=1))

    def commit(self, script: str | None = None) -> str:
        """Commit everything (with a new training script) and return the commit."""
        if script is not None:
            self.write("train.sh", script)
        text(self.path, "add", "--all")
        text(self.path, "commit", "--quiet", "--allow-empty", "-m", "change")
        return self.head

    def copy(self, root: Path) -> Repo:
        """Copy work tree, state and origin; the registry's artifacts stay where they are."""
        shutil.copytree(self.path.parent, root, symlinks=True, dirs_exist_ok=True)
        repo = Repo(root / "work")
        text(repo.path, "remote", "set-url", "origin", str(root / "origin.git"))
        return repo

    def context(self) -> Context:
        """Return the context that a command of this repository works in, silently."""
        from argparse import Namespace
        from io import StringIO

        from tidegate.terminal import Terminal

        quiet = Terminal(out=StringIO(), err=StringIO())
        return Context.of(Namespace(config=self.config), quiet)

    @property
    def book(self) -> Book:
        return self.context().ledger().read()

    @property
    def state(self) -> State:
        return self.book.state

    def tidegate(self, verb: str, *arguments: str) -> int:
        """Run a command in this process and return its exit code."""
        return main([verb, "--config", str(self.config), *arguments])

    def process(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start a command in a process group of its own.

        ``env`` undoes what a shell does to its background jobs: their children ignore SIGINT.
        """
        return subprocess.Popen(
            ["env", "--default-signal=INT", sys.executable, "-m", "tidegate", *arguments],
            cwd=self.path,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


def end(child: subprocess.Popen[str]) -> None:
    """End a process and its group, whatever state it is in."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.communicate()


@dataclass
class Clock:
    """Stands in for the module ``time`` in commands: whoever sleeps lets a minute pass."""

    now: float = 2_000_000_000.0
    passes: int = 0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, _seconds: float) -> None:
        self.now += 60.0
        self.passes += 1
        assert self.passes < 300, "it waits for ever"


@dataclass
class SlopeTarget(FakeTarget):
    """An endpoint without processes that answers as the models it was given would."""

    slopes: dict[str, float] = field(default_factory=dict)
    deployed: list[str] = field(default_factory=list)

    def deploy(self, deployment: Deployment, *, generation: int) -> None:
        super().deploy(deployment, generation=generation)
        self.slopes[deployment.version] = float((deployment.model_dir / "slope.txt").read_text())
        self.deployed.append(deployment.version)

    def ask(self, version: str, rows: pa.Table) -> npt.NDArray[np.float64]:
        return np.asarray(0.5 + self.slopes[version] * (rows["x"].to_numpy() - 0.5))


@dataclass
class Stage:
    """A repository whose endpoint, clock and traffic are in the test's hand; the rest is real."""

    repo: Repo
    target: SlopeTarget = field(default_factory=SlopeTarget)
    metrics: FakeMetrics = field(default_factory=FakeMetrics)
    clock: Clock = field(default_factory=Clock)

    def enter(self, monkeypatch: pytest.MonkeyPatch) -> Stage:
        """Make commands work on this stage until the end of the test."""
        world = Context.world

        def staged(context: Context) -> World:
            return replace(
                world(context), target=self.target, metrics=self.metrics, clock=self.clock.time
            )

        monkeypatch.setattr(Context, "world", staged)
        monkeypatch.setattr(Context, "target", lambda _: self.target)
        for module in (release, operate, recording, hold):
            monkeypatch.setattr(module, "time", self.clock)
        return self

    def copy(self, root: Path) -> Stage:
        target = deepcopy(self.target)
        return Stage(self.repo.copy(root), target, deepcopy(self.metrics), replace(self.clock))

    def tidegate(self, verb: str, *arguments: str) -> int:
        return self.repo.tidegate(verb, *arguments)

    def push(self, slope: float | str) -> str:
        """Commit a training script with another slope."""
        return self.repo.commit(training(slope))

    @property
    def state(self) -> State:
        return self.repo.state

    def outcomes(self) -> list[tuple[str, str]]:
        """Return version and end of every past rollout."""
        return [(r.model.version, str(r.phase)) for r in self.state.past]


def prepared(root: Path, slopes: tuple[float, ...], monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Return a stage on which models of these slopes were released, one after another."""
    stage = Stage(Repo.make(root, slope=slopes[0])).enter(monkeypatch)
    for number, slope in enumerate(slopes, start=1):
        if number > 1:
            stage.push(slope)
        assert stage.tidegate("run", "--through-probation") == 0
    return stage


@functools.cache
def _two_releases() -> Stage:
    import pytest

    with pytest.MonkeyPatch.context() as patch:
        return prepared(workshop() / "two-releases", (0.8, 0.9), patch)


def two_releases(root: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Return a stage of its own on which version 2 (slope 0.9) serves, after version 1 (0.8)."""
    return _two_releases().copy(root).enter(monkeypatch)
