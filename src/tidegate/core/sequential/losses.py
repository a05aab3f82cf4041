"""Two arms' mean losses, compared from counts, sums and sums of squares per stratum.

Losses lie in [0, 1]. For an observation x with mean mu, a centre h fixed before x is seen, and
0 <= l < 1: ``exp(l (x - h) - psi(l) (x - h)^2) <= 1 + l (x - h)`` with ``psi(l) = -ln(1 - l) - l``
(Fan, Grama and Liu 2015, inequality 4.11; Howard, Ramdas, McAuliffe and Sekhon 2021, the empirical
Bernstein boundary). So ``exp(l (x - mu) - psi(l) (x - h)^2)`` has mean at most one; multiplied over
both arms of a stratum, the champion's with the sign turned, it becomes

    e = exp(L (mean_c - f mean_b) - psi(L / n_c) V_c - psi(L f / n_b) V_b),    V = sum (x - h)^2,

whose mean is at most one while the candidate's mean is at most ``f`` times the champion's. Strata
multiply; a grid of L is averaged. "Not worse" swaps the signs. Variances around a stratum's own
mean, or sums pooled over strata, would not be valid.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tidegate.core.sequential.mixture import Array, add_starts, log_sum_exp
from tidegate.errors import NotJudgedError

if TYPE_CHECKING:
    from tidegate.core.config import Canary, Guard
    from tidegate.core.sequential.counts import Counts

GRID = np.geomspace(0.02, 0.9, 12)
_FIRST_CENTRE = 0.5  # before any champion loss is known; any number in [0, 1] is valid


@dataclass(frozen=True, kw_only=True)
class LossRule:
    """What a loss guard tests.

    Args:
        margin: factor on the champion's mean loss that is still acceptable (5 % is 1.05).
        harm_level: probability of ever finding harm that is not there.
        promote_level: probability of ever showing "not worse" when it is not so.
        center: the champion's mean loss on the holdout, fixed before the start; None takes the
            mean of the champion's losses in *earlier* strata, which is known in time as well.
    """

    margin: float
    harm_level: float = 0.01
    promote_level: float = 0.05
    center: float | None = None

    @staticmethod
    def of(guard: Guard, canary: Canary, center: float | None = None) -> LossRule:
        """Return the rule of a configured guard."""
        return LossRule(
            margin=guard.margin,
            harm_level=canary.alpha_per_guard,
            promote_level=canary.false_promote_rate,
            center=center,
        )

    @property
    def boundary(self) -> float:
        """Log e-value at which harm is found."""
        return float(-np.log(self.harm_level))

    @property
    def promote_boundary(self) -> float:
        """Log e-value at which "not worse" is shown."""
        return float(-np.log(self.promote_level))


@dataclass(frozen=True, kw_only=True)
class Losses:
    """One arm's losses of one stratum; numbers or arrays of shape ``(B,)``."""

    n: Counts
    total: Counts
    squares: Counts

    def arrays(self, batch: int) -> tuple[Array, Array, Array]:
        """Return the three sums with shape ``(batch,)``; raise when no losses in [0, 1] give them."""
        n, s, q = (
            np.broadcast_to(np.asarray(value, dtype=np.float64), (batch,))
            for value in (self.n, self.total, self.squares)
        )
        slack = 1e-9 * np.maximum(n, 1.0)
        possible = (n >= 0) & (s >= -slack) & (s <= n + slack) & (q <= s + slack)
        possible &= s * s <= n * (q + slack)
        if not bool(possible.all()):
            raise NotJudgedError(
                "A stratum's losses are impossible: sum^2 / n <= sum of squares <= sum must hold "
                "for losses between 0 and 1.",
                remedy="Divide losses by their bound (clip) before they are summed, per row.",
            )
        return n, s, q


