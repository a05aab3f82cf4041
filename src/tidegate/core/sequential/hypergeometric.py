"""Fisher's noncentral hypergeometric distribution: exact normalisers, for many odds at once.

Given how many requests each arm had and how many events there were in all, the number of events
in the candidate's arm has probability proportional to ``C(n_c, k) C(n_b, x - k) theta^k``, where
``theta`` is the odds ratio. The base rate has dropped out: drift and shared bursts cannot matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.core.sequential.mixture import Array

# Largest exponent range that one group of odds may span; exp() overflows at 709.
_SPAN = 500.0


def log_normalisers(n_candidate: Array, n_champion: Array, events: Array, log_odds: Array) -> Array:
    """Return ``log sum_k C(n_c, k) C(n_b, x - k) theta^k`` up to a constant per row.

    Args:
        n_candidate: requests of the candidate, shape ``(B,)``, whole numbers.
        n_champion: requests of the champion, shape ``(B,)``.
        events: events of both arms together, shape ``(B,)``, at most ``n_c + n_b``.
        log_odds: natural logarithms of the odds ratios, shape ``(T,)``.

    Returns:
        Shape ``(B, T)``. Rows are scaled so that the smallest possible count has weight
        ``theta^k`` alone; differences between columns are exact log ratios of normalisers.

    Two requests each, one event: weights 1 and theta after scaling.

    >>> two, one = np.array([2.0]), np.array([1.0])
    >>> np.exp(log_normalisers(two, two, one, np.log([1.0, 3.0]))).round(12).tolist()
    [[2.0, 4.0]]
    """
    low = np.maximum(0.0, events - n_champion)
    base = _log_weights(n_candidate, n_champion, events, low)
    width = base.shape[1]
    offsets = np.arange(width, dtype=np.float64)
    out = low[:, None] * log_odds
    middle = float(width // 2)
    for members in _groups(log_odds, width):
        odds = log_odds[members]
        centre = 0.5 * (odds.min() + odds.max())
        tilted = base + offsets * centre
        peak = tilted.max(axis=1, keepdims=True)
        powers = np.exp(np.outer(offsets - middle, odds - centre))
        total = np.exp(tilted - peak) @ powers
        out[:, members] += np.log(total) + peak + middle * (odds - centre)
    return out


def _log_weights(n_candidate: Array, n_champion: Array, events: Array, low: Array) -> Array:
    """Log weights over each row's support at odds one, by recursion; ``-inf`` beyond its end."""
    last = np.minimum(events, n_candidate) - low
    width = int(last.max(initial=0.0)) + 1
    steps = np.arange(width - 1, dtype=np.float64)
    k = low[:, None] + steps
    inside = steps < last[:, None]
    up = (n_candidate[:, None] - k) * (events[:, None] - k)
    down = (k + 1.0) * (n_champion[:, None] - events[:, None] + k + 1.0)
    ratio = np.log(np.where(inside, up, 1.0)) - np.log(np.where(inside, down, 1.0))
    weights = np.zeros((len(low), width))
    np.cumsum(ratio, axis=1, out=weights[:, 1:])
    weights[:, 1:][~inside] = -np.inf
    return weights


def _groups(log_odds: Array, width: int) -> list[NDArray[np.intp]]:
    """Split the odds so that one matrix product per group neither overflows nor underflows."""
    lowest, highest = float(log_odds.min()), float(log_odds.max())
    count = int((highest - lowest) * width / _SPAN) + 1
    place = (log_odds - lowest) / ((highest - lowest) or 1.0) * count
    which = np.minimum(place, count - 1).astype(np.intp)
    return [np.flatnonzero(which == group) for group in np.unique(which)]
