"""The flight-delays example under the workflows as users have them: told in order, in one world."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.act.flights import Flights
from tests.act.house import House
from tests.act.world import World
from tidegate.core.events import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.workflows, pytest.mark.timeout(600), pytest.mark.xdist_group("act-story")]


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flights]:
    folder = tmp_path_factory.mktemp("flights")
    with World.made(folder, House.copy(folder / "house")) as world:
        made = Flights.begun(world)
        try:
            yield made
        finally:
            made.end()


def test_1_the_first_model_is_trained_judged_registered_and_serves(flights: Flights) -> None:
    world = flights.world
    commit = world.commit("Predict late arrivals: January, three features", flights.first())
    result = world.push()
    assert not result.red, result.failures()
    state = flights.book.state
    assert state.champion is not None
    assert state.champion.commit == commit
    assert flights.ask()["predictions"][0] > 0
    assert [r.phase for r in state.past] == [Phase.PROMOTED]
