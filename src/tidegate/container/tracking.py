"""A run in the image's own MLflow, opened before training and read after it, by two short processes.

The store is of the image's version, whatever version reads models elsewhere: it never leaves the
container, only what was logged does. Run as ``python -c SOURCE open|read ...``.
API: https://mlflow.org/docs/latest/python_api/mlflow.client.html
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path


def open_run(folder: str, opened: Path) -> None:
    """Open a run in a fresh store in ``folder``, and write down how to reach it."""
    import mlflow
    from mlflow import MlflowClient

    uri = f"sqlite:///{folder}/mlflow.db"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = client.create_experiment("tidegate", artifact_location=f"{folder}/artifacts")
    run = client.create_run(experiment).info.run_id
    found = {"uri": uri, "run": run, "experiment": experiment, "mlflow": mlflow.__version__}
    opened.write_text(json.dumps(found), encoding="utf-8")


def read_run(opened: Path, into: Path) -> None:
    """Write down what was logged: every model of the store, which is this run's alone."""
    from mlflow import MlflowClient

    told = json.loads(opened.read_text(encoding="utf-8"))
    client = MlflowClient(tracking_uri=told["uri"], registry_uri=told["uri"])
    run = client.get_run(told["run"])
    models = []
    if hasattr(client, "search_logged_models"):  # since MLflow 3
        models = client.search_logged_models(
            experiment_ids=[told["experiment"]],
            order_by=[{"field_name": "creation_timestamp", "ascending": True}],
        )
    found = {
        "mlflow": told["mlflow"],
        "status": run.info.status,
        "params": dict(run.data.params),
        "metrics": {k: v for k, v in run.data.metrics.items() if math.isfinite(v)},
        "models": [model.model_id for model in models],
    }
    into.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    verb, first, second = sys.argv[1:]
    if verb == "open":
        open_run(first, Path(second))
    else:
        read_run(Path(first), Path(second))
