"""What a paired bootstrap found, and its percentiles as bounds; :mod:`tidegate.core.own` draws."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tidegate.core.metrics.statistic import Statistic

if TYPE_CHECKING:
    from tidegate.core.metrics.kinds import Floats

RESAMPLES = 1000
_MOST_UNDEFINED = 0.01  # a share of resamples; with more, the rows are too few for this metric


@dataclass(frozen=True, kw_only=True, slots=True)
class Replicates:
    """A metric's values on the rows and on every resample, the same resamples for every model.

    Attributes:
        values: shape (m,); NaN where undefined.
        draws: shape (resamples, m); NaN where undefined on a resample.
        n: the number of rows.
    """

    values: Floats
    draws: Floats
    n: int

    def single(self, model: int) -> Percentile:
        """Return one model's own value."""
        return _percentile(float(self.values[model]), self.draws[:, model], self.n)

    def contrast(self, candidate: int, reference: int, k: float = 1.0) -> Percentile:
        """Return ``candidate - k * reference``, draw by draw."""
        value = float(self.values[candidate] - k * self.values[reference])
        return _percentile(value, self.draws[:, candidate] - k * self.draws[:, reference], self.n)


def nothing(models: int, n: int) -> Replicates:
    """Return what is known of a metric that nobody measured: it is undefined for every model."""
    return Replicates(values=np.full(models, np.nan), draws=np.empty((0, models)), n=n)


def _percentile(value: float, draws: Floats, n: int) -> Percentile:
    """Return the statistic; none of a resample's undefined values may narrow the interval."""
    defined = draws[np.isfinite(draws)]
    if len(defined) < (1.0 - _MOST_UNDEFINED) * len(draws):
        defined = np.empty(0)
    se = float(np.std(defined, ddof=1)) if len(defined) > 1 else math.inf
    return Percentile(centre=value, se=se, df=math.inf, n=n, draws=np.sort(defined))


@dataclass(frozen=True, kw_only=True, slots=True)
class Percentile(Statistic):
    """A number with the values it took on resamples; bounds are their percentiles.

    ``se`` is the standard deviation of the draws, for who must combine it with another's.

    The bounds are the order statistics of rank ``(B + 1) (1 - confidence)``, rounded outward.
    Source: Davison and Hinkley, Bootstrap Methods and their Application (1997), section 5.3.1.
    """

    draws: Floats  # ascending

    @property
    def known(self) -> bool:
        """Whether the resamples differ by more than rounding."""
        if len(self.draws) < 2:
            return False
        width = float(self.draws[-1] - self.draws[0])
        return width > 1e-12 * max(abs(float(self.draws[-1])), abs(float(self.draws[0])))

    def lower(self, confidence: float) -> float:
        """Return the one-sided lower bound; minus infinity when so few draws cannot give one."""
        rank = math.floor((len(self.draws) + 1) * (1.0 - confidence) + 1e-9)
        return float(self.draws[rank - 1]) if rank >= 1 else -math.inf

    def upper(self, confidence: float) -> float:
        """Return the one-sided upper bound; infinity when so few draws cannot give one."""
        rank = math.floor((len(self.draws) + 1) * (1.0 - confidence) + 1e-9)
        return float(self.draws[-rank]) if rank >= 1 else math.inf

    def affine(self, sign: float, shift: float) -> Percentile:
        """Return ``sign * self + shift``; ``sign`` is 1 or -1."""
        draws = self.draws if sign > 0.0 else self.draws[::-1]
        return replace(self, centre=sign * self.centre + shift, draws=sign * draws + shift)

    def p_negative(self) -> float:
        """Return the one-sided p-value against "the truth is at least 0"; never 0."""
        return float(1 + np.count_nonzero(self.draws >= 0.0)) / (len(self.draws) + 1)
