"""How far apart groups of rows are, before and after: the largest difference, with bounds that hold.

The largest of many observed differences is biased upward, so it is bounded and not taken as it is.
With D(p) = m(a) - m(b) for every ordered pair p = (a, b) of groups, G = max D(p) is the gap. For the
candidate's gap G and the champion's gap H, at one-sided level alpha:

* ``G <= limit`` is shown when *every* pair's upper bound at alpha is below the limit. No correction is
  due: were G at the limit or above, one certain pair would have to be shown wrongly (intersection-union;
  Berger, Technometrics 24 (1982) 295-300). So max of the upper bounds bounds G from above.
* ``G > limit`` is shown when *some* pair's lower bound is above it: those are at alpha / pairs (Bonferroni).
* ``G - H <= margin``: for every pair p (intersection-union again) some champion's pair q with
  ``D(p) - E(q)`` below the margin, since H is at least each E(q). Choosing q by the data is paid for:
  weights fixed beforehand give alpha / 4 to q = p and to p reversed, whose errors are paired, and share
  alpha / 2 among the others (two groups: alpha / 2 each). ``G - H > margin`` is the same with the
  models exchanged.

Groups are disjoint rows, hence independent; with clusters they may share some, and then standard errors
are added instead of squared ones: no correlation makes the error larger.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from tidegate.core.metrics.statistic import rows_needed
from tidegate.core.model import Cause, Finding, Kind, Level, Margin, Outcome
from tidegate.core.table import CANDIDATE, CHAMPION

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tidegate.core.config import GapRule
    from tidegate.core.metrics.kinds import Floats
    from tidegate.core.metrics.statistic import Statistic
    from tidegate.core.metrics.table import Metric
    from tidegate.core.rows import Rows

_NORMAL = NormalDist()

Codes: TypeAlias = npt.NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, slots=True)
class Groups:
    """The groups that are compared: label, rows, and whether clusters may span them."""

    parts: Sequence[tuple[str, Rows]]
    clustered: bool
    confidence: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Model:
    """One model's metric in each group, shape (groups,): as computed, and centre and error of its bounds."""

    value: Floats
    centre: Floats
    se: Floats


def gap(rule: GapRule, metric: Metric, found: Groups) -> Iterator[Finding]:
    """Yield the findings of one rule: first the groups that it leaves out, then its limits."""
    kept: list[tuple[str, Rows]] = []
    for label, rows in found.parts:
        if (left := _left_out(rule, metric, label, rows)) is not None:
            yield left
        else:
            kept.append((label, rows))
    groups = replace(found, parts=kept)
    champion = all(rows.has(CHAMPION) for _, rows in kept)
    if rule.at_most is not None:
        yield _ceiling(rule, metric, groups, champion=champion)
    if rule.margin is not None:
        yield _margin(rule, metric, groups, champion=champion)


def _left_out(rule: GapRule, metric: Metric, label: str, rows: Rows) -> Finding | None:
    """Return why a group is too small to be compared; it is told, and decides nothing."""
    least = max(rule.min_rows, metric.min_rows)
    smaller = rows.smaller_class() if metric.min_per_class else 0
    if rows.units >= least and smaller >= metric.min_per_class:
        return None
    few = rows.units < least
    return replace(
        _begin(rule, metric, Kind.GAP, rows.n),
        outcome=Outcome.INCONCLUSIVE,
        cause=Cause.TOO_FEW_ROWS if few else Cause.TOO_FEW_OF_A_CLASS,
        slice=label,
        candidate=rows.value(metric, CANDIDATE),
        champion=rows.value(metric, CHAMPION),
        minimum=least if few else metric.min_per_class,
        decides=False,
    )


