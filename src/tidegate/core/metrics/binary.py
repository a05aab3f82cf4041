"""Metrics of a binary classifier's probabilities and of its decisions at 0.5."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tidegate.core.metrics.kinds import Cells, Smooth
from tidegate.core.metrics.means import mean_of_one

if TYPE_CHECKING:
    from tidegate.core.metrics.kinds import Cell, Floats

THRESHOLD = 0.5  # a probability of exactly 0.5 counts as class 1
CONFUSION = 4  # true negative, false positive, false negative, true positive
_EPS = float(np.finfo(np.float64).eps)


def surprise(truth: Floats, probability: Floats) -> Floats:
    """Return each row's negative log-likelihood, shape (n,).

    >>> surprise(np.array([1.0, 0.0]), np.array([0.9, 0.2])).round(4)
    array([0.1054, 0.2231])
    """
    # In place: a temporary array costs more than the arithmetic on it.
    loss: Floats = 1.0 - truth
    loss -= probability
    np.abs(loss, out=loss)
    # Looking whether anything must be cut off costs half of cutting.
    if loss.min(initial=0.5) < _EPS:
        np.maximum(loss, _EPS, out=loss)
    if loss.max(initial=0.5) > 1.0 - _EPS:
        np.minimum(loss, 1.0 - _EPS, out=loss)
    np.log(loss, out=loss)
    return np.negative(loss, out=loss)


def squared_distance(truth: Floats, probability: Floats) -> Floats:
    """Return each row's squared distance of probability and truth, shape (n,)."""
    distance: Floats = probability - truth
    return np.square(distance, out=distance)


def confusion(truth: Floats, probability: Floats, _classes: int = 2) -> Cell:
    """Return each row's cell of the confusion matrix at 0.5: ``2 * truth + decision``.

    >>> confusion(np.array([0.0, 1.0, 1.0]), np.array([0.5, 0.2, 0.9]))
    array([1, 2, 3], dtype=uint8)
    """
    decision = (probability >= THRESHOLD).view(np.uint8)
    cell: Cell = (truth == 1.0).view(np.uint8) * np.uint8(2) + decision
    return cell


def of_confusion(counts: Floats) -> tuple[float, Floats] | None:
    """F1: harmonic mean of precision and recall of class 1, ``2 TP / (2 TP + FP + FN)``.

    Influence: delta method on the ratio ``2 E[yd] / (E[y] + E[d])``, d being the decision.
    Source: van Rijsbergen, Information Retrieval (1979), chapter 7; Takahashi et al., Applied
    Intelligence 52 (2022) 4961-4972 for its variance. None when class 1 neither occurs nor is
    predicted.

    >>> of_confusion(np.array([0.0, 1.0, 0.0, 2.0]))[0]
    0.8
    """
    both = np.array([0.0, 0.0, 0.0, 2.0])
    either = np.array([0.0, 1.0, 1.0, 2.0])
    total = float(either @ counts)
    if total == 0.0:
        return None
    value = float(both @ counts) / total
    return value, (both - value * either) * (float(counts.sum()) / total)


def right_of_confusion(counts: Floats) -> tuple[float, Floats] | None:
    """Accuracy: share of rows whose probability is on the truth's side of 0.5.

    >>> right_of_confusion(np.array([1.0, 0.0, 1.0, 1.0]))[0]
    0.6666666666666666
    """
    right = np.array([1.0, 0.0, 0.0, 1.0])
    value = float(right @ counts) / float(counts.sum())
    return value, right - value


def _four(_classes: int) -> int:
    return CONFUSION


LOG_LOSS = Smooth(features=(surprise,), formula=mean_of_one)
"""Mean negative log-likelihood; probabilities are kept 2.2e-16 away from 0 and 1.

Source: Good, J. R. Stat. Soc. B 14 (1952) 107-114; the clipping is scikit-learn's.
"""

BRIER = Smooth(features=(squared_distance,), formula=mean_of_one, marks=True, unit=1.0)
"""Mean squared distance of probability and truth.

Source: Brier, Monthly Weather Review 78 (1950) 1-3 (the one-column form, range 0 to 1).
"""

ACCURACY = Cells(cell=confusion, size=_four, formula=right_of_confusion, marks=True)
F1 = Cells(cell=confusion, size=_four, formula=of_confusion)
