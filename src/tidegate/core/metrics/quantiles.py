"""A quantile of weighted values, and how much each row moved it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tidegate.core.metrics.kinds import Floats


def quantile(values: Floats, level: float, weight: Floats | None) -> tuple[float, Floats]:
    """Return the quantile and each row's influence, shape (n,).

    Two middle values count half each; whole weights are rows that stand there so often. Influence:
    ``(level - [v <= q]) / f(q)``, and ``1 / f`` is the difference of the quantiles at
    ``level +- n**(-1/3) / 2`` over that of their levels: their window narrows while the rows in it grow in
    number. Where it is 0 (rows of one value) the influence is NaN: there is no bound.
    Source: Siddiqui, J. Res. Natl. Bureau of Standards 64B (1960) 145-150 (the difference quotient);
    van der Vaart, Asymptotic Statistics (1998), section 21.2 (the influence).

    >>> quantile(np.array([1.0, 2.0, 3.0, 9.0]), 0.5, np.array([1.0, 1.0, 2.0, 0.0]))[0]
    2.5
    """
    order = np.argsort(values)
    ordered = values[order]
    mass = np.ones(len(values)) if weight is None else weight[order]
    up_to = np.cumsum(mass)
    total = float(up_to[-1])

    def at(share: float) -> float:
        edges = (share * total - 1e-12 * total, share * total + 1e-12 * total)
        low, high = np.minimum(np.searchsorted(up_to, edges), len(values) - 1)
        return 0.5 * float(ordered[low] + ordered[high])

    value, half = at(level), 0.5 * len(values) ** (-1.0 / 3.0)
    levels = max(level - half, 0.0), min(level + half, 1.0)
    slope = (at(levels[1]) - at(levels[0])) / (levels[1] - levels[0])
    below = (values <= value).astype(np.float64)
    share = float(np.mean(below if weight is None else below * weight))
    influence = (share - below) * (slope if slope > 0.0 else np.nan)
    return value, influence if weight is None else influence * weight
