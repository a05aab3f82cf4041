"""What every metric comes to on one set of rows: its value, and how much each row moved it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tidegate.core.metrics.kinds import (
    Cells,
    Codes,
    Floats,
    Kind,
    Quantile,
    Queried,
    Ranked,
    Smooth,
)
from tidegate.core.metrics.quantiles import quantile

__all__ = ["Estimate", "Floats", "dot", "estimate"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A metric on one set of rows.

    The influence values are the metric's first-order response to each row (von Mises expansion;
    van der Vaart, Asymptotic Statistics, section 20.1): mean 0, and ``var(influence) / n`` is the
    squared standard error. They are linear, so ``a - k * b`` of two models on the same rows has
    the influence values ``a.influence - k * b.influence``: every paired comparison is one line.
    With weights they are those of the estimating equation, ``w * (...) / mean(w)``.

    Attributes:
        value: the metric, in its own units.
        influence: shape (n,), in row order, mean 0; of a mean over queries, in each query's first row.
        unit: what one row more could add to ``influence`` at most, where the metric is bounded;
            0 where it is not. Keeps a zero variance from looking like certainty.
        proportion: every row's score is 0 or 1 and ``value`` is their mean.
        queries: how many queries have a value, for a mean over queries.
        base: how many equal rows the value is a share of, where they are not all; None elsewhere.
    """

    value: float
    influence: Floats
    unit: float = 0.0
    proportion: bool = False
    queries: int | None = None
    base: float | None = None


def estimate(  # noqa: PLR0913 (the columns)
    kind: Kind,
    truth: Floats,
    prediction: Floats,
    *,
    weight: Floats | None = None,
    query: Codes | None = None,
    classes: int = 2,
) -> Estimate | None:
    """Return a metric's value and influence on plain columns; None where it is undefined.

    Args:
        kind: the formula; not a measured one, which has no influence.
        truth: shape (n,), n at least 1.
        prediction: shape (n,) or (n, K).
        weight: shape (n,), finite, at least 0, not all 0.
        query: shape (n,), which query a row belongs to; needed by a mean over queries only.
        classes: how many classes the truth may have.

    Raises:
        ValueError: a mean over queries without queries; a measured metric.
    """
    rows = None if weight is None else weight / weight.mean()
    match kind:
        case Smooth():
            found = _smooth(kind, truth, prediction, rows)
        case Cells():
            found = _cells(kind, truth, prediction, rows, classes)
        case Ranked():
            found = (
                _one_vs_rest(kind, truth, prediction, rows)
                if kind.one_vs_rest
                else _ranked(kind, truth, prediction, rows)
            )
        case Quantile():
            found = _quantile(kind, truth, prediction, rows)
        case Queried():
            if query is None:
                raise ValueError("a mean over queries needs to know which query a row belongs to")
            found = _queried(kind, truth, prediction, rows, query)
        case _:
            raise ValueError("a measured metric has no influence values")
    return found if found is not None and np.isfinite(found.value) else None


def _smooth(
    kind: Smooth, truth: Floats, prediction: Floats, rows: Floats | None
) -> Estimate | None:
    if kind.shift:
        centre = typical(truth)
        truth, prediction = truth - centre, prediction - centre
    columns = np.array([feature(truth, prediction) for feature in kind.features], dtype=np.float64)
    means = columns.mean(axis=1) if rows is None else (columns * rows).mean(axis=1)
    found = kind.formula(means)
    if found is None:
        return None
    value, gradient = found
    influence: Floats = gradient @ (columns - means[:, None])
    proportion = kind.marks and rows is None and bool(((columns == 0.0) | (columns == 1.0)).all())
    return Estimate(
        value=value,
        influence=influence if rows is None else influence * rows,
        unit=kind.unit,
        proportion=proportion,
    )


