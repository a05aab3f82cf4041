"""The release engine over fakes: what a rollout does, minute by minute."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.engine import POLICY, Engine
from tidegate.core.events import Held, Mode, Ordered, Phase, Requested, Resumed
from tidegate.core.release import GAP
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.core.endpoint import Traffic


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine.make(tmp_path)


def test_a_first_release_serves_everything_without_a_canary(engine: Engine) -> None:
    first = engine.serving()
    assert engine.state.champion == first
    assert engine.state.anchor == first
    assert engine.target.read().traffic() == {"1": 1.0}
    assert engine.registry.alias == {"champion": "1"}


def test_an_equal_candidate_climbs_every_step_and_is_promoted(engine: Engine) -> None:
    engine.serving()
    second = engine.version(2)
    engine.request(second)
    engine.run(200)
    shares = [traffic.get("2", 0.0) for traffic in engine.target.routed]
    assert shares == [0.0, 0.05, 0.5, 0.95, 1.0]
    assert engine.state.champion == second
    assert engine.state.past[-1].phase is Phase.PROMOTED
    assert list(engine.target.variants) == ["2"]
    assert engine.registry.alias == {"champion": "2"}
    assert engine.registry.tags["2"]["tidegate.outcome"] == "promoted"


def test_a_failing_candidate_is_taken_back_and_quarantined(engine: Engine) -> None:
    first = engine.serving()
    bad = engine.version(2)
    engine.metrics.rates = {"1": (0.01, 0.0), "2": (0.2, 0.0)}
    engine.request(bad)
    engine.run(30)
    assert engine.state.champion == first
    assert engine.state.past[-1].phase is Phase.REVERTED
    assert engine.state.past[-1].cause == "harm"
    assert {bad.digest, bad.recipe} <= engine.state.quarantined
    assert engine.target.read().traffic() == {"1": 1.0}


def test_harm_in_probation_goes_back_to_the_old_version(engine: Engine) -> None:
    first = engine.serving()
    engine.request(engine.version(2))
    while engine.state.rollout is None or engine.state.rollout.phase is not Phase.PROBATION:
        engine.tick(1)
    assert engine.state.champion is not None
    assert engine.state.champion.version == "2"
    assert engine.target.read().traffic() == {"1": 0.05, "2": 0.95}
    engine.metrics.rates = {"1": (0.01, 0.0), "2": (0.3, 0.0)}
    engine.run(25)
    assert engine.state.champion == first
    assert engine.state.past[-1].phase is Phase.REVERTED
    assert [t.healthy for t in engine.state.tenures] == [True, False, True]


def test_no_data_holds_and_then_expires(engine: Engine) -> None:
    engine.serving()
    engine.metrics.requests = 0
    engine.request(engine.version(2), {**POLICY, "deadline": "1h"})
    done = engine.run(30)
    assert done.wait.cause == "no_data"
    engine.run(45)
    assert engine.state.past[-1].phase is Phase.WITHDRAWN
    assert engine.state.past[-1].model.digest not in engine.state.quarantined


def test_a_newer_candidate_supersedes_a_live_canary(engine: Engine) -> None:
    engine.serving()
    engine.request(engine.version(2))
    engine.run(3)
    engine.request(engine.version(3))
    engine.run(3)
    assert engine.state.past[-1].phase is Phase.SUPERSEDED
    assert engine.target.variants.keys() == {"1", "3"}
    assert engine.state.rollout is not None
    assert engine.state.rollout.model.version == "3"


def test_a_newer_candidate_ends_a_probation_cleanly(engine: Engine) -> None:
    engine.serving()
    engine.request(engine.version(2))
    while engine.state.rollout is None or engine.state.rollout.phase is not Phase.PROBATION:
        engine.tick(1)
    third = engine.version(3)
    engine.request(third)
    engine.run(3)
    assert engine.state.past[-1].phase is Phase.PROMOTED
    assert engine.state.rollout is not None
    assert engine.state.rollout.baseline is not None
    assert engine.state.rollout.baseline.version == "2"


def test_a_candidate_that_answers_differently_gets_no_traffic(engine: Engine) -> None:
    engine.serving()
    engine.target.answers = lambda version, rows: np.array([0.1, 0.5, 0.8])
    engine.request(engine.version(2))
    engine.tick()
    assert engine.state.past[-1].phase is Phase.REFUSED
    assert engine.state.past[-1].cause == "parity"
    assert all("2" not in traffic for traffic in engine.target.routed)


def test_a_variant_that_never_becomes_ready_is_refused(engine: Engine) -> None:
    engine.serving()
    engine.target.ready = False
    engine.request(engine.version(2))
    assert engine.tick().wait.cause == "starting"
    engine.tick(11)
    assert engine.state.past[-1].cause == "not_ready"


def test_a_version_judged_against_another_champion_is_refused(engine: Engine) -> None:
    engine.serving()
    second, third = engine.version(2), engine.version(3)
    queueing = {**POLICY, "on_newer": "queue"}
    engine.request(second, queueing)
    engine.request(third, queueing)
    engine.run(200)
    assert [(r.model.version, r.phase) for r in engine.state.past] == [
        ("1", Phase.PROMOTED),
        ("2", Phase.PROMOTED),
        ("3", Phase.REFUSED),
    ]


def test_a_hold_forbids_the_start_and_resume_allows_it(engine: Engine) -> None:
    engine.serving()
    engine.append(Held(until=None, hands_off=False, reason="freeze"), human=True)
    engine.request(engine.version(2))
    assert engine.tick().wait.cause == "held"
    engine.append(Resumed(reason="thaw"), human=True)
    engine.tick()
    assert engine.target.read().traffic()["2"] == 0.05


@pytest.mark.parametrize(
    ("hands_off", "ends"),
    [(False, True), (True, False)],
    ids=["hold-reverts", "hands-off-does-not"],
)
def test_evidence_reverts_under_a_hold_unless_hands_off(
    engine: Engine, *, hands_off: bool, ends: bool
) -> None:
    engine.serving()
    engine.metrics.rates = {"1": (0.01, 0.0), "2": (0.2, 0.0)}
    engine.request(engine.version(2))
    engine.run(2)
    engine.append(Held(until=None, hands_off=hands_off, reason="look"), human=True)
    engine.run(30)
    assert (engine.state.rollout is None) is ends


@pytest.mark.parametrize(
    ("verb", "phase", "serves"),
    [("revert", Phase.REVERTED, "1"), ("promote", Phase.PROMOTED, "2")],
)
def test_a_person_decides_within_one_pass_and_pins(
    engine: Engine, verb: str, phase: Phase, serves: str
) -> None:
    engine.serving()
    engine.request(engine.version(2))
    engine.run(4)
    assert engine.state.rollout is not None
    engine.append(Ordered(verb=verb, rollout=engine.state.rollout.id, reason="x"), human=True)
    engine.tick()
    assert engine.state.past[-1].phase is phase
    assert engine.target.read().traffic() == {serves: 1.0}
    assert engine.state.pinned
    engine.request(engine.version(3))
    assert engine.tick().wait.cause == "pinned"


def test_traffic_lowered_from_outside_is_a_revert_and_never_raised_again(engine: Engine) -> None:
    engine.serving()
    engine.request(engine.version(2))
    engine.run(4)
    engine.target.meddle({"1": 1.0})
    before = len(engine.target.routed)
    engine.run(20)
    assert engine.state.past[-1].cause == "lowered_outside"
    assert engine.target.read().traffic() == {"1": 1.0}
    assert not any("2" in traffic for traffic in engine.target.routed[before:])


def test_traffic_raised_from_outside_is_held_and_told(engine: Engine) -> None:
    engine.serving()
    engine.request(engine.version(2))
    engine.run(4)
    engine.target.meddle({"1": 0.2, "2": 0.8})
    engine.run(20)
    assert engine.state.alert is not None
    assert engine.state.alert.cause == "raised_outside"
    assert engine.target.read().traffic() == {"1": 0.2, "2": 0.8}


def test_a_tick_gap_restarts_the_bake(engine: Engine) -> None:
    engine.serving()
    engine.request(engine.version(2))
    engine.run(5)
    before = engine.state.rollout
    engine.tick(GAP + 5)
    after = engine.state.rollout
    assert before is not None
    assert after is not None
    assert after.step == before.step
    assert after.step_at == engine.now


def test_a_tick_after_a_gap_may_still_revert(engine: Engine) -> None:
    engine.serving()
    engine.metrics.rates = {"1": (0.01, 0.0), "2": (0.2, 0.0)}
    engine.request(engine.version(2))
    engine.run(2)
    engine.tick(3 * GAP)
    assert engine.state.past[-1].phase is Phase.REVERTED


def test_the_dead_man_is_armed_only_while_a_canary_has_traffic(engine: Engine) -> None:
    engine.serving()
    assert engine.target.armed[0] is None
    engine.request(engine.version(2))
    engine.run(3)
    until, fallback = engine.target.armed
    assert until is not None
    assert until > engine.now
    assert fallback == {"1": 1.0}
    engine.run(200)
    assert engine.target.armed[0] is None


def test_a_shut_gate_is_opened_again_at_the_same_step(engine: Engine) -> None:
    engine.serving()
    engine.request(engine.version(2))
    engine.run(3)
    engine.target.meddle({"1": 1.0})
    engine.target.tripped = engine.now
    engine.tick(1)
    assert engine.target.read().traffic() == {"1": 0.95, "2": 0.05}
    assert engine.state.rollout is not None
    assert engine.state.rollout.step == 0


def test_a_switch_that_fires_into_the_probation_takes_nothing_back(engine: Engine) -> None:
    engine.serving()
    engine.request(engine.version(2))
    while engine.state.rollout is not None and engine.state.rollout.phase is not Phase.PROBATION:
        engine.tick(1)
    wanted = engine.target.read().traffic()
    engine.target.meddle({"1": 1.0})
    engine.target.tripped = engine.now
    engine.tick(1)
    assert engine.state.rollout is not None
    assert engine.state.rollout.phase is Phase.PROBATION
    assert engine.target.read().traffic() == wanted != {"1": 1.0}


def test_the_switch_of_one_step_does_not_fire_into_the_next(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass that begins just before the switch fires must not be overtaken by it."""
    left: list[float | None] = []
    route = engine.target.route

    def routed(traffic: Traffic, *, generation: int) -> None:
        until = engine.target.armed[0]
        left.append(None if until is None else until - engine.now)
        route(traffic, generation=generation)

    engine.serving()
    engine.request(engine.version(2))
    monkeypatch.setattr(engine.target, "route", routed)
    engine.tick()
    while engine.state.rollout is not None:
        engine.tick(GAP - 1)
    assert engine.state.past[-1].phase is Phase.PROMOTED
    full = left[1]
    assert full is not None
    assert full > (GAP - 1) * 60
    assert left == [None, *[full] * (len(left) - 2), None]  # the last: all traffic, for good


