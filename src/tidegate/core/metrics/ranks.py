"""Metrics of a binary classifier's ranking: one sort, ties exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tidegate.core.metrics.estimate import Estimate, dot

if TYPE_CHECKING:
    import numpy.typing as npt

    from tidegate.core.metrics.estimate import Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ties:
    """Rows in ascending order of score, cut into runs of equal scores (shape (g,) each)."""

    order: npt.NDArray[np.intp]  # shape (n,): row numbers by ascending score
    sorted_truth: Floats  # shape (n,)
    sizes: npt.NDArray[np.intp]
    below: npt.NDArray[np.intp]  # rows with a smaller score
    positives: Floats  # class-1 rows in the run
    positives_below: Floats  # class-1 rows with a smaller score

    def spread(self, per_run: Floats) -> Floats:
        """Repeat a value per run over the run's rows, in sorted order."""
        return per_run if len(per_run) == len(self.order) else np.repeat(per_run, self.sizes)

    def unsort(self, per_row: Floats) -> Floats:
        """Bring values in sorted order back to row order."""
        result = np.empty_like(per_row)
        result[self.order] = per_row
        return result


def _ties(truth: Floats, score: Floats) -> _Ties:
    order = np.argsort(score)
    by_score = score[order]
    sorted_truth = truth[order]
    n = len(score)
    starts = np.concatenate(([0], np.flatnonzero(by_score[1:] != by_score[:-1]) + 1))
    ends = np.concatenate((starts[1:], [n]))
    cumulative = np.concatenate(([0.0], np.cumsum(sorted_truth)))
    return _Ties(
        order=order,
        sorted_truth=sorted_truth,
        sizes=ends - starts,
        below=starts,
        positives=cumulative[ends] - cumulative[starts],
        positives_below=cumulative[starts],
    )


def roc_auc(truth: Floats, score: Floats) -> Estimate | None:
    """Area under the ROC curve with DeLong's placements as influence values.

    The scaling makes ``var(influence, ddof=1) / n`` exactly DeLong's ``S10 / m + S01 / n``, for one
    model and for any linear contrast of two on the same rows.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988) 837-845, equations 4-6.

    Args:
        truth: 0 or 1, shape (n,).
        score: larger means more likely 1, shape (n,).

    Returns:
        The estimate; None when a class is missing.

    >>> roc_auc(np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.1, 0.4, 0.4, 0.8])).value
    0.875
    """
    n = len(truth)
    positives = float(truth.sum())
    negatives = n - positives
    if min(positives, negatives) < 1:
        return None
    ties = _ties(truth, score)
    # Ranks among each class, a tied row counting half.
    ones_under = ties.positives_below + 0.5 * ties.positives
    beaten = (ties.below + 0.5 * ties.sizes - ones_under) / negatives
    value = dot(beaten, ties.positives) / positives
    up = _scale(n, positives) * (beaten - value)
    down = _scale(n, negatives) * ((1.0 - value) - ones_under / positives)
    placements = np.where(ties.sorted_truth == 1.0, ties.spread(up), ties.spread(down))
    smaller = min(positives, negatives)
    return Estimate(
        value=value, influence=ties.unsort(placements), df=int(smaller) - 1, unit=n / smaller
    )


def _scale(n: int, group: float) -> float:
    """Return what turns a within-class mean of ``group`` rows into a mean over ``n`` rows."""
    return float(np.sqrt(n * (n - 1) / (group * max(group - 1, 1))))


def average_precision(truth: Floats, score: Floats) -> Estimate | None:
    """Average precision, the step-wise area under the precision-recall curve.

    Value: ``sum over thresholds of (recall step) * precision`` (scikit-learn's definition, no
    interpolation), that is ``E[Y P(S)] / pi`` with ``P(s) = A(s) / B(s)``,
    ``A(s) = E[Y; S >= s]``, ``B(s) = P(S >= s)`` and ``pi = E[Y]``.

    Influence of a row (y, s), by differentiating that expression in the row's mass:
    ``(y * (P(s) - AP + C(s)) - D(s)) / pi`` with ``C(s) = E[Y; S <= s of 1 / B(S)]`` and
    ``D(s) = E[Y; S <= s of P(S) / B(S)]``. Its mean is exactly 0. Checked against the jackknife.
    Source of the functional: Boyd, Eng and Page, ECML 2013 (area under precision-recall).

    Args and returns: as :func:`roc_auc`; None when there is no class 1.

    >>> round(average_precision(np.array([0., 0., 1., 1.]), np.array([.1, .4, .35, .8])).value, 4)
    0.8333
    """
    n = len(truth)
    positives = float(truth.sum())
    if min(positives, n - positives) < 1:
        return None
    ties = _ties(truth, score)
    at_or_above = n - ties.below
    precision = (positives - ties.positives_below) / at_or_above
    value = float((ties.positives * precision).sum() / positives)
    c = np.cumsum(ties.positives / at_or_above)
    d = np.cumsum(ties.positives * precision / at_or_above)
    hit, miss = ties.spread(precision - value + c), ties.spread(d)
    influence = (ties.sorted_truth * hit - miss) * (n / positives)
    smaller = min(positives, n - positives)
    return Estimate(
        value=value, influence=ties.unsort(influence), df=int(smaller) - 1, unit=n / smaller
    )
