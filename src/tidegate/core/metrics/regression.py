"""Metrics of predicted numbers, and the plain mean of per-row scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tidegate.core.metrics.estimate import Estimate, mean_of

if TYPE_CHECKING:
    from tidegate.core.metrics.estimate import Floats


def mae(truth: Floats, prediction: Floats) -> Estimate:
    """Mean absolute error, in the target's units.

    >>> mae(np.array([1.0, 2.0]), np.array([1.5, 1.0])).value
    0.75
    """
    return mean_of(np.abs(prediction - truth))


def rmse(truth: Floats, prediction: Floats) -> Estimate:
    """Root of the mean squared error, in the target's units.

    Influence: delta method, ``(e**2 - mse) / (2 rmse)``; all zeros when there is no error at all.

    >>> rmse(np.array([1.0, 2.0]), np.array([4.0, 6.0])).value
    3.5355339059327378
    """
    squared = (prediction - truth) ** 2
    mse = float(squared.mean())
    value = float(np.sqrt(mse))
    influence = (squared - mse) / (2.0 * value) if value > 0.0 else np.zeros_like(squared)
    return Estimate(value=value, influence=influence, df=len(truth) - 1)


def r2(truth: Floats, prediction: Floats) -> Estimate | None:
    """Coefficient of determination ``1 - E[e**2] / Var[y]``; may be negative.

    Influence: delta method on the ratio, ``-e**2 / v + mse * (y - mean)**2 / v**2``.

    Returns:
        The estimate; None when the truth is constant.

    >>> r2(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 2.0])).value
    0.5
    """
    squared = (prediction - truth) ** 2
    around = (truth - truth.mean()) ** 2
    mse, variance = float(squared.mean()), float(around.mean())
    # A constant column's mean may be off by one rounding: relative to the numbers, not to 0.
    if variance <= (np.finfo(np.float64).eps * float(np.abs(truth).max())) ** 2:
        return None
    ratio = mse / variance
    return Estimate(
        value=1.0 - ratio, influence=(ratio * around - squared) / variance, df=len(truth) - 1
    )


def mean(_truth: Floats | None, score: Floats) -> Estimate:
    """Mean of per-row scores, larger is better; no truth needed (a human or LLM judge's marks).

    >>> mean(None, np.array([1.0, 0.0, 1.0, 1.0])).value
    0.75
    """
    return mean_of(score, marks=True)
