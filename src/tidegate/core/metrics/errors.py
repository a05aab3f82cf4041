"""More metrics of predicted numbers; predictions as in :mod:`tidegate.core.metrics.regression`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tidegate.core.metrics.kinds import Quantile, Smooth
from tidegate.core.metrics.means import mean_if_any, mean_of_one
from tidegate.core.metrics.regression import distance, point, squared_error

if TYPE_CHECKING:
    from tidegate.core.metrics.kinds import Floats


def error(truth: Floats, prediction: Floats) -> Floats:
    """Return prediction minus truth, shape (n,)."""
    return point(prediction) - truth


def share_of_truth(truth: Floats, prediction: Floats) -> Floats:
    """Return ``|error| / |truth|``, shape (n,); 0 where the truth is 0, see :func:`is_zero`."""
    size = np.abs(truth)
    off = distance(truth, prediction)
    shares: Floats = np.divide(off, size, out=np.zeros_like(size), where=size > 0.0)
    return shares


def is_zero(truth: Floats, _prediction: Floats) -> Floats:
    """Return 1 where the truth is 0, shape (n,)."""
    zeros: Floats = (truth == 0.0).astype(np.float64)
    return zeros


def size_of_truth(truth: Floats, _prediction: Floats) -> Floats:
    """Return ``|truth|``, shape (n,)."""
    return np.abs(truth)


def symmetric_share(truth: Floats, prediction: Floats) -> Floats:
    """Return ``2 |error| / (|truth| + |prediction|)``, shape (n,); 0 where both are 0."""
    size = np.abs(truth) + np.abs(point(prediction))
    off = 2.0 * distance(truth, prediction)
    shares: Floats = np.divide(off, size, out=np.zeros_like(size), where=size > 0.0)
    return shares


def covered(truth: Floats, prediction: Floats) -> Floats:
    """Return 1 where lower <= truth <= upper, shape (n,); NaN without limits."""
    if prediction.ndim == 1:
        return np.full(len(truth), np.nan)
    return ((prediction[:, 1] <= truth) & (truth <= prediction[:, 2])).astype(np.float64)


def of_no_zero(means: Floats) -> tuple[float, Floats] | None:
    """Return the first mean; None when the second, the share of zeros, is not 0.

    >>> of_no_zero(np.array([0.1, 0.01])) is None
    True
    """
    return (float(means[0]), np.array([1.0, 0.0])) if means[1] == 0.0 else None


def quotient(means: Floats) -> tuple[float, Floats] | None:
    """Return ``a / b`` and its gradient; None when b is 0.

    >>> quotient(np.array([1.0, 4.0]))[0]
    0.25
    """
    over, under = float(means[0]), float(means[1])
    if under <= 0.0:
        return None
    return over / under, np.array([1.0 / under, -over / under**2])


def size(means: Floats) -> tuple[float, Floats]:
    """Return ``|mean|`` and its gradient; a mean of exactly 0 counts as positive.

    >>> size(np.array([-2.0]))
    (2.0, array([-1.]))
    """
    mean = float(means[0])
    return abs(mean), np.array([-1.0 if mean < 0.0 else 1.0])


def pinball(quantile: float) -> Smooth:
    """Return the mean pinball loss of predictions of a quantile.

    ``quantile * (y - p)`` where the truth is above the prediction, else ``(1 - quantile) (p - y)``.
    Source: Koenker and Bassett, Econometrica 46 (1978) 33-50.
    """

    def loss(truth: Floats, prediction: Floats) -> Floats:
        above = truth - point(prediction)
        return np.maximum(quantile * above, (quantile - 1.0) * above)

    return Smooth(features=(loss,), formula=mean_of_one)


MSE = Smooth(features=(squared_error,), formula=mean_of_one)
"""Mean squared error, in the target's units squared."""

MEDAE = Quantile(feature=distance, level=0.5)
"""Median absolute error, in the target's units."""

MAPE = Smooth(features=(share_of_truth, is_zero), formula=of_no_zero)
"""Mean absolute error as a fraction of the truth; undefined while a truth is 0.

Source: Hyndman and Koehler, International Journal of Forecasting 22 (2006) 679-688, section 2.2.
"""

SMAPE = Smooth(features=(symmetric_share,), formula=mean_of_one, unit=2.0)
"""Symmetric MAPE, 0 to 2. Source: Makridakis, International Journal of Forecasting 9 (1993) 527-529."""

WAPE = Smooth(features=(distance, size_of_truth), formula=quotient)
"""Sum of the absolute errors as a fraction of the sum of |truth|; undefined when that is 0.

Source: Kolassa and Schütz, Foresight 6 (2007) 40-43 (there: MAD/mean ratio).
"""

ABS_BIAS = Smooth(features=(error,), formula=size)
"""Size of the mean error. A ceiling of it is the equivalence test of two one-sided tests.

Near 0 the estimate is biased upwards and differences of two models have no regular distribution, so
that rules may give it ``at_most`` only.
Source: Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15 (1987) 657-680.
"""

COVERAGE = Smooth(features=(covered,), formula=mean_if_any, marks=True, unit=1.0)
"""Share of rows whose truth is within the predicted limits; undefined without limits.

Source: Christoffersen, International Economic Review 39 (1998) 841-862 (unconditional coverage).
"""
