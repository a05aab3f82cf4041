"""Sums of features and of their products: what a smooth function of means needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tidegate.core.metrics.joint import Joint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.core.metrics.kinds import Codes, Floats, Smooth

_ROUNDING = 1e-13  # relative to the mean square: a variance below it is what rounding leaves


@dataclass(frozen=True, kw_only=True, slots=True)
class Moments:
    """One smooth metric's sums per cell.

    Attributes:
        first: shape (cells, m * k): sums of the features less their pivots, model by model.
        second: shape (cells, pairs): sums of products, the upper triangle row by row.
        marks: shape (cells,): every feature so far is 0 or 1.
    """

    first: Floats
    second: Floats
    marks: npt.NDArray[np.bool_]

    def add(self, other: Moments) -> None:
        """Merge another's sums in."""
        np.add(self.first, other.first, out=self.first)
        np.add(self.second, other.second, out=self.second)
        np.logical_and(self.marks, other.marks, out=self.marks)


def empty(columns: int, cells: int) -> Moments:
    """Return the sums of no rows."""
    return Moments(
        first=np.zeros((cells, columns)),
        second=np.zeros((cells, columns * (columns + 1) // 2)),
        marks=np.ones(cells, dtype=np.bool_),
    )


def gather(  # noqa: PLR0913 (rows, and where they belong)
    kind: Smooth,
    columns: Sequence[Floats],
    pivots: Floats,
    *,
    present: Codes,
    starts: Codes,
    cells: int,
) -> Moments:
    """Return the sums of a batch.

    Args:
        kind: the metric.
        columns: m * k of shape (n,): features, rows sorted by cell; changed in place.
        pivots: shape (m * k,): about the features' means; sums of squares about them keep their digits.
        present: the cells that occur, ascending.
        starts: the first row of each.
        cells: how many cells there are.
    """
    found = empty(len(columns), cells)
    if kind.marks:
        firsts = [column[starts] for column in columns]
        marked = np.all([(first == 0.0) | (first == 1.0) for first in firsts], axis=0)
        for column in columns if marked.any() else ():  # nearly always the first rows tell
            marked &= np.logical_and.reduceat((column == 0.0) | (column == 1.0), starts)
        found.marks[present] = marked
    for index, (column, pivot) in enumerate(zip(columns, pivots.tolist(), strict=True)):
        np.subtract(column, pivot, out=column)
        found.first[present, index] = np.add.reduceat(column, starts)
    product = np.empty(len(columns[0]))
    pair = 0
    for index, column in enumerate(columns):
        for other in columns[index:]:
            np.multiply(column, other, out=product)
            found.second[present, pair] = np.add.reduceat(product, starts)
            pair += 1
    return found


def joint(  # noqa: PLR0913 (the sums, and what they are sums of)
    kind: Smooth, sums: Moments, pivots: Floats, cells: Codes, *, n: int, models: int, df: int
) -> Joint:
    """Return the metric of all models on the rows of some cells.

    Delta method: with ``X`` the features and ``g`` the gradient at their means, the influence is
    ``g (X - mean X)``; the products' sums give its variance and every covariance.
    """
    width = len(kind.features)
    first, second = sums.first[cells].sum(axis=0), sums.second[cells].sum(axis=0)
    raw = second[_places(len(first))]
    shifted = first / n
    centred = raw - shifted[:, None] * (n * shifted)
    means = shifted + pivots
    values = np.full(models, np.nan)
    slopes = np.zeros((models, len(first)))
    for model in range(models):
        own = slice(model * width, (model + 1) * width)
        found = kind.formula(means[own])
        if found is not None and np.isfinite(found[0]):
            values[model], slopes[model, own] = found
    gram = slopes @ centred @ slopes.T
    size = np.abs(slopes) @ np.sqrt(np.maximum(np.diag(raw), 0.0))
    real = ~(np.diag(gram) <= _ROUNDING * size * size)  # NaN stays: a formula that gives no bound
    return Joint(
        values=values,
        gram=np.where(real[:, None] & real[None, :], gram, 0.0),
        n=n,
        units=n,
        df=df,
        unit=kind.unit,
        proportions=np.full(models, kind.marks and bool(sums.marks[cells].all())),
    )


@cache
def _places(columns: int) -> Codes:
    """Return where every product of two columns stands in the upper triangle, row by row."""
    upper = np.triu_indices(columns)
    places = np.zeros((columns, columns), dtype=np.intp)
    places[upper] = np.arange(len(upper[0]))
    return np.maximum(places, places.T)


def features(
    kind: Smooth, truth: Floats, predictions: Sequence[Floats], centre: float
) -> list[Floats]:
    """Return the features of all models, m * k arrays of shape (n,), nobody else's."""
    columns = []
    for prediction in predictions:
        y, p = (truth - centre, prediction - centre) if kind.shift else (truth, prediction)
        for feature in kind.features:
            column = feature(y, p)
            borrowed = column.base is not None or any(column is other for other in (y, p))
            columns.append(column.astype(np.float64, copy=borrowed))
    return columns
