"""The picture of the calibration: shares over the number of rows, one line a rule."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from benchmarks.peers import PEERS
from benchmarks.worlds import Truth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.calibration import Shares

OURS = "Tidegate"
PANELS = (
    ("passes a model 2 margins worse", Truth.WORSE, False),
    ("passes a model worse by the margin", Truth.MARGIN, False),
    ("stops an equal model", Truth.EQUAL, True),
)
COLOURS = ("#8a6d1f", "#7a4fa3", "#2b6cb0", "#b5533c", "#c98a9b", "#5b8c5a", "#4a4a4a", "#1f9aa0")
DASHES = ("6 3", "2 3", "8 2 2 2", "1 4", "10 4", "4 2 1 2", "3 2", "12 3")
WIDE, HIGH, LEFT, TOP, GAP = 250, 230, 46, 34, 40

_HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
    'font-family="system-ui, sans-serif" font-size="12" fill="#222" role="img" '
    'aria-label="How often each rule passes bad models and stops good ones">'
)


def draw(shares: Shares, sizes: tuple[int, ...]) -> str:
    """Return the picture as SVG, on a ground of its own so that it reads on a dark page, too."""
    width = LEFT + len(PANELS) * (WIDE + GAP)
    height = TOP + HIGH + 44 + 22 * 3
    parts = [
        _HEAD.format(width=width, height=height),
        f'<rect width="{width}" height="{height}" rx="6" fill="#fff"/>',
    ]
    for column, (title, truth, stopped) in enumerate(PANELS):
        parts += _panel(LEFT + column * (WIDE + GAP), title, sizes)
        for name, style in _styles():
            cells = [shares[name, truth, n] for n in sizes]
            shown = [1 - cell if stopped else cell for cell in cells]
            x = LEFT + column * (WIDE + GAP)
            points = " ".join(
                f"{x + _across(n, sizes):.1f},{TOP + HIGH * (1 - share):.1f}"
                for n, share in zip(sizes, shown, strict=True)
            )
            parts.append(f'<polyline points="{points}" fill="none" {style}/>')
    parts += _legend(TOP + HIGH + 62, width)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _across(n: int, sizes: tuple[int, ...]) -> float:
    low, high = math.log(sizes[0]), math.log(sizes[-1])
    return WIDE * (math.log(n) - low) / (high - low)


def _styles() -> Iterator[tuple[str, str]]:
    """Yield the rules, ours last and on top, with their strokes."""
    for name, colour, dash in zip(PEERS, COLOURS, DASHES, strict=True):
        yield name, f'stroke="{colour}" stroke-width="1.6" stroke-dasharray="{dash}"'
    yield OURS, 'stroke="#0a7d4f" stroke-width="3.2"'


def _panel(x: float, title: str, sizes: tuple[int, ...]) -> Iterator[str]:
    yield f'<text x="{x}" y="20" font-weight="600">{title}</text>'
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = TOP + HIGH * (1 - share)
        yield f'<line x1="{x}" x2="{x + WIDE}" y1="{y}" y2="{y}" stroke="#ddd"/>'
        yield f'<text x="{x - 6}" y="{y + 4}" text-anchor="end" fill="#666">{100 * share:.0f}%</text>'
    for n in sizes:
        yield (
            f'<text x="{x + _across(n, sizes):.1f}" y="{TOP + HIGH + 17}" text-anchor="middle" '
            f'fill="#666">{n:,}</text>'
        )
    yield f'<text x="{x + WIDE / 2}" y="{TOP + HIGH + 34}" text-anchor="middle" fill="#666">rows</text>'


def _legend(y: float, width: float) -> Iterator[str]:
    step = (width - LEFT) / 3
    for index, (name, style) in enumerate(reversed(list(_styles()))):
        left, line = LEFT - 30 + (index % 3) * step, y + 20 * (index // 3)
        weight = ' font-weight="600"' if name == OURS else ""
        yield f'<line x1="{left}" x2="{left + 38}" y1="{line - 4}" y2="{line - 4}" {style}/>'
        yield f'<text x="{left + 46}" y="{line}"{weight}>{name}</text>'
