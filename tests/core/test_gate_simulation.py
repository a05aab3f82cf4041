"""The gate's promise, by simulation: a model worse by exactly the margin passes at most 5 %.

Every case is a finite population of rows; the margin is the population's own difference, so that
drawing rows with replacement makes the truth lie exactly at the margin, whatever the metric. A
judge that cheats (a point rule, the wrong bound, a margin twice as wide) must fail the same
assertion, else the simulation would show nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from tidegate.core.config import Gate, Rule
from tidegate.core.gate import judge
from tidegate.core.metrics.estimate import estimate
from tidegate.core.metrics.table import find
from tidegate.core.model import Finding, Kind, Margin, Outcome, Task
from tidegate.core.table import Predictions

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.core.metrics.estimate import Floats

    Judge = Callable[[Predictions, Gate, Task], bool]

RUNS, ROWS, POPULATION = 400, 2000, 100_000
REGRESSION = {"mae", "rmse", "r2"}


def honest(table: Predictions, gate: Gate, task: Task) -> bool:
    return judge(table, gate, task=task).outcome is Outcome.PASS


def point_rule(table: Predictions, gate: Gate, task: Task) -> bool:
    """No interval: the lower bound at 50 % is the estimate itself."""
    return honest(table, replace(gate, confidence=0.5000001), task)


def wrong_bound(table: Predictions, gate: Gate, task: Task) -> bool:
    """Passes whatever is not shown to be worse."""
    return judge(table, gate, task=task).outcome is not Outcome.REJECT


def wide_margin(table: Predictions, gate: Gate, task: Task) -> bool:
    (rule,) = gate.rules
    assert rule.margin is not None
    doubled = replace(rule, margin=replace(rule.margin, value=4 * rule.margin.value))
    return honest(table, replace(gate, rules=(doubled,)), task)


def flipped_margin(table: Predictions, gate: Gate, task: Task) -> bool:
    (rule,) = gate.rules
    assert rule.margin is not None
    flipped = replace(rule, margin=replace(rule.margin, value=-rule.margin.value))
    return honest(table, replace(gate, rules=(flipped,)), task)


def _population(metric: str) -> tuple[Predictions, float, Task]:
    """Return rows, how much worse the candidate is on them (oriented), and the task."""
    rng = np.random.default_rng(17)
    if metric in REGRESSION:
        truth = rng.gamma(4, 2, POPULATION)
        both = truth + rng.normal(0, 1, POPULATION)
        candidate = both + rng.normal(0.1, 0.5, POPULATION)
        champion, task = both + rng.normal(0, 0.3, POPULATION), Task.REGRESSION
    else:
        truth = (rng.random(POPULATION) < 0.2).astype(np.float64)
        both = 1.5 * truth - 1 + 0.8 * rng.normal(size=POPULATION)
        candidate = _logistic(both + 0.6 * rng.normal(size=POPULATION))
        champion, task = _logistic(both + 0.3 * rng.normal(size=POPULATION)), Task.BINARY
    table = Predictions(y_true=truth, candidate=candidate, champion=champion)
    found = find(metric, task)
    values = [estimate(found.kind, truth, model) for model in (candidate, champion)]
    assert values[0] is not None
    assert values[1] is not None
    return table, found.sign * (values[1].value - values[0].value), task


def _logistic(x: Floats) -> Floats:
    result: Floats = 1 / (1 + np.exp(-x))
    return result


def _passes(
    metric: str,
    judged: Judge,
    *,
    size: float = 1.0,
    relative: bool = False,
    n: int = ROWS,
    runs: int = RUNS,
) -> int:
    """Return how many of the runs pass with a margin of ``size`` times the true difference."""
    table, worse, task = _population(metric)
    assert worse > 0
    assert table.y_true is not None
    assert table.champion is not None
    if relative:
        champion = estimate(find(metric, task).kind, table.y_true, table.champion)
        assert champion is not None
        worse /= abs(champion.value)
    gate = Gate(rules=(Rule(metric=metric, margin=Margin(value=size * worse, relative=relative)),))
    rng, passed = np.random.default_rng(5), 0
    for _ in range(runs):
        rows = rng.integers(0, POPULATION, n)
        drawn = Predictions(
            y_true=table.y_true[rows],
            candidate=table.candidate[rows],
            champion=table.champion[rows],
        )
        passed += judged(drawn, gate, task)
    return passed


METRICS = (
    "roc_auc", "average_precision", "log_loss", "brier", "accuracy", "f1", "mae", "rmse", "r2",
)  # fmt: skip
# 5 % of 400 runs, and what chance adds to that at most once in 10,000 such tests.
ALLOWED = int(stats.binom.ppf(1 - 1e-4, RUNS, 0.05))


@pytest.mark.parametrize("relative", [False, True], ids=["absolute", "relative"])
@pytest.mark.parametrize("metric", METRICS)
def test_a_model_worse_by_exactly_the_margin_passes_at_most_as_often_as_promised(
    metric: str, relative: bool
) -> None:
    assert _passes(metric, honest, relative=relative) <= ALLOWED


@pytest.mark.parametrize("mutant", [point_rule, wrong_bound, wide_margin])
@pytest.mark.parametrize("metric", ["roc_auc", "log_loss", "accuracy"])
def test_a_judge_that_cheats_is_found_out(metric: str, mutant: Judge) -> None:
    assert _passes(metric, mutant) > ALLOWED


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss", "accuracy", "rmse"])
def test_a_margin_well_above_the_difference_passes_nearly_always(metric: str) -> None:
    runs = 100
    assert _passes(metric, honest, size=6.0, n=8000, runs=runs) >= 0.95 * runs
    assert _passes(metric, flipped_margin, size=6.0, n=8000, runs=runs) < 0.95 * runs


def test_the_smallest_table_that_may_decide_keeps_the_promise() -> None:
    """20 of a class is where the rank metrics begin to answer (10 would let 7.7 % through)."""
    assert _passes("roc_auc", honest, n=120) <= ALLOWED


def test_the_finding_says_what_the_simulation_counts() -> None:
    table, worse, task = _population("roc_auc")
    gate = Gate(rules=(Rule(metric="roc_auc", margin=Margin(value=worse)),))
    findings: list[Finding] = [
        f for f in judge(table, gate, task=task).findings if f.kind is Kind.MARGIN
    ]
    assert findings[0].difference == pytest.approx(-worse)
