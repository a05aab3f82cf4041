"""Where a finding stands against its limit: the numbers behind every drawing and every order."""

from __future__ import annotations

from dataclasses import dataclass

from tidegate.core.model import Direction, Finding, Kind


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A finding on an axis where right is better: what was measured, its bounds, its limit.

    For a margin, 0 is "equal to the reference" and ``limit`` is negative; for a floor or a ceiling
    the axis is the candidate's own value (negated where less is better).
    """

    value: float
    lower: float | None  # on the worse side
    upper: float | None
    limit: float | None
    compares: bool  # 0 means equal


def place(finding: Finding) -> Place | None:
    """Return where a finding stands against its limit; None when nothing was measured."""
    compares = finding.kind in (Kind.MARGIN, Kind.ANCHOR)
    value = finding.difference if compares else finding.candidate
    if value is None or finding.kind is Kind.CHECK:
        return None
    lower, upper, limit = finding.lower, finding.upper, finding.limit
    less = finding.direction is Direction.LOWER
    if compares:
        limit = _room(finding)
    else:
        less = finding.kind is Kind.CEILING
        limit = -limit if less and limit is not None else limit
    if less:
        value = -value
        lower, upper = (None if b is None else -b for b in (upper, lower))
    return Place(value=value, lower=lower, upper=upper, limit=limit, compares=compares)


def _room(finding: Finding) -> float | None:
    """Return the margin in the metric's units, below 0."""
    margin = finding.margin
    if margin is None:
        return None
    if not margin.relative:
        return -margin.value
    return None if finding.champion is None else -margin.value * abs(finding.champion)
