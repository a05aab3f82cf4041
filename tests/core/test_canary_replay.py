"""Whole rollouts, minute by minute."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tidegate.core.canary import Action, Cause
from tidegate.core.config import Canary, Guard, GuardMetric, OnExpire
from tidegate.core.evidence import Arm, LabelArm, LabelStratum, Minute
from tidegate.core.replay import replay
from tidegate.core.simulation import EXPIRED, PROMOTED, REVERTED, Traffic, _Game

if TYPE_CHECKING:
    from tidegate.core.sequential.mixture import Array

GOOD, CLEAN = Arm(requests=570, errors=6), Arm(requests=60, errors=0)


def rollout(candidate: Arm | None, minutes: range) -> list[Minute]:
    return [Minute(index=i, champion=GOOD, candidate=candidate) for i in minutes]


def test_a_clean_candidate_is_promoted_after_three_bakes() -> None:
    decisions = replay(Canary(), rollout(CLEAN, range(200)))
    moves = [(d.minute, d.action) for d in decisions if d.action is not Action.HOLD]
    assert moves == [(32, Action.STEP_UP), (62, Action.STEP_UP), (92, Action.PROMOTE)]
    assert [d.minute for d in decisions] == list(range(93))


def test_warm_up_minutes_carry_no_evidence() -> None:
    awful = Arm(requests=60, errors=60)
    decisions = replay(Canary(), rollout(awful, range(3)) + rollout(CLEAN, range(3, 200)))
    assert [d.cause for d in decisions[:4]] == [Cause.WARMUP] * 3 + [Cause.BAKING]
    assert decisions[-1].action is Action.PROMOTE


def test_absent_minutes_hold_for_want_of_data() -> None:
    decisions = replay(Canary(), rollout(CLEAN, range(10)) + rollout(CLEAN, range(20, 25)))
    assert [(d.action, d.cause) for d in decisions[10:20]] == [(Action.HOLD, Cause.NO_DATA)] * 10


def test_one_armed_minutes_hold_for_want_of_data() -> None:
    decisions = replay(Canary(), rollout(None, range(50)))
    assert {d.action for d in decisions} == {Action.HOLD}
    assert decisions[-1].cause is Cause.NO_DATA


def test_minutes_may_be_numbered_from_anywhere() -> None:
    start = 29_000_000
    decisions = replay(Canary(), rollout(CLEAN, range(start, start + 200)))
    assert decisions[-1].minute == start + 92


def test_the_deadline_counts_from_the_first_minute() -> None:
    one_armed = rollout(None, range(5, 400))
    assert replay(Canary(deadline=3600.0), one_armed)[-1].minute == 64
    held = replay(Canary(deadline=3600.0, on_expire=OnExpire.HOLD), one_armed)
    assert held[-1].minute == 399


def test_no_minutes_give_no_decisions() -> None:
    assert replay(Canary(), []) == ()


def test_labels_of_the_replay_arrive_in_their_own_minute() -> None:
    arm = LabelArm(labelled=60, mistakes=10)
    some = replace(arm, labelled=570, mistakes=95)
    strata = [LabelStratum(minute=i, bucket=i, champion=some, candidate=arm) for i in range(200)]
    canary = Canary(guards=(*Canary().guards, Guard(metric=GuardMetric.LABEL_ERROR, margin=1.1)))
    last = replay(canary, rollout(CLEAN, range(200)), strata)[-1]
    assert last.action is Action.PROMOTE
    assert last.guards[1].candidate_n == 60 * 90


class _Recorded(_Game):
    """A simulated rollout that writes its counts down."""

    def __init__(self, odds: float, seed: int, traffic: float) -> None:
        canary = Canary(deadline=7200.0)
        metric = GuardMetric.ERROR_RATE
        world = Traffic(per_minute=traffic, rates={metric: 0.01})
        super().__init__(canary, world, {metric: np.array([odds])}, np.random.default_rng(seed))
        self.minutes: list[Minute] = []
        self.index = 3

    def observe(self, candidate: Array, champion: Array) -> None:
        events = self._events()
        super().observe(candidate, champion)
        after = self._events()
        counts = [int(new - old) for new, old in zip(after, events, strict=True)]
        self.minutes.append(
            Minute(
                index=self.index,
                candidate=Arm(requests=int(candidate[0]), errors=counts[0]),
                champion=Arm(requests=int(champion[0]), errors=counts[1]),
            )
        )
        self.index += 1

    def _events(self) -> tuple[float, float]:
        test = self.tests[GuardMetric.ERROR_RATE]
        assert hasattr(test, "totals")
        return float(test.totals.candidate_events[0]), float(test.totals.champion_events[0])


OUTCOMES = {Action.PROMOTE: PROMOTED, Action.REVERT: REVERTED, Action.EXPIRE: EXPIRED}


@pytest.mark.parametrize("odds", [0.5, 1.0, 1.6, 4.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_simulation_decides_as_the_rules_do(odds: float, seed: int) -> None:
    game = _Recorded(odds, seed, traffic=1200.0)
    runs = game.play(probation=False)
    warmup = [Minute(index=0, champion=GOOD, candidate=CLEAN)]
    decisions = replay(game.canary, warmup + game.minutes)
    assert OUTCOMES[decisions[-1].action] == runs.outcome[0]
    assert decisions[-1].minute + 1 == runs.minute[0]
    steps = [d.minute + 1 for d in decisions if d.action in (Action.STEP_UP, Action.PROMOTE)]
    assert steps == [passed for passed in runs.passed[0] if np.isfinite(passed)]
