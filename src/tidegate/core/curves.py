"""The numbers behind a report's pictures: curves, bins, bands, counts. Plain arrays in and out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tidegate.core.metrics.estimate import Floats
    from tidegate.core.metrics.kinds import Codes

_POINTS = 99  # thresholds from each class: with the two ends at most 200 points
_BINS = 10
_SAMPLE = 100_000  # rows from which edges are taken; counts are always of all rows
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_BARS = 30
_Z = 1.959964  # two-sided 95 %


def roc(
    truth: Floats, score: Floats, weight: Floats | None = None
) -> tuple[tuple[float, float], ...]:
    """Return points of the ROC curve, shape of each (false positive rate, true positive rate).

    Thresholds are quantiles of each class's scores, so that neither rate jumps by much more than a
    percent between two points; the rates at a threshold are exact, over all rows.
    Source: Fawcett, Pattern Recognition Letters 27 (2006) 861-874.

    >>> roc(np.array([0.0, 1.0]), np.array([0.1, 0.9]))
    ((0.0, 0.0), (0.0, 1.0), (1.0, 1.0))
    """
    ones = truth == 1.0
    if ones.all() or not ones.any():
        return ()
    at = np.linspace(0.0, 1.0, _POINTS)
    cuts = np.unique(np.concatenate([_quantiles(score[ones], at), _quantiles(score[~ones], at)]))
    above = np.searchsorted(cuts, score, side="right")  # how many cuts a score reaches
    rates = []
    for members in (~ones, ones):
        counts = np.bincount(
            above[members],
            weights=None if weight is None else weight[members],
            minlength=len(cuts) + 1,
        )
        reached = np.cumsum(counts[::-1])
        rates.append(reached / reached[-1] if reached[-1] > 0 else reached * 0.0)
    points = {(0.0, 0.0): None}  # a dict: in order, each once
    points.update(dict.fromkeys(zip(rates[0].tolist(), rates[1].tolist(), strict=True)))
    return tuple(points)


def calibration(
    truth: Floats, score: Floats, weight: Floats | None = None, group: Codes | None = None
) -> Iterator[dict[str, Any]]:
    """Yield bins of about as many rows each: n, predicted, observed, lower, upper.

    The interval is Wilson's, of the effective number of rows (Kish: the squared sum of weights over
    the sum of their squares), and of at most the number of groups in the bin.
    Source: Wilson, J. Amer. Statist. Assoc. 22 (1927) 209-212.
    """
    for rows in _bands(score):
        w = np.ones(len(rows)) if weight is None else weight[rows]
        total = float(w.sum())
        if total <= 0.0:
            continue
        n = total * total / float(np.square(w).sum())
        if group is not None:
            n = min(n, len(np.unique(group[rows])))
        observed = float((w * truth[rows]).sum()) / total
        lower, upper = _wilson(observed, n)
        yield {
            "n": len(rows),
            "predicted": float((w * score[rows]).sum()) / total,
            "observed": observed,
            "lower": lower,
            "upper": upper,
        }


def residuals(truth: Floats, prediction: Floats) -> Iterator[dict[str, Any]]:
    """Yield bands of about as many rows each: n, predicted (their mean), quantiles of the residual."""
    for rows in _bands(prediction):
        left = truth[rows] - prediction[rows]
        yield {
            "n": len(rows),
            "predicted": float(prediction[rows].mean()),
            "quantiles": tuple(np.quantile(left, _QUANTILES).tolist()),
        }


def frequent(truth: Floats, classes: int, most: int) -> tuple[int, ...]:
    """Return the classes a matrix shows, in order: all, or the most frequent and room for "other"."""
    if classes <= most:
        return tuple(range(classes))
    counts = np.bincount(truth.astype(np.intp), minlength=classes)
    order = np.argsort(-counts, kind="stable")[: most - 1]
    return tuple(sorted(order.tolist()))


def confusion(
    truth: Floats, probabilities: Floats, shown: Sequence[int]
) -> tuple[tuple[int, ...], ...]:
    """Return counts: true classes by the classes said; what is not ``shown`` is one class, the last.

    >>> confusion(np.array([0.0, 1.0]), np.array([[0.9, 0.1], [0.8, 0.2]]), (0, 1))
    ((1, 0), (1, 0))
    """
    classes = probabilities.shape[1]
    place = np.full(classes, len(shown), dtype=np.intp)
    place[list(shown)] = np.arange(len(shown))
    size = len(shown) + (len(shown) < classes)
    said, true = place[probabilities.argmax(axis=1)], place[truth.astype(np.intp)]
    counts = np.bincount(true * size + said, minlength=size * size).reshape(size, size)
    return tuple(tuple(row) for row in counts.tolist())


def edges(columns: Sequence[Floats]) -> Floats:
    """Return the edges of 30 intervals from the 0.5 to the 99.5 % quantile of all scores together."""
    low, high = _quantiles(np.concatenate([_sample(c) for c in columns]), np.array([0.005, 0.995]))
    if not high > low:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, _BARS + 1)


def histogram(score: Floats, at: Floats) -> tuple[int, ...]:
    """Return rows per interval; the outer intervals also hold what lies beyond."""
    place = np.clip(np.searchsorted(at, score, side="right") - 1, 0, len(at) - 2)
    return tuple(np.bincount(place, minlength=len(at) - 1).tolist())


def _bands(values: Floats) -> Iterator[npt.NDArray[np.intp]]:
    """Yield the rows of at most ten bands of about as many rows each, by value; ties stay together."""
    inner = np.linspace(0.0, 1.0, _BINS + 1)[1:-1]
    band = np.searchsorted(np.unique(_quantiles(values, inner)), values, side="right")
    order = np.argsort(band, kind="stable")
    for rows in np.split(order, np.cumsum(np.bincount(band))[:-1]):
        if len(rows):
            yield rows


def _quantiles(values: Floats, at: Floats) -> Floats:
    return np.quantile(_sample(values), at, method="higher")


def _sample(values: Floats) -> Floats:
    return values[:: -(-len(values) // _SAMPLE)]


def _wilson(share: float, n: float) -> tuple[float, float]:
    z2 = _Z * _Z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(min(centre - half, share), 0.0), min(max(centre + half, share), 1.0)  # rounding
