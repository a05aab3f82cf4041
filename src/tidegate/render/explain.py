"""A rule's finding explained: what was tested, on what, how, what came out, what would change it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, assert_never

from tidegate.core.model import Direction, Finding, Kind, Level, Outcome
from tidegate.errors import ConfigError
from tidegate.problems import near
from tidegate.render.markdown import plain
from tidegate.render.method import method
from tidegate.render.outcome import SYMBOLS, advice, reuse
from tidegate.render.place import compares, place
from tidegate.render.verdict import margin_text, number, percent, reason, rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.core.config import OwnMetric
    from tidegate.core.model import Task, Verdict
    from tidegate.core.pictures import Pictures

_MOST = 40  # names that an error lists


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What is known of a verdict beside it: the task, the user's own metrics, counts of rows."""

    task: Task | None = None
    own: tuple[OwnMetric, ...] = ()
    pictures: Pictures | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """One finding, explained.

    Attributes:
        number: its place among the verdict's findings, from 1.
        margin_that_passes: as a fraction where the margin is relative; then, and for a slice, about.
        value_that_passes: about, if the interval stays as wide as it is.
    """

    number: int
    metric: str
    slice: str | None
    rule: str
    outcome: str
    decides: bool
    tested: str
    on: str
    how: str
    result: str
    change: tuple[str, ...]
    margin_that_passes: float | None = None
    value_that_passes: float | None = None
    rows_needed: int | None = None


def select(verdict: Verdict, name: str) -> list[tuple[int, Finding]]:
    """Return the findings that ``name`` means, with their numbers.

    Args:
        verdict: the verdict.
        name: a number of the table, a metric (its rules about all rows), or ``metric@slice``.

    Raises:
        ConfigError: nothing is called that; the names that there are stand in the message.
    """
    numbered = list(enumerate(verdict.findings, 1))
    found = [(n, f) for n, f in numbered if name in (str(n), _name(f))]
    if found:
        return found
    names = list(dict.fromkeys(plain(_name(f)) for _, f in numbered))
    more = f" and {len(names) - _MOST:,} more" if len(names) > _MOST else ""
    hint = near(name, names)
    raise ConfigError(
        f"--explain: no rule {plain(name)!r} in this verdict{f'; {hint}' if hint else ''}",
        remedy=f"A number from 1 to {len(numbered)}, or one of: {', '.join(names[:_MOST])}{more}.",
    )


def explain(verdict: Verdict, name: str, known: Known) -> list[Explanation]:
    """Explain what ``name`` means.

    Raises:
        ConfigError: as :func:`select`.
    """
    return [_explained(verdict, n, finding, known) for n, finding in select(verdict, name)]


def document(verdict: Verdict, explanations: Sequence[Explanation]) -> dict[str, Any]:
    """Return the explanations for ``--json``."""
    return {
        "format": 1,
        "outcome": str(verdict.outcome),
        "explained": [asdict(explanation) for explanation in explanations],
    }


def text(explanations: Sequence[Explanation]) -> str:
    """Return the explanations for a terminal."""
    lines: list[str] = []
    for each in explanations:
        sign = SYMBOLS[Outcome(each.outcome)]
        reported = "" if each.decides else " (reported, does not decide)"
        lines += [
            f"{each.number}. {plain(each.rule, 400)}: {sign} {each.outcome}{reported}",
            f"   tested   {plain(each.tested, 1000)}",
            f"   on       {plain(each.on, 1000)}",
            f"   how      {plain(each.how, 1000)}",
            f"   result   {plain(each.result, 1000)}",
            *(f"   {'change' if i == 0 else '':8} {c}" for i, c in enumerate(each.change)),
            "",
        ]
    return "\n".join(lines)


def _name(finding: Finding) -> str:
    return f"{finding.metric}@{finding.slice}" if finding.slice else finding.metric


def _explained(verdict: Verdict, n: int, finding: Finding, known: Known) -> Explanation:
    margin, value = _passing(finding)
    return Explanation(
        number=n,
        metric=finding.metric,
        slice=finding.slice,
        rule=rule(finding),
        outcome=str(finding.outcome),
        decides=finding.decides,
        tested=_tested(finding, verdict.confidence),
        on=_on(verdict, finding, known),
        how=method(finding, verdict, known.task, known.own),
        result=f"{reason(finding, verdict.confidence)}.",
        change=tuple(_change(verdict, finding, margin, value)),
        margin_that_passes=margin,
        value_that_passes=value,
        rows_needed=finding.rows_needed,
    )


# --- what was tested ------------------------------------------------------------------------


