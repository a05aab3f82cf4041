"""The process dies after every request that may change a cloud: the next one ends in the same state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.clouds.engine import POLICY, CloudEngine
from tests.clouds.killing import Killed, Wire
from tests.clouds.places import PLACES
from tidegate.core.events import Routing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.real, pytest.mark.timeout(7200)]

STORIES = {"promote": 0.01, "revert": 0.4}  # the candidate's share of errors
SAMPLE = 4  # kills of each story outside the heavy run


def lived(root: Path, where: str, story: str, at: int) -> tuple[dict[str, Any], int]:
    """Play a story in a world of its own and die once; return its end, and how often one could die."""
    with pytest.MonkeyPatch.context() as patch, PLACES[where](root / "work", patch) as place:
        wire = Wire(at)
        engine = CloudEngine.begin(root, place)
        engine.rates = {"2": STORIES[story]}
        engine.serving_first()
        engine.until_rest()
        wire.tap(patch)
        engine.request(engine.version(2), POLICY)
        for _ in range(2):
            try:
                engine.until_rest()
                break
            except Killed:
                engine.reborn()
        chain = engine.ledger.read().chain
        moves = [e.payload for e in chain if isinstance(e.payload, Routing)]
        assert len({(m.rollout, m.phase, m.step) for m in moves}) == len(moves), (
            "a step was made twice"
        )
        return engine.end_state(), wire.count


def cases(where: str, story: str, root: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    expected, total = lived(root / "undisturbed", where, story, 0)
    champion = expected["champion"]
    assert champion is not None
    assert champion.version == ("2" if story == "promote" else "1")
    assert expected["orphans"] == []
    assert total > 15
    for at in range(1, total + 1):
        yield at, expected


@pytest.mark.parametrize(("where", "story"), [("sagemaker", "revert"), ("vertex", "promote")])
def test_killed_here_and_there_it_ends_in_the_same_state(
    where: str, story: str, tmp_path: Path
) -> None:
    every = list(cases(where, story, tmp_path))
    for at, expected in every[:: max(1, len(every) // SAMPLE)]:
        found, _ = lived(tmp_path / str(at), where, story, at)
        assert found == expected, f"killed after {at} of {len(every)} changes"


@pytest.mark.heavy
@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("where", PLACES)
def test_killed_after_every_change_it_ends_in_the_same_state(
    where: str, story: str, tmp_path: Path
) -> None:
    for at, expected in cases(where, story, tmp_path):
        found, _ = lived(tmp_path / str(at), where, story, at)
        assert found == expected, f"killed after {at} changes"