def _begin(rule: GapRule, metric: Metric, kind: Kind, n: int) -> Finding:
    return Finding(
        metric=metric.entry.name,
        kind=kind,
        level=Level.GAP,
        outcome=Outcome.ERROR,
        cause=Cause.UNDEFINED,
        n=n,
        slice=" x ".join(rule.by),
        direction=metric.entry.direction,
        limit=rule.at_most if kind is Kind.GAP else None,
        margin=Margin(value=rule.margin) if kind is Kind.GAP_MARGIN and rule.margin is not None else None,
    )  # fmt: skip


def _ceiling(rule: GapRule, metric: Metric, groups: Groups, *, champion: bool) -> Finding:
    finding = _begin(rule, metric, Kind.GAP, sum(rows.n for _, rows in groups.parts))
    if len(groups.parts) < 2:
        return _too_few_groups(rule, finding)
    mine = _values(metric, groups, CANDIDATE)
    if mine is None:
        return finding
    theirs = _values(metric, groups, CHAMPION) if champion else None
    first, second = _pairs(len(groups.parts))
    apart = mine.centre[first] - mine.centre[second]
    se = _added(groups, mine.se[first], mine.se[second])
    upper = apart + _z(groups.confidence) * se
    lower = apart - _z(1.0 - (1.0 - groups.confidence) / len(apart)) * se
    worst = int(upper.argmax())
    largest = float(np.ptp(mine.value))
    before = None if theirs is None else float(np.ptp(theirs.value))
    finding = replace(
        finding,
        slice=_named(groups, first[worst], second[worst]),
        candidate=largest,
        champion=before,
        difference=None if before is None else largest - before,
        lower=max(0.0, float(lower.max())),
        upper=float(upper[worst]),
    )
    assert rule.at_most is not None
    return _decided(finding, rule.at_most - float(apart[worst]), float(se[worst]), groups)


def _margin(rule: GapRule, metric: Metric, groups: Groups, *, champion: bool) -> Finding:
    finding = _begin(rule, metric, Kind.GAP_MARGIN, sum(rows.n for _, rows in groups.parts))
    if not champion:
        return replace(
            finding, outcome=Outcome.INCONCLUSIVE, cause=Cause.NO_CHAMPION, decides=False
        )
    if len(groups.parts) < 2:
        return _too_few_groups(rule, finding)
    mine, theirs = _values(metric, groups, CANDIDATE), _values(metric, groups, CHAMPION)
    together = _covariances(metric, groups, mine, theirs) if mine and theirs else None
    if mine is None or theirs is None or together is None:
        return finding
    upper, worst = _grown(groups, mine, theirs, together)
    shrunk, _ = _grown(groups, theirs, mine, together)
    first, second = _pairs(len(groups.parts))
    before, after = float(np.ptp(theirs.value)), float(np.ptp(mine.value))
    finding = replace(
        finding,
        slice=_named(groups, first[worst], second[worst]),
        candidate=after,
        champion=before,
        difference=after - before,
        lower=-shrunk,
        upper=upper,
    )
    assert rule.margin is not None
    width = (upper - (after - before)) / _z(groups.confidence)
    return _decided(finding, rule.margin - (after - before), width, groups)


def _grown(groups: Groups, after: _Model, before: _Model, together: Floats) -> tuple[float, int]:
    """Return the upper bound of how much the gap has grown, and the pair that it rests on."""
    first, second = _pairs(len(groups.parts))
    m, alpha = len(first), 1.0 - groups.confidence
    own = _z(1.0 - alpha / (4.0 if m > 2 else 2.0))
    others = _z(1.0 - alpha / 2.0 / (m - 2)) if m > 2 else math.inf
    worst, which = -math.inf, 0
    apart = before.centre[first] - before.centre[second]
    for p, (a, b) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        grown = after.centre[a] - after.centre[b] - apart
        # The earlier model's weight in the groups a and b: -1 as a pair's first, +1 as its second.
        at_a = (second == a).astype(np.float64) - (first == a)
        at_b = (second == b).astype(np.float64) - (first == b)
        of_a = after.se[a] ** 2 + at_a**2 * before.se[a] ** 2 + 2.0 * at_a * together[a]
        of_b = after.se[b] ** 2 + at_b**2 * before.se[b] ** 2 - 2.0 * at_b * together[b]
        rest = [np.where((g != a) & (g != b), before.se[g], 0.0) for g in (first, second)]
        se = _added(groups, np.sqrt(of_a), np.sqrt(of_b), *rest)
        paired = (at_a != 0.0) & (at_b != 0.0)
        bound = float((grown + np.where(paired, own, others) * se).min())
        if bound > worst:
            worst, which = bound, p
    return worst, which