def test_an_empty_endpoint_gets_the_champion_back(engine: Engine) -> None:
    engine.serving()
    engine.target.variants.clear()
    engine.tick(1)
    assert engine.target.read().traffic() == {"1": 1.0}


def test_heartbeats_are_written_at_most_every_ten_minutes(engine: Engine) -> None:
    engine.serving()
    engine.metrics.rates = {"1": (0.01, 0.0), "2": (0.012, 0.0)}
    engine.request(engine.version(2), {**POLICY, "bake": "60m"})
    engine.run(3)
    before = engine.store.commits
    engine.run(50)
    assert engine.store.commits - before <= 5


def test_closed_minutes_are_written_down_and_never_reopened(engine: Engine) -> None:
    engine.serving()
    engine.metrics.rates = {"1": (0.01, 0.0), "2": (0.01, 0.0)}
    engine.request(engine.version(2), {**POLICY, "bake": "60m"})
    engine.run(15)
    rollout = engine.state.rollout
    assert rollout is not None
    frozen = engine.ledger.read().frozen(rollout.id)
    assert frozen.minutes
    engine.metrics.rates = {"1": (0.01, 0.0), "2": (0.9, 0.0)}
    engine.run(1)
    assert engine.ledger.read().frozen(rollout.id).minutes[: len(frozen.minutes)] == frozen.minutes


