"""Two small models, trained for real, with the rows that they answered offline."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib.metadata import version as installed
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from tidegate.core.model import Task
from tidegate.digests import folder_digest
from tidegate.ports import Deployment

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

ROWS = 40  # of the parity check
_NEEDS = ("mlflow", "scikit-learn", "cloudpickle", "numpy", "pandas")


@dataclass(frozen=True)
class Version:
    """A version to deploy, and its offline answers.

    ``offline`` are those to ``rows``, its parity check; ``shared`` those to the requests' rows, which are
    version 1's.
    """

    deployment: Deployment
    rows: pa.Table
    offline: npt.NDArray[np.float64]
    shared: npt.NDArray[np.float64]


def train(version: str, into: Path, requests: pa.Table | None = None) -> Version:
    """Train with scikit-learn, save with MLflow, and answer offline with the one scorer.

    ``requests``: the rows of the requests; None: its own.
    """
    import mlflow
    import pandas as pd
    from sklearn.linear_model import LogisticRegression

    from tidegate.endpoint.scorer import load

    logging.getLogger("mlflow").setLevel(logging.ERROR)  # what it says of pickles is known here
    rng = np.random.default_rng(int(version))
    frame = pd.DataFrame({"x": rng.normal(size=400), "z": rng.normal(size=400)})
    truth = (frame.x + int(version) * frame.z + rng.normal(size=400) > 0).astype(int)
    model = LogisticRegression().fit(frame, truth)
    folder = into / f"model-{version}"
    mlflow.sklearn.save_model(
        model, str(folder),
        signature=mlflow.models.infer_signature(frame, model.predict(frame)),
        pip_requirements=[f"{name}=={installed(name)}" for name in _NEEDS],
        serialization_format="cloudpickle",
    )  # fmt: skip
    rows = pa.table({name: frame[name].to_numpy()[:ROWS] for name in frame})
    deployment = Deployment(
        version=version, digest=folder_digest(folder), model_dir=folder, task=Task.BINARY
    )
    scorer = load(folder, Task.BINARY)
    offline = scorer.score(rows)
    shared = offline if requests is None else scorer.score(requests)
    return Version(deployment, rows, offline, shared)
