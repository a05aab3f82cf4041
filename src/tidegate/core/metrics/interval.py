"""From influence values to one-sided bounds, p-values and rows needed.

All bounds are Student's, by the normal approximation of Abramowitz and Stegun 26.7.8, used in both
directions so that a bound and a p-value never contradict each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidegate.core.metrics.joint import Joint

POWER = 0.8  # of "rows needed"
_NORMAL = NormalDist()
_MOST_ROWS = 1e9  # beyond this "about N rows" is no advice


def quantile(confidence: float, df: float) -> float:
    """Return Student's one-sided quantile; the normal one for ``df`` = infinity.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.8, solved for t; within
    0.2 % of the exact value at 0.95 from 19 degrees of freedom on. Infinite where the formula has
    no solution (far tail, few degrees of freedom), which keeps every decision open.

    >>> round(quantile(0.95, math.inf), 3), round(quantile(0.95, 19), 2)
    (1.645, 1.73)
    """
    z = _NORMAL.inv_cdf(confidence)
    if math.isinf(df):
        return z
    square = (1.0 - 0.25 / df) ** 2 - z * z / (2.0 * df)
    return z / math.sqrt(square) if square > 0.0 else math.copysign(math.inf, z)


def tail(t: float, df: float) -> float:
    """Return the probability that Student's t is at most ``t``. Source: as :func:`quantile`.

    >>> round(tail(-1.645, math.inf), 3)
    0.05
    """
    if math.isinf(df):
        return _NORMAL.cdf(t)
    return _NORMAL.cdf(t * (1.0 - 0.25 / df) / math.sqrt(1.0 + t * t / (2.0 * df)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Statistic:
    """An estimate with its standard error; bounds are Student's.

    Attributes:
        centre: where the interval is centred; shrunk for proportions.
        se: standard error; 0 only when the rows say nothing about it, see :attr:`known`.
        df: degrees of freedom; infinity for a normal interval.
        n: rows behind it.
        doubt: how far the centre may be off beside its sampling error; bounds are wider by it.
    """

    centre: float
    se: float
    df: float
    n: int
    doubt: float = 0.0

    @property
    def known(self) -> bool:
        """Whether there is a standard error: zero variance is never certainty."""
        return math.isfinite(self.se) and self.se > 0.0

    def lower(self, confidence: float) -> float:
        """Return the one-sided lower bound."""
        return self.centre - quantile(confidence, self.df) * self.se - self.doubt

    def upper(self, confidence: float) -> float:
        """Return the one-sided upper bound."""
        return self.centre + quantile(confidence, self.df) * self.se + self.doubt

    def affine(self, sign: float, shift: float) -> Statistic:
        """Return ``sign * self + shift``; ``sign`` is 1 or -1."""
        return replace(self, centre=sign * self.centre + shift)

    def p_negative(self) -> float:
        """Return the one-sided p-value against "the truth is at least 0"."""
        return tail((self.centre + self.doubt) / self.se, self.df)

    def rows_needed(self, confidence: float) -> int | None:
        """Return about how many such rows settle on which side of 0 the truth lies.

        ``(z_confidence + z_power)**2 * variance / centre**2`` with power 80 %, taking what was
        observed for the truth; None when that is no advice (over 1e9 rows).
        Source: Julious, Statistics in Medicine 23 (2004) 1921-1986, section 3 (non-inferiority).

        >>> Statistic(centre=0.01, se=0.01, df=math.inf, n=100).rows_needed(0.95)
        619
        """
        return rows_needed(self.centre, self.se, self.n, confidence)


def rows_needed(centre: float, se: float, n: int, confidence: float) -> int | None:
    """Return about how many rows settle the side of 0; see :meth:`Statistic.rows_needed`."""
    if centre == 0.0 or not math.isfinite(se) or se <= 0.0:
        return None
    z = _NORMAL.inv_cdf(confidence) + _NORMAL.inv_cdf(POWER)
    rows = z * z * se * se * n / (centre * centre)
    return math.ceil(rows) if rows <= _MOST_ROWS else None


def single(joint: Joint, model: int, confidence: float) -> Statistic:
    """Return a model's own value with its error.

    Proportions, of all rows or of some: Agresti and Coull, The American Statistician 52 (1998) 119-126, with the z of
    ``confidence``; never zero width, and unlike Wilson's not too short one-sided near 0 and 1
    (Cai, J. Statist. Plann. Inference 131 (2005) 63-88).
    """
    value = float(joint.values[model])
    square = float(joint.gram[model, model])
    rows = _rows_of_share(joint, model)
    if rows is not None and math.isfinite(square):
        z = _NORMAL.inv_cdf(confidence)
        n = rows + z * z
        share = (rows * value + z * z / 2.0) / n
        se = math.sqrt(share * (1.0 - share) / n)
        return Statistic(centre=share, se=se, df=math.inf, n=joint.n)
    doubt, off = _blurred(joint, {model: 1.0})
    error = _error(joint, square, (model,)) + off
    return Statistic(centre=value, se=error, df=joint.df, n=joint.n, doubt=doubt)


def _rows_of_share(joint: Joint, model: int) -> float | None:
    """Return how many rows the value is a share of; None when it is no share of equal rows."""
    if joint.proportions[model]:
        return float(joint.units)
    base = math.nan if joint.bases is None else float(joint.bases[model])
    return base if math.isfinite(base) else None


def contrast(joint: Joint, candidate: int, reference: int, k: float = 1.0) -> Statistic:
    """Return ``candidate - k * reference`` on the same rows, with its paired error.

    Proportions: Bonett and Price, J. Educ. Behav. Stat. 37 (2012) 479-488: as if one row more had
    been won and one lost. For k = 1 that is their interval; other k put the same two rows in.
    Else: the standard deviation of the influence values' contrast, Student's quantile. When hardly
    any row differs the error is at least that of two made-up rows that differ by a typical row's
    influence, one each way: Bonett and Price's idea where rows are not 0 and 1.
    """
    gram, n = joint.gram, joint.n
    value = float(joint.values[candidate] - k * joint.values[reference])
    square = float(
        gram[candidate, candidate]
        - 2.0 * k * gram[candidate, reference]
        + k * k * gram[reference, reference]
    )
    if joint.proportions[candidate] and joint.proportions[reference]:
        centre = (n * value + 1.0 - k) / (n + 2)
        square = (square + n * value * value + 1.0 + k * k) / (n + 2) - centre * centre
        return Statistic(centre=centre, se=math.sqrt(square / (n + 2)), df=math.inf, n=n)
    doubt, off = _blurred(joint, {candidate: 1.0, reference: abs(k)})
    error = _error(joint, square, (candidate, reference)) + off
    return Statistic(centre=value, se=error, df=joint.df, n=n, doubt=doubt)


def _blurred(joint: Joint, weights: dict[int, float]) -> tuple[float, float]:
    """Return how far a sum of models' values and its standard error may be off because of bins.

    The triangle inequality for both: doubts add up, and so do the influences' root mean squared errors.
    """
    if joint.doubt is None or joint.off is None:
        return 0.0, 0.0
    doubt = sum(w * float(joint.doubt[model]) for model, w in weights.items())
    off = sum(w * float(joint.off[model]) for model, w in weights.items())
    return doubt, off / math.sqrt(max(joint.n - 1, 1))


def _error(joint: Joint, square: float, models: tuple[int, ...]) -> float:
    """Return the standard error of a contrast whose units' squares sum to ``square``.

    ``G / (G - 1)`` times that sum: with clusters Liang and Zeger, Biometrika 73 (1986) 13-22; without, the
    sample variance. At least the error of two made-up units; infinite where one unit is all there is.
    """
    if joint.units < 2 or not math.isfinite(square):  # a formula may say that it has no bound
        return math.inf
    correction = joint.units / (joint.units - 1)
    error = math.sqrt(max(square, 0.0) * correction) / joint.n
    least = 0.0
    for model in models:
        typical = math.sqrt(float(joint.gram[model, model]) * correction * joint.units) / joint.n
        least = max(least, math.sqrt(2.0) * (typical or joint.unit) / (joint.units + 2))
    return max(error, least)


def holm(p_values: list[float]) -> list[float]:
    """Return Holm's adjusted p-values, in the given order.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979) 65-70.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
