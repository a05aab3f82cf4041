"""What the stories under act share: a world with the flight-delays example, and that order matters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.act.flights import Flights
from tests.act.house import House
from tests.act.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flights]:
    folder = tmp_path_factory.mktemp("flights")
    with World.made(folder, House.copy(folder / "house")) as world:
        made = Flights.begun(world)
        try:
            yield made
        finally:
            made.end()


@pytest.fixture
def in_order(request: pytest.FixtureRequest) -> Iterator[None]:
    """Skip nothing in silence: what comes after a failure fails, too, and says why."""
    failed = request.session.testsfailed
    told: list[str] = request.module.__dict__.setdefault("_BROKEN", [])
    if told:
        pytest.fail(f"the story broke at {told[0]}")
    yield
    if request.session.testsfailed > failed:
        told.append(request.node.name)
