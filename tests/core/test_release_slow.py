"""The release engine on an endpoint that changes slowly, fails, or needs a person: what clouds do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.engine import POLICY, Engine
from tests.fakes import FakeTarget, SlowTarget
from tidegate.core.events import Alerted, Held, Ordered, Phase, Refused, Resumed
from tidegate.render.ledger import describe

if TYPE_CHECKING:
    from pathlib import Path


def slow(tmp_path: Path, takes: int = 3) -> tuple[Engine, SlowTarget]:
    engine, target = Engine.make(tmp_path), SlowTarget(takes=takes)
    engine.target = target
    return engine, target


def serving(engine: Engine) -> None:
    engine.request(engine.version(1))
    engine.run(20)
    assert engine.target.read().traffic() == {"1": 1.0}


def alerts(engine: Engine) -> list[str]:
    chain = engine.ledger.read().chain
    return [event.payload.cause for event in chain if isinstance(event.payload, Alerted)]


@pytest.mark.parametrize("takes", [1, 2, 7])
def test_it_takes_longer_and_ends_the_same(tmp_path: Path, takes: int) -> None:
    engine, target = slow(tmp_path, takes)
    serving(engine)
    second = engine.version(2)
    engine.request(second)
    engine.run(240)
    shares = [traffic.get("2", 0.0) for traffic in target.routed]
    assert shares == [0.0, 0.05, 0.5, 0.95, 1.0], "each split asked for once"
    assert engine.state.champion == second
    assert list(target.variants) == ["2"]
    assert target.leftovers == (), "tidied at rest"
    assert alerts(engine) == []


def test_a_split_on_its_way_is_no_outside_change(tmp_path: Path) -> None:
    engine, target = slow(tmp_path, takes=4)
    serving(engine)
    engine.request(engine.version(2))
    while engine.state.rollout is None or not engine.state.rollout.routes:
        engine.tick(1)
    target.busy, target._left, target._then = "being maintained", 5, dict(target.variants)
    target.variants = {n: replace(v, share=float(n == "1")) for n, v in target.variants.items()}
    for _ in range(3):
        engine.tick(1)
        assert engine.state.rollout.phase is Phase.CANARY
    assert alerts(engine) == []


def test_minutes_in_which_the_split_moved_have_no_share(tmp_path: Path) -> None:
    engine, _ = slow(tmp_path, takes=5)
    serving(engine)
    engine.request(engine.version(2))
    while engine.state.rollout is None or not engine.state.rollout.routes:
        engine.tick(1)
    (span,) = engine.state.rollout.moving
    assert 4 * 60 <= span[1] - span[0] <= 6 * 60
    assert span[1] == engine.state.rollout.routes[0][0]


def test_a_container_that_does_not_come_up_is_refused_and_removed(tmp_path: Path) -> None:
    engine, target = slow(tmp_path)
    serving(engine)
    target.doomed = frozenset({"2"})
    engine.request(engine.version(2))
    engine.run(20)
    assert [r.phase for r in engine.state.past] == [Phase.PROMOTED, Phase.REFUSED]
    assert engine.state.past[-1].cause == "not_ready"
    chain = engine.ledger.read().chain
    (refused,) = [e.payload for e in chain if isinstance(e.payload, Refused)]
    assert refused.reason == "its container stopped"
    assert "its container stopped" in describe(refused, str)
    assert list(target.variants) == ["1"]
    assert target.read().traffic() == {"1": 1.0}


def test_a_champion_that_does_not_come_up_again_is_a_persons_matter(tmp_path: Path) -> None:
    engine, target = slow(tmp_path)
    serving(engine)
    target.variants, target.doomed = {}, frozenset({"1"})
    engine.run(10)
    assert alerts(engine) == ["not_ready"]


def test_while_the_endpoint_is_maintained_nothing_is_written_and_a_revert_waits(
    tmp_path: Path,
) -> None:
    engine = Engine.make(tmp_path)
    first = engine.serving()
    engine.metrics.rates = {"1": (0.01, 0.0), "2": (0.3, 0.0)}
    engine.request(engine.version(2))
    while engine.state.rollout is None or not engine.state.rollout.routes:
        engine.tick(1)
    engine.target.busy = "SystemUpdating"
    done = engine.run(30)
    assert engine.state.rollout.phase is Phase.REVERTED
    assert (done.wait.cause, engine.state.rollout.applied) == ("updating", False)
    assert engine.target.read().traffic() != {"1": 1.0}
    engine.target.busy = None
    engine.tick(1)
    assert engine.target.read().traffic() == {"1": 1.0}
    assert engine.state.champion == first


PHASES = ("idle", "requested", "deployed", "canary", "reverted", "probation")


def at_phase(engine: Engine, target: FakeTarget, phase: str) -> None:
    """Bring a rollout to a phase."""
    engine.serving()
    if phase == "idle":
        return
    if phase in ("requested", "deployed"):
        target.ready = phase == "deployed"
        engine.append(Held(until=None, hands_off=False, reason="wait"), human=True)
        engine.request(engine.version(2))
        engine.run(2)
        return
    engine.request(engine.version(2))
    wanted = Phase.PROBATION if phase == "probation" else Phase.CANARY
    while engine.state.rollout is None or engine.state.rollout.phase is not wanted:
        engine.tick(1)
    if phase == "reverted":
        engine.append(
            Ordered(rollout=engine.state.rollout.id, verb="revert", reason="no"), human=True
        )


@pytest.mark.parametrize("phase", PHASES)
def test_a_broken_endpoint_is_told_once_and_left_alone_in_every_phase(
    tmp_path: Path, phase: str
) -> None:
    engine = Engine.make(tmp_path)
    at_phase(engine, engine.target, phase)
    before, routed = dict(engine.target.variants), list(engine.target.routed)
    engine.target.broken = "UpdateRollbackFailed"
    engine.run(5)
    assert alerts(engine) == ["endpoint_broken"]
    assert engine.target.variants == before
    assert engine.target.routed == routed
    engine.target.broken = None
    engine.target.ready = True
    engine.target.variants = {n: replace(v, ready=True) for n, v in engine.target.variants.items()}
    engine.append(Resumed(reason="repaired"), human=True)
    engine.run(240)
    assert engine.state.champion is not None
    promoted = phase not in ("idle", "reverted")
    assert engine.state.champion.version == ("2" if promoted else "1")
    assert engine.target.read().traffic() == {engine.state.champion.version: 1.0}


def test_a_broken_endpoint_whose_variants_failed_is_told_once(tmp_path: Path) -> None:
    engine = Engine.make(tmp_path)
    engine.serving()
    engine.target.broken = "Failed"
    engine.target.variants = {
        n: replace(v, ready=False, failed="it stopped") for n, v in engine.target.variants.items()
    }
    done = engine.run(5)
    assert alerts(engine) == ["endpoint_broken"]
    assert done.wait.cause == "alerted"


def test_with_credentials_that_end_soon_only_a_way_back_is_begun(tmp_path: Path) -> None:
    engine = Engine.make(tmp_path)
    first = engine.serving()
    engine.request(engine.version(2), {**POLICY, "steps": ["5%", "50%"]})
    while engine.state.rollout is None or not engine.state.rollout.routes:
        engine.tick(1)
    engine.fading = True
    done = engine.run(60)
    assert engine.target.read().traffic() == {"1": 0.95, "2": 0.05}, "no step up"
    assert done.wait.cause == "session_ending"
    engine.metrics.rates = {"1": (0.01, 0.0), "2": (0.3, 0.0)}
    engine.run(30)
    assert engine.state.past[-1].phase is Phase.REVERTED
    assert engine.target.read().traffic() == {"1": 1.0}
    assert engine.state.champion == first
    engine.fading = False
    engine.tick(1)
    assert list(engine.target.variants) == ["1"], "swept by the next session"
