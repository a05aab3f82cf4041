"""Mean losses of two arms: validity, speed, and sums that cannot be."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binom

from tidegate.core.sequential.losses import Losses, LossRule, LossTest
from tidegate.errors import NotJudgedError

Array = npt.NDArray[np.float64]


def beta(mean: float, sd: float = 0.22) -> tuple[float, float]:
    size = mean * (1 - mean) / sd**2 - 1
    return mean * size, (1 - mean) * size


def sums(rng: np.random.Generator, runs: int, n: int, mean: float) -> Losses:
    rows = rng.beta(*beta(mean), size=(runs, n))
    return Losses(n=float(n), total=rows.sum(axis=1), squares=(rows * rows).sum(axis=1))


def crossings(
    rule: LossRule, *, runs: int, minutes: int, share: float, means: tuple[float, float],
    drift: float = 0.0, seed: int = 7,
) -> tuple[Array, Array]:  # fmt: skip
    """First minute of harm and of "not worse" per run, infinite if never. 600 labels a minute."""
    rng, test = np.random.default_rng(seed), LossTest.start(rule, runs)
    harm, shown = np.full(runs, np.inf), np.full(runs, np.inf)
    n_c = round(600 * share)
    for minute in range(1, minutes + 1):
        more = drift * minute / minutes
        test = test.add(
            candidate=sums(rng, runs, n_c, means[0] + more),
            champion=sums(rng, runs, 600 - n_c, means[1] + more),
        )
        harm = np.where(np.isinf(harm) & (test.harmed > 0), minute, harm)
        now = test.log_not_worse() >= rule.promote_boundary
        shown = np.where(np.isinf(shown) & now, minute, shown)
    return harm, shown


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95], ids=["canary", "half", "probation"])
@pytest.mark.parametrize("center", [None, 0.171], ids=["earlier-strata", "holdout"])
def test_equal_models_are_reverted_no_more_often_than_promised(
    share: float, center: float | None
) -> None:
    rule = LossRule(margin=1.0, harm_level=0.05, center=center)
    harm, _ = crossings(rule, runs=120, minutes=40, share=share, means=(0.171, 0.171), drift=0.1)
    assert np.isfinite(harm).sum() <= binom.ppf(0.999, 120, 0.05)


def test_a_loss_at_the_margin_is_promoted_no_more_often_than_promised() -> None:
    rule = LossRule(margin=1.05)
    _, shown = crossings(rule, runs=120, minutes=40, share=0.5, means=(1.05 * 0.171, 0.171))
    assert np.isfinite(shown).sum() <= binom.ppf(0.999, 120, 0.05)


def test_a_worse_brier_score_is_found_in_about_a_quarter_of_an_hour() -> None:
    rule = LossRule(margin=1.0, harm_level=0.01, center=0.171)
    harm, _ = crossings(rule, runs=100, minutes=40, share=0.25, means=(0.193, 0.171))
    assert 10 <= np.median(harm) <= 20


def test_a_better_brier_score_is_shown_not_worse() -> None:
    _, shown = crossings(LossRule(margin=1.05), runs=60, minutes=40, share=0.5, means=(0.15, 0.171))
    assert np.median(shown) < 40


@pytest.mark.heavy
def test_detection_times_stay_near_the_recorded_ones() -> None:
    rule = LossRule(margin=1.0, harm_level=0.01, center=0.171)
    harm, _ = crossings(rule, runs=400, minutes=120, share=0.05, means=(0.193, 0.171))
    assert 38 <= np.median(harm) <= 58
    rule = LossRule(margin=1.05, harm_level=0.01, center=0.171)
    harm, _ = crossings(rule, runs=400, minutes=80, share=0.5, means=(0.193, 0.171))
    assert 19 <= np.median(harm) <= 32


GOOD = Losses(n=10, total=4.0, squares=2.0)


@pytest.mark.parametrize(
    "wrong",
    [
        Losses(n=10, total=11.0, squares=11.0),
        Losses(n=10, total=-1.0, squares=1.0),
        Losses(n=10, total=4.0, squares=4.5),
        Losses(n=10, total=4.0, squares=1.5),
        Losses(n=10, total=float("nan"), squares=1.0),
        Losses(n=0, total=1.0, squares=1.0),
        Losses(n=-1, total=0.0, squares=0.0),
    ],
    ids=["above-one", "negative", "squares-large", "squares-small", "nan", "no-rows", "negative-n"],
)
def test_sums_that_no_losses_can_have_are_an_error(wrong: Losses) -> None:
    with pytest.raises(NotJudgedError, match="impossible"):
        LossTest.start(LossRule(margin=1.0)).add(candidate=wrong, champion=GOOD)


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0])
def test_constant_losses_pass_the_check_in_spite_of_rounding(value: float) -> None:
    n = 33_333
    total = float(np.full(n, value).sum())
    same = Losses(n=n, total=total, squares=float(np.full(n, value**2).sum()))
    LossTest.start(LossRule(margin=1.0)).add(candidate=same, champion=same)


def test_a_stratum_with_one_arm_carries_no_evidence() -> None:
    nothing = Losses(n=0, total=0.0, squares=0.0)
    test = LossTest.start(LossRule(margin=1.0)).add(candidate=GOOD, champion=nothing)
    assert test.looks[0] == 0
    assert test.log_not_worse()[0] == pytest.approx(0.0)


def test_the_predictable_centre_knows_only_earlier_strata() -> None:
    test = LossTest.start(LossRule(margin=1.0))
    assert test._center()[0] == 0.5
    assert test.add(candidate=GOOD, champion=GOOD)._center()[0] == pytest.approx(0.4)


def test_a_ramp_while_losses_drift_does_not_look_like_a_difference() -> None:
    """Two equal models; the candidate's share rises just as the losses of both do."""
    test = LossTest.start(LossRule(margin=1.05, harm_level=0.01))
    for mean, n_c, n_b in ((0.1, 50, 950), (0.2, 500, 500)):
        arms = [Losses(n=n, total=mean * n, squares=mean * n * 0.4) for n in (n_c, n_b)]
        test = test.add(candidate=arms[0], champion=arms[1])
    candidate, champion = test.means()
    assert candidate[0] == pytest.approx(champion[0])
    pooled = test.sums[:, 0]
    assert pooled[1] / pooled[0] > 1.2 * pooled[3] / pooled[2]
