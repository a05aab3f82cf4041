"""Metrics that read one point off a binary classifier's ranking.

All are given the weight of class 1 and of class 0 in every run of equal scores, ascending, shape
(runs,), and return the value and the influence of one row of either class in each run.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tidegate.core.metrics.kinds import Ranked

if TYPE_CHECKING:
    from tidegate.core.metrics.kinds import Floats, Point

_Z95 = 1.6448536
_TENTH = 0.1


def largest_gap(positives: Floats, negatives: Floats) -> Point | None:
    """Kolmogorov-Smirnov: the largest excess of class 0 over class 1 among the lower scores.

    ``max over s of P(S <= s | 0) - P(S <= s | 1)``; one-sided, so that scores the wrong way round
    are worth 0 and not 1. Influence: that of the two shares at the threshold where the gap is
    largest, because moving the threshold changes nothing to first order (envelope theorem). The
    largest of many estimates is too large, see :func:`_optimism`: the influence is scaled up so that
    a one-sided 95 % bound makes up for it.
    Source: Raghavachari, Annals of Statistics 1 (1973) 67-73 (limit law under alternatives).

    >>> largest_gap(np.array([0.0, 1.0, 1.0]), np.array([1.0, 1.0, 0.0]))[0]
    0.5
    """
    ones, zeros = float(positives.sum()), float(negatives.sum())
    if min(ones, zeros) <= 0.0:
        return None
    lower_1, lower_0 = np.cumsum(positives) / ones, np.cumsum(negatives) / zeros
    at = int(np.argmax(lower_0 - lower_1))
    n = ones + zeros
    share_1, share_0 = float(lower_1[at]), float(lower_0[at])
    below = (np.arange(len(positives)) <= at).astype(np.float64)
    up, down = (share_1 - below) * (n / ones), (below - share_0) * (n / zeros)
    variance = share_1 * (1.0 - share_1) / ones + share_0 * (1.0 - share_0) / zeros
    if variance > 0.0:
        wider = 1.0 + _optimism(positives, negatives, at) / (_Z95 * variance**0.5)
        up, down = up * wider, down * wider
    return max(share_0 - share_1, 0.0), up, down


def _optimism(positives: Floats, negatives: Floats, at: int) -> float:
    """Return by how much the largest gap is too large on average; NaN where no peak is seen.

    Near its peak the gap is a parabola in the rank u of the score plus Brownian noise of variance
    ``1 / (n pi (1 - pi))`` a unit of u, so that its maximum exceeds the peak by 0.996 times
    ``(variance**2 / curvature)**(1/3)`` on average. The curvature is ``r'(u) / (pi (1 - pi))``, r being the
    local share of class 1: its slope is taken over a tenth of the rows on either side.
    Source: Daniels and Skyrme, "The maximum of a random walk whose mean path has a maximum", Advances
    in Applied Probability 17 (1985) 85-99.
    """
    weights = positives + negatives
    upper, hits = np.cumsum(weights), np.cumsum(positives)
    n, prevalence = float(upper[-1]), float(hits[-1] / upper[-1])
    edges = np.clip(upper[at] / n + np.array([-_TENTH, 0.0, _TENTH]), 0.0, 1.0)
    counts = np.interp(edges * n, upper, hits, left=0.0)
    spans = np.diff(edges)
    if min(spans) <= 0.0:
        return float("nan")
    low, high = np.diff(counts) / (spans * n)
    slope = (high - low) / (0.5 * (edges[2] - edges[0]))
    if slope <= 0.0:
        return float("nan")
    spread = prevalence * (1.0 - prevalence)
    cube = float((1.0 / (n * spread)) ** 2 * spread / slope)
    return 0.996 * math.cbrt(cube)


def recall_at_precision(precision: float, positives: Floats, negatives: Floats) -> Point | None:
    """Largest recall of all thresholds whose precision is at least ``precision``; 0 without one.

    Influence, with threshold t, recall R, prevalence pi and the local precision r = P(Y = 1 | S = t):
    ``([s >= t] y - R y) / pi + r / (pi (precision - r)) (y - precision) [s >= t]``, by implicit
    differentiation of ``P(Y = 1, S >= t) = precision P(S >= t)``: the density of the scores cancels.
    The last crossing of a noisy curve comes late, see below: the influence is scaled up so that a
    one-sided 95 % bound makes up for it. It is NaN, which keeps every decision open, where no
    threshold reaches the precision, or where the precision does not fall at the threshold (r is not
    below it), and the recall may jump.

    >>> recall_at_precision(0.6, np.array([0.0, 1.0, 0.0, 1.0]), np.array([2.0, 0.0, 1.0, 0.0]))[0]
    1.0
    """
    ones = float(positives.sum())
    n = ones + float(negatives.sum())
    if ones <= 0.0 or ones >= n:
        return None
    hits = np.cumsum(positives[::-1])[::-1]
    above = np.cumsum((positives + negatives)[::-1])[::-1]
    reached = np.flatnonzero((hits > 0.0) & (hits >= precision * above * (1.0 - 1e-12)))
    if len(reached) == 0:
        unknown = np.full(len(positives), np.nan)
        return 0.0, unknown, unknown
    at = int(reached[0])
    value = float(hits[at]) / ones
    local = _local_precision(positives, negatives, at)
    taken = (np.arange(len(positives)) >= at).astype(np.float64)
    pull = local / (precision - local) if local < precision else np.nan
    up = (taken * (1.0 + pull * (1.0 - precision)) - value) * (n / ones)
    down = taken * (-pull * precision) * (n / ones)
    slack = pull * float(hits[at] - precision * above[at]) / ones  # 0 but for one row or one run
    up, down = up - slack, down - slack
    # Past the crossing, "hits - precision * rows" is a random walk that drifts down by precision - local a
    # row: its last visit to 0 comes, on average over both sides, half of variance / drift**2 rows late.
    drift = precision - local
    late = 0.5 * (local * (1.0 - local) + drift * drift) / (drift * drift) if drift > 0.0 else 0.0
    error = float(positives @ np.square(up) + negatives @ np.square(down)) ** 0.5 / n
    wider = 1.0 + late * local / (ones * _Z95 * error) if error > 0.0 else 1.0
    return value, up * wider, down * wider


def recall_at_top(share: float, positives: Floats, negatives: Floats) -> Point | None:
    """Recall when the given share of all rows, those of the highest scores, is taken for class 1.

    A run of equal scores at the edge counts by the fraction of it that fits. Influence, with the
    edge t and r = P(Y = 1 | S = t): ``([s >= t] y - R y - r ([s >= t] - share)) / pi``.
    Source: an ordinate of a concentration curve; Beach and Davidson, Review of Economic Studies 50
    (1983) 723-735.

    >>> recall_at_top(0.5, np.array([0.0, 1.0, 1.0]), np.array([1.0, 1.0, 0.0]))[0]
    0.75
    """
    ones = float(positives.sum())
    n = ones + float(negatives.sum())
    if ones <= 0.0 or ones >= n:
        return None
    weights = positives + negatives
    above = np.cumsum(weights[::-1])[::-1] - weights  # strictly above the run
    room = share * n - above
    taken = np.clip(
        np.divide(room, weights, out=np.zeros_like(room), where=weights > 0.0), 0.0, 1.0
    )
    at = int(np.argmax(room > 0.0))  # the lowest run of which something is taken
    value = float(taken @ positives) / ones
    local = _local_precision(positives, negatives, at)
    up = (taken - value - local * (taken - share)) * (n / ones)
    down = -local * (taken - share) * (n / ones)
    return value, up, down


def _local_precision(positives: Floats, negatives: Floats, at: int) -> float:
    """Return the share of class 1 around a run: in the run, or in n**(2/3) rows around it if more.

    The window's width is the usual one for a local mean: its bias and its error both vanish.
    """
    weights = positives + negatives
    upper = np.cumsum(weights)
    half = 0.5 * max(float(upper[-1]) ** (2.0 / 3.0), float(weights[at]))
    middle = float(upper[at]) - 0.5 * float(weights[at])
    first = int(np.searchsorted(upper, middle - half, side="right"))
    last = int(np.searchsorted(upper, middle + half, side="left"))
    window = slice(first, max(last, at) + 1)
    return float(positives[window].sum()) / float(weights[window].sum())


KS = Ranked(formula=largest_gap)
