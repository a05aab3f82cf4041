"""Formulas of features' means that several metrics share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tidegate.core.metrics.kinds import Floats


def mean_of_one(means: Floats) -> tuple[float, Floats] | None:
    """The mean of one feature itself.

    >>> mean_of_one(np.array([0.25]))[0]
    0.25
    """
    return float(means[0]), np.ones(1)


def mean_if_any(means: Floats) -> tuple[float, Floats] | None:
    """The mean of one feature itself; None when the feature was NaN: it could not be computed.

    >>> mean_if_any(np.array([np.nan])) is None
    True
    """
    return mean_of_one(means) if np.isfinite(means[0]) else None


def root_of_one(means: Floats) -> tuple[float, Floats] | None:
    """The root of one feature's mean; the gradient of a root of 0 is taken as 0.

    >>> root_of_one(np.array([4.0]))
    (2.0, array([0.25]))
    """
    value = float(np.sqrt(means[0]))
    return value, np.array([0.5 / value if value > 0.0 else 0.0])
