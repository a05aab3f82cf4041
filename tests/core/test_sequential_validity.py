"""The promises, by simulation: false reverts at every look, power, false promotions.

The same assertions are shown to fail for what looks right and is not: a flipped margin, a z-test
at every look, and counts pooled over ramp and drift.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binom

from tidegate.core.sequential.counts import CountTest
from tidegate.core.sequential.rules import CountRule

Array = npt.NDArray[np.float64]
Minutes = Iterator[tuple[Array, Array, Array, Array]]
ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class World:
    """Traffic as it may be; ``odds`` is the candidate's ratio."""

    total: float = 600.0
    base: float = 0.01
    odds: float = 1.0
    share: float = 0.05
    drift: float = 1.0  # the base rate's factor from first to last minute
    ramp: tuple[float, ...] = ()  # shares of equal stretches; replaces ``share``
    bursts: bool = False  # the base rate jumps in shared bursts
    minutes: int = 60

    def play(self, runs: int, seed: int = 20_261_123) -> Minutes:
        rng = np.random.default_rng(seed)
        for minute in range(self.minutes):
            base = np.full(runs, self.base * self.drift ** (minute / self.minutes))
            if self.bursts:
                base = np.minimum(base * rng.gamma(0.3, 1 / 0.3, runs), 0.5)
            odds = base / (1 - base) * self.odds
            share = self.share
            if self.ramp:
                share = self.ramp[minute * len(self.ramp) // self.minutes]
            n_c = rng.poisson(self.total * share, runs)
            n_b = rng.poisson(self.total * (1 - share), runs)
            x_c, x_b = rng.binomial(n_c, odds / (1 + odds)), rng.binomial(n_b, base)
            n, x = n_c.astype(np.float64), x_c.astype(np.float64)
            yield n, x, n_b.astype(np.float64), x_b.astype(np.float64)


Rule = Callable[[Minutes, int], Array]
"""Plays minutes and returns, per run, whether it was ever reverted."""


def exact(minutes: Minutes, runs: int, *, margin: float = 1.0) -> Array:
    test = CountTest.start(CountRule(margin=margin, harm_level=ALPHA), runs)
    for n_c, x_c, n_b, x_b in minutes:
        test = test.add(candidate=n_c, candidate_events=x_c, champion=n_b, champion_events=x_b)
    return test.harmed


def peeked_z(minutes: Minutes, runs: int) -> Array:
    sums, ever = np.zeros((4, runs)), np.zeros(runs)
    for minute in minutes:
        sums += np.stack(minute)
        n_c, x_c, n_b, x_b = sums
        pooled = (x_c + x_b) / (n_c + n_b)
        spread = np.sqrt(pooled * (1 - pooled) * (1 / np.maximum(n_c, 1) + 1 / n_b))
        z = (x_c / np.maximum(n_c, 1) - x_b / n_b) / np.maximum(spread, 1e-12)
        ever = np.maximum(ever, z > 1.6449)
    return ever


def pooled(minutes: Minutes, runs: int) -> Array:
    sums, ever = np.zeros((4, runs)), np.zeros(runs)
    rule = CountRule(margin=1.0, harm_level=ALPHA)
    for minute in minutes:
        sums += np.stack(minute)
        n_c, x_c, n_b, x_b = sums
        test = CountTest.start(rule, runs)
        for _ in range(3):  # a third each, so that the per-minute cap does not hide it
            test = test.add(
                candidate=n_c // 3, candidate_events=x_c // 3,
                champion=n_b // 3, champion_events=x_b // 3,
            )  # fmt: skip
        ever = np.maximum(ever, test.harmed)
    return ever


def assert_false_reverts_are_bounded(rule: Rule, world: World, runs: int = 600) -> None:
    reverted = int(rule(world.play(runs), runs).sum())
    assert reverted <= binom.ppf(0.999, runs, ALPHA), f"{reverted} of {runs} reverted"


SOUND = {
    "a-a": World(),
    "a-a-low-traffic": World(total=6.0),
    "a-a-high-traffic": World(total=6000.0, minutes=30),
    "shared-bursts": World(bursts=True),
    "drift-and-ramp": World(drift=6.0, ramp=(0.05, 0.25, 0.5)),
    "probation-shares": World(share=0.95),
}


@pytest.mark.parametrize("world", SOUND.values(), ids=SOUND)
def test_false_reverts_keep_the_promise_with_a_look_every_minute(world: World) -> None:
    assert_false_reverts_are_bounded(exact, world)


def test_false_reverts_keep_the_promise_at_the_margin_itself() -> None:
    assert_false_reverts_are_bounded(partial(exact, margin=1.25), World(odds=1.25))


def test_a_flipped_margin_would_be_noticed() -> None:
    with pytest.raises(AssertionError):
        assert_false_reverts_are_bounded(
            partial(exact, margin=1 / 1.25), World(odds=1.25, total=6000.0, minutes=30)
        )


def test_a_z_test_at_every_look_would_be_noticed() -> None:
    with pytest.raises(AssertionError):
        assert_false_reverts_are_bounded(peeked_z, SOUND["a-a"])


def test_pooling_over_drift_and_ramp_would_be_noticed() -> None:
    with pytest.raises(AssertionError):
        assert_false_reverts_are_bounded(pooled, SOUND["drift-and-ramp"], runs=120)


def test_twice_the_errors_are_found_within_the_hour() -> None:
    runs = 600
    assert exact(World(odds=2.0).play(runs), runs).mean() >= 0.75


def test_five_times_the_errors_are_found_in_a_quarter_of_an_hour() -> None:
    runs = 300
    assert exact(World(odds=5.0, minutes=15).play(runs), runs).mean() >= 0.95


def promoted(world: World, runs: int, *, margin: float, negligible: float) -> Array:
    rule = CountRule(margin=margin, negligible=negligible)
    test, ever = CountTest.start(rule, runs), np.zeros(runs)
    for n_c, x_c, n_b, x_b in world.play(runs):
        test = test.add(candidate=n_c, candidate_events=x_c, champion=n_b, champion_events=x_b)
        ever = np.maximum(ever, test.log_not_worse() >= rule.promote_boundary)
    return ever


@pytest.mark.parametrize("negligible", [0.0, 0.005])
def test_false_promotions_at_the_margin_keep_their_promise(negligible: float) -> None:
    world, runs = World(odds=1.25, share=0.25, minutes=150), 600
    shown = promoted(world, runs, margin=1.25, negligible=negligible).sum()
    assert shown <= binom.ppf(0.999, runs, 0.05)


def test_false_promotions_at_the_negligible_rate_keep_their_promise() -> None:
    world, runs = World(base=0.001, odds=5.0264, share=0.25, minutes=120), 600  # 0.5 % exactly
    shown = promoted(world, runs, margin=1.25, negligible=0.005).sum()
    assert shown <= binom.ppf(0.999, runs, 0.05)


def test_an_equal_model_is_promoted_in_time() -> None:
    world, runs = World(share=0.5, minutes=200), 200
    assert promoted(world, runs, margin=1.25, negligible=0.005).mean() >= 0.8


@pytest.mark.heavy
@pytest.mark.parametrize(
    "world",
    [*SOUND.values(), World(base=0.001, minutes=480), World(total=60.0, minutes=480)],
    ids=[*SOUND, "rare-errors-eight-hours", "a-a-60-per-minute-eight-hours"],
)
def test_false_reverts_keep_the_promise_at_full_size(world: World) -> None:
    assert_false_reverts_are_bounded(exact, world, runs=10_000)


@pytest.mark.heavy
def test_power_at_full_size() -> None:
    runs = 10_000
    assert exact(World(odds=2.0).play(runs), runs).mean() >= 0.80
