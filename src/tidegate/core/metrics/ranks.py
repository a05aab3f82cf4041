"""Metrics of a binary classifier's ranking: functions of the classes' weights in order of score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tidegate.core.metrics.kinds import Ranked

if TYPE_CHECKING:
    from tidegate.core.metrics.kinds import Codes, Floats, Keys, Many, Point


def areas(positives: Floats, negatives: Floats) -> tuple[Floats, Floats, Floats]:
    """Areas under ROC curves with DeLong's placements as influence values; ties count half.

    The scaling makes ``var(influence, ddof=1) / n`` exactly DeLong's ``S10 / m + S01 / n``, for one
    model and for any linear contrast of two on the same rows.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988) 837-845, equations 4-6.

    Args:
        positives: the weight of class 1 in every run of equal scores, ascending, shape (..., runs).
        negatives: that of class 0.

    Returns:
        The values, shape (...), NaN where a class is missing, and the influence of one row of either
        class in the run, shape (..., runs).
    """
    ones, zeros = positives.sum(axis=-1, keepdims=True), negatives.sum(axis=-1, keepdims=True)
    n = ones + zeros
    with np.errstate(divide="ignore", invalid="ignore"):
        beaten = (np.cumsum(negatives, axis=-1) - 0.5 * negatives) / zeros
        under = (np.cumsum(positives, axis=-1) - 0.5 * positives) / ones
        value = np.einsum("...i,...i->...", beaten, positives)[..., None] / ones
        up = _scale(n, ones) * (beaten - value)
        down = _scale(n, zeros) * ((1.0 - value) - under)
    return value[..., 0], up, down


def _of_one(many: Many, positives: Floats, negatives: Floats) -> Point | None:
    value, up, down = many(positives, negatives)
    return None if np.isnan(value) else (float(value), up, down)


def area(positives: Floats, negatives: Floats) -> Point | None:
    """Return one area under the ROC curve, as :func:`areas`; None when a class is missing.

    >>> area(np.array([0.0, 1.0, 1.0]), np.array([1.0, 1.0, 0.0]))[0]
    0.875
    """
    return _of_one(areas, positives, negatives)


def area_of_sorted(keys: Keys) -> tuple[float, float] | None:
    """Return the area under the ROC curve of sorted keys, and half the share of pairs they leave tied.

    Mann and Whitney's U from the ranks of class 1; of two classes with one score half the pairs count.
    None when a class is missing.

    >>> area_of_sorted(np.array([2, 4, 5, 9], dtype=np.uint32))
    (0.875, 0.125)
    """
    ones, places, mixed = 0, 0, [np.empty(0, dtype=np.intp)]
    for start in range(0, len(keys), _BLOCK):  # temporaries that stay in a processor's cache
        block = keys[start : start + _BLOCK]
        marked, within = _sum_of_places(block & np.uint32(1))
        ones += marked
        places += within + start * marked
        # Class 0 sorts below class 1 of the same score: such a pair of neighbours differs in one bit.
        block = keys[start : start + _BLOCK + 1]
        mixed.append(np.flatnonzero((block[1:] ^ block[:-1]) == 1) + start)
    zeros = len(keys) - ones
    if not ones or not zeros:
        return None
    tied = _tied(keys, np.concatenate(mixed))
    beaten = places - ones * (ones - 1) // 2
    pairs = ones * zeros
    return (beaten - 0.5 * tied) / pairs, 0.5 * tied / pairs


_BLOCK = 1 << 16


def _tied(keys: Keys, last: Codes) -> int:
    """Return how many pairs of the classes have one score; ``last``: places before a step of one bit.

    Ascending keys step by one bit from class 0 of a score to class 1 of it, so ``last`` are the last places of
    class 0 in every score that both classes have.
    """
    zero, end = keys[last], len(keys) - 1
    # Nearly always that is one row of each: the two neighbours tell without a search.
    more = ((last > 0) & (keys[last - 1] == zero)) | (
        (last + 2 <= end) & (keys[np.minimum(last + 2, end)] == zero + np.uint32(1))
    )
    last, zero = last[more], zero[more]
    of_zero = last + 1 - np.searchsorted(keys, zero, side="left")
    of_one = np.searchsorted(keys, zero + np.uint32(1), side="right") - last - 1
    return int(np.count_nonzero(~more)) + int((of_zero * of_one).sum())


def _sum_of_places(marks: Keys) -> tuple[int, int]:
    """Return how many marks are 1, and the sum of their places, the first being 0."""
    width = 256
    whole = len(marks) // width * width
    table = marks[:whole].reshape(-1, width)
    # Sums of the rows and of the columns of a table: picking the places out is ten times slower.
    in_row, in_column = table.sum(axis=1, dtype=np.uint32), table.sum(axis=0, dtype=np.uint32)
    rest = np.flatnonzero(marks[whole:]) + whole
    ones = int(in_row.sum()) + len(rest)
    places = int(in_row @ np.arange(len(in_row))) * width + int(in_column @ np.arange(width))
    return ones, places + int(rest.sum())


def _scale(n: Floats, group: Floats) -> Floats:
    """Return what turns a within-class mean of ``group`` rows into a mean over ``n`` rows."""
    scale: Floats = np.sqrt(n * (n - 1.0) / (group * np.maximum(group - 1.0, 1.0)))
    return scale


def precisions_by_recall(positives: Floats, negatives: Floats) -> tuple[Floats, Floats, Floats]:
    """Average precisions, the step-wise areas under precision-recall curves.

    Value: ``sum over thresholds of (recall step) * precision`` (scikit-learn's definition, no
    interpolation), that is ``E[Y P(S)] / pi`` with ``P(s) = A(s) / B(s)``,
    ``A(s) = E[Y; S >= s]``, ``B(s) = P(S >= s)`` and ``pi = E[Y]``.

    Influence of a row (y, s), by differentiating that expression in the row's mass:
    ``(y * (P(s) - AP + C(s)) - D(s)) / pi`` with ``C(s) = E[Y; S <= s of 1 / B(S)]`` and
    ``D(s) = E[Y; S <= s of P(S) / B(S)]``. Its mean is exactly 0. Checked against the jackknife.
    Source of the functional: Boyd, Eng and Page, ECML 2013 (area under precision-recall).

    Args and returns: as :func:`areas`.
    """
    ones, zeros = positives.sum(axis=-1, keepdims=True), negatives.sum(axis=-1, keepdims=True)
    above = _from_the_top(positives + negatives)
    # Runs without weight at the top have nothing above them, and nothing in them to count.
    share = np.divide(1.0, above, out=np.zeros_like(above), where=above > 0.0)
    precision = _from_the_top(positives) * share
    c = np.cumsum(positives * share, axis=-1)
    d = np.cumsum(positives * precision * share, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.einsum("...i,...i->...", positives, precision)[..., None] / ones
        value = np.where(zeros > 0.0, value, np.nan)
        scale = (ones + zeros) / ones
        up, down = (precision - value + c - d) * scale, -d * scale
    return value[..., 0], up, down


def _from_the_top(weights: Floats) -> Floats:
    return np.cumsum(weights[..., ::-1], axis=-1)[..., ::-1]


def precision_by_recall(positives: Floats, negatives: Floats) -> Point | None:
    """Return one average precision, as :func:`precisions_by_recall`; None when a class is missing.

    >>> found = precision_by_recall(np.array([0., 1., 0., 1.]), np.array([1., 0., 1., 0.]))
    >>> round(found[0], 4)
    0.8333
    """
    return _of_one(precisions_by_recall, positives, negatives)


ROC_AUC = Ranked(formula=area, of_many=areas, of_sorted=area_of_sorted)
AVERAGE_PRECISION = Ranked(formula=precision_by_recall, of_many=precisions_by_recall)
