"""Training by a service: the committed files and the training rows go there, a model comes back."""

from __future__ import annotations

import hashlib
import json
import math
import re
import signal
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidegate.commands.clouds import compute_of
from tidegate.commands.training import Facts, keep
from tidegate.errors import NotJudgedError, TidegateError
from tidegate.ports import TrainingJob
from tidegate.process import commands_stopped
from tidegate.snapshot import snapshot
from tidegate.strict import bounded, strict_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tidegate.commands.context import Context
    from tidegate.ports import Compute, Trained
    from tidegate.run_record import RunRecord

_MOST_BYTES = 32_000_000  # of what MLflow was told
_MODEL = re.compile(r"m-[0-9a-f]{32}")
_NAME = 24  # characters of the model's name in the job's


@dataclass(frozen=True, kw_only=True, slots=True)
class _Told:
    """What the job's MLflow was told."""

    params: Mapping[str, str]
    metrics: Mapping[str, float]
    models: tuple[Path, ...]


def train_elsewhere(context: Context, work: Path) -> RunRecord:
    """Run checks and training where ``train.compute`` says, and make ``work/bundle``.

    A job of the same commit, configuration and rows that runs already is joined, and one that has
    succeeded is fetched. When we are interrupted, it is stopped; when we are killed, it goes on.

    Raises:
        NotJudgedError: a check or the training failed, or left no single model.
        OutsideError: the service failed; run again, it goes on.
    """
    compute = compute_of(context)
    assert compute is not None
    facts = Facts.of(context)
    code = work / "code.tar"
    snapshot(context.repository, facts.holdout, code)
    config = context.config
    job = TrainingJob(
        name=job_name(config.model.name, facts),
        code=code,
        folder=context.folder.resolve().relative_to(context.repository.resolve()).as_posix(),
        checks=tuple(check.run for check in config.checks),
        run=config.train.run,
        train=facts.train,
        timeout=config.train.timeout + sum(check.timeout for check in config.checks),
        environment={},
    )
    trained = _trained(context, compute, job, work / "trained")
    told = _told(trained.folder)
    return keep(
        work / "bundle",
        facts,
        trained.folder / "model",
        told,
        duration=trained.seconds,
        machine=_machine(trained.folder),
        compute=f"{config.train.compute.value} {trained.machine}",
        job=trained.job,
        billed_seconds=trained.billed_seconds,
        cost_usd=trained.cost,
    )


def job_name(model: str, facts: Facts) -> str:
    """Return a job's name: the same commit, configuration and rows, the same job.

    At most 61 characters, so that ``-5`` can follow, of letters, digits and hyphens.
    """
    parts = [model, facts.commit, facts.config_digest, facts.train_digest]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return f"tidegate-{model[:_NAME].rstrip('-')}-{facts.commit[:8]}-{digest[:12]}"


def _trained(context: Context, compute: Compute, job: TrainingJob, into: Path) -> Trained:
    tell = context.terminal.progress
    try:
        with commands_stopped():  # the log's lines are the user's
            return compute.train(job, into, tell)
    except KeyboardInterrupt:
        with _undisturbed():
            tell(f"interrupted: stopping the job {job.name}")
            try:
                compute.cancel(job)
            except TidegateError as error:
                tell(f"the job could not be stopped and may run on: {error}")
        raise


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let no second signal come between us and the service: GitHub sends SIGTERM after SIGINT."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _told(folder: Path) -> _Told:
    """Read what the job's MLflow was told; the user's code may have written it.

    Raises:
        NotJudgedError: it is not what our script writes, or the run was marked as failed.
    """
    path = folder / "tracking.json"
    if not path.exists():
        return _Told(params={}, metrics={}, models=())
    try:
        found: Any = strict_json(bounded(path, _MOST_BYTES))
        status = str(found["status"])
        params = {str(key): str(value) for key, value in dict(found["params"]).items()}
        metrics = {str(key): float(value) for key, value in dict(found["metrics"]).items()}
        names = [str(name) for name in found["models"]]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        raise NotJudgedError(
            "what the job's MLflow was told cannot be read",
            remedy="The training command damaged it; it must only log to it.",
        ) from None
    if status in {"FAILED", "KILLED"}:
        raise NotJudgedError(f"the training command ended its MLflow run as {status.lower()}")
    models = folder / "tracking" / "artifacts" / "models"
    folders = [models / name / "artifacts" for name in names if _MODEL.fullmatch(name)]
    return _Told(
        params=params,
        metrics={key: value for key, value in metrics.items() if math.isfinite(value)},
        models=tuple(one for one in folders if one.is_dir()),
    )


def _machine(folder: Path) -> dict[str, str]:
    """Return what the job says that it ran on."""
    told = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return {key: str(told[key])[:200] for key in ("python", "platform", "cpus")}
