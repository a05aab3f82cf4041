"""The Vertex AI target keeps the contract of all targets, with the real containers' code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.adapters.vertex_world import connected
from tests.contracts.target_contract import Deploy, TargetContract
from tests.endpoint.serving import trained
from tests.gcp.server import serve
from tidegate.core.model import Task
from tidegate.digests import folder_digest
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
