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


_COMPARING = (Kind.MARGIN, Kind.ANCHOR, Kind.IMPROVES, Kind.GAP_MARGIN)
_CEILINGS = (Kind.CEILING, Kind.GAP, Kind.DISAGREEMENT)


def compares(finding: Finding) -> bool:
    """Whether a finding is about a difference from a reference, not the candidate's own value."""
    return finding.kind in _COMPARING


def place(finding: Finding) -> Place | None:
    """Return where a finding stands against its limit; None when nothing was measured."""
    compared = compares(finding)
    value = finding.difference if compared else finding.candidate
    if value is None or finding.kind is Kind.CHECK:
        return None
    lower, upper, limit = finding.lower, finding.upper, finding.limit
    less = finding.direction is Direction.LOWER or finding.kind is Kind.GAP_MARGIN
    if compared:
        limit = _room(finding)
    else:
        less = finding.kind in _CEILINGS
        limit = -limit if less and limit is not None else limit
    if less:
        value = -value
        lower, upper = (None if b is None else -b for b in (upper, lower))
    return Place(value=value, lower=lower, upper=upper, limit=limit, compares=compared)


def _room(finding: Finding) -> float | None:
    """Return the limit of a difference in the metric's units: below 0, or what must be gained."""
    margin = finding.margin
    if margin is None:
        return None
    sign = 1.0 if finding.kind is Kind.IMPROVES else -1.0
    if not margin.relative:
        return sign * margin.value
    return None if finding.champion is None else sign * margin.value * abs(finding.champion)