@dataclass(frozen=True, kw_only=True, eq=False)
class LossTest:
    """The running evidence of one loss guard.

    >>> test = LossTest.start(LossRule(margin=1.0, harm_level=0.05))
    >>> for _ in range(9):
    ...     bad, good = Losses(n=50, total=20, squares=12), Losses(n=50, total=8, squares=3)
    ...     test = test.add(candidate=bad, champion=good)
    >>> bool(test.harm_max[0] >= test.rule.boundary)
    True
    """

    rule: LossRule
    looks: Array
    sums: Array  # (4, B): candidate n and total, champion n and total
    matched: Array  # (3, B): weights of the strata, and both arms' means times them
    harm: Array  # log products per L, all starts together, (B, L)
    harm_max: Array
    not_worse: Array  # log products per L, (B, L)

    @staticmethod
    def start(rule: LossRule, batch: int = 1) -> LossTest:
        """No evidence yet, for ``batch`` independent rollouts."""
        zero = np.zeros(batch)
        return LossTest(
            rule=rule,
            looks=zero,
            sums=np.zeros((4, batch)),
            matched=np.zeros((3, batch)),
            harm=np.full((batch, len(GRID)), -np.inf),
            harm_max=zero,
            not_worse=np.zeros((batch, len(GRID))),
        )

    def add(self, *, candidate: Losses, champion: Losses) -> LossTest:
        """Return the evidence after one more closed stratum; one-armed rows are left alone.

        Raises:
            NotJudgedError: no losses in [0, 1] have these sums.
        """
        batch = len(self.looks)
        n_c, s_c, q_c = candidate.arrays(batch)
        n_b, s_b, q_b = champion.arrays(batch)
        both = (n_c > 0) & (n_b > 0)
        h = self._center()
        mean_c, mean_b = s_c / np.maximum(n_c, 1.0), s_b / np.maximum(n_b, 1.0)
        difference = mean_c - self.rule.margin * mean_b
        weight = np.where(both, n_c * n_b / np.maximum(n_c + n_b, 1.0), 0.0)
        scale, penalty = _penalty(
            self.rule.margin,
            (n_c, q_c - 2.0 * h * s_c + n_c * h * h),
            (n_b, q_b - 2.0 * h * s_b + n_b * h * h),
        )
        gain = scale * difference[:, None]
        harm = np.minimum(gain - penalty, 0.5 * self.rule.boundary)
        kept = np.minimum(-gain - penalty, 0.5 * self.rule.promote_boundary)
        products = np.where(both[:, None], add_starts(self.harm, self.looks) + harm, self.harm)
        prior = -np.log(len(GRID))
        return replace(
            self,
            looks=self.looks + both,
            sums=self.sums + np.where(both, np.stack([n_c, s_c, n_b, s_b]), 0.0),
            matched=self.matched + weight * np.stack([np.ones(batch), mean_c, mean_b]),
            harm=products,
            harm_max=np.maximum(self.harm_max, log_sum_exp(products + prior)),
            not_worse=self.not_worse + np.where(both[:, None], kept, 0.0),
        )

    def means(self) -> tuple[Array, Array]:
        """Return both arms' mean losses over the same strata, shape (B,) each; NaN without any.

        Each stratum counts n_c n_b / (n_c + n_b), as in Mantel and Haenszel's estimate, so that a
        ramp of the candidate's share while losses drift does not look like a difference.
        """
        weight, mean_c, mean_b = self.matched
        with np.errstate(invalid="ignore"):
            return mean_c / weight, mean_b / weight

    def log_not_worse(self) -> Array:
        """Log e-value against "mean loss at least ``margin`` times the champion's"."""
        return log_sum_exp(self.not_worse - np.log(len(GRID)))

    @property
    def harmed(self) -> Array:
        """1 where the boundary was reached."""
        return (self.harm_max >= self.rule.boundary).astype(np.float64)

    def _center(self) -> Array:
        if self.rule.center is not None:
            return np.full(len(self.looks), self.rule.center)
        n, total = self.sums[2], self.sums[3]
        centre: Array = np.where(n > 0, total / np.maximum(n, 1.0), _FIRST_CENTRE)
        return centre


def _penalty(
    factor: float, candidate: tuple[Array, Array], champion: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Return L per grid point and what the squares cost, both ``(B, L)``.

    The grid is of ``l = L / n_c``. Where the champion's arm is the smaller one (95/5, probation)
    its argument would pass one; L is then scaled down by a function of the counts alone.
    """
    (n_c, v_c), (n_b, v_b) = candidate, champion
    n_c, n_b = np.maximum(n_c, 1.0), np.maximum(n_b, 1.0)
    scale = GRID * np.minimum(n_c, n_b / factor)[:, None]
    cost = _psi(scale / n_c[:, None]) * v_c[:, None]
    return scale, cost + _psi(scale * factor / n_b[:, None]) * v_b[:, None]


def _psi(arguments: Array) -> Array:
    psi: Array = -np.log1p(-arguments) - arguments
    return psi
