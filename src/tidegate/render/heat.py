"""The slices as a map, one tile a group; and the matrix of confused classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.core.model import Cause, Outcome
from tidegate.render.outcome import SYMBOLS, shown
from tidegate.render.place import place
from tidegate.render.verdict import margin_text, percent, signed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.core.model import Finding
    from tidegate.core.pictures import Pictures

_STEPS = ((-2.0, "m3"), (-1.0, "m2"), (-0.25, "m1"), (0.25, "z"), (1.0, "p1"), (2.0, "p2"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """A group of rows: its name, how far it is from equal in margins, and whether it is harmed."""

    name: str
    n: int
    heat: str  # CSS class: m3 (worst) .. z (equal) .. p3, or none
    words: str
    sign: str  # beside the colour


@dataclass(frozen=True, kw_only=True, slots=True)
class Map:
    """One rule's groups, worst first."""

    metric: str
    by: str
    margin: str
    tiles: tuple[Tile, ...]


def maps(slices: Sequence[Finding]) -> list[Map]:
    """Return a map for every metric, set of columns and margin, in the order of ``slices``."""
    rules: dict[tuple[str, str, str], list[Tile]] = {}
    for finding in slices:
        columns, values = _split(finding.slice or "")
        key = (finding.metric, columns, margin_text(finding.margin))
        rules.setdefault(key, []).append(_tile(finding, values))
    return [
        Map(metric=metric, by=by, margin=margin, tiles=tuple(tiles))
        for (metric, by, margin), tiles in rules.items()
    ]


def _split(label: str) -> tuple[str, str]:
    """Return a slice's columns and its values: "a=1, b=2" is ("a, b", "1, 2").

    A value that holds ", " or "=" is cut oddly; the whole name stands in the table.

    >>> _split("sex=f, tier=a"), _split("group 3")
    (('sex, tier', 'f, a'), ('group', 'group 3'))
    """
    parts = [part.partition("=") for part in label.split(", ")]
    if not all(equals for _, equals, _ in parts):
        return "group", label
    return ", ".join(name for name, _, _ in parts), ", ".join(value for _, _, value in parts)


def _tile(finding: Finding, name: str) -> Tile:
    where = place(finding)
    sign = ""
    if finding.cause is Cause.HARMED or (finding.decides and finding.outcome is not Outcome.PASS):
        sign = SYMBOLS[finding.outcome]
    compared = where is not None and (where.lower is not None or where.upper is not None)
    if where is None or not where.limit or not compared:
        return Tile(name=name, n=finding.n, heat="none", words=shown(finding), sign=sign)
    margins = where.value / abs(where.limit)
    heat = next((step for edge, step in _STEPS if margins <= edge), "p3")
    return Tile(name=name, n=finding.n, heat=heat, words=f"{signed(round(margins, 1))}×", sign=sign)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """Of the rows of one class: the share that got this answer, from either model."""

    mine: str
    theirs: str
    heat: str  # c0 .. c4
    right: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Confused:
    """A class, its rows, and what was said of them."""

    name: str
    n: int
    cells: tuple[Cell, ...]


def confusion(pictures: Pictures) -> list[Confused]:
    """Return the matrix, a row per true class; empty where the task has none."""
    mine = pictures.models[0].confusion
    theirs = pictures.models[1].confusion if len(pictures.models) > 1 else ()
    found = []
    for i, name in enumerate(pictures.classes):
        cells = tuple(
            Cell(
                mine=percent(share) if (share := _share(mine[i], j)) is not None else "-",
                theirs=percent(old) if theirs and (old := _share(theirs[i], j)) is not None else "",
                heat=f"c{int(4 * (share or 0.0))}",
                right=i == j,
            )
            for j in range(len(pictures.classes))
        )
        found.append(Confused(name=name, n=sum(mine[i]), cells=cells))
    return found


def _share(counts: Sequence[int], j: int) -> float | None:
    """Return a share to three digits, as a reader can take them in."""
    total = sum(counts)
    return round(1000 * counts[j] / total) / 1000 if total else None
