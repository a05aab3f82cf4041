"""One rule applied to one group of rows: the statistics of a single finding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tidegate.core.metrics.interval import Statistic, contrast, single
from tidegate.core.model import Cause, Finding, Kind, Level, Outcome
from tidegate.core.table import ANCHOR, CANDIDATE, CHAMPION

if TYPE_CHECKING:
    from tidegate.core.metrics.estimate import Estimate
    from tidegate.core.metrics.table import Metric
    from tidegate.core.model import Margin
    from tidegate.core.table import Rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Where a rule is applied: which rows, at which level, and how sure it must be."""

    rows: Rows
    confidence: float
    level: Level = Level.HEADLINE
    slice: str | None = None
    min_rows: int = 0  # demanded by the rule, beside what the metric demands


def compare(group: Group, metric: Metric, margin: Margin, *, kind: Kind) -> Finding:
    """Test "not worse than the reference by more than the margin" on one group of rows.

    Pass when the one-sided lower bound of the oriented contrast is above -margin, reject when its
    upper bound is below, else inconclusive. A relative margin r tests the contrast
    ``candidate - k * reference`` with k = 1 - r (1 + r where smaller is better), with its own
    paired variance; where the metric may be negative the fraction is of the reference's size, and
    there is no answer while the reference's own interval covers 0.
    """
    reference = ANCHOR if kind is Kind.ANCHOR else CHAMPION
    finding, estimate = _begin(group, metric, kind, reference)
    finding = replace(finding, margin=margin)
    other = group.rows.estimate(metric, reference)
    if estimate is None or other is None:
        return finding
    finding = replace(finding, difference=estimate.value - other.value)
    if finding.minimum is not None:
        return finding
    plain = contrast(estimate, other)
    tested = _slack(metric, margin, estimate, other, group.confidence)
    if tested is None or not tested.known:
        return replace(finding, outcome=Outcome.INCONCLUSIVE)
    finding = replace(
        finding,
        lower=plain.lower(group.confidence) if plain.known else None,
        upper=plain.upper(group.confidence) if plain.known else None,
        p_harm=tested.p_negative() if group.level is Level.SLICE else None,
    )
    return _decide(finding, tested, group.confidence)


def _begin(
    group: Group, metric: Metric, kind: Kind, reference: str
) -> tuple[Finding, Estimate | None]:
    """Return the finding with all values known so far; undefined until shown otherwise."""
    estimate = group.rows.estimate(metric, CANDIDATE)
    other = group.rows.estimate(metric, reference) if group.rows.has(reference) else None
    finding = Finding(
        metric=metric.entry.name,
        kind=kind,
        level=group.level,
        outcome=Outcome.ERROR,
        cause=Cause.UNDEFINED,
        n=group.rows.n,
        slice=group.slice,
        direction=metric.entry.direction,
        candidate=estimate.value if estimate else None,
        champion=other.value if other else None,
    )
    return _too_small(group, metric, finding) or finding, estimate


def _too_small(group: Group, metric: Metric, finding: Finding) -> Finding | None:
    """Return the finding as inconclusive when the group is too small for the metric or rule."""
    n, least = group.rows.n, max(metric.min_rows, group.min_rows)
    smaller = group.rows.smaller_class() if metric.min_per_class else 0
    if smaller < metric.min_per_class:
        cause, minimum = Cause.TOO_FEW_OF_A_CLASS, metric.min_per_class
        needed = -(-n * minimum // smaller) if smaller else None
    elif n < least:
        cause, minimum, needed = Cause.TOO_FEW_ROWS, least, least
    else:
        return None
    return replace(
        finding,
        outcome=Outcome.INCONCLUSIVE,
        cause=cause,
        minimum=minimum,
        rows_needed=max(needed, least) if needed else None,
    )


def _slack(
    metric: Metric, margin: Margin, candidate: Estimate, reference: Estimate, confidence: float
) -> Statistic | None:
    """Return what must be shown to be positive: how far the candidate is inside its margin."""
    if not margin.relative:
        return contrast(candidate, reference).affine(metric.sign, margin.value)
    if metric.entry.low is None and _may_be_zero(reference, confidence):
        return None
    size = 1.0 if reference.value >= 0.0 else -1.0
    k = 1.0 - metric.sign * size * margin.value
    return contrast(candidate, reference, k).affine(metric.sign, 0.0)


def _may_be_zero(reference: Estimate, confidence: float) -> bool:
    own = single(reference, confidence)
    return not own.known or own.lower(confidence) <= 0.0 <= own.upper(confidence)


def _decide(finding: Finding, tested: Statistic, confidence: float) -> Finding:
    """Settle a finding by the side of 0 on which the whole one-sided interval lies."""
    if tested.lower(confidence) > 0.0:
        return replace(finding, outcome=Outcome.PASS, cause=Cause.SHOWN)
    if tested.upper(confidence) < 0.0:
        return replace(finding, outcome=Outcome.REJECT, cause=Cause.VIOLATED)
    return replace(
        finding,
        outcome=Outcome.INCONCLUSIVE,
        cause=Cause.NOT_SHOWN,
        rows_needed=tested.rows_needed(confidence),
    )


def absolute(group: Group, metric: Metric, limit: float, *, kind: Kind, on_point: bool) -> Finding:
    """Test a floor or a ceiling on the candidate's own value; ``lower`` and ``upper`` bound it.

    The champion's value and the difference are shown beside it where there is a champion.
    """
    finding, estimate = _begin(group, metric, kind, CHAMPION)
    difference = None
    if finding.candidate is not None and finding.champion is not None:
        difference = finding.candidate - finding.champion
    finding = replace(finding, difference=difference, limit=limit)
    if estimate is None or finding.minimum is not None:
        return finding
    own = single(estimate, group.confidence)
    sign = 1.0 if kind is Kind.FLOOR else -1.0
    if own.known:
        low, high = metric.entry.low, metric.entry.high
        finding = replace(
            finding,
            lower=_at_least(own.lower(group.confidence), low),
            upper=_at_most(own.upper(group.confidence), high),
        )
    if on_point:
        return at_point(finding, sign * (estimate.value - limit))
    if not own.known:
        return replace(finding, outcome=Outcome.INCONCLUSIVE)
    return _decide(finding, own.affine(sign, -sign * limit), group.confidence)


def at_point(finding: Finding, slack: float) -> Finding:
    """Settle a finding by a plain number: at the limit is still good."""
    if slack >= 0.0:
        return replace(finding, outcome=Outcome.PASS, cause=Cause.SHOWN)
    return replace(finding, outcome=Outcome.REJECT, cause=Cause.VIOLATED)


def _at_least(value: float, low: float | None) -> float:
    return value if low is None else max(value, low)


def _at_most(value: float, high: float | None) -> float:
    return value if high is None else min(value, high)
