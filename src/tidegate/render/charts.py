"""The report's drawings: small pure functions from numbers to SVG.

Horizontal places are percentages, so that a drawing stretches with the page while its lines and
letters keep their size; there is no ``viewBox`` to shrink them on a phone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tidegate.render.place import Place


@dataclass(frozen=True, slots=True)
class Scale:
    """Numbers to percentages of the width; what lies outside is drawn at the edge."""

    low: float
    high: float

    def at(self, value: float | None, edge: float) -> str:
        """Return where ``value`` stands; None (unknown, infinite) is at ``edge`` percent."""
        if value is None:
            return f"{edge:.2f}%"
        part = 100 * (value - self.low) / (self.high - self.low)
        return f"{min(max(part, 0.0), 100.0):.2f}%"


def scale(place: Place) -> Scale:
    """Return a scale that shows everything, with room for the labels beside limit and zero."""
    known = [place.value, place.lower, place.upper, place.limit, 0.0 if place.compares else None]
    values = [value for value in known if value is not None]
    low, high = min(values), max(values)
    span = (high - low) or abs(high) or 1.0
    low, high = low - 0.08 * span, high + 0.08 * span
    if place.limit is not None:  # its label stands to the left of it and needs a quarter
        low = min(low, place.limit - (high - place.limit) / 3)
    if place.compares:  # "equal" stands to the right of 0
        high = max(high, 0.25 * -low)
    return Scale(low, high)


def interval(place: Place, *, limit: str, tone: str, label: str) -> Markup:
    """Draw a finding: its value and bounds, the limit's line, and the line of equality.

    Args:
        place: where it stands; right is better.
        limit: the limit in words.
        tone: the CSS class that colours it.
        label: what a screen reader says.
    """
    x = scale(place)
    parts = [
        _text("0", 11, "← worse", "faint"),
        _text("100%", 11, "better →", "faint", anchor="end"),
        *_beyond(x, place.limit, top=17, bottom=45),
        *(_line(x, 0.0, "zero", top=17, bottom=45) if place.compares else ()),
        *_range(x, place, 31),
    ]
    if place.limit is not None:
        parts.append(_text(x.at(place.limit, 0), 58, limit, "faint", anchor="end", dx=-4))
    if place.compares:
        parts.append(_text(x.at(0.0, 0), 58, "equal", "faint", dx=4))
    return _svg(parts, height=64, tone=tone, label=label)


def bar(place: Place, x: Scale, *, tone: str, label: str) -> Markup:
    """Draw a slice's interval on a scale that it shares with other slices; limit at -1, equal at 0."""
    parts = [
        *_beyond(x, -1.0, top=1, bottom=19),
        *_line(x, 0.0, "zero", top=1, bottom=19),
        *_range(x, place, 10),
    ]
    return _svg(parts, height=20, tone=tone, label=label)


def in_margins(place: Place) -> Place | None:
    """Return a comparison in units of its margin; None where there is no margin to measure by."""
    if not place.compares or not place.limit:
        return None
    unit = abs(place.limit)
    lower, upper = (None if b is None else b / unit for b in (place.lower, place.upper))
    return replace(place, value=place.value / unit, lower=lower, upper=upper, limit=-1.0)


