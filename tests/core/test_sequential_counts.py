"""The exact count test against brute force, and what each of its parts does."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy.stats import nchypergeom_fisher

from tidegate.core.sequential.counts import CountTest, likelihoods
from tidegate.core.sequential.hypergeometric import log_normalisers
from tidegate.core.sequential.mixture import LATER_STARTS, log_start_prior
from tidegate.core.sequential.rules import CountRule

ODDS = np.array([0.1, 0.5, 1.0, 1.25, 2.0, 40.0])


def brute(n_c: int, n_b: int, x: int, odds: float) -> float:
    """The normaliser with the smallest possible count's binomials divided out, exactly."""
    low, high = max(0, x - n_b), min(x, n_c)
    unit = math.comb(n_c, low) * math.comb(n_b, x - low)
    return math.fsum(
        math.comb(n_c, k) * math.comb(n_b, x - k) / unit * odds**k for k in range(low, high + 1)
    )


@pytest.mark.parametrize("n_c", [1, 2, 7, 30])
def test_normalisers_equal_brute_force_enumeration_to_1e_12(n_c: int) -> None:
    cases = [(n_c, n_b, x) for n_b, x in product((1, 3, 40), range(71)) if x <= n_c + n_b]
    requests, others, events = np.array(cases, dtype=np.float64).T
    ours = log_normalisers(requests, others, events, np.log(ODDS))
    exact = np.array([[math.log(brute(*case, odds)) for odds in ODDS] for case in cases])
    np.testing.assert_allclose(ours, exact, rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        np.exp(ours - ours[:, 2:3]), np.exp(exact - exact[:, 2:3]), rtol=1e-12
    )


@pytest.mark.parametrize(
    ("n_c", "n_b", "x"),
    [(30, 570, 6), (300, 300, 150), (3000, 57_000, 12_000), (40_000, 40_000, 900)],
    ids=["canary", "labels", "many-labels", "large-support"],
)
def test_likelihood_ratios_agree_with_scipy_on_large_supports(n_c: int, n_b: int, x: int) -> None:
    k = int(x * n_c / (n_c + n_b)) + 2
    normal = log_normalisers(
        np.array([float(n_c)]), np.array([float(n_b)]), np.array([float(x)]), np.log([1.0, 2.0])
    )[0]
    ours = k * math.log(2.0) - (normal[1] - normal[0])
    scipy = nchypergeom_fisher.logpmf(k, n_c + n_b, n_c, x, 2.0) - nchypergeom_fisher.logpmf(
        k, n_c + n_b, n_c, x, 1.0
    )
    assert ours == pytest.approx(scipy, abs=1e-6)


def expectation(rule: CountRule, n_c: int, n_b: int, x: int, odds: float) -> dict[str, float]:
    """Exact mean of every e-factor of one minute when the true odds are ``odds``."""
    low, high = max(0, x - n_b), min(x, n_c)
    k = np.arange(low, high + 1, dtype=np.float64)
    weights = np.array(
        [math.comb(n_c, int(i)) * math.comb(n_b, x - int(i)) * odds**i for i in k], dtype=np.float64
    )
    weights /= weights.sum()
    minute = likelihoods(rule, np.full(len(k), float(n_c)), k, np.full(len(k), float(n_b)), x - k)
    return {
        "harm": float((weights @ np.exp(minute.harm)).max()),
        "not_worse": float((weights @ np.exp(minute.odds[0])).max()),
        "first_step": float((weights @ np.exp(minute.odds[1])).max()),
    }


@pytest.mark.parametrize("counts", [(30, 570, 6), (5, 3, 4), (50, 50, 30), (300, 10, 9)])
@pytest.mark.parametrize("margin", [1.0, 1.25, 3.0])
def test_no_factor_has_a_mean_above_one_under_its_null(
    counts: tuple[int, int, int], margin: float
) -> None:
    rule = CountRule(margin=margin, harm_level=0.01)
    for odds in (0.3 * margin, margin):
        assert expectation(rule, *counts, odds)["harm"] <= 1 + 1e-12
    for odds in (margin, 2.0 * margin):
        assert expectation(rule, *counts, odds)["not_worse"] <= 1 + 1e-12
    assert expectation(rule, *counts, max(4.0, margin))["first_step"] <= 1 + 1e-12


def test_harm_has_a_mean_above_one_beyond_the_margin() -> None:
    assert expectation(CountRule(margin=1.25), 300, 570, 9, 3.0)["harm"] > 1.5