@pytest.mark.parametrize(("better", "anchor"), [(True, "2"), (False, "1")])
def test_the_anchor_moves_only_to_a_promoted_model_shown_better(
    engine: Engine, *, better: bool, anchor: str
) -> None:
    engine.serving()
    second = engine.version(2)
    engine.request(second)
    judged = engine.state.verdicts[second.digest]
    engine.append(replace(judged, better=better))
    assert engine.state.anchor is not None
    assert engine.state.anchor.version == "1"
    engine.run(200)
    assert engine.state.champion == second
    assert engine.state.anchor.version == anchor


def test_a_way_back_is_not_barred_by_the_parity_check(engine: Engine) -> None:
    """A changed environment must not keep a person from leaving a bad version."""
    first = engine.serving()
    engine.request(engine.version(2))
    engine.run(200)
    engine.target.answers = lambda version, rows: np.array([0.0, 0.0, 0.0])
    back = Requested(
        model=first, mode=Mode.DIRECT, judged_against=None, policy=POLICY, task="binary",
        loss_center=None, reason="pager", quarantine=True,
    )  # fmt: skip
    engine.append(back, human=True)
    engine.tick()
    assert engine.state.champion == first
    assert engine.state.past[-1].parity is not None
    assert not engine.state.past[-1].parity.ok