def shared(places: Iterable[Place]) -> Scale:
    """Return the scale of a table of slices: symmetric enough to compare, at most 6 margins wide."""
    reach = [1.5]
    for place in places:
        reach += [abs(b) for b in (place.value, place.lower, place.upper) if b is not None]
    widest = min(max(reach) * 1.05, 6.0)
    return Scale(-widest, widest)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of time with one share of traffic; ``words`` label it."""

    start: float
    end: float
    share: float
    words: str


def timeline(stretches: Sequence[Stretch], *, tone: str, label: str) -> Markup:
    """Draw the candidate's share of traffic over time: one block a step, as high as its share."""
    x = Scale(stretches[0].start, max(stretches[-1].end, stretches[0].start + 1))
    top, floor = 18, 128
    parts = [
        Markup('<line class="grid" x1="0" x2="100%" y1="{0}" y2="{0}"/>').format(y)
        for y in (top, (top + floor) / 2, floor)
    ]
    parts += [
        _text("0", top - 5, "100 %", "faint"),
        _text("0", (top + floor) / 2 - 5, "50 %", "faint"),
    ]
    for stretch in stretches:
        left, width = _extent(x, stretch)
        height = stretch.share * (floor - top)
        parts.append(
            Markup(
                '<rect class="block" x="{:.2f}%" width="{:.2f}%" y="{:.1f}" height="{:.1f}"/>'
            ).format(left, width, floor - height, height)
        )
        if width >= 8:  # else it would run into its neighbour; the table has it too
            y = floor - height - 5
            parts.append(
                _text(f"{left + width / 2:.2f}%", y, stretch.words, "ink", anchor="middle")
            )
    return _svg(parts, height=floor + 4, tone=tone, label=label)


def meter(evidence: float, needed: float, *, tone: str, label: str) -> Markup:
    """Draw how much of the needed evidence is there; both as logarithms, less than none is none."""
    part = min(max(evidence / needed, 0.0), 1.0) * 100 if needed > 0 else 0.0
    parts = [
        Markup('<rect class="track" x="0" y="3" width="100%" height="6" rx="3"/>'),
        Markup('<rect class="fill" x="0" y="3" width="{:.2f}%" height="6" rx="3"/>').format(part),
    ]
    return _svg(parts, height=12, tone=tone, label=label)


def _extent(x: Scale, stretch: Stretch) -> tuple[float, float]:
    left = 100 * (stretch.start - x.low) / (x.high - x.low)
    return left, 100 * (stretch.end - stretch.start) / (x.high - x.low)


def _svg(parts: Iterable[Markup], *, height: float, tone: str, label: str) -> Markup:
    return Markup('<svg class="{}" role="img" aria-label="{}" width="100%" height="{}">{}</svg>').format(
        tone, label, height, Markup("").join(parts)
    )  # fmt: skip


def _beyond(x: Scale, limit: float | None, *, top: int, bottom: int) -> list[Markup]:
    """Draw the limit, and shade what lies beyond it."""
    if limit is None:
        return []
    shade = Markup('<rect class="beyond" x="0" y="{}" width="{}" height="{}"/>')
    return [
        shade.format(top, x.at(limit, 0), bottom - top),
        *_line(x, limit, "limit", top=top, bottom=bottom),
    ]


def _line(x: Scale, value: float | None, kind: str, *, top: int, bottom: int) -> list[Markup]:
    if value is None:
        return []
    line = Markup('<line class="{}" x1="{x}" x2="{x}" y1="{}" y2="{}"/>')
    return [line.format(kind, top, bottom, x=x.at(value, 0))]


def _range(x: Scale, place: Place, y: int) -> list[Markup]:
    """Draw the interval and the dot of what was measured; an unknown bound runs to the edge."""
    line = Markup('<line x1="{}" x2="{}" y1="{}" y2="{}"/>')
    left, right = x.at(place.lower, 0.0), x.at(place.upper, 100.0)
    parts = []
    if place.lower is not None or place.upper is not None:
        parts.append(line.format(left, right, y, y))
    if place.lower is not None:
        parts.append(line.format(left, left, y - 5, y + 5))
    if place.upper is not None:
        parts.append(line.format(right, right, y - 5, y + 5))
    dot = Markup('<circle cx="{}" cy="{}" r="4.5"/>')
    return [*parts, dot.format(x.at(place.value, 50.0), y)]


def _text(  # noqa: PLR0913 (a label is where, what and how)
    x: str, y: float, text: str, kind: str, *, anchor: str = "start", dx: int = 0
) -> Markup:
    return Markup('<text class="{}" x="{}" y="{:.1f}" dx="{}" text-anchor="{}">{}</text>').format(
        kind, x, y, dx, anchor, escape(text)
    )
