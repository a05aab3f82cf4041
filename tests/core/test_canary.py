"""The canary's rules, each as literal counts in and a decision out."""

from __future__ import annotations

import math
from dataclasses import astuple, replace
from typing import TYPE_CHECKING

import pytest

from tidegate.core.canary import (
    Action,
    Cause,
    Decision,
    Evidence,
    GuardState,
    Progress,
    decide,
)
from tidegate.core.config import Canary, Guard, GuardMetric, Labels, OnExpire
from tidegate.core.evidence import Arm, LabelArm, LabelStratum, Minute, Series
from tidegate.errors import NotJudgedError

if TYPE_CHECKING:
    from tidegate.core.sequential.counts import CountTest
    from tidegate.core.sequential.losses import LossTest

CANARY = Canary()
ERRORS = Guard(metric=GuardMetric.ERROR_RATE, margin=1.25, negligible=0.005)
MISTAKES = Guard(metric=GuardMetric.LABEL_ERROR, margin=1.1)
LOSS = Guard(metric=GuardMetric.LABEL_LOSS, margin=1.05)
SLOW = Guard(metric=GuardMetric.SLOW_REQUESTS, margin=1.25, slower_than=0.25, negligible=0.01)
FIRST = Progress(first_minute=0, step=0, step_minute=0, deadline_minute=1440)
LAST = replace(FIRST, step=2)

Counts = tuple[int, int, int, int]  # candidate's requests and errors, champion's
GOOD: Counts = (300, 1, 300, 3)
BAD: Counts = (300, 12, 300, 3)
BORDER: Counts = (300, 3, 300, 3)


def minute(index: int, counts: Counts, share: float | None = None) -> Minute:
    n_c, x_c, n_b, x_b = counts
    return Minute(
        index=index,
        candidate=Arm(requests=n_c, errors=x_c),
        champion=Arm(requests=n_b, errors=x_b),
        share=share,
    )


def seen(canary: Canary, *stretches: tuple[int, Counts | None]) -> Evidence:
    """Evidence of stretches of (minutes, counts); None is a stretch without any data."""
    evidence, index = Evidence.start(canary), 0
    for length, counts in stretches:
        for _ in range(length):
            if counts is not None:
                evidence = evidence.add_minute(minute(index, counts))
            index += 1
    return evidence


def stratum(
    index: int, candidate: tuple[int, int] | None, champion: tuple[int, int] | None, bucket: int = 0
) -> LabelStratum:
    """Labels as (labelled, mistakes); losses are 0/1."""
    arms = [
        LabelArm(labelled=arm[0], mistakes=arm[1], loss_sum=arm[1], loss_sum_sq=arm[1])
        if arm
        else None
        for arm in (candidate, champion)
    ]
    return LabelStratum(minute=index, bucket=bucket, candidate=arms[0], champion=arms[1])


def ruling(decision: Decision) -> tuple[Action, Cause]:
    return decision.action, decision.cause


