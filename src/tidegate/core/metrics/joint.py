"""What all models' influence values come to on one group of rows: enough for any contrast.

A contrast ``a - k * b`` has the influence values ``a.influence - k * b.influence``, so its variance
needs no rows, only the sums of products of the models' influence values (their Gram matrix).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.core.metrics.estimate import Estimate
    from tidegate.core.metrics.kinds import Codes, Floats

_ROUNDING = 1e-12  # relative: a constant column's deviations from its own mean are below this


@dataclass(frozen=True, kw_only=True, slots=True)
class Joint:
    """One metric of m models on the same rows.

    Attributes:
        values: shape (m,); NaN where the metric is undefined.
        gram: shape (m, m): over the independent units, the sum of products of their rows' summed
            influence. 0 where the spread is only rounding.
        n: the number of rows.
        units: the number of independent units: rows, or clusters of rows, or queries.
        df: degrees of freedom of the variance.
        unit: what one row more could add to the influence at most; 0 where that is not bounded.
        proportions: shape (m,): the value is a share of independent, equal rows.
        bases: shape (m,): of how many rows it is a share, where not of all; NaN where it is none.
        doubt: shape (m,): how far the value may be off, where scores were only counted in bins.
        off: shape (m,): the root of the rows' mean squared error of the influence then, at most.
    """

    values: Floats
    gram: Floats
    n: int
    units: int
    df: int
    unit: float
    proportions: npt.NDArray[np.bool_]
    bases: Floats | None = None
    doubt: Floats | None = None
    off: Floats | None = None


def joint_of(
    estimates: Sequence[Estimate | None], *, n: int, cluster: Codes | None, clusters: int, df: int
) -> Joint:
    """Join what was estimated for each model on the same n rows.

    Args:
        estimates: one a model; None where the metric is undefined.
        n: the number of rows.
        cluster: shape (n,), 0 .. clusters - 1, or None when every row is a unit of its own.
        clusters: the number of independent units.
        df: degrees of freedom.
    """
    values = np.array([np.nan if one is None else one.value for one in estimates])
    units = [
        np.zeros(clusters) if one is None else _of_units(one.influence, cluster)
        for one in estimates
    ]
    queries = min((one.queries for one in estimates if one and one.queries), default=clusters)
    gram = np.array([[np.einsum("i,i->", a, b) for b in units] for a in units])
    return Joint(
        values=values,
        gram=without_rounding(gram, values, n),
        n=n,
        units=min(queries, clusters),
        df=min(df, max(queries - 1, 1)),
        unit=max((one.unit for one in estimates if one), default=0.0),
        proportions=np.array(
            [one is not None and one.proportion and cluster is None for one in estimates]
        ),
        bases=np.array(
            [np.nan if one is None or one.base is None else one.base for one in estimates]
        )
        if cluster is None
        else None,
    )


def _of_units(influence: Floats, cluster: Codes | None) -> Floats:
    return influence if cluster is None else np.bincount(cluster, influence).astype(np.float64)


def without_rounding(gram: Floats, values: Floats, n: int) -> Floats:
    """Return the Gram matrix with 0 for every model whose spread is only rounding of its value."""
    spread = np.sqrt(np.maximum(np.diag(gram), 0.0) / max(n - 1, 1))
    real = ~(spread <= _ROUNDING * np.abs(values))  # NaN stays: a formula that gives no bound
    cleaned: Floats = np.where(real[:, None] & real[None, :], gram, 0.0)
    return cleaned
