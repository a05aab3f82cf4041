"""The gate: predictions and rules in, a verdict out. Pure; the core of Tidegate.

Levels, in the order of the findings: data checks, headline rules, critical slices, slices, gaps between
groups, system measurements. Every level is always computed; none hides another. The verdict is the worst
outcome among the findings that decide.

What is promised. Let alpha be 1 - confidence, and let the truth break any one rule that decides a pass:
a floor, a margin, an anchor's margin, an improvement, a critical slice, a gap, a system limit. Then
the chance of a pass is at most alpha. Every one of these rules must be *shown*, so no correction for their
number is due (intersection-union: to pass, the broken rule itself would have to be shown wrongly).
The other direction: the chance that any slice is called harmed though none is harmed beyond its margin is
at most alpha (Holm over all slices of all rules); a slice never makes a pass, and one that cannot exclude
harm is told and does not block. A headline rule rejects at alpha by itself. Both are asymptotic,
simulated in ``tests/core/test_gate_simulation.py``, and each decision's own; ``budget`` makes them joint over
the decisions of a holdout (:mod:`tidegate.core.reuse`), ``guarantee: exact`` distribution-free
(:mod:`tidegate.core.exact_rules`).

A first release needs at least one absolute rule on a metric of predictions. With margins only there is
nothing to judge it by: inconclusive, cause ``no_champion``. A latency or size limit is not enough, it
says nothing about what the model predicts.

Limits that are touched: a bound must be strictly inside its margin or limit; a plain number
(``on: point``, a measurement without samples) may equal its limit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tidegate.core import checks, reuse
from tidegate.core.applicable import check_grouped, check_rules
from tidegate.core.comparison import Group, absolute, compare, unanswered
from tidegate.core.exact_rules import exact_findings
from tidegate.core.gaps import Groups, gap
from tidegate.core.metrics.interval import holm
from tidegate.core.metrics.table import find, is_system
from tidegate.core.model import Cause, Digests, Direction, Kind, Level, Outcome, Verdict, worst
from tidegate.core.rows import Rows, groups
from tidegate.core.sums.survey import survey
from tidegate.core.system import Measurements, system
from tidegate.core.table import ANCHOR, CHAMPION

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tidegate.core.config import Gate, Rule, SliceRule
    from tidegate.core.metrics.table import Metric
    from tidegate.core.model import Finding, Reuse, Task
    from tidegate.core.sums.stream import Streamed
    from tidegate.core.table import Predictions

_NOTHING_MEASURED = Measurements()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Case:
    """Everything that one judgement is about."""

    table: Predictions
    gate: Gate
    task: Task

    @property
    def absolute_quality(self) -> bool:
        """Whether any rule says how good the predictions must be, compared with nothing."""
        quality = (rule for rule in self.gate.rules if not is_system(rule.metric))
        return any(r.at_least is not None or r.at_most is not None for r in quality)


def judge(  # noqa: PLR0913 (one call, all that a verdict is a function of)
    table: Predictions,
    gate: Gate,
    *,
    task: Task,
    measured: Measurements = _NOTHING_MEASURED,
    digests: Digests | None = None,
    first_release: bool = False,
    champion_out_of_reach: bool = False,
    use: Reuse | None = None,
    extra: Sequence[Finding] = (),
    streamed: Streamed | None = None,
) -> Verdict:
    """Judge a candidate by its predictions.

    Args:
        table: predictions of candidate, champion and anchor on the same rows.
        gate: the rules.
        task: what the model predicts.
        measured: system metrics of candidate and champion.
        digests: what the verdict is about. Equal candidate and champion digests are an error.
        first_release: nothing serves yet; the table then has no champion.
        champion_out_of_reach: a champion serves, but cannot be had here (a fork's pull request):
            absolute rules only, and never a pass.
        use: which decision of its holdout this is; None: nobody counts.
        extra: findings of checks that looked at more than this table; they come first.
        streamed: what was found on all the rows, where the table holds only rows that witness what occurs.

    Returns:
        The verdict; its findings are ordered by level. Under a budget its confidence is that of one
        decision.

    Raises:
        ConfigError: a rule that cannot be applied: unknown metric, a metric of another task, a
            system metric with a floor, no truth for a task that needs one.
        ValueError: a champion in the table of a first release.
    """
    if first_release and table.champion is not None:
        raise ValueError("a first release has no champion, but the table holds one")
    check_rules(gate, task)
    if table.group is None:
        check_grouped(gate, task)
    digests = digests or Digests()
    gate = reuse.each(gate)
    n = table.n if streamed is None else streamed.n
    findings = [*extra, *reuse.spent(gate, use, n)]
    unusable = checks.unusable(table, task) if streamed is None else streamed.unusable
    findings += unusable
    if not unusable:
        silent = any(finding.cause is Cause.CHAMPION_INCOMPATIBLE for finding in extra)
        alone = first_release or champion_out_of_reach or silent
        told = checks.meaningless(table, gate, task, digests, first_release=alone)
        findings += (replace(f, n=n) if f.n == table.n else f for f in told)
        if champion_out_of_reach:
            findings.append(checks.champion_out_of_reach(n))
        if streamed is not None:
            table = table.part(0, 0)  # what asked for rows would get no value, never that of a few
        findings += _of_predictions(_Case(table=table, gate=gate, task=task), streamed)
    for rule in gate.rules:
        if is_system(rule.metric):
            findings += system(rule, measured, gate.confidence)
    return Verdict(
        outcome=worst(finding.outcome for finding in findings if finding.decides),
        findings=tuple(findings),
        confidence=gate.confidence,
        n=n,
        digests=digests,
        first_release=first_release,
        holdout_uses=use.decision if use else None,
        holdout_budget=reuse.budget_of(gate),
        adaptivity=str(gate.exact.adaptivity) if gate.exact else None,
    )


def beats_anchor(verdict: Verdict) -> bool:
    """Tell whether the candidate is shown better than the anchor wherever they were compared.

    Better means that the whole one-sided interval of the headline difference is on the good side
    of zero. Where the champion is the anchor, the comparison with the champion is the one.
    """
    digests = verdict.digests
    same = digests.anchor == digests.champion
    kinds = (Kind.MARGIN, Kind.IMPROVES) if same else (Kind.ANCHOR,)
    compared = [f for f in verdict.findings if f.level is Level.HEADLINE and f.kind in kinds]
    return bool(compared) and all(_shown_better(finding) for finding in compared)


def _shown_better(finding: Finding) -> bool:
    if finding.direction is Direction.HIGHER:
        return finding.lower is not None and finding.lower > 0
    return finding.upper is not None and finding.upper < 0


def _of_predictions(case: _Case, streamed: Streamed | None) -> Iterator[Finding]:
    wanted = [by for by in case.gate.groupings if all(name in case.table.slices for name in by)]
    surveyed = streamed.survey if streamed else survey(case.table, _metrics(case), wanted)
    rows = Rows(case.table, summary=surveyed.everything if surveyed else None)
    everything = Group(rows=rows, confidence=case.gate.confidence)
    if case.gate.exact is not None:
        yield from exact_findings(case.table, case.gate, case.gate.exact, case.task, everything)
        return
    for rule in case.gate.rules:
        if not is_system(rule.metric):
            yield from _headline(case, rule, everything)
    partitions = {by: list(groups(case.table, by, surveyed)) for by in wanted}
    for critical in (True, False):
        found: list[Finding] = []
        for slice_rule in case.gate.slices:
            if slice_rule.critical is critical and slice_rule.by in partitions:
                found += _sliced(case, slice_rule, partitions[slice_rule.by])
        yield from found if critical else _harm(found, 1.0 - case.gate.confidence)
    clustered = case.table.group is not None
    for gap_rule in case.gate.gaps:
        if gap_rule.by in partitions:
            parts = Groups(
                parts=partitions[gap_rule.by],
                clustered=clustered,
                confidence=case.gate.confidence,
            )
            yield from gap(gap_rule, find(gap_rule.metric, case.task, case.gate.own), parts)


def _metrics(case: _Case) -> list[Metric]:
    """Return every metric of predictions that a rule is about, once."""
    names = (name for name in sorted(case.gate.metrics) if not is_system(name))
    return [find(name, case.task, case.gate.own) for name in names]


def _headline(case: _Case, rule: Rule, everything: Group) -> Iterator[Finding]:
    metric = find(rule.metric, case.task, case.gate.own)
    limits = ((Kind.FLOOR, rule.at_least), (Kind.CEILING, rule.at_most))
    for kind, limit in limits:
        if limit is not None:
            on_point = rule.on == "point"
            yield absolute(everything, metric, limit, kind=kind, on_point=on_point)
    if rule.compares and not everything.rows.has(CHAMPION):
        finding = unanswered(everything, metric, rule)
        yield replace(finding, decides=not case.absolute_quality)
    elif rule.improves_by is not None:
        yield compare(everything, metric, rule.improves_by, kind=Kind.IMPROVES)
    elif rule.margin is not None:
        yield compare(everything, metric, rule.margin, kind=Kind.MARGIN)
    if rule.margin is not None and everything.rows.has(ANCHOR):
        yield compare(everything, metric, rule.margin, kind=Kind.ANCHOR)


def _sliced(case: _Case, rule: SliceRule, parts: list[tuple[str, Rows]]) -> Iterator[Finding]:
    metric = find(rule.metric, case.task, case.gate.own)
    for label, rows in parts:
        group = Group(
            rows=rows,
            confidence=case.gate.confidence,
            level=Level.CRITICAL if rule.critical else Level.SLICE,
            slice=label,
            min_rows=rule.min_rows,
        )
        if rows.has(CHAMPION):
            yield compare(group, metric, rule.margin, kind=Kind.MARGIN)
        else:
            yield unanswered(group, metric, rule)


def _harm(found: list[Finding], alpha: float) -> Iterator[Finding]:
    """Turn the slices' findings into "harm shown" or not, corrected for how many were tested."""
    tested = [finding.p_harm for finding in found if finding.p_harm is not None]
    adjusted = iter(holm(tested))
    for finding in found:
        if finding.p_harm is None:
            yield replace(finding, outcome=Outcome.INCONCLUSIVE, decides=False)
            continue
        p_harm = next(adjusted)
        if p_harm <= alpha:
            yield replace(
                finding,
                outcome=Outcome.REJECT,
                cause=Cause.HARMED,
                p_harm=p_harm,
                rows_needed=None,
            )
        elif finding.outcome is Outcome.PASS:
            yield replace(finding, p_harm=p_harm, decides=False)
        else:
            yield replace(
                finding,
                outcome=Outcome.INCONCLUSIVE,
                cause=Cause.NOT_HARMED,
                p_harm=p_harm,
                decides=False,
            )
