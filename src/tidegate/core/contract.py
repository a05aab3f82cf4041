"""The column contract: what the champion's columns held when it was registered, held against today's rows.

Which finding decides, and why:

* a column that the champion said it reads is gone or holds another kind of value: an error, because whatever
  the champion answers then is no measure of it;
* everything else (nulls, values out of the known range, new categories; and columns of which nobody knows
  whether they are read) is told: a model may well be right about a value it has not seen, and the rules on
  its answers say whether it is;
* ``gate.checks.contract: error`` makes all of it decide, ``told`` none.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import inf, sqrt
from typing import TYPE_CHECKING

from tidegate.core.checks import check
from tidegate.core.model import Cause, Outcome
from tidegate.core.profile import ColumnKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tidegate.core.model import Finding
    from tidegate.core.profile import Column, Profile, TableSketch

_HARD = (Cause.COLUMN_GONE, Cause.KIND_CHANGED)
_MOST_TOLD = 5  # findings of a cause that decide nothing
_NULLS = 0.01  # more nulls than there were: at least this share of the rows
_SURE = 4.0  # and this many standard errors


def broken(known: Profile, today: TableSketch, *, severity: str | None) -> list[Finding]:
    """Return how today's rows break the contract that a profile is.

    Args:
        known: the champion's profile.
        today: a sketch of today's rows, begun with ``known``; a column that is gone is not in it.
        severity: ``gate.checks.contract``: "error", "told", or None for what is said above.
    """
    found = []
    for finding in _breaks(known, today):
        name = finding.column or ""
        hard = finding.cause in _HARD and name in {*(known.reads or ()), known.target}
        decides = severity == "error" or (severity is None and hard)
        outcome = Outcome.ERROR if decides else Outcome.INCONCLUSIVE
        shown = name
        if finding.cause is Cause.KIND_CHANGED:
            shown = f"{name} (was {known.columns[name].kind}, is {today.columns[name].kind})"
        found.append(replace(finding, column=shown, outcome=outcome, decides=decides))
    return found


def bounded(findings: Iterable[Finding]) -> list[Finding]:
    """Return what decides, and of what is told the first few of each cause, most rows first."""
    kept: list[Finding] = []
    told: Counter[Cause] = Counter()
    for finding in sorted(findings, key=lambda f: (not f.decides, -f.n)):
        told[finding.cause] += not finding.decides
        if finding.decides or told[finding.cause] <= _MOST_TOLD:
            kept.append(finding)
    return kept


def _breaks(known: Profile, today: TableSketch) -> Iterator[Finding]:
    for name, then in known.columns.items():
        if name not in today.columns:
            yield check(Cause.COLUMN_GONE, today.rows, column=name)
            continue
        sketch = today.columns[name]
        now = sketch.finish()
        if ColumnKind.EMPTY not in (then.kind, now.kind) and then.kind is not now.kind:
            yield check(Cause.KIND_CHANGED, now.rows, column=name)
            continue
        yield from _more_nulls(name, then, now)
        if not sketch.strange:
            continue
        if now.kind is ColumnKind.NUMBER and then.low is not None:
            finding = check(Cause.OUT_OF_BOUNDS, sketch.strange, column=name)
            yield replace(finding, lower=then.low, upper=then.high, candidate=_farthest(then, now))
        else:
            yield check(Cause.NEW_CATEGORY, sketch.strange, column=name)


def _more_nulls(name: str, then: Column, now: Column) -> Iterator[Finding]:
    if now.rows == 0 or then.rows == 0:
        return
    before, after = then.nulls / then.rows, now.nulls / now.rows
    pooled = (then.nulls + now.nulls) / (then.rows + now.rows)
    error = sqrt(pooled * (1 - pooled) * (1 / then.rows + 1 / now.rows))
    tolerance = max(_NULLS, _SURE * error) if then.nulls else 0.0
    if after > before + tolerance:
        finding = check(Cause.NULLS, now.nulls, column=name)
        yield replace(finding, candidate=after, champion=before)


def _farthest(then: Column, now: Column) -> float:
    """Return the value that is farthest outside of the known range; infinite ones count."""
    assert then.low is not None
    assert then.high is not None
    low = then.low if now.low is None else now.low
    high = then.high if now.high is None else now.high
    outside = {then.low - low: low, high - then.high: high}
    farthest = max(outside)
    return outside[farthest] if farthest > 0 else inf
