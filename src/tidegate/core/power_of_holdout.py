"""What a holdout can show, before anything is trained: rows needed, and the smallest margin.

A margin m is shown with power b when ``(z_confidence + z_b) * spread / sqrt(n) <= m`` for a candidate that
is just as good; ``spread`` is the standard deviation of one row's part in the paired difference. Source:
Julious, Statistics in Medicine 23 (2004) 1921-1986, section 3. The spread is that of an earlier verdict, or
assumed: shares of right rows by how many answers differ (its second moment), the area under the ROC curve
by Hanley and McNeil, Radiology 143 (1982) 29-36, for one model and a correlation of two. Of losses in
units of their own nobody can assume anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from tidegate.core.catalog import PROPORTIONS
from tidegate.core.exact import bennett, rows_for_difference, share_of_delta
from tidegate.core.model import Kind, Level

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tidegate.core.config import Exact, Gate
    from tidegate.core.model import Margin, Verdict

POWERS = (0.8, 0.9)
AREA, CORRELATION = 0.8, 0.9  # assumed of a ROC curve, and of two models' on the same rows
_NORMAL = NormalDist()


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """How many rows a group has, and how many of them are of the rarest class (None: no classes)."""

    rows: int
    rarest: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """A row's part in a paired difference: its standard deviation, and where that comes from."""

    value: float
    seen: bool  # in an earlier verdict; else assumed
    reference: float | None = None  # the champion's value there, which a relative margin is of


@dataclass(frozen=True, kw_only=True, slots=True)
class Supported:
    """What a holdout can show of one margin.

    Attributes:
        margin: in the metric's units; None for a relative one whose champion's value nobody knows.
        smallest: the smallest margin that is shown with the first of :data:`POWERS`.
        needed: rows for each of them; of the whole table, if its composition stays as it is.
        spread: None when nothing is known or may be assumed; then the three above are None, too.
    """

    metric: str
    slice: str | None
    counts: Counts
    margin: float | None
    spread: Spread | None
    smallest: float | None = None
    needed: tuple[int, ...] | None = None

    @property
    def enough(self) -> bool | None:
        """Whether an equally good candidate is shown to keep it; None: nobody can tell."""
        if self.margin is None or self.smallest is None:
            return None
        return self.smallest <= self.margin


def supported(
    gate: Gate,
    counts: Mapping[str | None, Counts],
    spreads: Mapping[tuple[str, str | None], Spread],
) -> Iterator[Supported]:
    """Yield what the holdout supports of every margin of rules and slices.

    Args:
        gate: at the confidence of one decision.
        counts: rows by slice label; None: all rows.
        spreads: by metric and slice, see :func:`seen_in` and :func:`assumed`.
    """
    everything = counts[None]
    for rule in gate.rules:
        if (margin := rule.margin) is not None and rule.negligible is None:
            spread = spreads.get((rule.metric, None))
            yield _supported(gate, rule.metric, None, margin, (everything, everything), spread)
    for part in gate.slices:
        for label, own in counts.items():
            if label is not None and _is_of(label, part.by):
                spread = spreads.get((part.metric, label)) or spreads.get((part.metric, None))
                yield _supported(gate, part.metric, label, part.margin, (own, everything), spread)


def _is_of(label: str, by: tuple[str, ...]) -> bool:
    return tuple(piece.partition("=")[0] for piece in label.split(", ")) == by


def _supported(  # noqa: PLR0913, PLR0917 (one row of a table)
    gate: Gate,
    metric: str,
    label: str | None,
    margin: Margin,
    counts: tuple[Counts, Counts],
    spread: Spread | None,
) -> Supported:
    own, everything = counts
    absolute: float | None = margin.value
    if margin.relative:
        reference = spread.reference if spread else None
        absolute = None if reference is None else margin.value * abs(reference)
    plain = Supported(metric=metric, slice=label, counts=own, margin=absolute, spread=spread)
    if spread is None or own.rows == 0:
        return plain
    if gate.exact is not None:
        return _exactly(gate, gate.exact, plain)
    errors = [_NORMAL.inv_cdf(gate.confidence) + _NORMAL.inv_cdf(power) for power in POWERS]
    scale = everything.rows / own.rows
    needed = None
    if absolute:
        needed = tuple(math.ceil((z * spread.value / absolute) ** 2 * scale) for z in errors)
    return Supported(
        metric=metric, slice=label, counts=own, margin=absolute, spread=spread,
        smallest=errors[0] * spread.value / math.sqrt(own.rows), needed=needed,
    )  # fmt: skip


def _exactly(gate: Gate, exact: Exact, plain: Supported) -> Supported:
    """Return the same under guarantee exact: certain for what is observed, so there is no power in it."""
    compared = sum(rule.compares for rule in gate.rules)
    floors = sum(rule.at_least is not None for rule in gate.rules)
    delta = share_of_delta(
        1.0 - gate.confidence,
        clauses=max(1, floors + 2 * (compared + 1)),
        decisions=exact.decisions,
        adaptivity=exact.adaptivity,
    )
    needed = None
    if plain.margin:
        needed = (rows_for_difference(plain.margin, exact.disagreement, delta),) * len(POWERS)
    return Supported(
        metric=plain.metric, slice=plain.slice, counts=plain.counts, margin=plain.margin,
        spread=plain.spread, smallest=bennett(plain.counts.rows, exact.disagreement, delta),
        needed=needed,
    )  # fmt: skip


def assumed(metric: str, counts: Counts, disagreement: float) -> Spread | None:
    """Return what may be assumed of a metric's spread; None where nothing may.

    >>> assumed("accuracy", Counts(rows=100), 0.04)
    Spread(value=0.2, seen=False, reference=None)
    """
    if metric in PROPORTIONS:
        return Spread(value=math.sqrt(disagreement), seen=False)
    if metric != "roc_auc" or not counts.rarest:
        return None
    few, many = counts.rarest, counts.rows - counts.rarest
    one, two = AREA / (2 - AREA), 2 * AREA**2 / (1 + AREA)
    pairs = (few - 1) * (one - AREA**2) + (many - 1) * (two - AREA**2)
    variance = (AREA * (1 - AREA) + pairs) / (few * many)
    return Spread(value=math.sqrt(2 * (1 - CORRELATION) * variance * counts.rows), seen=False)


def seen_in(verdict: Verdict) -> dict[tuple[str, str | None], Spread]:
    """Return the spreads that an earlier verdict's intervals tell, by metric and slice."""
    z = _NORMAL.inv_cdf(verdict.confidence)
    found = {}
    for finding in verdict.findings:
        compares = (
            finding.kind in (Kind.MARGIN, Kind.IMPROVES) and finding.level is not Level.SYSTEM
        )
        if not compares or verdict.adaptivity or finding.lower is None or finding.upper is None:
            continue
        error = (finding.upper - finding.lower) / 2.0 / z
        found[finding.metric, finding.slice] = Spread(
            value=error * math.sqrt(finding.n), seen=True, reference=finding.champion
        )
    return found
