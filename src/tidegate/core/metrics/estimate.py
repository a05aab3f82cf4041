"""What every metric returns: its value, and how much each row moved it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A metric on one set of rows.

    The influence values are the metric's first-order response to each row (von Mises expansion;
    van der Vaart, Asymptotic Statistics, section 20.1): mean 0, and ``var(influence) / n`` is the
    squared standard error. They are linear, so ``a - k * b`` of two models on the same rows has
    the influence values ``a.influence - k * b.influence``: every paired comparison is one line.

    Attributes:
        value: the metric, in its own units.
        influence: shape (n,), in row order, mean 0.
        df: degrees of freedom of the variance: n - 1, or the smaller class - 1.
        unit: what one row more could add to ``influence`` at most, where the metric is bounded;
            0 where it is not. Keeps a zero variance from looking like certainty.
        proportion: every row's score is 0 or 1 and ``value`` is their mean.
    """

    value: float
    influence: Floats
    df: int
    unit: float = 0.0
    proportion: bool = False

    @property
    def n(self) -> int:
        """The number of rows."""
        return len(self.influence)


def mean_of(scores: Floats, *, unit: float = 0.0, marks: bool = False) -> Estimate:
    """Return the mean of per-row scores, shape (n,).

    ``marks`` says that a column of only 0 and 1 is a proportion. An error of exactly 0 in every
    row of a regression is not: its unit is the target's, and 1 of that may be nothing.

    >>> mean_of(np.array([1.0, 0.0, 1.0, 1.0])).value
    0.75
    """
    value = float(scores.mean())
    proportion = marks and bool(((scores == 0.0) | (scores == 1.0)).all())
    return Estimate(
        value=value,
        influence=scores - value,
        df=len(scores) - 1,
        unit=unit,
        proportion=proportion,
    )


def dot(a: Floats, b: Floats) -> float:
    """Return the sum of products, on one thread: the same number on any machine's core count.

    BLAS spreads a long dot product over its threads, which also stalls where cores are shared.

    >>> dot(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    11.0
    """
    return float(np.einsum("i,i->", a, b))
