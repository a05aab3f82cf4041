"""The same scenarios on every cloud, and the same end states."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.clouds.engine import POLICY
from tidegate.core.events import Alerted, Phase, Refused

if TYPE_CHECKING:
    from tests.clouds.engine import CloudEngine

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]


def only(engine: CloudEngine, version: str) -> None:
    """The endpoint serves one version, and nothing of ours is left beside it."""
    state = engine.end_state()
    assert state["traffic"] == {version: 1.0}
    assert state["variants"] == [version]
    assert state["aliases"] == {"champion": version}
    assert state["orphans"] == []


def test_a_first_release_serves_everything(engine: CloudEngine) -> None:
    first = engine.serving_first()
    engine.until_rest()
    assert engine.state.champion == first
    only(engine, "1")


def test_an_equal_candidate_is_promoted_by_the_clouds_own_counts(engine: CloudEngine) -> None:
    engine.serving_first()
    second = engine.version(2)
    engine.request(second, POLICY)
    engine.until_rest()
    assert engine.state.champion == second
    assert [r.phase for r in engine.state.past] == [Phase.PROMOTED, Phase.PROMOTED]
    only(engine, "2")
    rollout = engine.state.past[-1]
    assert [share for _, share in rollout.routes] == [0.5, 0.9, 1.0]


def test_a_failing_candidate_is_taken_back_by_the_clouds_own_counts(engine: CloudEngine) -> None:
    first = engine.serving_first()
    bad = engine.version(2)
    engine.rates = {"2": 0.2}
    engine.request(bad, POLICY)
    engine.until_rest()
    assert engine.state.champion == first
    assert (engine.state.past[-1].phase, engine.state.past[-1].cause) == (Phase.REVERTED, "harm")
    assert bad.digest in engine.state.quarantined
    only(engine, "1")


def test_harm_in_probation_goes_back_to_the_old_version(engine: CloudEngine) -> None:
    first = engine.serving_first()
    engine.request(engine.version(2), {**POLICY, "probation": {"for": "2h", "holdback": "10%"}})
    while engine.state.rollout is None or engine.state.rollout.phase is not Phase.PROBATION:
        engine.minutes(1)
    engine.rates = {"2": 0.3}
    engine.until_rest()
    assert engine.state.champion == first
    assert engine.state.past[-1].phase is Phase.REVERTED
    only(engine, "1")


def test_a_newer_candidate_supersedes_a_live_canary(engine: CloudEngine) -> None:
    engine.serving_first()
    engine.request(engine.version(2), {**POLICY, "bake": "1h"})
    engine.minutes(2)
    third = engine.version(3)
    engine.request(third, POLICY)
    engine.until_rest()
    assert engine.state.champion == third
    assert Phase.SUPERSEDED in [r.phase for r in engine.state.past]
    only(engine, "3")


def test_a_candidate_that_answers_otherwise_than_offline_gets_no_traffic(
    engine: CloudEngine,
) -> None:
    engine.serving_first()
    engine.request(engine.version(2, offset=0.5), POLICY)
    engine.until_rest()
    assert (engine.state.past[-1].phase, engine.state.past[-1].cause) == (Phase.REFUSED, "parity")
    only(engine, "1")


def test_a_candidate_that_does_not_come_up_is_refused_with_the_clouds_reason(
    engine: CloudEngine,
) -> None:
    engine.serving_first()
    engine.request(engine.version(2, sick=True), POLICY)
    engine.until_rest()
    past = engine.state.past[-1]
    assert (past.phase, past.cause) == (Phase.REFUSED, "not_ready")
    chain = engine.ledger.read().chain
    (refused,) = [e.payload for e in chain if isinstance(e.payload, Refused)]
    assert refused.reason
    only(engine, "1")


def test_when_nobody_ticks_the_cloud_itself_shuts_the_gate(engine: CloudEngine) -> None:
    engine.serving_first()
    engine.request(engine.version(2), {**POLICY, "bake": "3h", "deadline": "12h"})
    engine.minutes(3)
    assert engine.place.target().read().traffic() == {"1": 0.5, "2": 0.5}
    engine.place.advance(25 * 60)  # the runner is dead
    target = engine.place.target()
    for _ in range(200):
        if target.read().busy is None and target.read().traffic() == {"1": 1.0}:
            break
    assert target.read().traffic() == {"1": 1.0}
    assert target.read().tripped is not None
    engine.reborn()
    engine.minutes(1)
    assert engine.place.target().read().traffic() == {"1": 0.5, "2": 0.5}, "and bakes again"
    assert engine.state.rollout is not None
    assert engine.state.rollout.phase is Phase.CANARY


def test_without_counts_nothing_is_promoted(engine: CloudEngine) -> None:
    engine.serving_first()
    engine.traffic = 0
    engine.request(engine.version(2), {**POLICY, "deadline": "30m"})
    done = engine.minutes(20)
    assert done.wait.cause == "no_data"
    engine.until_rest()
    assert engine.state.past[-1].phase is Phase.WITHDRAWN
    only(engine, "1")


def test_a_third_of_all_calls_fails_and_the_end_is_the_same_at_most_three_times_the_calls(
    engine: CloudEngine,
) -> None:
    engine.serving_first()
    before = engine.place.calls()
    engine.request(engine.version(2), POLICY)
    engine.until_rest()
    undisturbed = engine.place.calls() - before
    assert engine.failed == []
    engine.place.throttle(0.3)
    engine.request(engine.version(3), POLICY)
    engine.until_rest()
    engine.place.throttle(0)
    assert engine.place.calls() - before - undisturbed <= 3 * undisturbed
    engine.until_rest()
    only(engine, "3")
    chain = engine.ledger.read().chain
    assert not [event for event in chain if isinstance(event.payload, Alerted)]
