"""Metrics of a confusion matrix, of two classes or more: value and influence from its counts.

``counts`` has shape (K * K,), row-major: truth, then decision; for two classes true negatives, false
positives, false negatives, true positives. Every formula f is homogeneous of degree 0 in the counts,
so that the influence of one row in a cell is the number of rows times f's derivative by that cell's
count, and its mean over the rows is 0 (Euler).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.core.metrics.kinds import Floats

MIN_DECIDED = 20.0  # fewer rows in a ratio's denominator give no bound


def ratio(
    part: tuple[float, ...], whole: tuple[float, ...]
) -> Callable[[Floats], tuple[float, Floats] | None]:
    """Return the formula ``sum(part * counts) / sum(whole * counts)``; None over nothing.

    The influence is NaN, which keeps every decision open, while the denominator holds fewer than 20
    rows: three right of three is no precision of 1.

    >>> ratio((0, 0, 0, 1), (0, 1, 0, 1))(np.array([0.0, 10.0, 5.0, 30.0]))[0]
    0.75
    """
    over, under = np.array(part, dtype=np.float64), np.array(whole, dtype=np.float64)

    def formula(counts: Floats) -> tuple[float, Floats] | None:
        total = float(under @ counts)
        if total <= 0.0:
            return None
        value = float(over @ counts) / total
        scale = float(counts.sum()) / total
        if float(counts[under > 0.0].sum()) < MIN_DECIDED:
            return value, np.full(len(counts), np.nan)
        return value, (over - value * under) * scale

    return formula


def f_beta(beta: float) -> Callable[[Floats], tuple[float, Floats] | None]:
    """Return F-beta's formula: ``(1 + b**2) TP / ((1 + b**2) TP + b**2 FN + FP)``.

    Recall counts ``beta`` times as much as precision.
    Source: van Rijsbergen, Information Retrieval (1979), chapter 7.

    >>> round(f_beta(2.0)(np.array([0.0, 10.0, 5.0, 30.0]))[0], 9)
    0.833333333
    """
    square = beta * beta
    return ratio((0, 0, 0, 1 + square), (0, 1, square, 1 + square))


def _matrix(counts: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the matrix (K, K), the rows of each class and the decisions for each, (K,)."""
    size = round(len(counts) ** 0.5)
    matrix = counts.reshape(size, size)
    return matrix, matrix.sum(axis=1), matrix.sum(axis=0)


def right(counts: Floats) -> tuple[float, Floats]:
    """Accuracy: the share of rows on the diagonal; equal to micro-averaged F1 of single labels.

    >>> right(np.array([1.0, 0.0, 1.0, 2.0]))[0]
    0.75
    """
    matrix, _, _ = _matrix(counts)
    value = float(np.trace(matrix)) / float(counts.sum())
    return value, (np.eye(len(matrix)) - value).ravel()


def balanced(counts: Floats) -> tuple[float, Floats]:
    """Balanced accuracy: the mean recall of the classes that occur.

    Source: Brodersen, Ong, Stephan and Buhmann, ICPR 2010, 3121-3124.

    >>> balanced(np.array([1.0, 1.0, 0.0, 4.0]))[0]
    0.75
    """
    matrix, of_class, _ = _matrix(counts)
    there = of_class > 0.0
    per_row = np.divide(1.0, of_class, out=np.zeros_like(of_class), where=there)
    recalls = np.diag(matrix) * per_row
    slopes = (np.eye(len(matrix)) - recalls[:, None]) * per_row[:, None]
    classes = int(np.count_nonzero(there))
    return float(recalls.sum()) / classes, slopes.ravel() * (float(counts.sum()) / classes)


def _f1_by_class(counts: Floats) -> tuple[Floats, Floats, Floats, int]:
    """Return the classes' F1, ``1 / (rows + decisions)`` and rows, and how many occur at all."""
    matrix, of_class, decided = _matrix(counts)
    either = of_class + decided
    per_row = np.divide(1.0, either, out=np.zeros_like(either), where=either > 0.0)
    return 2.0 * np.diag(matrix) * per_row, per_row, of_class, int(np.count_nonzero(either))


def _slopes(f1: Floats, per_row: Floats, weight: Floats) -> Floats:
    """Return the derivative of ``sum(weight * f1)`` by every cell, weights held fixed, (K, K).

    F1 of class k is ``2 C_kk / (rows of k + decisions for k)``: a row of class i that is decided for
    j moves it by ``(2 [i = j = k] - F1_k ([i = k] + [j = k])) / (rows + decisions)``.
    """
    share = weight * per_row
    return 2.0 * np.diag(share) - (share * f1)[:, None] - (share * f1)[None, :]


def macro_f1(counts: Floats) -> tuple[float, Floats]:
    """Unweighted mean of the F1 of every class that occurs or is decided for.

    Source: Sokolova and Lapalme, Information Processing and Management 45 (2009) 427-437; Takahashi
    et al., Applied Intelligence 52 (2022) 4961-4972 for the variance by the delta method.

    >>> round(macro_f1(np.array([1.0, 1.0, 0.0, 4.0]))[0], 9)
    0.777777778
    """
    f1, per_row, _, classes = _f1_by_class(counts)
    slopes = _slopes(f1, per_row, np.ones_like(f1))
    return float(f1.sum()) / classes, slopes.ravel() * (float(counts.sum()) / classes)


def weighted_f1(counts: Floats) -> tuple[float, Floats]:
    """Mean of the classes' F1, each weighted by how many rows it has.

    Source: as :func:`macro_f1`.

    >>> round(weighted_f1(np.array([1.0, 1.0, 0.0, 4.0]))[0], 9)
    0.814814815
    """
    f1, per_row, of_class, _ = _f1_by_class(counts)
    value = float(f1 @ of_class) / float(counts.sum())
    return value, (_slopes(f1, per_row, of_class) + f1[:, None] - value).ravel()


def matthews(counts: Floats) -> tuple[float, Floats] | None:
    """Matthews' correlation of truth and decision, for two classes or more.

    With s rows, c of them right, t_k rows and p_k decisions of class k:
    ``(c s - sum p t) / sqrt((s**2 - sum p**2) (s**2 - sum t**2))``. None when all rows, or all
    decisions, are of one class.
    Source: Matthews, Biochim. Biophys. Acta 405 (1975) 442-451; Gorodkin, Computational Biology and
    Chemistry 28 (2004) 367-374 for K classes.

    >>> round(matthews(np.array([6.0, 1.0, 2.0, 3.0]))[0], 9)
    0.478091444
    """
    matrix, of_class, decided = _matrix(counts)
    rows, hits = float(counts.sum()), float(np.trace(matrix))
    spread_p = rows * rows - float(decided @ decided)
    spread_t = rows * rows - float(of_class @ of_class)
    if min(spread_p, spread_t) <= 1e-12 * rows * rows:
        return None
    root = (spread_p * spread_t) ** 0.5
    value = (hits * rows - float(decided @ of_class)) / root
    together = rows * np.eye(len(matrix)) + hits - decided[:, None] - of_class[None, :]
    apart = (rows - decided)[None, :] / spread_p + (rows - of_class)[:, None] / spread_t
    return value, rows * (together / root - value * apart).ravel()
