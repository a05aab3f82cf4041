"""The plan's figures: reproducible, in order, and honest about what cannot be seen."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.core.config import Canary, Guard, GuardMetric
from tidegate.core.power import MOST_EVENTS, Plan, _smallest, plan
from tidegate.core.simulation import Traffic

ERRORS = GuardMetric.ERROR_RATE


def at(per_minute: float, rate: float = 0.01) -> Traffic:
    return Traffic(per_minute=per_minute, rates={ERRORS: rate})


@pytest.fixture(scope="module")
def usual() -> Plan:
    return plan(Canary(), at(600))


def test_the_same_seed_gives_the_same_plan() -> None:
    cheap = Canary(deadline=14_400.0, guards=Canary().guards[:1])
    assert plan(cheap, at(60)) == plan(cheap, at(60))


def test_an_equal_model_is_promoted_and_hardly_ever_reverted(usual: Plan) -> None:
    assert usual.promoted >= 0.95
    assert usual.reverted <= 0.02
    assert usual.promoted + usual.reverted + usual.expired == pytest.approx(1)


def test_no_step_is_passed_before_its_bake(usual: Plan) -> None:
    medians = [step.minutes.median for step in usual.steps]
    assert medians[0] is not None
    assert medians[1] is not None
    assert medians[2] is not None
    assert 33 <= medians[0] <= medians[1] - 30
    assert medians[1] + 30 <= medians[2] < 240


def test_a_worse_model_is_taken_back_sooner_and_reaches_fewer_requests(usual: Plan) -> None:
    twice, fivefold = usual.guards[0].regressions
    assert twice.minutes.median is not None
    assert fivefold.minutes.median is not None
    assert fivefold.minutes.median < twice.minutes.median
    assert fivefold.exposed.high is not None
    assert twice.exposed.high is not None
    assert fivefold.exposed.high < twice.exposed.high
    assert fivefold.reverted == 1.0


def test_more_traffic_sees_smaller_regressions(usual: Plan) -> None:
    few, many = plan(Canary(deadline=28_800.0), at(60)).guards[0], usual.guards[0]
    assert many.smallest is not None
    assert few.smallest is not None
    assert 1.25 < many.smallest < few.smallest


def test_too_little_traffic_expires() -> None:
    scarce = plan(Canary(deadline=14_400.0), at(2))
    assert scarce.expired > 0.9
    assert scarce.steps[-1].minutes.median is None


def test_heavy_traffic_is_cut_down_and_says_so() -> None:
    heavy = plan(Canary(), at(600_000))
    assert heavy.simulated_per_minute == pytest.approx(MOST_EVENTS / 0.01)
    exposed = heavy.guards[0].regressions[1].exposed.median
    assert exposed is not None
    assert exposed >= 600_000 * 0.05 * 4


def test_label_guards_are_simulated_when_they_have_a_base_rate() -> None:
    guards = (
        *Canary().guards,
        Guard(metric=GuardMetric.LABEL_ERROR, margin=1.1),
        Guard(metric=GuardMetric.LABEL_LOSS, margin=1.05),
    )
    rates = {ERRORS: 0.01, GuardMetric.LABEL_ERROR: 0.2}
    figures = plan(
        Canary(guards=guards, deadline=14_400.0), Traffic(per_minute=120, rates=rates, labelled=0.5)
    )
    assert [guard.metric for guard in figures.guards] == [ERRORS, GuardMetric.LABEL_ERROR]
    fivefold = figures.guards[1].regressions[1]
    assert fivefold.minutes.median is not None
    assert fivefold.minutes.median > 120  # labels come two hours late


@pytest.mark.parametrize(
    ("power", "smallest"),
    [([0.9, 1.0, 1.0], 1.5), ([0.0, 0.8, 1.0], 2.0), ([0.0, 0.0, 1.0], 2 * 2**0.8)],
)
def test_the_smallest_regression_is_interpolated(power: list[float], smallest: float) -> None:
    assert _smallest(np.array([1.5, 2.0, 4.0]), np.array(power)) == pytest.approx(smallest)


def test_no_regression_may_be_visible() -> None:
    assert _smallest(np.array([1.5, 2.0]), np.array([0.0, 0.5])) is None
