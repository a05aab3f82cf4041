"""The training run's own MLflow store: opened for one command, read once afterwards.

The store is a fresh SQLite file per run, written by user code and read only by the job that ran
that code. What leaves it is data: parameters, metrics and a model folder.
API: https://mlflow.org/docs/latest/python_api/mlflow.client.html
"""

from __future__ import annotations

import logging
import math
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tidegate.errors import NotJudgedError

_NAME = re.compile(r"m-[0-9a-f]{32}")
logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenRun:
    """A run that waits for the user's command."""

    folder: Path
    run_id: str
    uri: str

    @property
    def environment(self) -> Mapping[str, str]:
        """What the command needs to write into this run."""
        return {
            "MLFLOW_TRACKING_URI": self.uri,
            "MLFLOW_REGISTRY_URI": self.uri,
            "MLFLOW_RUN_ID": self.run_id,
            "MLFLOW_EXPERIMENT_NAME": "tidegate",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Logged:
    """What the command logged. ``models`` are the folders of the models it logged, in order."""

    params: Mapping[str, str]
    metrics: Mapping[str, float]
    models: tuple[Path, ...]


def open_run(folder: Path, *, template: Path) -> OpenRun:
    """Open a run in a fresh store in ``folder``.

    A new SQLite store takes MLflow seconds of migrations; ``template`` keeps an empty one, made
    on first use, per MLflow version.
    """
    folder.mkdir(parents=True, exist_ok=True)
    store = folder / "mlflow.db"
    template = template.with_name(f"{template.name}-{mlflow.__version__}.db")
    if template.exists():
        shutil.copyfile(template, store)
    uri = f"sqlite:///{store}"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    client.search_experiments(max_results=1)
    if not template.exists():
        template.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(store, template)
    experiment = client.create_experiment("tidegate", artifact_location=str(folder / "artifacts"))
    run = client.create_run(experiment)
    return OpenRun(folder=folder, run_id=run.info.run_id, uri=uri)


def read_run(opened: OpenRun) -> Logged:
    """Read what the command logged.

    Raises:
        NotJudgedError: the run was marked as failed by the command itself, or its store is damaged.
    """
    try:
        return _read(opened)
    except MlflowException as error:
        raise NotJudgedError(
            f"the run's MLflow store cannot be read: {str(error).splitlines()[0]}",
            remedy="The training command damaged it; it must only log to it.",
        ) from None


def _read(opened: OpenRun) -> Logged:
    client = MlflowClient(tracking_uri=opened.uri, registry_uri=opened.uri)
    run = client.get_run(opened.run_id)
    if run.info.status in ("FAILED", "KILLED"):
        raise NotJudgedError(
            f"the training command ended its MLflow run as {run.info.status.lower()}"
        )
    # Every model of the store, which is this run's alone: MLflow 3 links a model to a run only
    # where the script opens one, and two lines must do without.
    models = client.search_logged_models(
        experiment_ids=[run.info.experiment_id],
        order_by=[{"field_name": "creation_timestamp", "ascending": True}],
    )
    # Where it says that they are is not asked: the command wrote that, and its own folder is ours.
    folders = [
        opened.folder / "artifacts" / "models" / m.model_id / "artifacts"
        for m in models
        if _NAME.fullmatch(m.model_id)
    ]
    return Logged(
        params=dict(run.data.params),
        metrics={k: v for k, v in run.data.metrics.items() if math.isfinite(v)},  # JSON has no NaN
        models=tuple(folder for folder in folders if folder.is_dir()),
    )