@pytest.mark.parametrize("p", [0.005, 0.02, 0.3])
def test_the_binomial_part_has_a_mean_of_at_most_one_at_or_above_negligible(p: float) -> None:
    rule, n = CountRule(margin=1.25, negligible=0.005), 40
    x = np.arange(n + 1, dtype=np.float64)
    minute = likelihoods(rule, np.full(n + 1, float(n)), x, np.ones(n + 1), np.zeros(n + 1))
    weights = np.array([math.comb(n, int(k)) * p**k * (1 - p) ** (n - k) for k in x])
    assert (weights @ np.exp(minute.rate)).max() <= 1 + 1e-12


def test_the_prior_over_starts_sums_to_at_most_one() -> None:
    prior = np.exp(log_start_prior(np.arange(1_000_000, dtype=np.float64)))
    assert 1 - LATER_STARTS < prior.sum() <= 1


def test_grid_weights_sum_to_one() -> None:
    rule = CountRule(margin=1.25, negligible=0.005)
    for grid in (rule.harm, *rule.nulls):
        assert np.exp(grid.log_weights).sum() == pytest.approx(1)
    assert np.exp(rule.rate_log_weights).sum() == pytest.approx(1)


def test_step_margins_are_never_below_the_guards_own() -> None:
    nulls = CountRule(margin=3.0).nulls
    assert [round(math.exp(grid.null), 9) for grid in nulls] == [3.0, 4.0, 3.0]


def play(rule: CountRule, minutes: list[tuple[int, int, int, int]]) -> CountTest:
    test = CountTest.start(rule)
    for n_c, x_c, n_b, x_b in minutes:
        test = test.add(candidate=n_c, candidate_events=x_c, champion=n_b, champion_events=x_b)
    return test


def test_one_stalled_minute_cannot_decide_alone() -> None:
    stalled = play(CountRule(margin=1.25), [(3000, 3000, 57_000, 500)])
    assert 0.3 * stalled.rule.boundary < stalled.harm_max[0] <= 0.5 * stalled.rule.boundary
    assert play(CountRule(margin=1.25), [(3000, 3000, 57_000, 500)] * 4).harmed[0] == 1


def test_one_stalled_minute_of_the_champion_cannot_promote_alone() -> None:
    stalled = play(CountRule(margin=1.25, negligible=0.005), [(3000, 30, 57_000, 57_000)])
    assert stalled.log_not_worse()[0] < stalled.rule.promote_boundary


def test_no_errors_at_all_are_negligible_after_about_seven_hundred_requests() -> None:
    rule, minute = CountRule(margin=1.25, negligible=0.005), (30, 0, 570, 6)
    shown = [n for n in range(60) if play(rule, [minute] * n).log_rate_part()[0] > math.log(40.0)]
    assert 600 <= 30 * shown[0] <= 850


def test_without_negligible_no_errors_on_either_side_show_nothing() -> None:
    assert play(CountRule(margin=1.25), [(30, 0, 570, 0)] * 500).log_not_worse()[
        0
    ] == pytest.approx(0)


@pytest.mark.parametrize("minute", [(0, 0, 570, 90), (30, 20, 0, 0)], ids=["champion", "candidate"])
def test_one_armed_minutes_carry_no_evidence(minute: tuple[int, int, int, int]) -> None:
    rule = CountRule(margin=1.25, negligible=0.005)
    before = play(rule, [(30, 1, 570, 6)] * 5)
    after = play(rule, [(30, 1, 570, 6)] * 5 + [minute] * 5)
    assert np.array_equal(before.harm, after.harm)
    assert np.array_equal(before.rate, after.rate)
    assert before.looks[0] == after.looks[0] == 5


def test_harm_after_a_long_healthy_day_is_found_within_half_an_hour() -> None:
    healthy = [(30, 0 if i % 3 else 1, 570, 6) for i in range(1000)]
    assert play(CountRule(margin=1.25, negligible=0.005), healthy + [(30, 2, 570, 6)] * 30).harmed[
        0
    ]


def test_negligible_rates_are_never_harm_however_large_the_ratio() -> None:
    minutes = [(1000, 2, 19_000, 1)] * 200
    assert play(CountRule(margin=1.25), minutes).harmed[0] == 1
    assert play(CountRule(margin=1.25, negligible=0.005), minutes).harmed[0] == 0


def test_a_batch_is_many_independent_rollouts() -> None:
    rule = CountRule(margin=1.25, negligible=0.005)
    rows = [(30, 3, 570, 6), (0, 0, 570, 6), (300, 1, 300, 9)]
    batch = CountTest.start(rule, 3)
    n_c, x_c, n_b, x_b = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    for _ in range(4):
        batch = batch.add(candidate=n_c, candidate_events=x_c, champion=n_b, champion_events=x_b)
    for at, row in enumerate(rows):
        single = play(rule, [row] * 4)
        assert batch.harm_max[at] == pytest.approx(single.harm_max[0], abs=1e-9)
        assert batch.log_not_worse()[at] == pytest.approx(single.log_not_worse()[0], abs=1e-9)
