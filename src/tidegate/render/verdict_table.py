"""A verdict as a table in the terminal. Names from outside are made plain: no escape code reaches it."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from tidegate.core.model import Finding, Kind, Level, Outcome
from tidegate.render.markdown import plain
from tidegate.render.outcome import SYMBOLS, advice, asked, basis, bounds
from tidegate.render.verdict import number, reason, rule, signed, summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tidegate.core.model import Verdict

_MOST_SLICES = 12  # JSON has them all
_WIDEST = 56  # of a rule; --explain has it whole
_LEFT = 3  # columns that are read from the left
_HEAD = ("#", "verdict", "rule", "candidate", "reference", "difference", "bounds", "rows")


def text(verdict: Verdict, notes: Iterable[str] = ()) -> str:
    """Return the verdict for a terminal: outcome and reason, what to do, the table, what is not good.

    The number before a rule is what ``--explain`` takes.
    """
    lines = [
        f"{str(verdict.outcome).upper()}: {summary(verdict, plain)}",
        *([f"What to do: {todo}"] if (todo := advice(verdict)) else []),
        *([f"{said[0].upper()}{said[1:]}."] if (said := basis(verdict)) else []),
        *(plain(note, 400) for note in notes),
    ]
    numbered = list(enumerate(verdict.findings, 1))
    shown, left = _shown(numbered)
    rows = [_row(number, finding) for number, finding in shown if finding.kind is not Kind.CHECK]
    if rows:
        lines += ["", *_aligned([_HEAD, *rows])]
    if left:
        lines.append(f"and {left:,} slices more, none of them shown harmed; --json has them all")
    asides = [
        f"{'' if f.decides else 'note: '}{said}"
        for _, f in shown
        if f.outcome is not Outcome.PASS and (f.decides or f.kind is Kind.CHECK)
        if (said := reason(f, verdict.confidence, plain)) != summary(verdict, plain)
    ]
    lines += ["", *asides] if asides else []
    example = next((str(n) for n, f in shown if f.decides and f.outcome is verdict.outcome), None)
    if example and rows:
        lines += [
            "",
            f"tidegate gate --explain {example} says what was tested and what would change it",
        ]
    return "\n".join(lines)


def _shown(
    findings: Sequence[tuple[int, Finding]],
) -> tuple[list[tuple[int, Finding]], int]:
    """Return the findings to print, and how many unharmed slices are left out."""
    slices = [item for item in findings if item[1].level is Level.SLICE]
    slices.sort(key=lambda i: (not i[1].decides, 1.0 if i[1].p_harm is None else i[1].p_harm))
    harmed = sum(f.decides for _, f in slices)
    kept = {n for n, _ in slices[: max(_MOST_SLICES, harmed)]}
    shown = [(n, f) for n, f in findings if f.level is not Level.SLICE or n in kept]
    return shown, len(findings) - len(shown)


def _row(position: int, finding: Finding) -> tuple[str, ...]:
    badge = f"{SYMBOLS[finding.outcome]} {finding.outcome}"
    return (
        str(position),
        badge if finding.decides else f"({badge})",
        _cut(_rule(finding)),
        number(finding.candidate),
        number(finding.champion),
        signed(finding.difference),
        bounds(finding) or "-",
        f"{finding.n:,}",
    )


def _rule(finding: Finding) -> str:
    """Return a rule so that a table of many slices differs early: its group, then the margin."""
    if finding.slice is None or finding.level not in (Level.SLICE, Level.CRITICAL):
        return rule(finding, plain)
    return f"{plain(finding.metric)} in {plain(finding.slice)}, margin {asked(finding)}"


def _cut(words: str) -> str:
    """Return a rule in at most 56 columns; its end, the slice, says more than its middle.

    >>> _cut("a" * 40 + " in region=" + "b" * 40)
    'aaaaaaaaaaaaaaaaaaaaaaaaaaa…bbbbbbbbbbbbbbbbbbbbbbbbbbbb'
    """
    if _width(words) <= _WIDEST:
        return words
    half = _WIDEST // 2
    first, last = words[: half - 1], words[-half:]
    while _width(first) > half - 1:
        first = first[:-1]
    while _width(last) > half:
        last = last[1:]
    return f"{first}…{last}"


def _width(words: str) -> int:
    """Return how many columns a terminal needs: two for a wide letter, none for a mark above one."""
    marks = sum(unicodedata.combining(c) > 0 for c in words)
    return len(words) - marks + sum(unicodedata.east_asian_width(c) in "WF" for c in words)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(_width(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(map(_padded, row, widths, range(len(row)))).rstrip() for row in rows]


def _padded(cell: str, width: int, column: int) -> str:
    space = " " * (width - _width(cell))
    return f"{cell}{space}" if 0 < column < _LEFT else f"{space}{cell}"
