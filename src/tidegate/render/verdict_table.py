"""A verdict as a table in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.core.model import Finding, Kind, Level, Outcome
from tidegate.render.verdict import number, reason, rule, signed, summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tidegate.core.model import Verdict

_MOST_SLICES = 12  # JSON has them all
_BADGE = {
    Outcome.PASS: "pass",
    Outcome.INCONCLUSIVE: "?",
    Outcome.REJECT: "REJECT",
    Outcome.ERROR: "ERROR",
}
_HEAD = ("", "rule", "candidate", "reference", "difference", "bounds", "rows")


def text(verdict: Verdict, notes: Iterable[str] = ()) -> str:
    """Return the verdict for a terminal: one line first, then a table, then what is not good."""
    lines = [f"{str(verdict.outcome).upper()}: {summary(verdict)}", *notes]
    shown, left = _shown(verdict.findings)
    rows = [_row(finding) for finding in shown if finding.kind is not Kind.CHECK]
    if rows:
        lines += ["", *_aligned([_HEAD, *rows])]
    if left:
        lines.append(f"and {left} slices more, none of them shown harmed; --json has them all")
    asides = [
        f"{'' if f.decides else 'note: '}{reason(f, verdict.confidence)}"
        for f in shown
        if f.outcome is not Outcome.PASS and (f.decides or f.kind is Kind.CHECK)
    ]
    return "\n".join([*lines, *([""] if asides else []), *asides])


def _shown(findings: Sequence[Finding]) -> tuple[list[Finding], int]:
    """Return the findings to print, and how many unharmed slices are left out."""
    slices = [f for f in findings if f.level is Level.SLICE]
    slices.sort(key=lambda f: (not f.decides, 1.0 if f.p_harm is None else f.p_harm))
    harmed = sum(f.decides for f in slices)
    kept = {id(f) for f in slices[: max(_MOST_SLICES, harmed)]}
    shown = [f for f in findings if f.level is not Level.SLICE or id(f) in kept]
    return shown, len(findings) - len(shown)


def _row(finding: Finding) -> tuple[str, ...]:
    bounds = "-"
    if finding.lower is not None or finding.upper is not None:
        of = number if finding.kind in (Kind.FLOOR, Kind.CEILING) else signed
        bounds = f"{of(finding.lower)} to {of(finding.upper)}"
    badge = _BADGE[finding.outcome] if finding.decides else f"({_BADGE[finding.outcome]})"
    return (
        badge,
        rule(finding),
        number(finding.candidate),
        number(finding.champion),
        signed(finding.difference),
        bounds,
        f"{finding.n:,}",
    )


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
