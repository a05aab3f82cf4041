"""What a count guard tests: the null values, the alternatives and their prior weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tidegate.core.config import Canary, Guard
    from tidegate.core.sequential.mixture import Array

STEP_MARGINS = (4.0, 2.0)  # what stepping up must exclude: after the first step, after later ones


@dataclass(frozen=True)
class Grid:
    """Alternatives and their prior weights (which sum to one), against one null value."""

    null: float  # log odds at the null's edge
    points: Array  # log odds of the alternatives
    log_weights: Array


def harm_grid(margin: float) -> Grid:
    """Odds of 1.15 to 10 times the margin, half of the prior centred near twice the margin."""
    ratios = np.log(np.geomspace(1.15, 10.0, 16))
    bump = np.exp(-0.5 * ((ratios - np.log(1.9)) / 0.3) ** 2)
    weights = 0.75 * bump / bump.sum() + 0.25 / len(ratios)
    return Grid(float(np.log(margin)), np.log(margin) + ratios, np.log(weights))


def not_worse_grid(margin: float) -> Grid:
    """Odds below the margin; most of the prior on exactly one, the equal model."""
    edge = float(np.log(margin))
    ratios = np.log(np.geomspace(1.15, 10.0, 9))
    points, weights = edge - ratios, np.full(len(ratios), 1.0 / len(ratios))
    if margin > 1.0:
        points, weights = np.append(points, 0.0), np.append(0.2 * weights, 0.8)
    return Grid(edge, points, np.log(weights))


@dataclass(frozen=True, kw_only=True)
class CountRule:
    """What a count guard tests, and at which error rates.

    Args:
        margin: factor on the odds that is still acceptable, at least 1.
        negligible: rate below which nobody cares; 0 switches that part off.
        harm_level: probability of ever finding harm that is not there (alpha of this guard).
        promote_level: probability of ever showing "not worse" when it is not so.
    """

    margin: float
    negligible: float = 0.0
    harm_level: float = 0.01
    promote_level: float = 0.05

    @staticmethod
    def of(guard: Guard, canary: Canary) -> CountRule:
        """Return the rule of a configured guard."""
        return CountRule(
            margin=guard.margin,
            negligible=guard.negligible,
            harm_level=canary.alpha_per_guard,
            promote_level=canary.false_promote_rate,
        )

    @cached_property
    def harm(self) -> Grid:
        """The alternatives for harm."""
        return harm_grid(self.margin)

    @cached_property
    def nulls(self) -> tuple[Grid, ...]:
        """Not worse than: the margin, 4x (first step), 2x (later); never below the margin."""
        steps = (max(self.margin, step) for step in STEP_MARGINS)
        return tuple(not_worse_grid(margin) for margin in (self.margin, *steps))

    @cached_property
    def rates(self) -> Array:
        """Alternative rates below ``negligible``; zero among them, so that no errors promote."""
        fractions: Array = np.array([0.0, 0.125, 0.25, 0.5])
        return self.negligible * fractions

    @cached_property
    def rate_log_weights(self) -> Array:
        """Prior weights of :attr:`rates`, most of it on no errors at all."""
        weights: Array = np.log(np.array([0.7, 0.1, 0.1, 0.1]))
        return weights

    @cached_property
    def harm_twice(self) -> int:
        """Which alternative lies nearest to twice the margin."""
        return int(np.abs(self.harm.points - self.harm.null - np.log(2.0)).argmin())

    @cached_property
    def columns(self) -> tuple[slice, ...]:
        """Where the harm grid and each null's grid stand in :attr:`all_log_odds`, edge first."""
        ends = np.cumsum([1, *(1 + len(grid.points) for grid in (self.harm, *self.nulls))])
        return tuple(slice(int(a), int(b)) for a, b in pairwise(ends))

    @cached_property
    def all_log_odds(self) -> Array:
        """Every odds whose normaliser a minute needs: one, then edge and points of each grid."""
        parts = [np.zeros(1)]
        for grid in (self.harm, *self.nulls):
            parts += [np.array([grid.null]), grid.points]
        return np.concatenate(parts)

    @property
    def boundary(self) -> float:
        """Log e-value at which harm is found."""
        return float(-np.log(self.harm_level))

    @property
    def promote_boundary(self) -> float:
        """Log e-value at which "not worse" is shown."""
        return float(-np.log(self.promote_level))
