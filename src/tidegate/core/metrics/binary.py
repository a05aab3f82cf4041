"""Metrics of a binary classifier's probabilities and of its decisions at 0.5."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tidegate.core.metrics.estimate import Estimate, mean_of

if TYPE_CHECKING:
    from tidegate.core.metrics.estimate import Floats

THRESHOLD = 0.5  # a probability of exactly 0.5 counts as class 1
_EPS = float(np.finfo(np.float64).eps)


def log_loss(truth: Floats, probability: Floats) -> Estimate:
    """Mean negative log-likelihood; probabilities are kept 2.2e-16 away from 0 and 1.

    Source: Good, J. R. Stat. Soc. B 14 (1952) 107-114; the clipping is scikit-learn's.

    >>> round(log_loss(np.array([1.0, 0.0]), np.array([0.9, 0.2])).value, 4)
    0.1643
    """
    of_truth = np.where(truth == 1.0, probability, 1.0 - probability)
    return mean_of(-np.log(np.clip(of_truth, _EPS, 1.0 - _EPS)))


def brier(truth: Floats, probability: Floats) -> Estimate:
    """Mean squared distance of probability and truth.

    Source: Brier, Monthly Weather Review 78 (1950) 1-3 (the one-column form, range 0 to 1).

    >>> round(brier(np.array([1.0, 0.0]), np.array([0.9, 0.2])).value, 4)
    0.025
    """
    return mean_of((probability - truth) ** 2, unit=1.0, marks=True)


def accuracy(truth: Floats, probability: Floats) -> Estimate:
    """Share of rows whose probability is on the truth's side of 0.5.

    >>> accuracy(np.array([1.0, 0.0, 1.0]), np.array([0.5, 0.2, 0.4])).value
    0.6666666666666666
    """
    right = (probability >= THRESHOLD) == (truth == 1.0)
    return mean_of(right.astype(np.float64), unit=1.0, marks=True)


def f1(truth: Floats, probability: Floats) -> Estimate | None:
    """Harmonic mean of precision and recall of class 1 at 0.5: ``2 TP / (2 TP + FP + FN)``.

    Influence: delta method on the ratio ``2 E[yd] / (E[y] + E[d])``, d being the decision.
    Source: van Rijsbergen, Information Retrieval (1979), chapter 7; Takahashi et al., Applied
    Intelligence 52 (2022) 4961-4972 for its variance.

    Returns:
        The estimate; None when class 1 neither occurs nor is predicted.

    >>> round(f1(np.array([1.0, 0.0, 1.0]), np.array([0.9, 0.8, 0.7])).value, 4)
    0.8
    """
    decision = (probability >= THRESHOLD).astype(np.float64)
    both, either = truth * decision, truth + decision
    mean = float(either.mean())
    if mean == 0.0:
        return None
    value = 2.0 * float(both.mean()) / mean
    influence = (2.0 * both - value * either) / mean
    positives = max(int(truth.sum()), 1)
    return Estimate(
        value=value, influence=influence, df=max(positives - 1, 1), unit=len(truth) / positives
    )
