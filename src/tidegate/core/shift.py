"""How far the distribution of a column has moved: effect sizes with bounds, no p-values.

At a million rows every difference is significant; what counts is how large it is.

* the population stability index, sum of (p - q) ln(p / q) over bins (Siddiqi, Credit Risk Scorecards, 2006;
  it is Jeffreys' divergence): conventionally 0.1 is a moderate and 0.25 a large drift. By chance alone it is
  about (B - 1)(1/n + 1/m) for B bins (its null distribution is that multiple of a chi-square's): this is
  taken off, and its variance added to the delta method's;
* the total variation distance, half the sum of |p - q|: the largest difference of the share of any set of
  classes; for two classes the difference of prevalence. The lower bound takes off what chance alone adds;
* for numbers also the Kolmogorov-Smirnov distance at the bins' edges.

Bins in which fewer than five rows are expected are joined with their neighbours; half a row is added to each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import pi, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from tidegate.core.checks import check
from tidegate.core.model import Cause, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from tidegate.core.model import Finding
    from tidegate.core.profile import Column, Profile

    Shares = npt.NDArray[np.float64]

_TOLD = {
    Cause.DRIFT: 0.1,  # of the index: conventionally moderate
    Cause.LABEL_SHIFT: 0.05,  # of the total variation
}
_EXPECTED = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """An effect size with one-sided bounds. ``distance``: KS for numbers, total variation else."""

    value: float
    lower: float
    upper: float
    distance: float


def drift(then: Column, now: Column, confidence: float, *, comparisons: int = 1) -> Effect | None:
    """Return the population stability index; None where the two have no bins in common.

    Args:
        then: the column in the champion's profile.
        now: the same today, counted in the same bins.
        confidence: of the upper bound; the lower one is corrected for ``comparisons`` (Bonferroni),
            because one drifted column among many is enough to say so.
        comparisons: how many columns are looked at.
    """
    cells = _cells(then, now)
    if cells is None:
        return None
    p, q, n, m = cells
    each = 1 / n + 1 / m
    log = np.log(p / q)
    raw = float(((p - q) * log).sum())
    chance = (len(p) - 1) * each
    variance = (
        _spread(p, log + 1 - q / p) / n
        + _spread(q, -log + 1 - p / q) / m
        + 2 * (len(p) - 1) * each**2
    )
    value, error = max(0.0, raw - chance), sqrt(variance)
    return Effect(
        value=value,
        lower=max(0.0, raw - chance - _z(1 - (1 - confidence) / comparisons) * error),
        upper=value + _z(confidence) * error,
        distance=_distance(p, q, ordered=bool(now.bins)),
    )


def label_shift(then: Column, now: Column, confidence: float) -> Effect | None:
    """Return the total variation distance of a target's distributions; None without common classes."""
    cells = _cells(then, now)
    if cells is None:
        return None
    p, q, n, m = cells
    signs = np.sign(p - q)
    value = _distance(p, q, ordered=False)
    errors = np.sqrt(p * (1 - p) / n + q * (1 - q) / m)
    chance = 0.5 * sqrt(2 / pi) * float(errors.sum()) if len(p) > 2 else 0.0
    error = 0.5 * sqrt(_spread(p, signs) / n + _spread(q, signs) / m)
    reach = _z(confidence) * error
    return Effect(
        value=value,
        lower=max(0.0, value - chance - reach),
        upper=min(1.0, value + reach),
        distance=value,
    )


def drifted(
    known: Profile, today: Profile, confidence: float, limit: float | None, skip: Sequence[str]
) -> list[Finding]:
    """Return the columns whose distribution moved; those beyond ``limit`` decide, if there is one."""
    names = [n for n in known.columns if n in today.columns and n not in skip]
    found = []
    for name in names:
        now = today.columns[name]
        effect = drift(known.columns[name], now, confidence, comparisons=len(names))
        if effect is not None:
            found += _findings(Cause.DRIFT, name, now, effect, limit)
    return sorted(found, key=lambda f: (not f.decides, -(f.candidate or 0.0)))


def shifted(
    column: str, then: Column, now: Column, confidence: float, limit: float | None
) -> list[Finding]:
    """Return the target's shift, if there is one worth telling or a limit that is not kept."""
    effect = label_shift(then, now, confidence)
    if effect is None:
        return []
    return _findings(Cause.LABEL_SHIFT, column, now, effect, limit)


def _findings(
    cause: Cause, name: str, now: Column, effect: Effect, limit: float | None
) -> list[Finding]:
    if limit is not None and effect.upper >= limit:
        outcome = Outcome.ERROR if effect.lower > limit else Outcome.INCONCLUSIVE
        finding = check(cause, now.rows, column=name, outcome=outcome)
    elif effect.lower > _TOLD[cause]:
        finding = check(cause, now.rows, column=name, outcome=Outcome.INCONCLUSIVE, decides=False)
    else:
        return []
    return [
        replace(
            finding,
            candidate=effect.value,
            lower=effect.lower,
            upper=effect.upper,
            difference=effect.distance if cause is Cause.DRIFT else None,
            limit=limit,
        )
    ]


def _cells(then: Column, now: Column) -> tuple[Shares, Shares, int, int] | None:
    """Return the shares of the joined bins, then and now, and how many rows they are of."""
    if then.kind is not now.kind or not then.rows or not now.rows:
        return None
    if then.bins and then.edges == now.edges:
        before, after = list(then.bins), list(now.bins)
    elif then.categories and now.categories:
        known = dict(now.categories)
        before = [count for _, count in then.categories] + [then.other]
        after = [known.get(text, 0) for text, _ in then.categories]
        after.append(now.filled - sum(after))
    else:
        return None
    a = np.array([*before, then.nulls], dtype=np.float64)
    b = np.array([*after, now.nulls], dtype=np.float64)
    return _joined(a, b)


def _joined(a: Shares, b: Shares) -> tuple[Shares, Shares, int, int] | None:
    n, m = a.sum(), b.sum()
    expected = (a + b) / (n + m) * min(n, m)
    groups, room = [], 0.0
    group = 0
    for size in expected.tolist():
        groups.append(group)
        room += size
        if room >= _EXPECTED:
            group, room = group + 1, 0.0
    if room and group:  # what is left over joins the last full one
        groups = [min(g, group - 1) for g in groups]
    where = np.array(groups)
    before, after = np.bincount(where, a), np.bincount(where, b)
    some = (before + after) > 0
    p, q = before[some] + 0.5, after[some] + 0.5
    if len(p) < 2:
        return None
    return p / p.sum(), q / q.sum(), int(n), int(m)


def _distance(p: Shares, q: Shares, *, ordered: bool) -> float:
    if ordered:
        return float(np.abs(np.cumsum(p - q)).max())
    return float(np.abs(p - q).sum() / 2)


def _spread(shares: Shares, values: Shares) -> float:
    """Return the variance of ``values`` under ``shares``."""
    mean = float((shares * values).sum())
    return max(0.0, float((shares * values**2).sum()) - mean**2)


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf(confidence)
