"""From what is known of a group of rows to a statistic: a model's own value, and the contrast of two."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

from tidegate.core.metrics.paired import paired
from tidegate.core.metrics.statistic import Statistic

if TYPE_CHECKING:
    from tidegate.core.metrics.joint import Joint

_NORMAL = NormalDist()


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

    Proportions: see :mod:`tidegate.core.metrics.paired`.
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
        a, b = float(joint.values[candidate]), float(joint.values[reference])
        both = float(gram[candidate, reference]) + n * a * b
        counts = (round(n * a), round(n * b), round(both))
        return paired(candidate=counts[0], reference=counts[1], both=counts[2], n=n, k=k)
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
