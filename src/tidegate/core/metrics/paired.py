"""The difference of two shares on the same rows: bounds by a likelihood ratio.

A row counts for the candidate, for the reference, for both or for neither, so that ``candidate - k * reference`` is the mean
of a score with four values. As if one row more had been won and one lost, because no row that differs is no certainty (Bonett
and Price, J. Educ. Behav. Stat. 37 (2012) 479-488). A bound is where the signed root of twice the log-likelihood ratio reaches the
normal quantile; for a multinomial with one linear constraint on its mean this is Owen's empirical likelihood (Biometrika 75
(1988) 237-249).

Why not Bonett and Price's standard error: rows that differ are few, and mostly of one kind where the candidate is worse; the
estimate is skewed, and its error falls with it. ``tests/core/test_paired.py`` enumerates how often a candidate that is worse by
exactly the margin passes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING

from tidegate.core.metrics.statistic import Statistic

if TYPE_CHECKING:
    from collections.abc import Callable

_NORMAL = NormalDist()
_MADE_UP = 1.0  # rows won, and as many lost
_MOST = 30.0  # within exp(-30) of a mean that cannot be: seven standard errors and more away
_MOST_STEPS = 100  # about ten are taken


@dataclass(frozen=True, kw_only=True, slots=True)
class Paired(Statistic):
    """A mean of a score with few values; ``se`` is for who plans with it, the bounds need none.

    ``outcomes`` are the scores and how many rows have each.
    """

    outcomes: tuple[tuple[float, float], ...]

    def lower(self, confidence: float) -> float:
        """Return the one-sided lower bound."""
        return self._mean_at(_NORMAL.inv_cdf(confidence))

    def upper(self, confidence: float) -> float:
        """Return the one-sided upper bound."""
        return self._mean_at(-_NORMAL.inv_cdf(confidence))

    def affine(self, sign: float, shift: float) -> Paired:
        """Return ``sign * self + shift``; ``sign`` is 1 or -1."""
        outcomes = tuple((sign * score + shift, rows) for score, rows in self.outcomes)
        return replace(self, centre=sign * self.centre + shift, outcomes=outcomes)

    def p_negative(self) -> float:
        """Return the one-sided p-value against "the truth is at least 0"."""
        if self.centre == 0.0:
            return 0.5
        down = self.centre > 0.0
        tilt = self._tilted(down=down)
        root = _root(lambda u: -tilt(u)[0] if down else tilt(u)[0])
        return _NORMAL.cdf(math.copysign(tilt(root)[1], self.centre))

    def _mean_at(self, z: float) -> float:
        """Return the mean whose signed root is ``z``: below the estimate for a positive one."""
        if z == 0.0:
            return self.centre
        tilt = self._tilted(down=z > 0.0)
        return tilt(_root(lambda u: tilt(u)[1] - abs(z)))[0]

    def _tilted(self, *, down: bool) -> Callable[[float], tuple[float, float]]:
        """Return what gives the likeliest distributions by their mean: ``u >= 0`` -> (mean, root).

        They have the weights ``rows / (1 + eta * (score - estimate))``: ``eta`` = 0 is what was observed, and at its
        end, ``u`` = infinity, all weight lies on the smallest score (``down``) or the largest one.
        """
        steps = [(score - self.centre, rows) for score, rows in self.outcomes]
        total = sum(rows for _, rows in steps)
        reach = [step for step, _ in steps]
        end = -1.0 / (min(reach) if down else max(reach))

        def tilt(u: float) -> tuple[float, float]:
            eta = -end * math.expm1(-u)
            logs = lost = moved = 0.0
            for step, rows in steps:
                weight = rows / (1.0 + eta * step)
                logs += rows * math.log1p(eta * step)
                lost -= weight * eta * step
                moved += weight * step
            # The weights sum to total + lost: log1p keeps the digits of many rows.
            square = 2.0 * (logs + total * math.log1p(lost / total))
            return self.centre + moved / (total + lost), math.sqrt(max(square, 0.0))

        return tilt


def paired(*, candidate: float, reference: float, both: float, n: int, k: float) -> Paired:
    """Return the statistic of ``candidate - k * reference``, shares of the same n rows.

    Args:
        candidate: how many rows count for the candidate.
        reference: how many for the reference.
        both: how many for both.
        n: how many there are.
        k: what the reference's share is multiplied with.

    >>> found = paired(candidate=900, reference=904, both=890, n=1000, k=1.0)
    >>> round(found.centre, 4), round(found.lower(0.95), 4), round(found.upper(0.95), 4)
    (-0.004, -0.0127, 0.0044)
    """
    kinds = [
        (1.0 - k, both),
        (1.0, candidate - both + _MADE_UP),
        (-k, reference - both + _MADE_UP),
        (0.0, n - candidate - reference + both),
    ]
    outcomes = tuple((score, rows) for score, rows in kinds if rows > 0.0)
    total = n + 2.0 * _MADE_UP
    mean = sum(score * rows for score, rows in outcomes) / total
    square = sum(rows * (score - mean) ** 2 for score, rows in outcomes) / total
    return Paired(centre=mean, se=math.sqrt(square / total), df=math.inf, n=n, outcomes=outcomes)


def _root(rises: Callable[[float], float]) -> float:
    """Return where a rising function, negative at 0, is 0: by the Illinois method."""
    low, at_low = 0.0, rises(0.0)
    high, at_high = 1e-3, rises(1e-3)
    while at_high < 0.0 and high < _MOST:
        low, at_low = high, at_high
        high = min(4.0 * high, _MOST)
        at_high = rises(high)
    for _ in range(_MOST_STEPS):
        if not (high - low > 1e-12 * high and at_high > 0.0 > at_low):
            break
        middle = high - at_high * (high - low) / (at_high - at_low)
        found = rises(middle)
        if found >= 0.0:
            high, at_high, at_low = middle, found, 0.5 * at_low
        else:
            low, at_low, at_high = middle, found, 0.5 * at_high
    return high
