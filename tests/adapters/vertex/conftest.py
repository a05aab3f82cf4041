"""A project whose containers are up at once, and a target on it, for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.adapters.vertex_world import connected, quick
from tests.gcp.server import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.gcp.cloud import Cloud
    from tidegate.adapters.target.vertex import VertexTarget


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    quick(monkeypatch)
    with serve() as cloud:
        yield cloud


@pytest.fixture
def connect(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., VertexTarget]:
    return lambda **changes: connected(cloud, monkeypatch, tmp_path, **changes)


@pytest.fixture
def target(connect: Callable[..., VertexTarget]) -> VertexTarget:
    return connect()