TABLE: dict[str, tuple[Progress, list[tuple[int, Counts | None]], int, Action, Cause]] = {
    "nothing-at-all-holds": (FIRST, [], 60, Action.HOLD, Cause.NO_DATA),
    "warm-up-holds": (replace(FIRST, first_minute=3), [], 2, Action.HOLD, Cause.WARMUP),
    "data-that-stopped-holds": (LAST, [(60, GOOD)], 61, Action.HOLD, Cause.NO_DATA),
    "requests-on-one-side-hold": (FIRST, [(60, (0, 0, 600, 6))], 60, Action.HOLD, Cause.BAKING),
    "a-bake-that-is-not-over-holds": (FIRST, [(29, GOOD)], 29, Action.HOLD, Cause.BAKING),
    "a-bake-counts-minutes-with-both-arms": (
        FIRST, [(15, GOOD), (10, None), (14, GOOD)], 39, Action.HOLD, Cause.BAKING,
    ),
    "a-bake-starts-anew-with-the-step": (
        replace(FIRST, step=1, step_minute=31), [(60, GOOD)], 60, Action.HOLD, Cause.BAKING,
    ),
    "few-requests-hold": (FIRST, [(30, (3, 0, 57, 0))], 30, Action.HOLD, Cause.FEW_REQUESTS),
    "the-first-step-is-left-when-4x-is-excluded": (
        FIRST, [(30, (30, 0, 570, 6))], 30, Action.STEP_UP, Cause.SHOWN,
    ),
    "a-later-step-is-left-when-2x-is-excluded": (
        replace(FIRST, step=1), [(30, GOOD)], 30, Action.STEP_UP, Cause.SHOWN,
    ),
    "three-times-the-errors-at-little-traffic-do-not-step-up": (
        FIRST, [(30, (6, 0, 20, 0)), (10, (6, 1, 20, 1))], 40, Action.HOLD, Cause.NOT_SHOWN,
    ),
    "the-last-step-promotes-what-is-shown": (LAST, [(60, GOOD)], 60, Action.PROMOTE, Cause.SHOWN),
    "the-last-step-holds-what-is-open": (LAST, [(30, BORDER)], 30, Action.HOLD, Cause.NOT_SHOWN),
    "no-errors-at-all-promote-after-about-seven-hundred-requests": (
        LAST, [(30, (27, 0, 513, 0))], 30, Action.PROMOTE, Cause.SHOWN,
    ),
    "no-errors-do-not-promote-before-six-hundred-requests": (
        LAST, [(30, (19, 0, 361, 0))], 30, Action.HOLD, Cause.NOT_SHOWN,
    ),
    "harm-reverts": (FIRST, [(12, BAD)], 12, Action.REVERT, Cause.HARM),
    "harm-reverts-without-fresh-data": (FIRST, [(12, BAD)], 40, Action.REVERT, Cause.HARM),
    "harm-once-found-stays-found": (LAST, [(12, BAD), (90, GOOD)], 102, Action.REVERT, Cause.HARM),
    "harm-reverts-after-the-deadline": (FIRST, [(12, BAD)], 2000, Action.REVERT, Cause.HARM),
    "harm-reverts-during-probation": (
        replace(LAST, probation=True), [(12, BAD)], 12, Action.REVERT, Cause.HARM,
    ),
    "harm-reverts-in-spite-of-a-hold": (
        replace(FIRST, held=True), [(12, BAD)], 12, Action.REVERT, Cause.HARM,
    ),
    "harm-reverts-in-spite-of-a-tick-gap": (
        replace(FIRST, gap=True), [(12, BAD)], 12, Action.REVERT, Cause.HARM,
    ),
    "hands-off-holds-even-harm": (
        replace(FIRST, hands_off=True), [(12, BAD)], 12, Action.HOLD, Cause.HANDS_OFF,
    ),
    "a-hold-forbids-stepping-up": (
        replace(FIRST, held=True), [(30, GOOD)], 30, Action.HOLD, Cause.HELD,
    ),
    "a-hold-forbids-promoting": (
        replace(LAST, held=True), [(60, GOOD)], 60, Action.HOLD, Cause.HELD,
    ),
    "a-hold-forbids-expiring": (
        replace(LAST, held=True), [(60, BORDER)], 1440, Action.HOLD, Cause.HELD,
    ),
    "hands-off-forbids-promoting": (
        replace(LAST, hands_off=True), [(60, GOOD)], 60, Action.HOLD, Cause.HELD,
    ),
    "a-tick-gap-forbids-stepping-up": (
        replace(FIRST, gap=True), [(30, GOOD)], 30, Action.HOLD, Cause.TICK_GAP,
    ),
    "a-tick-gap-forbids-promoting": (
        replace(LAST, gap=True), [(60, GOOD)], 60, Action.HOLD, Cause.TICK_GAP,
    ),
    "probation-goes-on": (
        replace(LAST, probation=True, probation_end_minute=99), [(60, GOOD)], 60,
        Action.HOLD, Cause.PROBATION,
    ),
    "probation-ends": (
        replace(LAST, probation=True, probation_end_minute=60), [(60, GOOD)], 60,
        Action.HOLD, Cause.PROBATION_OVER,
    ),
    "the-deadline-withdraws": (FIRST, [(60, BORDER)], 1440, Action.EXPIRE, Cause.DEADLINE),
    "the-deadline-withdraws-without-data": (FIRST, [], 1440, Action.EXPIRE, Cause.DEADLINE),
    "what-is-shown-at-the-deadline-is-promoted": (
        replace(LAST, deadline_minute=60), [(60, GOOD)], 60, Action.PROMOTE, Cause.SHOWN,
    ),
    "no-step-up-at-the-deadline": (
        replace(FIRST, deadline_minute=60), [(60, GOOD)], 60, Action.EXPIRE, Cause.DEADLINE,
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("progress", "stretches", "closed", "action", "cause"), TABLE.values(), ids=TABLE
)
def test_decide(
    progress: Progress, stretches: list[tuple[int, Counts | None]], closed: int,
    action: Action, cause: Cause,
) -> None:  # fmt: skip
    assert ruling(decide(CANARY, progress, seen(CANARY, *stretches), closed)) == (action, cause)


EXPIRES: dict[str, tuple[OnExpire, list[tuple[int, Counts | None]], Action, Cause]] = {
    "hold-holds": (OnExpire.HOLD, [(60, BORDER)], Action.HOLD, Cause.DEADLINE),
    "promote-promotes-unproven": (OnExpire.PROMOTE, [(60, BORDER)], Action.PROMOTE, Cause.UNPROVEN),
    "promote-withdraws-without-data": (OnExpire.PROMOTE, [], Action.EXPIRE, Cause.NOT_FRESH),
    "promote-withdraws-what-is-near-harm": (
        OnExpire.PROMOTE, [(53, BORDER), (7, BAD)], Action.EXPIRE, Cause.NOT_FRESH,
    ),
    "promote-withdraws-after-too-few-requests": (
        OnExpire.PROMOTE, [(60, (1, 0, 19, 0))], Action.EXPIRE, Cause.NOT_FRESH,
    ),
    "promote-withdraws-when-data-stopped": (
        OnExpire.PROMOTE, [(59, BORDER), (1, None)], Action.EXPIRE, Cause.NOT_FRESH,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("policy", "stretches", "action", "cause"), EXPIRES.values(), ids=EXPIRES)
def test_expire(
    policy: OnExpire, stretches: list[tuple[int, Counts | None]], action: Action, cause: Cause
) -> None:
    canary = replace(CANARY, on_expire=policy)
    progress = replace(LAST, deadline_minute=60)
    assert ruling(decide(canary, progress, seen(canary, *stretches), 60)) == (action, cause)


def test_revert_wins_over_promote() -> None:
    canary = replace(CANARY, guards=(ERRORS, replace(SLOW, negligible=0.5)))
    evidence = Evidence.start(canary)
    for index in range(60):
        arms = [Arm(requests=300, errors=e, slow=s) for e, s in ((0, 60), (3, 3))]
        evidence = evidence.add_minute(Minute(index=index, candidate=arms[0], champion=arms[1]))
    assert decide(canary, LAST, evidence, 60).action is Action.PROMOTE
    canary = replace(canary, guards=(ERRORS, SLOW))
    evidence = replace(evidence, canary=canary, tests=(evidence.tests[0], *seen_slow(canary)))
    decision = decide(canary, LAST, evidence, 60)
    assert ruling(decision) == (Action.REVERT, Cause.HARM)
    assert decision.culprits == (GuardMetric.SLOW_REQUESTS,)


def seen_slow(canary: Canary) -> tuple[CountTest | LossTest, ...]:
    evidence = Evidence.start(replace(canary, guards=(SLOW,)))
    for index in range(60):
        arms = [Arm(requests=300, errors=0, slow=s) for s in (60, 3)]
        evidence = evidence.add_minute(Minute(index=index, candidate=arms[0], champion=arms[1]))
    return evidence.tests


def test_a_guard_that_is_not_measured_cannot_be_promoted() -> None:
    canary = replace(CANARY, guards=(ERRORS, SLOW))
    decision = decide(canary, LAST, seen(canary, (60, GOOD)), 60)
    assert ruling(decision) == (Action.HOLD, Cause.NO_DATA)
    assert decision.culprits == (GuardMetric.SLOW_REQUESTS,)


@pytest.mark.parametrize("progress", [FIRST, LAST], ids=["no-step-up", "no-promotion"])
def test_a_wrong_sample_ratio_holds_and_alerts(progress: Progress) -> None:
    evidence = Evidence.start(CANARY)
    for index in range(60):
        evidence = evidence.add_minute(minute(index, GOOD, share=0.25))
    decision = decide(CANARY, progress, evidence, 60)
    assert ruling(decision) == (Action.HOLD, Cause.SAMPLE_RATIO)
    assert decision.alerts == (Cause.SAMPLE_RATIO,)


def test_a_wrong_sample_ratio_does_not_stop_a_revert() -> None:
    evidence = Evidence.start(CANARY)
    for index in range(20):
        evidence = evidence.add_minute(minute(index, BAD, share=0.25))
    assert decide(CANARY, FIRST, evidence, 20).action is Action.REVERT


LABELLED = replace(
    CANARY, guards=(ERRORS, MISTAKES, LOSS), labels=Labels(required=True, every=60.0, within=600.0)
)


def with_labels(
    canary: Canary, candidate: tuple[int, int] | None, champion: tuple[int, int] | None
) -> Evidence:
    evidence = seen(canary, (60, GOOD))
    for index in range(60):
        evidence = evidence.add_label(stratum(index, candidate, champion, bucket=index))
    return evidence


def test_required_labels_that_are_missing_hold_the_promotion() -> None:
    decision = decide(LABELLED, LAST, seen(LABELLED, (60, GOOD)), 60)
    assert ruling(decision) == (Action.HOLD, Cause.LABELS_MISSING)
    assert decision.culprits == (GuardMetric.LABEL_ERROR, GuardMetric.LABEL_LOSS)


@pytest.mark.parametrize(
    ("within", "cause"), [(7200.0, Cause.LABELS_MISSING), (600.0, Cause.LABELS_UNEQUAL)]
)
def test_required_labels_of_one_arm_alone_hold_the_promotion(within: float, cause: Cause) -> None:
    canary = replace(LABELLED, labels=replace(LABELLED.labels, within=within))
    decision = decide(canary, LAST, with_labels(canary, None, (200, 50)), 60)
    assert ruling(decision) == (Action.HOLD, cause)


def test_required_labels_that_are_not_worse_let_it_be_promoted() -> None:
    evidence = with_labels(LABELLED, (200, 30), (200, 50))
    assert ruling(decide(LABELLED, LAST, evidence, 60)) == (Action.PROMOTE, Cause.SHOWN)


def test_advisory_labels_that_are_missing_do_not_hold_the_promotion() -> None:
    canary = replace(LABELLED, labels=replace(LABELLED.labels, required=False))
    assert decide(canary, LAST, seen(canary, (60, GOOD)), 60).action is Action.PROMOTE


def test_required_labels_do_not_hold_a_step() -> None:
    assert decide(LABELLED, FIRST, seen(LABELLED, (60, GOOD)), 60).action is Action.STEP_UP


def test_more_mistakes_revert() -> None:
    decision = decide(LABELLED, FIRST, with_labels(LABELLED, (200, 90), (200, 50)), 60)
    assert ruling(decision) == (Action.REVERT, Cause.HARM)
    assert decision.culprits == (GuardMetric.LABEL_ERROR, GuardMetric.LABEL_LOSS)


def test_unequal_labelling_suspends_harm() -> None:
    decision = decide(LABELLED, FIRST, with_labels(LABELLED, (60, 50), (200, 50)), 60)
    assert decision.action is Action.STEP_UP
    assert decision.alerts == (Cause.LABELS_UNEQUAL,)
    assert [guard.suspended for guard in decision.guards] == [False, True, True]


def test_unequal_labelling_suspends_promotion() -> None:
    decision = decide(LABELLED, LAST, with_labels(LABELLED, (120, 10), (200, 50)), 60)
    assert ruling(decision) == (Action.HOLD, Cause.LABELS_UNEQUAL)


def test_labelling_is_not_compared_before_labels_had_their_time() -> None:
    canary = replace(LABELLED, labels=replace(LABELLED.labels, within=7200.0))
    decision = decide(canary, FIRST, with_labels(canary, (60, 50), (200, 50)), 60)
    assert decision.action is Action.REVERT


def test_evidence_does_not_depend_on_when_it_was_looked_at() -> None:
    minutes = tuple(minute(i, GOOD) for i in range(60))
    strata = tuple(stratum(i, (60 + i, 30), (200, 50), bucket=i + 3) for i in range(60))
    whole = Evidence.of(LABELLED, Series(minutes=minutes, labels=strata, closed=60))
    live = Evidence.start(LABELLED)
    for at in range(60):
        if at >= 3:
            live = live.add_label(strata[at - 3])
        live = live.add_minute(minutes[at]).settle(at + 1)
    for late in strata[57:]:
        live = live.add_label(late)
    assert whole.coverage.log_e_max == live.coverage.log_e_max
    assert decide(LABELLED, LAST, whole, 60) == decide(LABELLED, LAST, live, 60)


def test_minutes_of_the_warm_up_are_ignored() -> None:
    start = evidence = Evidence.start(CANARY, first_minute=3)
    for index in range(3):
        evidence = evidence.add_minute(minute(index, BAD)).add_label(stratum(index, (9, 9), (9, 0)))
    assert evidence is start


def test_minutes_out_of_order_are_a_bug() -> None:
    with pytest.raises(ValueError, match="minute 0 after minute 0"):
        seen(CANARY, (1, GOOD)).add_minute(minute(0, GOOD))


@pytest.mark.parametrize("errors", [-1, 301])
def test_impossible_counts_are_not_judged(errors: int) -> None:
    with pytest.raises(NotJudgedError, match="events among 300 requests"):
        Evidence.start(CANARY).add_minute(minute(0, (300, errors, 300, 3)))


@pytest.mark.parametrize(
    "stretch", [(0, GOOD), (1, (0, 0, 0, 0)), (1, (1, 1, 1, 1)), (40, GOOD), (900, BORDER)]
)
def test_every_number_of_a_decision_is_finite(stretch: tuple[int, Counts]) -> None:
    decision = decide(LABELLED, FIRST, seen(LABELLED, stretch), max(stretch[0], 1))
    numbers = [v for guard in decision.guards for v in astuple(guard) if isinstance(v, float)]
    assert all(math.isfinite(number) for number in numbers)


def test_the_wait_told_is_about_the_wait_that_comes() -> None:
    evidence = seen(CANARY, (10, (300, 3, 300, 3)))
    told = decide(CANARY, LAST, evidence, 10).guards[0].more_requests
    assert told is not None
    index = 10
    while decide(CANARY, LAST, evidence, index).guards[0].state is GuardState.OPEN:
        evidence = evidence.add_minute(minute(index, (300, 3, 300, 3)))
        index += 1
    assert told == pytest.approx(300 * (index - 10), rel=0.3)


def test_with_margin_one_no_wait_is_told() -> None:
    canary = replace(CANARY, guards=(replace(ERRORS, margin=1.0),))
    assert decide(canary, LAST, seen(canary, (10, BORDER)), 10).guards[0].more_requests is None
