"""GitHub's own workflow parser and expression evaluator, run by Node (``github.mjs``)."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Event:
    """What GitHub knows when a run starts, and what its jobs would answer.

    ``answers`` maps a job's path (``deliver/find``), or its id, to ``result`` and ``outputs``; a job that is
    not there succeeds with no outputs. A job whose result is ``cancelled`` cancels the run.
    """

    name: str
    github: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    answers: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    fork: bool = False  # a fork's pull request: GitHub lends the run no write


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job of a run: its path, and what it holds."""

    path: str
    result: str
    permissions: Mapping[str, str]
    environment: str | None
    concurrency: Mapping[str, Any]
    runs_on: Any


@dataclass(frozen=True, kw_only=True)
class Run:
    """What an event starts. ``jobs`` holds the skipped ones too; ``errors`` is what GitHub would refuse."""

    triggered: bool
    jobs: tuple[Job, ...]
    errors: tuple[str, ...]
    concurrency: Mapping[str, Any]

    @property
    def ran(self) -> list[str]:
        """Paths of the jobs with steps that ran."""
        return [job.path for job in self.jobs if job.result not in {"skipped", "called"}]

    def job(self, path: str) -> Job:
        return next(job for job in self.jobs if job.path == path)


@functools.cache
def _bundle() -> Path:
    """Pack the script with its packages, which Node alone cannot load (they import JSON)."""
    esbuild = HERE / "node_modules/.bin/esbuild"
    if not esbuild.exists() or not shutil.which("node"):
        raise RuntimeError("GitHub's parser is not installed: run ./dev github")
    bundle = Path(tempfile.mkdtemp(prefix="tidegate-github-")) / "github.cjs"
    subprocess.run(
        [str(esbuild), "github.mjs", "--bundle", "--platform=node", "--format=cjs", "--log-level=warning",
         f"--outfile={bundle}"],
        cwd=HERE, check=True,
    )  # fmt: skip
    return bundle


def _ask(request: Mapping[str, Any]) -> Any:
    done = subprocess.run(
        ["node", str(_bundle())],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def errors(files: Mapping[str, str], paths: Iterable[str]) -> dict[str, list[str]]:
    """What GitHub's parser says of each path; calls are looked up in ``files``."""
    found: dict[str, list[str]] = _ask({"files": files, "parse": list(paths)})["errors"]
    return found


def play(files: Mapping[str, str], workflow: str, events: Iterable[Event]) -> list[Run]:
    """Which jobs of ``workflow`` each event starts."""
    scenarios = [
        {
            "workflow": workflow,
            "event": event.name,
            "github": {"event_name": event.name, **event.github},
            "inputs": event.inputs,
            "answers": event.answers,
            "vars": event.variables,
            "fork": event.fork,
        }
        for event in events
    ]
    return [_run(each) for each in _ask({"files": files, "run": scenarios})["runs"]]


def _run(told: Mapping[str, Any]) -> Run:
    jobs = tuple(
        Job(
            path=job["path"],
            result=job["result"],
            permissions=job.get("permissions", {}),
            environment=job.get("environment"),
            concurrency=job.get("concurrency") or {},
            runs_on=job.get("runs_on"),
        )
        for job in told["jobs"]
    )
    return Run(
        triggered=told["triggered"],
        jobs=jobs,
        errors=tuple(told["errors"]),
        concurrency=told.get("concurrency") or {},
    )
