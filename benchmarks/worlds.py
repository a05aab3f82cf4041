"""Rows whose true difference is known: populations from which holdouts are drawn.

A population is finite and drawn from with replacement, so its own metric *is* the truth. The candidate
is the champion's signal with another amount of noise, found by bisection so that the difference
has the wanted size to a thousandth of the margin.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
from sklearn import metrics as sk

from tidegate.core.metrics.table import find
from tidegate.core.model import Task
from tidegate.core.table import Predictions

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

ROWS = 200_000


class Truth(Enum):
    """How the candidate really is, in margins."""

    WORSE = -2.0
    MARGIN = -1.0
    EQUAL = 0.0
    BETTER = 1.0


@dataclass(frozen=True, kw_only=True)
class World:
    """One metric, its margin, and a population for a truth."""

    metric: str
    task: Task
    margin: float
    value: Callable[[Floats, Floats], float]  # scikit-learn's: the judge is not asked about itself

    @property
    def sign(self) -> float:
        return find(self.metric, self.task).sign

    def population(self, truth: Truth) -> Predictions:
        """Return rows on which the candidate is ``truth`` margins better than the champion."""
        rng = np.random.default_rng(17)
        y, signal = _binary(rng) if self.task is Task.BINARY else _numbers(rng)
        shared, mine, theirs = (rng.normal(size=ROWS) for _ in range(3))
        shape: Callable[[Floats], Floats] = _logistic if self.task is Task.BINARY else _same
        champion = shape(signal + 0.6 * shared + 0.5 * theirs)
        goal = self.sign * self.value(y, champion) + truth.value * self.margin

        def candidate(noise: float) -> Floats:
            return shape(signal + 0.6 * shared + noise * mine)

        low, high = 0.0, 3.0  # more noise is worse, whatever the metric
        for _ in range(40):
            middle = 0.5 * (low + high)
            good = self.sign * self.value(y, candidate(middle))
            low, high = (middle, high) if good > goal else (low, middle)
            if abs(good - goal) < 1e-3 * self.margin:
                break
        return Predictions(y_true=y, candidate=candidate(middle), champion=champion)


def drawn(population: Predictions, n: int, rng: np.random.Generator) -> Predictions:
    """Return a holdout of ``n`` rows."""
    rows = rng.integers(0, population.n, n)
    assert population.y_true is not None
    assert population.champion is not None
    return Predictions(
        y_true=population.y_true[rows],
        candidate=population.candidate[rows],
        champion=population.champion[rows],
    )


def _binary(rng: np.random.Generator) -> tuple[Floats, Floats]:
    y = (rng.random(ROWS) < 0.3).astype(np.float64)
    return y, 2.2 * y - 1.6 + 0.5 * rng.normal(size=ROWS)


def _numbers(rng: np.random.Generator) -> tuple[Floats, Floats]:
    y = rng.gamma(4.0, 2.0, ROWS)
    return y, y + 0.3 * rng.normal(size=ROWS)


def _logistic(x: Floats) -> Floats:
    result: Floats = 1.0 / (1.0 + np.exp(-x))
    return result


def _same(x: Floats) -> Floats:
    return x


def _on_decisions(score: Callable[..., float]) -> Callable[[Floats, Floats], float]:
    return lambda y, p: float(score(y, p >= 0.5))


WORLDS = (
    World(metric="roc_auc", task=Task.BINARY, margin=0.01, value=sk.roc_auc_score),
    World(metric="log_loss", task=Task.BINARY, margin=0.01, value=sk.log_loss),
    World(metric="accuracy", task=Task.BINARY, margin=0.01, value=_on_decisions(sk.accuracy_score)),
    World(metric="f1", task=Task.BINARY, margin=0.02, value=_on_decisions(sk.f1_score)),
    World(metric="rmse", task=Task.REGRESSION, margin=0.02, value=sk.root_mean_squared_error),
    World(metric="mae", task=Task.REGRESSION, margin=0.02, value=sk.mean_absolute_error),
)
