"""How far a binary classifier's probabilities are from how often class 1 comes.

Both metrics sort rows into 15 bins of equal width by probability, as Guo et al. (below) do.

The expected calibration error is a sum of absolute values: near 0 its estimate is biased upwards and
its difference between two models has no regular distribution, whatever the method (a bootstrap has
the bias twice). An upward bias is on the safe side of a ceiling, and of nothing else: rules may give
it ``at_most``. For margins there is its smooth sibling, the squared form.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tidegate.core.metrics.kinds import Smooth

if TYPE_CHECKING:
    import numpy.typing as npt

    from tidegate.core.metrics.kinds import Floats

    Marks = npt.NDArray[np.bool_]

BINS = 15


def inside(_truth: Floats, probability: Floats, *, number: int) -> Floats:
    """Return 1 for probabilities in (number / 15, (number + 1) / 15], shape (n,); 0 is in bin 0.

    >>> inside(np.zeros(4), np.array([0.0, 1 / 15, 0.07, 1.0]), number=0)
    array([1., 1., 0., 0.])
    """
    marks: Floats = _within(probability, number).astype(np.float64)
    return marks


def gap(truth: Floats, probability: Floats, *, number: int) -> Floats:
    """Return probability minus truth in one bin, 0 elsewhere, shape (n,)."""
    gaps: Floats = (probability - truth) * _within(probability, number)
    return gaps


def _within(probability: Floats, number: int) -> Marks:
    within: Marks = probability <= (number + 1) / BINS
    return within if number == 0 else within & (probability > number / BINS)


def sum_of_sizes(means: Floats) -> tuple[float, Floats]:
    """Return ``sum |mean|`` and its gradient; a mean of exactly 0 counts as positive.

    >>> sum_of_sizes(np.array([0.1, -0.2]))[0].__round__(9)
    0.3
    """
    return float(np.abs(means).sum()), np.where(means < 0.0, -1.0, 1.0)


def sum_of_squares(means: Floats) -> tuple[float, Floats]:
    """Return ``sum gap**2 / share`` of means (gaps, then shares of the bins); 0 for empty bins.

    >>> sum_of_squares(np.array([0.1, -0.2, 0.5, 0.5]))[0].__round__(9)
    0.1
    """
    gaps, shares = np.split(means, 2)
    mean_gap = np.divide(gaps, shares, out=np.zeros_like(gaps), where=shares > 0.0)
    return float(gaps @ mean_gap), np.concatenate((2.0 * mean_gap, -np.square(mean_gap)))


_GAPS = tuple(partial(gap, number=number) for number in range(BINS))
_SHARES = tuple(partial(inside, number=number) for number in range(BINS))

ECE = Smooth(features=_GAPS, formula=sum_of_sizes)
"""Expected calibration error: mean over the rows of |mean probability - share of class 1| of the bin.

Source: Naeini, Cooper and Hauskrecht, AAAI 2015, 2901-2907; 15 bins and their edges: Guo, Pleiss, Sun
and Weinberger, ICML 2017 (arXiv 1706.04599), equation 3, on the probability of class 1.
"""

BRIER_RELIABILITY = Smooth(features=_GAPS + _SHARES, formula=sum_of_squares)
"""The reliability term of the Brier score: as the ECE, with squares in place of absolute values.

Source: Murphy, Journal of Applied Meteorology 12 (1973) 595-600.
"""
