"""Guarantee exact: the headline rules of a gate, by bounds that hold for every n.

ease.ml/ci's semantics (Renggli et al., MLSys 2019) with three answers in place of two: pass when the
whole bound is on the good side, reject when it is on the bad one, else inconclusive, which passes
nothing (their fp-free). Delta, 1 - confidence, is the chance that *any* decision of the holdout passes a
model whose truth breaks a clause; the same delta bounds wrong rejections. It is split evenly over the
clauses of a decision and over what decisions may depend on (:func:`share_of_delta`).

A floor is an exact binomial bound. A difference is bounded by Bennett's inequality, whose second moment
is at most the share of answers that differ. That share is bounded first, by an exact binomial bound at a
clause of its own, and the bound, not the allowed ``disagreement``, goes into Bennett's: on the event that
it holds the inequality does, whatever the share is. ``disagreement`` is a rule on its own: the candidate
must be shown to answer no more rows differently; it needs no labels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tidegate.core.comparison import Group, unanswered
from tidegate.core.exact import (
    bennett,
    rows_for_difference,
    rows_for_share,
    share_at_least,
    share_at_most,
    share_of_delta,
)
from tidegate.core.metrics.table import find, is_system
from tidegate.core.model import Cause, Direction, Finding, Kind, Level, Margin, Outcome, Task
from tidegate.core.table import ANCHOR, CANDIDATE, CHAMPION
from tidegate.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from tidegate.core.config import Exact, Gate, Rule
    from tidegate.core.table import Predictions

    Marks = npt.NDArray[np.bool_]

_MOST_ROWS = 1_000_000_000  # more is no advice
_THRESHOLD = 0.5  # of a probability: what accuracy takes for an answer


@dataclass(frozen=True, kw_only=True, slots=True)
class _Against:
    """One model's answers compared with the candidate's: what was seen, and the bound that it gives."""

    difference: float
    disagreement: float
    most: float  # the upper bound of the disagreement
    off: float  # how far the difference may be off, either way


@dataclass(frozen=True, kw_only=True, slots=True)
class _Case:
    gate: Gate
    exact: Exact
    right: dict[str, Marks]  # model -> which rows it has right
    n: int
    delta: float  # of one clause


def clauses(gate: Gate, references: int) -> int:
    """Return how many bounds a decision takes: a floor, a disagreement, a difference each count one."""
    rules = [rule for rule in gate.rules if not is_system(rule.metric)]
    floors = sum(rule.at_least is not None for rule in rules)
    compared = sum(rule.compares for rule in rules)
    return max(1, floors + references * (compared + (compared > 0)))


def exact_findings(
    table: Predictions, gate: Gate, exact: Exact, task: Task, everything: Group
) -> Iterator[Finding]:
    """Yield the findings of all rules on predictions.

    Raises:
        ConfigError: rows that are weighted or belong to groups; the bounds are of independent ones.
    """
    if table.group is not None or table.weight is not None:
        raise ConfigError(
            "guarantee: exact is for independent rows that count alike, and data has group or weight",
            remedy="Remove data.group and data.weight, or gate.guarantee.",
        )
    right = dict(_right(table, task))
    rules = [rule for rule in gate.rules if not is_system(rule.metric)]
    if CANDIDATE not in right:
        for rule in rules:
            yield _finding(rule, Kind.FLOOR, table.n, cause=Cause.NOT_PROPORTION)
        return
    delta = share_of_delta(
        1.0 - gate.confidence,
        clauses=clauses(gate, len(right) - 1),
        decisions=exact.decisions,
        adaptivity=exact.adaptivity,
    )
    case = _Case(gate=gate, exact=exact, right=right, n=table.n, delta=delta)
    against = {name: _compared(case, name) for name in right if name != CANDIDATE}
    if CHAMPION in against and (first := next((r for r in rules if r.compares), None)) is not None:
        yield _disagreement(case, first, against[CHAMPION])
    for rule in rules:
        if rule.at_least is not None:
            yield _floor(case, rule, rule.at_least)
        if not rule.compares:
            continue
        if CHAMPION not in against:
            absolute = any(r.at_least is not None for r in rules)
            found = unanswered(everything, find(rule.metric, task), rule)
            yield replace(found, decides=not absolute)
            continue
        kind = Kind.MARGIN if rule.margin is not None else Kind.IMPROVES
        yield _difference(case, rule, kind, against[CHAMPION], CHAMPION)
        if ANCHOR in against and rule.margin is not None:
            yield _difference(case, rule, Kind.ANCHOR, against[ANCHOR], ANCHOR)


def _right(table: Predictions, task: Task) -> Iterator[tuple[str, Marks]]:
    for name, values in table.columns():
        if name == "y_true":
            continue
        if task is Task.GENERIC:
            if not ((values == 0.0) | (values == 1.0)).all():
                return
            yield name, values == 1.0
        elif task is Task.MULTICLASS:
            yield name, values.argmax(axis=1) == table.y_true
        else:
            yield name, (values >= _THRESHOLD) == (table.y_true == 1.0)


def _compared(case: _Case, reference: str) -> _Against:
    mine, theirs = case.right[CANDIDATE], case.right[reference]
    # One right and the other wrong: with two classes every answer that differs, with more of them the
    # part of it that moves the difference, whose second moment this is.
    differ = int(np.count_nonzero(mine != theirs))
    most = share_at_most(differ, case.n, case.delta)
    return _Against(
        difference=float(mine.mean() - theirs.mean()),
        disagreement=differ / case.n,
        most=most,
        off=bennett(case.n, most, case.delta),
    )


def _finding(rule: Rule, kind: Kind, n: int, cause: Cause = Cause.UNDEFINED) -> Finding:
    return Finding(
        metric=rule.metric,
        kind=kind,
        level=Level.HEADLINE,
        outcome=Outcome.ERROR,
        cause=cause,
        n=n,
        direction=Direction.HIGHER,
        limit=rule.at_least if kind is Kind.FLOOR else None,
    )


def _disagreement(case: _Case, rule: Rule, seen: _Against) -> Finding:
    limit = case.exact.disagreement
    differ = round(seen.disagreement * case.n)
    finding = replace(
        _finding(rule, Kind.DISAGREEMENT, case.n),
        direction=Direction.LOWER,
        candidate=seen.disagreement,
        lower=share_at_least(differ, case.n, case.delta),
        upper=seen.most,
        limit=limit,
    )
    room = limit - seen.disagreement
    needed = rows_for_share(room, case.delta) if room > 0.0 else None
    return _settled(
        finding, good=seen.most <= limit, bad=(finding.lower or 0.0) > limit, needed=needed
    )


def _floor(case: _Case, rule: Rule, limit: float) -> Finding:
    mine = case.right[CANDIDATE]
    hits = int(np.count_nonzero(mine))
    finding = replace(
        _finding(rule, Kind.FLOOR, case.n),
        candidate=hits / case.n,
        champion=float(case.right[CHAMPION].mean()) if CHAMPION in case.right else None,
        lower=share_at_least(hits, case.n, case.delta),
        upper=share_at_most(hits, case.n, case.delta),
    )
    if finding.champion is not None:
        finding = replace(finding, difference=hits / case.n - finding.champion)
    assert finding.lower is not None
    assert finding.upper is not None
    room = abs(hits / case.n - limit)
    needed = rows_for_share(room, case.delta) if room > 0.0 else None
    return _settled(finding, good=finding.lower > limit, bad=finding.upper < limit, needed=needed)


def _difference(case: _Case, rule: Rule, kind: Kind, seen: _Against, reference: str) -> Finding:
    margin = rule.improves_by if kind is Kind.IMPROVES else rule.margin
    assert margin is not None
    allowed = margin.value if kind is Kind.IMPROVES else -margin.value
    low, high = seen.difference - seen.off, seen.difference + seen.off
    finding = replace(
        _finding(rule, kind, case.n),
        candidate=float(case.right[CANDIDATE].mean()),
        champion=float(case.right[reference].mean()),
        difference=seen.difference,
        lower=low,
        upper=high,
        margin=Margin(value=margin.value),
    )
    room = abs(seen.difference - allowed)
    needed = rows_for_difference(room, seen.most, case.delta) if room > 0.0 else None
    return _settled(finding, good=low > allowed, bad=high < allowed, needed=needed)


def _settled(finding: Finding, *, good: bool, bad: bool, needed: int | None) -> Finding:
    if good:
        return replace(finding, outcome=Outcome.PASS, cause=Cause.SHOWN)
    if bad:
        return replace(finding, outcome=Outcome.REJECT, cause=Cause.VIOLATED)
    advice = needed if needed is not None and needed <= _MOST_ROWS else None
    return replace(finding, outcome=Outcome.INCONCLUSIVE, cause=Cause.NOT_SHOWN, rows_needed=advice)
