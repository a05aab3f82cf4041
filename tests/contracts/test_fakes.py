"""The fakes keep the contract of the targets they stand for: what is tested on them holds elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contracts.target_contract import Deploy, TargetContract
from tests.fakes import FakeTarget, SlowTarget
from tidegate.core.model import Task
from tidegate.ports import Deployment


def deployment(version: str, *, digest: str | None = None) -> Deployment:
    return Deployment(
        version=version, digest=digest or f"digest {version}", model_dir=Path("x"), task=Task.BINARY
    )


class TestFakeTarget(TargetContract):
    @pytest.fixture
    def target(self) -> FakeTarget:
        return FakeTarget()

    @pytest.fixture
    def model(self) -> Deploy:
        return deployment


class TestSlowTarget(TestFakeTarget):
    @pytest.fixture
    def target(self) -> FakeTarget:
        return SlowTarget()
