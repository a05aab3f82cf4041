"""The SageMaker target keeps the contract of all targets, with models that AWS's hooks serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.adapters.sagemaker_stage import real_model, stage
from tests.contracts.target_contract import Deploy, TargetContract

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tidegate.adapters.target.sagemaker import SageMakerTarget
    from tidegate.ports import Deployment

pytestmark = pytest.mark.real


class TestSageMakerTarget(TargetContract):
    @pytest.fixture
    def target(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SageMakerTarget]:
        with stage(tmp_path, monkeypatch) as built:
            yield built.another(image=None)

    @pytest.fixture
    def model(self, tmp_path: Path) -> Deploy:
        def deployment(version: str, *, digest: str | None = None) -> Deployment:
            return real_model(tmp_path, version, digest)

        return deployment
