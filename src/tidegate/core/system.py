"""Measurements of the model as a program: ceilings, and margins against the champion.

Sizes are plain numbers. Latencies come as samples of single rows, and their quantiles get
distribution-free bounds. A margin on a latency holds when the *ratio* is shown to stay within it, or the
*difference* to be negligible: 30 % of a tenth of a millisecond is nobody's harm. Both use one event, that
the candidate's upper and the champion's lower bound (each at half of alpha) hold, so either may be
chosen by the data. The two must have been measured in turns on one machine; two runners of one cloud
differ by more than a margin. Latencies measured apart are inconclusive under a margin; a ceiling
needs one model only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from tidegate.core.comparison import at_point
from tidegate.core.metrics.system import QUANTILES, measure
from tidegate.core.model import Cause, Direction, Finding, Kind, Level, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tidegate.core.config import Rule
    from tidegate.core.metrics.kinds import Floats
    from tidegate.core.metrics.system import Measured

    Measurement: TypeAlias = float | Sequence[float] | Floats

NEGLIGIBLE_MS = 1.0  # a smaller difference of latencies breaks no margin, unless the rule says else


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurements:
    """What was measured of each model, by metric: a number, or samples (latencies in milliseconds).

    ``in_turns``: candidate and champion were measured in turns on one machine.
    """

    candidate: Mapping[str, Measurement] = field(default_factory=dict)
    champion: Mapping[str, Measurement] = field(default_factory=dict)
    in_turns: bool = False


def system(rule: Rule, measured: Measurements, confidence: float) -> Iterator[Finding]:
    """Yield a system rule's findings: its ceiling, its margin."""
    name = rule.metric
    mine, theirs = measured.candidate.get(name), measured.champion.get(name)
    own = None if mine is None else measure(name, mine, confidence)
    other = None if theirs is None else measure(name, theirs, confidence)
    finding = Finding(
        metric=name,
        kind=Kind.CEILING,
        level=Level.SYSTEM,
        outcome=Outcome.ERROR,
        cause=Cause.MISSING_MEASUREMENT if mine is None else Cause.NOT_A_NUMBER,
        n=own.n if own else 0,
        direction=Direction.LOWER,
        candidate=own.value if own else None,
        champion=other.value if other else None,
        difference=own.value - other.value if own and other else None,
    )
    if rule.at_most is not None:
        yield _ceiling(rule, finding, own, rule.at_most)
    if rule.margin is None:
        return
    compared = replace(finding, kind=Kind.MARGIN, margin=rule.margin)
    if own is None:
        yield compared
    elif theirs is None:
        yield replace(
            compared, outcome=Outcome.INCONCLUSIVE, cause=Cause.NO_CHAMPION, decides=False
        )
    elif other is None:
        yield replace(compared, cause=Cause.NOT_A_NUMBER)
    elif name in QUANTILES and not measured.in_turns:
        yield replace(compared, outcome=Outcome.INCONCLUSIVE, cause=Cause.MEASURED_APART)
    else:
        assert mine is not None
        half = (1.0 + confidence) / 2.0
        yield _margin(rule, compared, measure(name, mine, half), measure(name, theirs, half))


def _ceiling(rule: Rule, finding: Finding, own: Measured | None, limit: float) -> Finding:
    finding = replace(finding, limit=limit)
    if own is None:
        return finding
    finding = replace(finding, lower=own.lower, upper=own.upper)
    if rule.on == "point":
        return at_point(finding, limit - own.value)
    if own.upper is not None and own.upper <= limit:
        return replace(finding, outcome=Outcome.PASS, cause=Cause.SHOWN)
    if own.lower is not None and own.lower > limit:
        return replace(finding, outcome=Outcome.REJECT, cause=Cause.VIOLATED)
    cause = Cause.NOT_SHOWN if own.upper is not None else Cause.TOO_FEW_ROWS
    return replace(finding, outcome=Outcome.INCONCLUSIVE, cause=cause)


def _margin(rule: Rule, finding: Finding, own: Measured | None, other: Measured | None) -> Finding:
    assert own is not None
    assert other is not None
    if None in (own.upper, other.lower, own.lower, other.upper):
        return replace(finding, outcome=Outcome.INCONCLUSIVE, cause=Cause.TOO_FEW_ROWS)
    worst, best = _excess(rule, own.upper, other.lower), _excess(rule, own.lower, other.upper)
    finding = replace(
        finding,
        lower=(own.lower or 0.0) - (other.upper or 0.0),
        upper=(own.upper or 0.0) - (other.lower or 0.0),
    )
    if worst <= 0.0:
        return replace(finding, outcome=Outcome.PASS, cause=Cause.SHOWN)
    if best > 0.0:
        return replace(finding, outcome=Outcome.REJECT, cause=Cause.VIOLATED)
    return replace(finding, outcome=Outcome.INCONCLUSIVE, cause=Cause.NOT_SHOWN)


def _excess(rule: Rule, mine: float | None, theirs: float | None) -> float:
    """Return by how much one number breaks the margin against another; 0 or less: it keeps it."""
    if mine is None or theirs is None or rule.margin is None:
        return math.nan
    negligible = rule.negligible
    if negligible is None:
        negligible = NEGLIGIBLE_MS if rule.metric in QUANTILES else 0.0
    margin = rule.margin
    allowed = margin.value * theirs if margin.relative else margin.value
    return mine - theirs - max(allowed, negligible)