def _added(groups: Groups, *errors: Floats) -> Floats:
    """Return the standard error of a sum: of independent groups, or of any that share clusters."""
    total: Floats = np.stack(errors)
    if groups.clustered:
        return np.asarray(total.sum(axis=0))
    return np.asarray(np.sqrt(np.square(total).sum(axis=0)))


def _covariances(metric: Metric, groups: Groups, mine: _Model, theirs: _Model) -> Floats | None:
    """Return the covariance of the two models' values in each group; None where there is none.

    It is what the paired error leaves: ``var(a - b) = var(a) + var(b) - 2 cov(a, b)``, and never so
    large, either way, that a sum or a difference would have no error.
    """
    found = []
    for index, (_, rows) in enumerate(groups.parts):
        paired = rows.contrast(metric, CANDIDATE, CHAMPION)
        if paired is None or not paired.known:
            return None
        both = float(mine.se[index] ** 2 + theirs.se[index] ** 2)
        found.append((both - _error(paired, groups.confidence) ** 2) / 2.0)
    most = 0.999 * mine.se * theirs.se
    return np.asarray(np.clip(np.array(found), -most, most), dtype=np.float64)


def _values(metric: Metric, groups: Groups, model: str) -> _Model | None:
    """Return one model's values; None when one of them is undefined or has no error."""
    values, centres, errors = [], [], []
    for _, rows in groups.parts:
        value, own = rows.value(metric, model), rows.single(metric, model, groups.confidence)
        if value is None or own is None or not own.known:
            return None
        values.append(value)
        centres.append((own.lower(groups.confidence) + own.upper(groups.confidence)) / 2.0)
        errors.append(_error(own, groups.confidence))
    return _Model(value=np.array(values), centre=np.array(centres), se=np.array(errors))


def _error(of: Statistic, confidence: float) -> float:
    """Return the error of a normal interval as wide as this one, whatever kind of interval it is."""
    return (of.upper(confidence) - of.lower(confidence)) / 2.0 / _z(confidence)


def _z(confidence: float) -> float:
    return _NORMAL.inv_cdf(confidence)


def _pairs(groups: int) -> tuple[Codes, Codes]:
    first, second = np.nonzero(~np.eye(groups, dtype=np.bool_))
    return first, second


def _named(groups: Groups, first: int, second: int) -> str:
    return f"{groups.parts[first][0]} over {groups.parts[second][0]}"


def _too_few_groups(rule: GapRule, finding: Finding) -> Finding:
    return replace(
        finding, outcome=Outcome.INCONCLUSIVE, cause=Cause.TOO_FEW_GROUPS, minimum=rule.min_rows
    )


def _decided(finding: Finding, room: float, se: float, groups: Groups) -> Finding:
    """Settle a finding by its bounds; ``room`` to the limit and ``se`` say how many rows would."""
    limit = finding.limit if finding.margin is None else finding.margin.value
    assert limit is not None
    if finding.upper is not None and finding.upper < limit:
        return replace(finding, outcome=Outcome.PASS, cause=Cause.SHOWN)
    if finding.lower is not None and finding.lower > limit:
        return replace(finding, outcome=Outcome.REJECT, cause=Cause.VIOLATED)
    return replace(
        finding,
        outcome=Outcome.INCONCLUSIVE,
        cause=Cause.NOT_SHOWN,
        rows_needed=rows_needed(room, se, finding.n, groups.confidence),
    )
