"""A user's own metric: on which rows it is wanted, and its bootstrap. Pure, but for the user's function.

Rows are drawn with replacement, whole groups where the table has groups (Davison and Hinkley, Bootstrap
Methods and their Application (1997), section 3.8), and the same draws for every model. A drawn row is
copied, not weighted, so that a function which ignores its weights is resampled all the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tidegate.core.metrics.resampling import RESAMPLES
from tidegate.core.rows import labelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tidegate.core.config import Gate
    from tidegate.core.metrics.kinds import Codes, Floats
    from tidegate.core.table import Predictions

    Function = Callable[[Floats | None, Floats, Floats], float]

MOST = 2000  # metrics times groups of rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """One own metric on one group of rows; ``slice`` None and ``rows`` None: all of them."""

    metric: str
    slice: str | None
    rows: Codes | None


def wanted(table: Predictions, gate: Gate) -> Iterator[Wanted]:
    """Yield where the rules need a value of an own metric, each once, in a fixed order."""
    for own in gate.own:
        if any(rule.metric == own.name for rule in gate.rules):
            yield Wanted(metric=own.name, slice=None, rows=None)
        sliced = [rule.by for rule in gate.slices if rule.metric == own.name]
        apart = [rule.by for rule in gate.gaps if rule.metric == own.name]
        for by in dict.fromkeys([*sliced, *apart]):
            if all(name in table.slices for name in by):
                for label, rows in labelled(table, by):
                    yield Wanted(metric=own.name, slice=label, rows=rows)


def bootstrap(  # noqa: PLR0913 (the columns)
    function: Function,
    truth: Floats | None,
    predictions: Sequence[Floats],
    *,
    weight: Floats | None,
    cluster: Codes | None,
    seed: int,
    resamples: int = RESAMPLES,
) -> Floats:
    """Return the function's values, shape (1 + resamples, models): on the rows, then on each draw.

    NaN where it is undefined.

    Args:
        function: ``(truth, prediction, weight) -> float``.
        truth: shape (n,), or None for task generic.
        predictions: one a model, shape (n,) or (n, K).
        weight: shape (n,); None: every row counts 1.
        cluster: shape (n,), any codes; rows of the same are drawn together.
        seed: of the draws.
        resamples: how many.
    """
    n = len(predictions[0])
    weight = np.ones(n) if weight is None else weight
    starts, order, sizes = _units(n, cluster)
    rng = np.random.default_rng(seed)
    found = np.empty((1 + resamples, len(predictions)))
    rows = np.arange(n)
    for line in found:
        drawn = None if truth is None else truth[rows]
        for model, prediction in enumerate(predictions):
            line[model] = _number(function(drawn, prediction[rows], weight[rows]))
        units = rng.integers(0, len(starts), len(starts))
        rows = units if cluster is None else order[_ranges(starts[units], sizes[units])]
    return found


def _units(n: int, cluster: Codes | None) -> tuple[Codes, Codes, Codes]:
    """Return where every unit's rows begin in an order of the rows, that order, and their numbers."""
    if cluster is None:
        return np.arange(n), np.arange(n), np.ones(n, dtype=np.intp)
    order = np.argsort(cluster, kind="stable")
    _, starts, sizes = np.unique(cluster[order], return_index=True, return_counts=True)
    return starts, order, sizes


def _ranges(starts: Codes, sizes: Codes) -> Codes:
    """Return the concatenation of ``range(start, start + size)``.

    >>> _ranges(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    ends = np.cumsum(sizes)
    steps: Codes = np.arange(int(ends[-1])) - np.repeat(ends - sizes, sizes)
    return np.repeat(starts, sizes) + steps


def _number(value: object) -> float:
    """Return a function's value as a float; NaN for None and what is not finite.

    Raises:
        TypeError: it is no number.
    """
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(f"got {type(value).__name__}, expected a number")
    number = float(value)
    return number if math.isfinite(number) else math.nan