def broken(engine: Engine, version: str, restarts: int = 0) -> None:
    variant = engine.target.variants[version]
    engine.target.variants[version] = replace(variant, ready=False, restarts=restarts)


def test_a_way_back_does_not_wait_for_the_broken_champion(engine: Engine) -> None:
    first = engine.serving()
    engine.request(engine.version(2))
    engine.run(200)
    broken(engine, "2")
    back = Requested(
        model=first, mode=Mode.DIRECT, judged_against=None, policy=POLICY, task="binary",
        loss_center=None, reason="pager", quarantine=True,
    )  # fmt: skip
    engine.append(back, human=True)
    engine.tick()
    assert engine.target.read().traffic() == {"1": 1.0}


def shut(engine: Engine) -> None:
    """Let the dead-man's switch fire in a canary whose candidate has just died."""
    engine.serving()
    engine.request(engine.version(2))
    engine.run(3)
    engine.target.meddle({"1": 1.0})
    engine.target.tripped = engine.now
    broken(engine, "2")
    assert engine.tick(1).wait.cause == "starting"


def test_a_persons_revert_does_not_wait_for_a_dead_candidate(engine: Engine) -> None:
    shut(engine)
    assert engine.state.rollout is not None
    engine.append(Ordered(verb="revert", rollout=engine.state.rollout.id, reason="x"), human=True)
    engine.tick()
    assert engine.state.past[-1].phase is Phase.REVERTED
    assert engine.target.read().traffic() == {"1": 1.0}


@pytest.mark.parametrize(("minutes", "restarts"), [(11, 0), (0, 5)], ids=["late", "crash-loop"])
def test_a_candidate_that_died_for_good_is_withdrawn(
    engine: Engine, minutes: int, restarts: int
) -> None:
    shut(engine)
    broken(engine, "2", restarts)
    engine.tick(minutes)
    assert engine.state.past[-1].phase is Phase.WITHDRAWN
    assert engine.state.past[-1].cause == "not_ready"


def test_an_outage_of_the_metrics_holds_and_a_person_can_still_revert(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.serving()
    engine.request(engine.version(2))
    engine.run(3)

    def down(*_: object) -> None:
        raise OutsideError("no counts")

    monkeypatch.setattr(engine.metrics, "read", down)
    assert engine.run(5).wait.cause == "no_data"
    assert engine.state.rollout is not None
    engine.append(Ordered(verb="revert", rollout=engine.state.rollout.id, reason="x"), human=True)
    engine.tick()
    assert engine.target.read().traffic() == {"1": 1.0}
