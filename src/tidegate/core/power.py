"""What a policy costs and what it can see, told before the start.

Monte Carlo with the real tests, seeded: how long an equally good model takes to each step and to
promotion, which regression is taken back with 80 % probability within the deadline's time (label
guards: out of the probation, too), and how many
requests a model twice or five times as bad reaches first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tidegate.core.simulation import EXPIRED, PROMOTED, REVERTED, Runs, Traffic, simulate

if TYPE_CHECKING:
    from tidegate.core.config import Canary, Guard, GuardMetric
    from tidegate.core.sequential.mixture import Array

POWER = 0.8
MOST_EVENTS = 600.0  # per evidence interval
FACTORS = (2.0, 5.0)
_LADDER = np.array([1.07, 1.15, 1.3, 1.5, 1.75, 2.0, 2.5, 3.2, 4.5, 7.0, 12.0, 25.0])
_EQUAL_RUNS, _FACTOR_RUNS, _LADDER_RUNS = 200, 80, 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """A median and a high quantile (90 % for an equal model, 95 % for a bad one).

    None: that quantile does not happen before the deadline.
    """

    median: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class StepPlan:
    """When an equal model passes one step; minutes since the start."""

    share: float
    minutes: Spread


@dataclass(frozen=True, kw_only=True, slots=True)
class RegressionPlan:
    """What happens to a model whose odds (label_loss: mean) are ``factor`` times the champion's."""

    factor: float
    reverted: float  # fraction, before the deadline
    promoted: float
    minutes: Spread  # until it is taken back
    exposed: Spread  # candidate requests until then


@dataclass(frozen=True, kw_only=True, slots=True)
class GuardPlan:
    """What one guard can see."""

    metric: GuardMetric
    margin: float
    base_rate: float
    smallest: float | None  # factor reverted with 80 % probability; None: none on the ladder
    regressions: tuple[RegressionPlan, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A policy's figures for given traffic."""

    canary: Canary
    traffic: Traffic
    simulated_per_minute: float  # less than the traffic where simulating it all takes too long
    runs: int
    promoted: float  # fractions of an equal model's rollouts
    reverted: float
    expired: float
    steps: tuple[StepPlan, ...]  # the last one is promotion
    exposed: Spread  # requests an equal candidate answers until its end
    guards: tuple[GuardPlan, ...]


def plan(canary: Canary, traffic: Traffic, *, seed: int = 0) -> Plan:
    """Simulate ``canary`` under ``traffic``; the same seed gives the same plan.

    Guards without a base rate in ``traffic.rates`` are left out, and so not among ``Plan.guards``.
    """
    traffic, asked = _bearable(canary, traffic), traffic
    rng = np.random.default_rng(seed)
    watched = [guard for guard in canary.guards if guard.metric in traffic.rates]
    count = _affordable(_EQUAL_RUNS, canary, traffic)
    equal = simulate(canary, traffic, {g.metric: np.ones(count) for g in watched}, rng)
    to_minutes = canary.interval / 60.0
    scale = asked.per_minute / traffic.per_minute if traffic.per_minute else 1.0
    return Plan(
        canary=canary,
        traffic=asked,
        simulated_per_minute=traffic.per_minute,
        runs=count,
        promoted=_share(equal, PROMOTED),
        reverted=_share(equal, REVERTED),
        expired=_share(equal, EXPIRED),
        steps=tuple(
            StepPlan(share=share, minutes=_spread(equal.passed[:, at] * to_minutes, 0.9))
            for at, share in enumerate(canary.steps)
        ),
        exposed=_spread(equal.exposed * scale, 0.9),
        guards=tuple(_guard_plan(canary, traffic, guard, rng, scale) for guard in watched),
    )


def _guard_plan(
    canary: Canary,
    traffic: Traffic,
    guard: Guard,
    rng: np.random.Generator,
    scale: float,
) -> GuardPlan:
    many = _affordable(_FACTOR_RUNS, canary, traffic)
    few = _affordable(_LADDER_RUNS, canary, traffic)
    metric, ladder = guard.metric, guard.margin * _LADDER
    factors = np.concatenate([np.repeat(FACTORS, many), np.repeat(ladder, few)])
    runs = simulate(canary, traffic, {metric: factors}, rng, probation=guard.needs_labels)
    reverted = [float((runs.outcome[factors == f] == REVERTED).mean()) for f in ladder]
    return GuardPlan(
        metric=metric,
        margin=guard.margin,
        base_rate=traffic.rates[metric],
        smallest=_smallest(ladder, np.array(reverted)),
        regressions=tuple(
            _regression(runs, factors == f, f, canary.interval / 60.0, scale) for f in FACTORS
        ),
    )


def _regression(
    runs: Runs, rows: Array, factor: float, to_minutes: float, scale: float
) -> RegressionPlan:
    outcome = runs.outcome[rows]
    caught = outcome == REVERTED
    return RegressionPlan(
        factor=factor,
        reverted=float(caught.mean()),
        promoted=float((outcome == PROMOTED).mean()),
        minutes=_spread(np.where(caught, runs.minute[rows] * to_minutes, np.inf), 0.95),
        exposed=_spread(np.where(caught, runs.exposed[rows] * scale, np.inf), 0.95),
    )


def _smallest(factors: Array, reverted: Array) -> float | None:
    """Interpolate, on the log scale, the factor at which power passes 80 %.

    >>> _smallest(np.array([1.5, 2.0, 4.0]), np.array([0.1, 0.8, 1.0]))
    2.0
    """
    power = np.maximum.accumulate(reverted)
    reached = np.flatnonzero(power >= POWER)
    if not len(reached):
        return None
    at = int(reached[0])
    if at == 0:
        return float(factors[0])
    part = (POWER - power[at - 1]) / (power[at] - power[at - 1])
    low, high = math.log(factors[at - 1]), math.log(factors[at])
    return round(math.exp(low + part * (high - low)), 12)


def _bearable(canary: Canary, traffic: Traffic) -> Traffic:
    """Cut traffic down to what can be simulated; more traffic only decides sooner.

    Exposed requests are scaled back up, so they err on the large side.
    """
    events = _events(canary, traffic)
    if events <= MOST_EVENTS:
        return traffic
    return replace(traffic, per_minute=traffic.per_minute * MOST_EVENTS / events)


def _affordable(count: int, canary: Canary, traffic: Traffic) -> int:
    """Fewer runs where a minute holds very many events: its exact normaliser costs more."""
    return max(int(count * min(1.0, 100.0 / max(_events(canary, traffic), 1.0))), min(count, 20))


def _events(canary: Canary, traffic: Traffic) -> float:
    rate = max(traffic.rates.values(), default=0.0)
    return traffic.per_minute * canary.interval / 60.0 * rate


def _share(runs: Runs, outcome: int) -> float:
    return float((runs.outcome == outcome).mean())


def _spread(values: Array, high: float) -> Spread:
    """Quantiles without interpolation, so that infinity stays infinity (here: None)."""
    found = (float(np.quantile(values, q, method="higher")) for q in (0.5, high))
    median, upper = (value if math.isfinite(value) else None for value in found)
    return Spread(median=median, high=upper)
