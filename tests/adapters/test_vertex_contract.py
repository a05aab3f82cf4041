"""The Vertex AI target keeps the contract of all targets, with the real containers' code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from tests.adapters.vertex_world import connected
from tests.contracts.target_contract import Deploy, TargetContract, until_ready
from tests.endpoint.serving import trained
from tests.gcp.server import serve
from tidegate.core.model import Task
from tidegate.digests import folder_digest
from tidegate.endpoint import scorer
from tidegate.endpoint.batch import predict
from tidegate.endpoint.protocol import Rows
from tidegate.ports import Deployment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tidegate.adapters.target.vertex import VertexTarget

pytestmark = pytest.mark.real


def mlflow_model(version: str, *, digest: str | None = None) -> Deployment:
    return Deployment(
        version=version,
        digest=digest or folder_digest(trained()),
        model_dir=trained(),
        task=Task.BINARY,
    )


class TestVertexTarget(TargetContract):
    @pytest.fixture
    def target(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VertexTarget]:
        with serve() as cloud:
            yield connected(cloud, monkeypatch, tmp_path)

    @pytest.fixture
    def model(self) -> Deploy:
        return mlflow_model

    def test_what_is_served_answers_as_it_did_offline(self, target: VertexTarget) -> None:
        rows = pa.table(
            {
                "amount": [0.1, -2.5, float("nan"), 1.0],
                "age": [20.0, 89.0, 40.0, 33.0],
                "region": ["north", "south", "elsewhere", "north"],
                "rate": pa.array([0.5, 0.25, -1.0, 3.0], pa.float32()),
            }
        )
        target.deploy(mlflow_model("1"), generation=1)
        until_ready(target, "1")
        model = scorer.load(trained(), Task.BINARY)
        columns = {name: rows.column(name).to_pylist() for name in rows.column_names}
        offline = predict(model, [Rows(columns, rows.num_rows)])
        np.testing.assert_array_equal(target.ask("1", rows), offline)
