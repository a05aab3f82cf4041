"""How often the one-sided 95 % bounds of every metric hold, on seeded rows whose truth is known.

The truth is the metric on a large population; samples are drawn from it, whole queries where a
metric is a mean over queries. Four bounds a metric: below and above the candidate's own value, below
and above its difference from the champion.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from tests.core.catalogue import CLASSES, VALUES
from tidegate.core.metrics.table import find
from tidegate.core.model import Task
from tidegate.core.rows import Rows
from tidegate.core.table import CANDIDATE, CHAMPION, Predictions

if TYPE_CHECKING:
    from tidegate.core.metrics.kinds import Codes, Floats

POPULATION = 400_000
ROWS = 2_000
IN_QUERY = 8
QUERIED = frozenset({Task.RANKING})
# The estimate of a sum of absolute values is too large near 0: its lower bound says little, and
# rules use the upper one alone.
CEILINGS = frozenset({"ece", "abs_bias"})
# So is that of a sum of squares, by less; a difference of two has no such error.
SQUARES = frozenset({"brier_reliability"})
TESTED = [(name, task) for name, task in VALUES if name != "fbeta@2"] + [
    ("fbeta@2", Task.BINARY), ("recall_at_precision@0.7", Task.BINARY),
    ("recall_at_top@20%", Task.BINARY),
]  # fmt: skip


def _logistic(x: Floats) -> Floats:
    result: Floats = 1 / (1 + np.exp(-x))
    return result


@cache
def population(task: Task) -> tuple[Floats, Floats, Floats, Codes]:
    """Return truth, candidate, champion and query of many rows; the models make similar mistakes."""
    rng = np.random.default_rng(23)
    n = POPULATION
    normal = rng.normal(size=(4, n))
    query = np.arange(n) // IN_QUERY
    match task:
        case Task.BINARY:
            truth = (rng.random(n) < 0.25).astype(np.float64)
            both = 2.2 * truth - 1.6 + 0.9 * normal[0]
            return (
                truth,
                _logistic(both + 0.5 * normal[1]),
                _logistic(1.15 * both + 0.6 * normal[2] - 0.1),
                query,
            )
        case Task.MULTICLASS:
            label = rng.choice(CLASSES, n, p=[0.5, 0.3, 0.2])
            both = rng.normal(size=(n, CLASSES))
            both[np.arange(n), label] += 1.5
            models = []
            for size in (0.4, 0.6):
                logits = both + size * rng.normal(size=(n, CLASSES))
                models.append(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
            return label.astype(np.float64), models[0], models[1], query
        case Task.REGRESSION:
            truth = 5 + rng.gamma(4, 2, n)
            both = truth + 1.5 * normal[0]
            models = []
            for part, size in ((normal[1], 0.5), (normal[2], 0.8)):
                point = both + size * part + 0.2 * size
                models.append(np.column_stack((point, point - 2.5, point + 3.0)))
            return truth, models[0], models[1], query
        case Task.RANKING:
            truth = np.clip(
                np.round(normal[3] + 0.5 * np.repeat(normal[2][: n // IN_QUERY], IN_QUERY)), 0, 3
            )
            both = truth + 0.9 * normal[0]
            return (
                truth,
                np.round(both + 0.5 * normal[1], 1),
                np.round(both + 0.7 * normal[2], 1),
                query,
            )
        case Task.GENERIC:
            hard = rng.random(n // IN_QUERY)[query]
            return (
                np.zeros(n),
                (rng.random(n) < hard).astype(np.float64),
                (rng.random(n) < 0.95 * hard).astype(np.float64),
                query,
            )


def _table(task: Task, rows: Codes, *, queried: bool) -> Predictions:
    truth, candidate, champion, query = population(task)
    return Predictions(
        y_true=truth[rows],
        candidate=candidate[rows],
        champion=champion[rows],
        group=np.unique(query[rows], return_inverse=True)[1] if queried else None,
    )


def _queried(name: str, task: Task) -> bool:
    return task in QUERIED or name.startswith("pass_a")


@cache
def _truths(name: str, task: Task) -> tuple[float, float]:
    table = _table(task, np.arange(POPULATION), queried=_queried(name, task))
    found = Rows(table)
    mine, other = (found.value(find(name, task), model) for model in (CANDIDATE, CHAMPION))
    assert mine is not None
    assert other is not None
    return mine, mine - other


def held(name: str, task: Task, runs: int, n: int = ROWS) -> list[int]:
    """Return how often each of the four bounds held."""
    rng = np.random.default_rng(41)
    metric, truths, counts = find(name, task), _truths(name, task), np.zeros(4, dtype=np.intp)
    queried = _queried(name, task)
    for _ in range(runs):
        if queried:
            firsts = rng.choice(POPULATION // IN_QUERY, n // IN_QUERY, replace=False) * IN_QUERY
            rows = (firsts[:, None] + np.arange(IN_QUERY)).ravel()
        else:
            rows = rng.integers(0, POPULATION, n)
        found = Rows(_table(task, rows, queried=queried))
        own = found.single(metric, CANDIDATE, 0.95)
        difference = found.contrast(metric, CANDIDATE, CHAMPION)
        for at, (statistic, truth) in enumerate(zip((own, difference), truths, strict=True)):
            if statistic is None or not statistic.known:  # it decides nothing: it cannot be wrong
                counts[2 * at : 2 * at + 2] += 1
                continue
            counts[2 * at] += statistic.lower(0.95) <= truth
            counts[2 * at + 1] += statistic.upper(0.95) >= truth
    return [int(count) for count in counts]


def _hold(name: str, task: Task, runs: int) -> None:
    least = stats.binom.ppf(1e-4, runs, 0.925)
    bounds = held(name, task, runs)
    used = bounds[1:2] if name in CEILINGS else bounds[1:] if name in SQUARES else bounds
    assert min(used) >= least, f"{bounds} of {runs}"


NAMES = [f"{task}-{name}" for name, task in TESTED]


@pytest.mark.parametrize(("name", "task"), TESTED, ids=NAMES)
def test_bounds_hold_about_as_often_as_they_say(name: str, task: Task) -> None:
    _hold(name, task, 40)


@pytest.mark.heavy
@pytest.mark.parametrize(("name", "task"), TESTED, ids=NAMES)
def test_bounds_hold_as_often_as_they_say(name: str, task: Task) -> None:
    _hold(name, task, 1000)