def _tested(finding: Finding, confidence: float) -> str:
    """Return the question, and what counts as a yes."""
    metric, lower = finding.metric, finding.direction is Direction.LOWER
    limit, margin = number(finding.limit), margin_text(finding.margin)
    if finding.margin is not None and finding.margin.relative:
        margin += " of its value"
    bound = "upper" if lower else "lower"
    better = f"{'Lower' if lower else 'Higher'} is better."
    shown = f"To pass, the {percent(confidence)} {bound} bound of the difference has to show it."
    match finding.kind:
        case Kind.CHECK:
            return "Are the data and the answers usable? Values are looked at, not estimated."
        case Kind.FLOOR:
            said = f"Is the candidate's {metric} at least {limit}? The {percent(confidence)} lower bound has to be."
        case Kind.CEILING:
            said = f"Is the candidate's {metric} at most {limit}? The {percent(confidence)} upper bound has to be."
        case Kind.MARGIN:
            said = f"Is the candidate's {metric} worse than the champion's by less than {margin}? {better} {shown}"
        case Kind.ANCHOR:
            said = (
                f"Is the candidate's {metric} worse than the anchor's by less than {margin}? {better} {shown} "
                "The anchor stays, so that many small losses cannot add up."
            )
        case Kind.IMPROVES:
            said = f"Is the candidate's {metric} better than the champion's by more than {margin}? {better} {shown}"
        case Kind.GAP:
            said = f"Is {metric} at most {limit} apart between any two groups? It has to be shown of every pair."
        case Kind.GAP_MARGIN:
            said = (
                f"Are the groups' values of {metric} further apart than under the champion by less than {margin}? "
                "It has to be shown of every pair."
            )
        case Kind.DISAGREEMENT:
            said = (
                f"Do at most {percent(finding.limit or 0.0)} of the answers differ from the champion's? The exact "
                "promise of the differences rests on it."
            )
        case _:
            assert_never(finding.kind)
    return said + _hierarchy(finding)


def _hierarchy(finding: Finding) -> str:
    if finding.level is Level.SLICE:
        return (
            " A slice blocks only where harm beyond the margin is shown, after Holm's correction for the "
            "number of slices; what cannot be excluded is told and does not block."
        )
    if finding.level is Level.CRITICAL:
        return " The slice is critical: it must be shown, like a rule about all rows."
    return ""


def _on(verdict: Verdict, finding: Finding, known: Known) -> str:
    if finding.level is Level.SYSTEM:
        samples = "One measurement" if finding.n == 1 else f"{finding.n:,} measurements"
        return f"{samples} of the candidate."
    parts = [f"{verdict.n:,} holdout rows"]
    if finding.slice is not None:
        parts = [f"the {finding.n:,} of {verdict.n:,} holdout rows with {finding.slice}"]
    elif known.pictures is not None:
        if 1 < len(known.pictures.counts) <= 12:
            classes = known.pictures.classes or tuple(map(str, range(len(known.pictures.counts))))
            counts = zip(known.pictures.counts, classes, strict=False)
            parts.append(", ".join(f"{count:,} of class {name}" for count, name in counts))
        if known.pictures.groups is not None:
            parts.append(f"in {known.pictures.groups:,} groups, which count as the units")
        if known.pictures.weighted:
            parts.append("weighted")
    if verdict.digests.holdout:
        parts.append(f"holdout {verdict.digests.holdout[:12]}")
    if said := reuse(verdict):
        parts.append(said)
    line = "; ".join(parts)
    return f"{line[0].upper()}{line[1:]}."


# --- what would change it -------------------------------------------------------------------


def _passing(finding: Finding) -> tuple[float | None, float | None]:
    """Return the smallest margin and the worst value that would pass, where they can be told."""
    where = place(finding)
    if where is None or where.lower is None or where.limit is None:
        return None, None
    needed = where.limit + (where.value - where.lower)
    less = where.value != (finding.difference if compares(finding) else finding.candidate)
    value = -needed if less else needed
    if not compares(finding):
        return None, value
    if finding.champion is None or finding.kind is Kind.GAP_MARGIN:
        return None, None
    margin = None
    if finding.kind is not Kind.IMPROVES and finding.margin is not None:
        margin = max(-where.lower, 0.0)
        if finding.margin.relative:
            margin = margin / abs(finding.champion) if finding.champion else None
    return margin, finding.champion + value


def _change(
    verdict: Verdict, finding: Finding, margin: float | None, value: float | None
) -> list[str]:
    said = []
    passed = finding.outcome is Outcome.PASS
    if finding.rows_needed and not passed:
        said.append(
            f"Rows: about {finding.rows_needed:,} such rows would settle it (there are {finding.n:,}), "
            "if the truth is what was seen."
        )
    if margin is not None and finding.margin is not None:
        relative = finding.margin.relative
        least = percent(margin) if relative else number(margin)
        said.append(
            f"Margin: {'it passes' if passed else 'it would pass'} with any margin above about {least} "
            f"(it is {margin_text(finding.margin)}); choose it for what a loss costs, not to pass."
        )
    elif finding.kind in (Kind.FLOOR, Kind.CEILING, Kind.GAP):
        bound = finding.lower if finding.kind is Kind.FLOOR else finding.upper
        if bound is not None:
            side = "below" if finding.kind is Kind.FLOOR else "above"
            said.append(
                f"Limit: it {'passes' if passed else 'would pass'} with any limit {side} about {number(bound)}."
            )
    if value is not None:
        worse = "down" if _lower_is_worse(finding) else "up"
        told = f"it passes {worse} to about" if passed else "it would pass at about"
        said.append(
            f"Value: {told} {number(value)} (it is {number(finding.candidate)}), with bounds as far from "
            "the value as now."
        )
    alone = replace(verdict, outcome=finding.outcome, findings=(finding,))
    if not said and finding.decides and (todo := advice(alone)):
        said.append(todo)
    if not finding.decides:
        said.append("It decides nothing, whatever it comes to.")
    return said or ["Nothing to tell: it passed on a plain number."]


def _lower_is_worse(finding: Finding) -> bool:
    if finding.kind is Kind.FLOOR:
        return True
    return compares(finding) and finding.direction is Direction.HIGHER