def typical(truth: Floats) -> float:
    """Return a truth from the middle of the first thousand: a value that occurs, no outlier."""
    first = truth[:1000]
    return float(np.partition(first, len(first) // 2)[len(first) // 2])


def _cells(
    kind: Cells, truth: Floats, prediction: Floats, rows: Floats | None, classes: int
) -> Estimate | None:
    cell, size = kind.cell(truth, prediction, classes), kind.size(classes)
    counts = np.bincount(cell, weights=rows, minlength=size).astype(np.float64)
    found = kind.formula(counts)
    if found is None:
        return None
    value, of_cell = found
    influence = of_cell[cell]
    return Estimate(
        value=value,
        influence=influence if rows is None else influence * rows,
        unit=most_of_one(kind, counts, value),
        proportion=kind.marks and rows is None,
        base=float(np.dot(kind.whole, counts)) if kind.whole and rows is None else None,
    )


def most_of_one(kind: Cells, counts: Floats, value: float) -> float:
    """Return how far one row more could move the value, in whichever cell, times the rows."""
    most, n = 0.0, float(counts.sum()) + 1.0
    for cell in range(len(counts)):
        one_more = counts.copy()
        one_more[cell] += 1.0
        found = kind.formula(one_more)
        if found is not None and np.isfinite(found[0]):
            most = max(most, abs(found[0] - value) * n)
    return most


def _ranked(kind: Ranked, truth: Floats, score: Floats, rows: Floats | None) -> Estimate | None:
    order = np.argsort(score)
    by_score, by_truth = score[order], truth[order]
    starts = np.flatnonzero(np.concatenate(([True], by_score[1:] != by_score[:-1])))
    mass = np.ones_like(by_truth) if rows is None else rows[order]
    positives = np.add.reduceat(mass * by_truth, starts)
    negatives = np.add.reduceat(mass * (1.0 - by_truth), starts)
    found = kind.formula(positives, negatives)
    if found is None:
        return None
    value, up, down = found
    sizes = np.diff(starts, append=len(order))
    placements = np.where(by_truth == 1.0, np.repeat(up, sizes), np.repeat(down, sizes)) * mass
    influence = np.empty_like(placements)
    influence[order] = placements
    return Estimate(value=value, influence=influence, unit=most_of_class(truth))


def _one_vs_rest(
    kind: Ranked, truth: Floats, prediction: Floats, rows: Floats | None
) -> Estimate | None:
    parts = [
        _ranked(kind, (truth == number).astype(np.float64), prediction[:, number], rows)
        for number in range(prediction.shape[1])
    ]
    found = [part for part in parts if part is not None]
    if len(found) < len(parts):
        return None
    return Estimate(
        value=float(np.mean([part.value for part in found])),
        influence=np.mean([part.influence for part in found], axis=0),
        unit=float(np.mean([part.unit for part in found])),
    )


def most_of_class(truth: Floats) -> float:
    """Return how far one row of the smaller class could move a ranking at most, times the rows."""
    ones = float(truth.sum())
    return len(truth) / max(min(ones, len(truth) - ones), 1.0)


def _quantile(
    kind: Quantile, truth: Floats, prediction: Floats, rows: Floats | None
) -> Estimate | None:
    value, influence = quantile(kind.feature(truth, prediction), kind.level, rows)
    return Estimate(value=value, influence=influence)


def _queried(
    kind: Queried, truth: Floats, score: Floats, rows: Floats | None, query: Codes
) -> Estimate | None:
    order = np.lexsort((-score, query))
    by_query = query[order]
    starts = np.flatnonzero(np.concatenate(([True], by_query[1:] != by_query[:-1])))
    values = np.asarray(kind.formula(truth[order], score[order], starts), dtype=np.float64)
    there = np.isfinite(values)
    if not there.any():
        return None
    mass = np.ones(len(starts))
    if rows is not None:  # a query weighs what its rows weigh on average
        mass = np.add.reduceat(rows[order], starts) / np.diff(starts, append=len(order))
    total = float(mass[there].sum())
    if total == 0.0:
        return None
    value = float((mass[there] * values[there]).sum()) / total
    influence = np.zeros(len(order))
    firsts = order[starts[there]]
    influence[firsts] = mass[there] * (values[there] - value) * (len(order) / total)
    return Estimate(value=value, influence=influence, queries=int(np.count_nonzero(there)))


def dot(a: Floats, b: Floats) -> float:
    """Return the sum of products, on one thread: the same number on any machine's core count.

    BLAS spreads a long dot product over its threads, which also stalls where cores are shared.

    >>> dot(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    11.0
    """
    return float(np.einsum("i,i->", a, b))
