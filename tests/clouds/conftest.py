"""A cloud, and an engine on it, for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.clouds.engine import CloudEngine
from tests.clouds.places import PLACES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.clouds.places import Place


@pytest.fixture(params=PLACES)
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    with PLACES[request.param](tmp_path / "work", monkeypatch) as place:
        yield place


@pytest.fixture
def engine(place: Place, tmp_path: Path) -> CloudEngine:
    return CloudEngine.begin(tmp_path, place)
