"""Measurements against the champion's: ratio and negligible difference, in turns or not at all."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tidegate.core.config import Rule
from tidegate.core.model import Cause, Finding, Kind, Margin, Outcome
from tidegate.core.system import Measurements, system

PASS, INCONCLUSIVE, REJECT, ERROR = Outcome


def judged(
    mine: object, theirs: object, rule: Rule | None = None, *, in_turns: bool = True
) -> Finding:
    rule = rule or Rule(metric="latency_p50_ms", margin=Margin(value=0.2, relative=True))
    measured = Measurements(
        candidate={} if mine is None else {rule.metric: mine},  # type: ignore[dict-item]
        champion={} if theirs is None else {rule.metric: theirs},  # type: ignore[dict-item]
        in_turns=in_turns,
    )
    (found,) = system(rule, measured, 0.95)
    assert found.kind is Kind.MARGIN
    return found


def took(milliseconds: float, n: int = 400, seed: int = 1) -> list[float]:
    drawn: list[float] = np.random.default_rng(seed).gamma(50, milliseconds / 50, n).tolist()
    return drawn


@pytest.mark.parametrize(
    ("mine", "theirs", "outcome", "cause"),
    [
        (took(20), took(20, seed=2), PASS, Cause.SHOWN),
        (took(40), took(20), REJECT, Cause.VIOLATED),
        (took(23.6), took(20, seed=2), INCONCLUSIVE, Cause.NOT_SHOWN),
        (took(20, n=4), took(20), INCONCLUSIVE, Cause.TOO_FEW_ROWS),
        (took(0.8), took(0.3), PASS, Cause.SHOWN),
        (None, took(20), ERROR, Cause.MISSING_MEASUREMENT),
        (took(20), None, INCONCLUSIVE, Cause.NO_CHAMPION),
        (took(20), [float("nan")], ERROR, Cause.NOT_A_NUMBER),
    ],
    ids=[
        "as fast",
        "slower",
        "about at the margin",
        "few",
        "negligible",
        "unmeasured",
        "alone",
        "nan",
    ],
)
def test_a_latency_is_held_to_its_margin(
    mine: list[float] | None, theirs: list[float] | None, outcome: Outcome, cause: Cause
) -> None:
    found = judged(mine, theirs)
    assert (found.outcome, found.cause) == (outcome, cause)


def test_latencies_of_two_machines_are_not_compared() -> None:
    found = judged(took(20), took(20), in_turns=False)
    assert (found.outcome, found.cause, found.decides) == (INCONCLUSIVE, Cause.MEASURED_APART, True)


def test_what_is_negligible_may_be_said() -> None:
    margin = Margin(value=0.2, relative=True)
    strict = Rule(metric="latency_p50_ms", margin=margin, negligible=0.0)
    assert judged(took(0.8), took(0.3), strict).outcome is REJECT


@pytest.mark.parametrize(("mine", "outcome"), [(11.0, PASS), (11.1, REJECT), (5.0, PASS)])
def test_a_size_is_a_plain_number_wherever_it_was_measured(mine: float, outcome: Outcome) -> None:
    rule = Rule(metric="model_size_mb", margin=Margin(value=1.0))
    assert judged(mine, 10.0, rule, in_turns=False).outcome is outcome


def test_a_ceiling_and_a_margin_are_two_findings() -> None:
    rule = Rule(metric="peak_memory_mb", at_most=500.0, margin=Margin(value=0.1, relative=True))
    measured = Measurements(candidate={"peak_memory_mb": 480.0}, champion={"peak_memory_mb": 400.0})
    found = [(f.kind, f.outcome) for f in system(rule, measured, 0.95)]
    assert found == [(Kind.CEILING, PASS), (Kind.MARGIN, REJECT)]


@pytest.mark.parametrize("metric", ["latency_p50_ms", "latency_p95_ms"])
def test_a_model_slower_by_the_margin_is_shown_not_slower_no_more_often_than_promised(
    metric: str,
) -> None:
    rule = Rule(metric=metric, margin=Margin(value=0.2, relative=True), negligible=0.0)
    rng, shown = np.random.default_rng(4), 0
    for _ in range(400):
        theirs, mine = rng.gamma(9, 2, 300), 1.2 * rng.gamma(9, 2, 300)
        shown += judged(mine, theirs, rule).outcome is PASS
    assert shown <= stats.binom.ppf(1 - 1e-4, 400, 0.05)
