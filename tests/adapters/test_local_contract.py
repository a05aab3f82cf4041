"""The local target keeps the contract of all targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contracts.target_contract import Deploy, TargetContract
from tests.endpoint.serving import free_port, own_server, processes_of
from tidegate.adapters.target.local import LocalTarget

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.real


class TestLocalTarget(TargetContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> Iterator[LocalTarget]:
        target = LocalTarget(tmp_path / "endpoint", port=free_port(), timeout=1.0)
        yield target
        target.stop()
        assert processes_of(tmp_path) == []

    @pytest.fixture
    def model(self) -> Deploy:
        return own_server
