"""The gate: predictions and rules in, a verdict out. Pure; the core of Tidegate.

Levels, in the order of the findings: data checks, headline rules, critical slices, slices, system
measurements. Every level is always computed; none hides another. The verdict is the worst outcome
among the findings that decide:

* data checks that failed, headline rules (floors, ceilings, margins, anchor), critical slices and
  system limits decide; all of them must be *shown* good, so no correction for their number is due
  (intersection-union: the chance to pass a model worse by exactly a margin is 1 - confidence);
* other slices decide only by shown harm, Holm-corrected over all of them, so that chance among
  many groups does not block, and no slice ever makes a pass;
* a first release needs at least one absolute rule on a metric of predictions. With margins only
  there is nothing to judge it by: inconclusive, cause ``no_champion``. A latency or size limit is
  not enough, it says nothing about what the model predicts.

Limits that are touched: a bound must be strictly inside its margin or limit; a plain number
(``on: point``, a measurement without samples) may equal its limit.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from tidegate.core import checks
from tidegate.core.comparison import Group, absolute, at_point, compare
from tidegate.core.metrics.interval import holm
from tidegate.core.metrics.system import measure
from tidegate.core.metrics.table import find, is_system
from tidegate.core.model import (
    Cause,
    Digests,
    Direction,
    Finding,
    Kind,
    Level,
    Outcome,
    Task,
    Verdict,
    worst,
)
from tidegate.core.table import ANCHOR, CANDIDATE, CHAMPION, Predictions, Rows, groups
from tidegate.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tidegate.core.config import Gate, Rule, SliceRule
    from tidegate.core.metrics.estimate import Floats
    from tidegate.core.metrics.table import Metric
    from tidegate.core.model import Margin

    Measurement: TypeAlias = float | Sequence[float] | Floats

_EMPTY: dict[str, Measurement] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Case:
    """Everything that one judgement is about."""

    table: Predictions
    gate: Gate
    task: Task
    measurements: Mapping[str, Measurement]
    champion_measurements: Mapping[str, Measurement]
    absolute_quality: bool = field(init=False)

    def __post_init__(self) -> None:
        quality = (rule for rule in self.gate.rules if not is_system(rule.metric))
        found = any(r.at_least is not None or r.at_most is not None for r in quality)
        object.__setattr__(self, "absolute_quality", found)


def judge(  # noqa: PLR0913 (one call, all that a verdict is a function of)
    table: Predictions,
    gate: Gate,
    *,
    task: Task,
    measurements: Mapping[str, Measurement] = _EMPTY,
    champion_measurements: Mapping[str, Measurement] = _EMPTY,
    digests: Digests | None = None,
    first_release: bool = False,
    champion_out_of_reach: bool = False,
    holdout_uses: int | None = None,
    extra: Sequence[Finding] = (),
) -> Verdict:
    """Judge a candidate by its predictions.

    Args:
        table: predictions of candidate, champion and anchor on the same rows.
        gate: the rules.
        task: what the model predicts.
        measurements: system metrics of the candidate by name: a number, or samples (latencies in
            milliseconds) whose quantile gets distribution-free bounds.
        champion_measurements: the same of the champion, shown beside; they decide nothing.
        digests: what the verdict is about. Equal candidate and champion digests are an error.
        first_release: nothing serves yet; the table then has no champion.
        champion_out_of_reach: a champion serves, but cannot be had here (a fork's pull request):
            absolute rules only, and never a pass.
        holdout_uses: how many decisions this holdout has served, passed through.
        extra: findings of checks that looked at more than this table; they come first.

    Returns:
        The verdict; its findings are ordered by level.

    Raises:
        ConfigError: a rule that cannot be applied: unknown metric, a metric of another task, a
            system metric with anything but ``at_most``, no truth for a task that needs one.
        ValueError: a champion in the table of a first release.
    """
    if first_release and table.champion is not None:
        raise ValueError("a first release has no champion, but the table holds one")
    digests = digests or Digests()
    case = _Case(
        table=table,
        gate=gate,
        task=task,
        measurements=measurements,
        champion_measurements=champion_measurements,
    )
    _check_rules(gate, task)
    findings = [*extra]
    unusable = checks.unusable(table, task)
    findings += unusable
    if not unusable:
        alone = first_release or champion_out_of_reach
        findings += checks.meaningless(table, gate, task, digests, first_release=alone)
        if champion_out_of_reach:
            findings.append(checks.champion_out_of_reach(table.n))
        findings += _of_predictions(case)
    for rule in gate.rules:
        if is_system(rule.metric):
            findings.append(_system(case, rule))
    return Verdict(
        outcome=worst(finding.outcome for finding in findings if finding.decides),
        findings=tuple(findings),
        confidence=gate.confidence,
        n=table.n,
        digests=digests,
        first_release=first_release,
        holdout_uses=holdout_uses,
    )


def beats_anchor(verdict: Verdict) -> bool:
    """Tell whether the candidate is shown better than the anchor wherever they were compared.

    Better means that the whole one-sided interval of the headline difference is on the good side
    of zero. Where the champion is the anchor, the comparison with the champion is the one.
    """
    digests = verdict.digests
    kind = Kind.MARGIN if digests.anchor == digests.champion else Kind.ANCHOR
    compared = [f for f in verdict.findings if f.level is Level.HEADLINE and f.kind is kind]
    return bool(compared) and all(_shown_better(finding) for finding in compared)


def _shown_better(finding: Finding) -> bool:
    if finding.direction is Direction.HIGHER:
        return finding.lower is not None and finding.lower > 0
    return finding.upper is not None and finding.upper < 0


def _check_rules(gate: Gate, task: Task) -> None:
    for rule in gate.rules:
        if not is_system(rule.metric):
            find(rule.metric, task)
        elif rule.at_most is None or rule.at_least is not None or rule.margin is not None:
            raise ConfigError(f"{rule.metric} is a measurement: it takes at_most and nothing else")
        if rule.at_least is None and rule.at_most is None and rule.margin is None:
            raise ConfigError(f"the rule for {rule.metric} has no limit: it would pass anything")
    for slice_rule in gate.slices:
        find(slice_rule.metric, task)


def _of_predictions(case: _Case) -> Iterator[Finding]:
    everything = Group(rows=Rows(case.table), confidence=case.gate.confidence)
    for rule in case.gate.rules:
        if not is_system(rule.metric):
            yield from _headline(case, rule, everything)
    partitions = {
        by: list(groups(case.table, by))
        for by in dict.fromkeys(rule.by for rule in case.gate.slices)
        if all(name in case.table.slices for name in by)
    }
    for critical in (True, False):
        found: list[Finding] = []
        for slice_rule in case.gate.slices:
            if slice_rule.critical is critical and slice_rule.by in partitions:
                found += _sliced(case, slice_rule, partitions[slice_rule.by])
        yield from found if critical else _harm(found, 1.0 - case.gate.confidence)


def _headline(case: _Case, rule: Rule, everything: Group) -> Iterator[Finding]:
    metric = find(rule.metric, case.task)
    limits = ((Kind.FLOOR, rule.at_least), (Kind.CEILING, rule.at_most))
    for kind, limit in limits:
        if limit is not None:
            on_point = rule.on == "point"
            yield absolute(everything, metric, limit, kind=kind, on_point=on_point)
    if rule.margin is None:
        return
    if everything.rows.has(CHAMPION):
        yield compare(everything, metric, rule.margin, kind=Kind.MARGIN)
    else:
        finding = _no_champion(everything, metric, rule.margin)
        yield replace(finding, decides=not case.absolute_quality)
    if everything.rows.has(ANCHOR):
        yield compare(everything, metric, rule.margin, kind=Kind.ANCHOR)


def _no_champion(group: Group, metric: Metric, margin: Margin) -> Finding:
    """Return the finding of a margin rule that has nothing to compare with."""
    return Finding(
        metric=metric.entry.name,
        kind=Kind.MARGIN,
        level=group.level,
        outcome=Outcome.INCONCLUSIVE,
        cause=Cause.NO_CHAMPION,
        n=group.rows.n,
        slice=group.slice,
        direction=metric.entry.direction,
        candidate=group.rows.value(metric, CANDIDATE),
        margin=margin,
        decides=False,
    )


def _sliced(case: _Case, rule: SliceRule, parts: list[tuple[str, Rows]]) -> Iterator[Finding]:
    metric = find(rule.metric, case.task)
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
            yield _no_champion(group, metric, rule.margin)


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


def _system(case: _Case, rule: Rule) -> Finding:
    """Test a measurement of the candidate against its ceiling."""
    name, limit = rule.metric, rule.at_most
    assert limit is not None
    mine = case.measurements.get(name)
    measured = None if mine is None else measure(name, mine, case.gate.confidence)
    theirs = case.champion_measurements.get(name)
    other = None if theirs is None else measure(name, theirs, case.gate.confidence)
    finding = Finding(
        metric=name,
        kind=Kind.CEILING,
        level=Level.SYSTEM,
        outcome=Outcome.ERROR,
        cause=Cause.MISSING_MEASUREMENT if mine is None else Cause.NOT_A_NUMBER,
        n=measured.n if measured else 0,
        direction=Direction.LOWER,
        candidate=measured.value if measured else None,
        champion=other.value if other else None,
        difference=measured.value - other.value if measured and other else None,
        lower=measured.lower if measured else None,
        upper=measured.upper if measured else None,
        limit=limit,
    )
    if measured is None:
        return finding
    if rule.on == "point":
        return at_point(finding, limit - measured.value)
    if measured.upper is not None and measured.upper <= limit:
        return replace(finding, outcome=Outcome.PASS, cause=Cause.SHOWN)
    if measured.lower is not None and measured.lower > limit:
        return replace(finding, outcome=Outcome.REJECT, cause=Cause.VIOLATED)
    cause = Cause.NOT_SHOWN if measured.upper is not None else Cause.TOO_FEW_ROWS
    return replace(finding, outcome=Outcome.INCONCLUSIVE, cause=cause)
