"""Averages of products, in logarithms: the two mixtures that every test here uses."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]

LATER_STARTS = 0.1  # prior mass on "harm begins later than the first minute"
_NORM = 2.109742801237  # sum over n >= 2 of 1 / (n ln(n)^2)


def log_sum_exp(values: Array) -> Array:
    """Return ``log(sum(exp(values)))`` over the last axis; all ``-inf`` gives ``-inf``.

    >>> float(log_sum_exp(np.log([1.0, 2.0, 5.0])).round(12) - np.log(8).round(12))
    0.0
    """
    peak = np.maximum(values.max(axis=-1, keepdims=True), -1e300)
    with np.errstate(divide="ignore"):
        total = np.log(np.exp(values - peak).sum(axis=-1))
    return np.asarray(total + peak[..., 0])


def log_start_prior(looks: Array) -> Array:
    """Log prior that harm begins with the minute after ``looks`` minutes; sums to one in all.

    The tail 1 / (n ln(n)^2) is the heaviest simple one that can be summed: a change on the second
    day is still found, at a price of about ln(10 n).
    """
    n: Array = np.maximum(looks, 1.0) + 1.0
    later = np.log(LATER_STARTS / _NORM) - np.log(n) - 2.0 * np.log(np.log(n))
    prior: Array = np.where(looks == 0, np.log1p(-LATER_STARTS), later)
    return prior


def add_starts(products: Array, looks: Array) -> Array:
    """Let one more product begin before the next minute; shapes ``(B, T)`` and ``(B,)``.

    ``R <- (R + prior) * e`` keeps the mixture over all starts up to now in one number.
    """
    return np.logaddexp(products, log_start_prior(looks)[:, None])
