"""Who finds a worse model, how soon, how often by mistake, and how many bad answers get out.

The settings are those of the recorded measurements: 600 requests a minute, 5 % of them to the
candidate, 1 % errors, one hour, a look after every minute. Our rules beside what people use:
a z-test read at every look, "error rate above 2 %" (Argo Rollouts, Flagger), the same kind of
threshold tuned on these very data to our own false-revert rate, and GrowthBook's asymptotic
confidence sequence. A power figure means nothing without its settings: the shipped defaults
(margin 1.25x, alpha .01) stand beside the sharpest ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tidegate.core.config import Canary, GuardMetric
from tidegate.core.power import plan
from tidegate.core.sequential.counts import CountTest
from tidegate.core.sequential.rules import CountRule
from tidegate.core.simulation import Traffic

Array = npt.NDArray[np.float64]
Minutes = Iterator[tuple[Array, Array, Array, Array]]
Rule = Callable[[Minutes, int], Array]
"""Plays minutes of (candidate's requests, errors, champion's); returns when each run reverted."""

MINUTES, RUNS, ALPHA = 60, 2000, 0.05


@dataclass(frozen=True)
class World:
    """Traffic per minute, and how many times the champion's odds the candidate's are."""

    total: float = 600.0
    odds: float = 1.0
    base: float = 0.01
    share: float = 0.05
    drift: float = 1.0
    ramp: tuple[float, ...] = ()
    bursts: bool = False

    def play(self, runs: int, seed: int) -> Minutes:
        rng = np.random.default_rng(seed)
        for minute in range(MINUTES):
            base = np.full(runs, self.base * self.drift ** (minute / MINUTES))
            if self.bursts:
                base = np.minimum(base * rng.gamma(0.3, 1 / 0.3, runs), 0.5)
            share = self.ramp[minute * len(self.ramp) // MINUTES] if self.ramp else self.share
            odds = base / (1 - base) * self.odds
            n_c, n_b = (
                rng.poisson(self.total * share, runs),
                rng.poisson(self.total * (1 - share), runs),
            )
            x_c, x_b = rng.binomial(n_c, odds / (1 + odds)), rng.binomial(n_b, base)
            counts = np.stack([n_c, x_c, n_b, x_b]).astype(np.float64)
            yield counts[0], counts[1], counts[2], counts[3]


def first(when: Array, now: npt.NDArray[np.bool_], minute: int) -> Array:
    out: Array = np.where(np.isinf(when) & now, minute, when)
    return out


def exact(margin: float, alpha: float, negligible: float = 0.0) -> Rule:
    def rule(minutes: Minutes, runs: int) -> Array:
        test = CountTest.start(
            CountRule(margin=margin, harm_level=alpha, negligible=negligible), runs
        )
        when = np.full(runs, np.inf)
        for at, (n_c, x_c, n_b, x_b) in enumerate(minutes, 1):
            test = test.add(candidate=n_c, candidate_events=x_c, champion=n_b, champion_events=x_b)
            when = first(when, test.harmed > 0, at)
        return when

    return rule


def cumulative(reject: Callable[[Array], npt.NDArray[np.bool_]]) -> Rule:
    """A rule on the sums so far: rows of candidate's requests and errors, champion's."""

    def rule(minutes: Minutes, runs: int) -> Array:
        sums, when = np.zeros((4, runs)), np.full(runs, np.inf)
        for at, minute in enumerate(minutes, 1):
            sums += np.stack(minute)
            when = first(when, reject(sums), at)
        return when

    return rule


def z_above(sums: Array) -> npt.NDArray[np.bool_]:
    n_c, x_c, n_b, x_b = np.maximum(sums, 1e-9)
    pooled = (x_c + x_b) / (n_c + n_b)
    spread = np.sqrt(np.maximum(pooled * (1 - pooled), 1e-12) * (1 / n_c + 1 / n_b))
    above: npt.NDArray[np.bool_] = (x_c / n_c - x_b / n_b) / spread > 1.6449
    return above


def asymptotic(sums: Array) -> npt.NDArray[np.bool_]:
    """Waudby-Smith et al. (arXiv 2103.06476, eq. 134), one-sided, tuned for 5,000 requests."""
    n_c, x_c, n_b, x_b = np.maximum(sums, 1e-9)
    p_c, p_b, n = x_c / n_c, x_b / n_b, n_c + n_b
    variance = (p_c * (1 - p_c) / n_c + p_b * (1 - p_b) / n_b) * n
    rho2 = (-2 * np.log(2 * ALPHA) + np.log(1 - 2 * np.log(2 * ALPHA))) / 5000.0
    grown = n * rho2 + 1
    radius = np.sqrt(variance * 2 * grown / (n * n * rho2) * np.log1p(np.sqrt(grown) / (2 * ALPHA)))
    enough = (x_c >= 5) & (x_b >= 5)
    above: npt.NDArray[np.bool_] = enough & (p_c - p_b > radius)
    return above


def window(width: int, limit: float) -> Rule:
    """Revert when the candidate's error rate over the last ``width`` minutes is above ``limit``."""

    def rule(minutes: Minutes, runs: int) -> Array:
        past: list[tuple[Array, Array]] = []
        when = np.full(runs, np.inf)
        for at, (n_c, x_c, _, _) in enumerate(minutes, 1):
            past = [*past, (n_c, x_c)][-width:]
            requests, errors = (np.sum([row[i] for row in past], axis=0) for i in (0, 1))
            if at >= width:
                when = first(when, errors > limit * np.maximum(requests, 1), at)
        return when

    return rule


