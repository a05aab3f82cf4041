"""One rule applied to one group of rows: the statistics of a single finding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tidegate.core.config import Rule
from tidegate.core.model import Cause, Finding, Kind, Level, Outcome
from tidegate.core.table import ANCHOR, CANDIDATE, CHAMPION
from tidegate.errors import NotJudgedError

if TYPE_CHECKING:
    from tidegate.core.config import SliceRule
    from tidegate.core.metrics.statistic import Statistic
    from tidegate.core.metrics.table import Metric
    from tidegate.core.model import Margin
    from tidegate.core.rows import Rows

_MOST_DOUBT = 0.2


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

    Kind.IMPROVES tests "better by more than the margin": the same with the margin's sign turned.
    """
    reference = ANCHOR if kind is Kind.ANCHOR else CHAMPION
    finding = replace(_begin(group, metric, kind, reference), margin=margin)
    if finding.candidate is None or finding.champion is None:
        return finding
    finding = replace(finding, difference=finding.candidate - finding.champion)
    if finding.minimum is not None:
        return finding
    plain = group.rows.contrast(metric, CANDIDATE, reference)
    allowed = replace(margin, value=-margin.value) if kind is Kind.IMPROVES else margin
    tested = _slack(group, metric, allowed, reference)
    if tested is None or not tested.known:
        return replace(finding, outcome=Outcome.INCONCLUSIVE)
    shown = plain is not None and plain.known
    finding = replace(
        finding,
        lower=plain.lower(group.confidence) if plain and shown else None,
        upper=plain.upper(group.confidence) if plain and shown else None,
        p_harm=tested.p_negative() if group.level is Level.SLICE else None,
    )
    size = abs(finding.champion or 0.0) if margin.relative else 1.0
    _refuse_doubt(finding, tested, group.confidence, room=abs(margin.value) * size)
    return _decide(finding, tested, group.confidence)


def _begin(group: Group, metric: Metric, kind: Kind, reference: str) -> Finding:
    """Return the finding with all values known so far; undefined until shown otherwise."""
    finding = Finding(
        metric=metric.entry.name,
        kind=kind,
        level=group.level,
        outcome=Outcome.ERROR,
        cause=Cause.UNDEFINED,
        n=group.rows.n,
        slice=group.slice,
        direction=metric.entry.direction,
        candidate=group.rows.value(metric, CANDIDATE),
        champion=group.rows.value(metric, reference),
    )
    return _too_small(group, metric, finding) or finding


def _too_small(group: Group, metric: Metric, finding: Finding) -> Finding | None:
    """Return the finding as inconclusive when the group is too small for the metric or rule."""
    n, least = group.rows.units, max(metric.min_rows, group.min_rows)
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


def _slack(group: Group, metric: Metric, margin: Margin, reference: str) -> Statistic | None:
    """Return what must be shown to be positive: how far the candidate is inside its margin."""
    rows = group.rows
    if not margin.relative:
        plain = rows.contrast(metric, CANDIDATE, reference)
        return plain and plain.affine(metric.sign, margin.value)
    other = rows.value(metric, reference)
    if other is None or (metric.entry.low is None and _may_be_zero(group, metric, reference)):
        return None
    size = 1.0 if other >= 0.0 else -1.0
    k = 1.0 - metric.sign * size * margin.value
    scaled = rows.contrast(metric, CANDIDATE, reference, k)
    return scaled and scaled.affine(metric.sign, 0.0)


def _may_be_zero(group: Group, metric: Metric, reference: str) -> bool:
    own = group.rows.single(metric, reference, group.confidence)
    if own is None or not own.known:
        return True
    return own.lower(group.confidence) <= 0.0 <= own.upper(group.confidence)


def _refuse_doubt(finding: Finding, tested: Statistic, confidence: float, *, room: float) -> None:
    """Raise where scores counted in bins leave too much open, beside the room that a rule gives and the interval.

    Bounds are wider by the doubt, so that less of it is told by them alone.
    """
    half = tested.centre - tested.doubt - tested.lower(confidence)
    if tested.doubt > _MOST_DOUBT * max(room, half):
        where = f" on {finding.slice}" if finding.slice else ""
        raise NotJudgedError(
            f"{finding.metric}{where}: the table is larger than memory, so scores were counted in bins; that leaves the value "
            f"in doubt by {tested.doubt:.2g}, expected at most a fifth of the margin or of the interval's half-width "
            f"({max(room, half):.2g})",
            remedy="Judge a random sample of the rows, small enough to be read whole, or allow a wider margin.",
        )


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
    finding = _begin(group, metric, kind, CHAMPION)
    value, difference = finding.candidate, None
    if value is not None and finding.champion is not None:
        difference = value - finding.champion
    finding = replace(finding, difference=difference, limit=limit)
    own = group.rows.single(metric, CANDIDATE, group.confidence)
    if value is None or own is None or finding.minimum is not None:
        return finding
    sign = 1.0 if kind is Kind.FLOOR else -1.0
    if own.known:
        low, high = metric.entry.low, metric.entry.high
        finding = replace(
            finding,
            lower=_at_least(own.lower(group.confidence), low),
            upper=_at_most(own.upper(group.confidence), high),
        )
    _refuse_doubt(finding, own, group.confidence, room=0.0 if on_point else abs(value - limit))
    if on_point:
        return at_point(finding, sign * (value - limit) - own.doubt)
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


def unanswered(group: Group, metric: Metric, rule: Rule | SliceRule) -> Finding:
    """Return the finding of a comparison that has no champion; it decides nothing by itself."""
    improves = rule.improves_by if isinstance(rule, Rule) else None
    return Finding(
        metric=metric.entry.name,
        kind=Kind.MARGIN if improves is None else Kind.IMPROVES,
        level=group.level,
        outcome=Outcome.INCONCLUSIVE,
        cause=Cause.NO_CHAMPION,
        n=group.rows.n,
        slice=group.slice,
        direction=metric.entry.direction,
        candidate=group.rows.value(metric, CANDIDATE),
        margin=rule.margin if improves is None else improves,
        decides=False,
    )
