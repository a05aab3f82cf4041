"""Metrics of marks: 0 for failed, 1 for passed; rows of one item are repeats of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tidegate.core.metrics.kinds import Cells, Queried

if TYPE_CHECKING:
    from tidegate.core.metrics.kinds import Codes, Floats

_FAILED, _PASSED, _NEITHER = 0, 1, 2


def mark(_truth: Floats, score: Floats, _classes: int) -> Codes:
    """Return every row's cell: 0 failed, 1 passed, 2 for a score that is no mark.

    >>> mark(np.zeros(3), np.array([0.0, 1.0, 0.5]), 2)
    array([0, 1, 2])
    """
    return np.where(score == 1.0, _PASSED, np.where(score == 0.0, _FAILED, _NEITHER)).astype(
        np.intp
    )


def passed(counts: Floats) -> tuple[float, Floats] | None:
    """Return the share of marks that are 1; None when a score is no mark.

    >>> passed(np.array([1.0, 3.0, 0.0]))[0]
    0.75
    """
    if counts[_NEITHER] > 0.0:
        return None
    value = float(counts[_PASSED]) / float(counts.sum())
    return value, np.array([0.0, 1.0, 0.0]) - value


def _marks(_classes: int) -> int:
    return _NEITHER + 1


def _drawn(score: Floats, starts: Codes, k: int, *, of: float) -> Floats:
    """Return the chance that k repeats of each item, drawn without replacement, are all ``of``.

    ``C(c, k) / C(n, k)`` for c such marks among n repeats, shape (items,). All NaN, which makes the
    metric undefined, when a score is no mark or an item has fewer than k repeats: leaving items out
    would answer another question.
    """
    repeats = np.diff(starts, append=len(score))
    unusable = bool(((score != 0.0) & (score != 1.0)).any()) or int(repeats.min()) < k
    if unusable:
        return np.full(len(starts), np.nan)
    such = np.add.reduceat((score == of).astype(np.float64), starts)
    chance = np.ones(len(starts))
    for drawn in range(k):
        chance *= np.maximum(such - drawn, 0.0) / (repeats - drawn)
    return chance


def pass_at(k: int) -> Queried:
    """Return pass@k: the chance that at least one of k repeats passes, unbiased for every item.

    ``1 - C(n - c, k) / C(n, k)`` with c of n repeats passed.
    Source: Chen et al., "Evaluating Large Language Models Trained on Code" (2021), arXiv 2107.03374,
    equation 1.
    """

    def formula(_truth: Floats, score: Floats, starts: Codes) -> Floats:
        return 1.0 - _drawn(score, starts, k, of=0.0)

    return Queried(formula=formula)


def pass_all(k: int) -> Queried:
    """Return pass^k: the chance that k repeats all pass, unbiased for every item.

    ``C(c, k) / C(n, k)`` with c of n repeats passed.
    Source: Yao, Shinn, Razavi and Narasimhan, "tau-bench" (2024), arXiv 2406.12045.
    """

    def formula(_truth: Floats, score: Floats, starts: Codes) -> Floats:
        return _drawn(score, starts, k, of=1.0)

    return Queried(formula=formula)


PASS_RATE = Cells(cell=mark, size=_marks, formula=passed, marks=True)