def tuned(width: int, target: float) -> float:
    """Return the limit that this very traffic, without any regression, exceeds ``target`` often."""
    low, high = 0.01, 0.5
    for _ in range(14):
        middle = 0.5 * (low + high)
        rate = np.isfinite(window(width, middle)(World().play(RUNS, seed=99), RUNS)).mean()
        low, high = (middle, high) if rate > target else (low, middle)
    return high


def information_bound(base: float, odds: float, share: float, alpha: float) -> float:
    """Candidate requests below which nobody can decide: ln(1/alpha) / Jensen-Shannon rate."""
    bad = base / (1 - base) * odds
    bad /= 1 + bad
    mean = share * bad + (1 - share) * base

    def divergence(p: float, q: float) -> float:
        return float(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))

    per_request = share * divergence(bad, mean) + (1 - share) * divergence(base, mean)
    return float(np.log(1 / alpha)) / per_request * share


def cell(rule: Rule, world: World, seed: int = 11) -> tuple[float, float, float]:
    """Share reverted, median minute (late ones count as late), mean bad answers that got out."""
    when = rule(world.play(RUNS, seed), RUNS)
    bad = world.base / (1 - world.base) * world.odds
    excess = bad / (1 + bad) - world.base
    out = np.minimum(when, MINUTES) * world.total * world.share * excess
    return float(np.isfinite(when).mean()), float(np.median(when)), float(out.mean())


def compare(rules: dict[str, Rule]) -> None:
    print(
        f"{'reverted within the hour (median minute)':<46}  A/A    1.5x        2x          5x      bad answers at 2x"
    )
    for name, rule in rules.items():
        figures = [cell(rule, World(odds=odds)) for odds in (1.0, 1.5, 2.0, 5.0)]
        shown = [
            f"{100 * reverted:5.1f}% {f'({median:.0f})' if median < 1e9 else '':<5}"
            for reverted, median, _ in figures
        ]
        print(f"  {name:<44}{''.join(shown)}  {figures[2][2]:6.1f}")


def validity(rules: dict[str, Rule]) -> None:
    worlds = {
        "A/A": World(), "6/min": World(total=6.0), "6,000/min": World(total=6000.0),
        "bursts": World(bursts=True), "drift+ramp": World(drift=6.0, ramp=(0.05, 0.25, 0.5)),
    }  # fmt: skip
    print(f"\n{'false reverts, models equal':<46}" + "".join(f"{name:>12}" for name in worlds))
    for name, rule in rules.items():
        rates = [cell(rule, replace(world, odds=1.0))[0] for world in worlds.values()]
        print(f"  {name:<44}" + "".join(f"{100 * rate:11.1f}%" for rate in rates))


def main() -> None:
    """Print detection, mistakes, minutes and bad answers, side by side."""
    began = time.perf_counter()
    ours = exact(1.0, ALPHA)
    target = cell(ours, World())[0]
    limits = {width: tuned(width, target) for width in (10, 30)}
    rules = {
        "tidegate, margin 1.0x, alpha .05": ours,
        "tidegate, margin 1.0x, alpha .01": exact(1.0, 0.01),
        "tidegate as shipped: 1.25x, .01, negl. 0.5 %": exact(1.25, 0.01, 0.005),
        "tidegate, 1.25x, .0025 (four guards)": exact(1.25, 0.0025, 0.005),
        "z-test read every minute, .05": cumulative(z_above),
        "error rate > 2 %, last minute": window(1, 0.02),
        **{
            f"error rate > {100 * limit:.1f} %, {width} minutes (tuned)": window(width, limit)
            for width, limit in limits.items()
        },
        "asymptotic confidence sequence, .05": cumulative(asymptotic),
    }
    print(
        f"600 requests/min, 5 % to the candidate, 1 % errors, {MINUTES} looks, {RUNS} runs a cell\n"
    )
    compare(rules)
    validity(rules)
    bound = information_bound(0.01, 2.0, 0.05, ALPHA) / 30.0
    print(
        f"\ninformation bound for 2x at alpha .05: {bound:.0f} minutes; 1.5 times that: {1.5 * bound:.0f}"
    )
    figures = plan(Canary(), Traffic(per_minute=600.0, rates={GuardMetric.ERROR_RATE: 0.01}))
    minutes = figures.steps[-1].minutes
    print(
        f"shipped policy, whole rollout: equal model promoted {100 * figures.promoted:.0f} %, "
        f"median {minutes.median} min, 90 % {minutes.high} min; "
        f"taken back with 80 % from about {figures.guards[0].smallest:.2f}x on"
    )
    print(f"({time.perf_counter() - began:.0f} s)")


if __name__ == "__main__":
    main()
