"""SIGKILL before and after every side effect: the next process ends in the same state.

Each case forks a child that carries a rollout until the kill switch ends it with a real SIGKILL,
and then a second child that simply starts over. Ledger and its git are real.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.disk import DiskEngine, KillSwitch
from tidegate.core.events import Routing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

POLICY = {
    "steps": ["50%"],
    "warmup": "1m",
    "bake": "2m",
    "deadline": "4h",
    "probation": {"for": "1m", "holdback": "10%"},
    "guards": [{"metric": "error_rate", "margin": "2x"}],
}
STORIES: dict[str, dict[str, tuple[float, float]]] = {
    "promote": {"1": (0.0, 0.0), "2": (0.0, 0.0)},
    "revert": {"1": (0.01, 0.0), "2": (0.3, 0.0)},
}


def fork(work: Callable[[], None]) -> int:
    """Run ``work`` in a forked child; return its wait status."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 (a child must never return into pytest)
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


@pytest.fixture(scope="module", params=STORIES)
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A champion that serves, and version 2 waiting to be released."""
    root = tmp_path_factory.mktemp(request.param)
    subprocess.run(["git", "init", "--quiet", str(root / "repo")], check=True)
    rates = STORIES[request.param]
    for number in (1, 2):
        engine = DiskEngine.open(root, KillSwitch(None, after=False), rates)
        engine.wake()
        model = engine.version(number)
        engine.request(model, POLICY)
        if number == 1:
            engine = DiskEngine.open(root, KillSwitch(None, after=False), rates)
            engine.live(5)
    return request.param, root


def copied(root: Path, to: Path) -> Path:
    shutil.copytree(root, to, symlinks=True)
    for kept in to.glob("*.pickle"):
        kept.write_bytes(kept.read_bytes())
    return to


def end_state(root: Path, rates: dict[str, tuple[float, float]]) -> dict[str, Any]:
    """What must be the same however often the process died: all but the times."""
    engine = DiskEngine.open(root, KillSwitch(None, after=False), rates)
    book = engine.ledger.read()
    endpoint = engine.target.read()
    routings = Counter(
        (e.payload.rollout, e.payload.phase, e.payload.step)
        for e in book.chain
        if isinstance(e.payload, Routing)
    )
    assert max(routings.values()) == 1, "a transition happened twice"
    return {
        "champion": book.state.champion,
        "past": [(r.model.version, r.phase, r.cause) for r in book.state.past],
        "tenures": [(t.model.version, t.healthy) for t in book.state.tenures],
        "quarantined": book.state.quarantined,
        "traffic": endpoint.traffic(),
        "variants": [v.version for v in endpoint.variants],
        "aliases": engine.registry.aliases("m"),
        "transitions": set(routings),
    }


def effects(root: Path, rates: dict[str, tuple[float, float]]) -> int:
    """Count the side effects of the undisturbed story."""
    counted = root / "effects"

    def whole() -> None:
        engine = DiskEngine.open(root, KillSwitch(None, after=False), rates)
        engine.live(60)
        counted.write_text(str(engine.switch.count))

    assert fork(whole) == 0
    return int(counted.read_text())


def test_killed_at_every_side_effect_it_ends_in_the_same_state(
    prepared: Any, tmp_path: Path
) -> None:
    story, root = prepared
    rates = STORIES[story]
    undisturbed = copied(root, tmp_path / "undisturbed")
    total = effects(undisturbed, rates)
    expected = end_state(undisturbed, rates)
    assert expected["champion"].version == ("2" if story == "promote" else "1")
    assert total > 12
    # Before the first one, and after each: nothing but an effect changes the world, so "after n"
    # and "before n + 1" are the same kill.
    for at in range(total + 1):
        world = copied(root, tmp_path / str(at))
        switch = KillSwitch(max(at, 1), after=at > 0)

        def first(world: Path = world, switch: KillSwitch = switch) -> None:
            DiskEngine.open(world, switch, rates).live(60)

        def again(world: Path = world) -> None:
            DiskEngine.open(world, KillSwitch(None, after=False), rates).live(60)

        assert os.WTERMSIG(fork(first)) == signal.SIGKILL
        assert fork(again) == 0
        assert end_state(world, rates) == expected, f"killed after {at} side effects"
        shutil.rmtree(world)
