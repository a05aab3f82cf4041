"""Metrics of predicted numbers, and the plain mean of per-row scores.

A prediction may be a number, shape (n,), or a number with the limits of an interval, shape (n, 3):
point, lower, upper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tidegate.core.metrics.kinds import Smooth
from tidegate.core.metrics.means import mean_of_one, root_of_one

if TYPE_CHECKING:
    from tidegate.core.metrics.kinds import Floats

_NO_SPREAD = 1e-13  # a variance below this share of the mean square is rounding


def point(prediction: Floats) -> Floats:
    """Return the predicted numbers, shape (n,), with or without limits beside them."""
    return prediction if prediction.ndim == 1 else prediction[:, 0]


def distance(truth: Floats, prediction: Floats) -> Floats:
    """Return each row's absolute error, shape (n,)."""
    return np.abs(point(prediction) - truth)


def squared_error(truth: Floats, prediction: Floats) -> Floats:
    """Return each row's squared error, shape (n,)."""
    return np.square(point(prediction) - truth)


def of_truth(truth: Floats, _prediction: Floats) -> Floats:
    """Return the truth itself, shape (n,)."""
    return truth


def of_truth_squared(truth: Floats, _prediction: Floats) -> Floats:
    """Return the truth's square, shape (n,)."""
    return np.square(truth)


def of_score(_truth: Floats, score: Floats) -> Floats:
    """Return the score itself, shape (n,)."""
    return score


def determination(means: Floats) -> tuple[float, Floats] | None:
    """``1 - E[e**2] / Var[y]`` of the means of e**2, y and y**2; may be negative.

    Gradient of ``1 - q / (s - m**2)``: ``(-1 / v, -2 q m / v**2, q / v**2)``. None when the truth is
    constant.

    >>> round(determination(np.array([1 / 3, 0.0, 2 / 3]))[0], 9)
    0.5
    """
    error, mean, square = (float(value) for value in means)
    variance = square - mean * mean
    if variance <= _NO_SPREAD * square:
        return None
    ratio = error / variance
    slope = ratio / variance
    return 1.0 - ratio, np.array([-1.0 / variance, -2.0 * mean * slope, slope])


MAE = Smooth(features=(distance,), formula=mean_of_one)
"""Mean absolute error, in the target's units."""

RMSE = Smooth(features=(squared_error,), formula=root_of_one)
"""Root of the mean squared error, in the target's units; influence by the delta method."""

R2 = Smooth(features=(squared_error, of_truth, of_truth_squared), formula=determination, shift=True)
"""Coefficient of determination."""

MEAN = Smooth(features=(of_score,), formula=mean_of_one, marks=True)
"""Mean of per-row scores, larger is better; no truth needed (a human or LLM judge's marks)."""
