"""A verdict as one Markdown comment, or as a job summary.

Whatever comes from outside stands in a code span (:func:`tidegate.render.markdown.code`), and the
text is never longer than GitHub takes: the collapsed details give way first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from tidegate.core.canary import Cause as Waits
from tidegate.core.events import ENDS
from tidegate.core.model import Finding, Outcome
from tidegate.core.spending import spent
from tidegate.render import mermaid
from tidegate.render.decision import guard_row, sentence
from tidegate.render.ledger import why
from tidegate.render.markdown import code, link
from tidegate.render.outcome import advice, asked, basis, bounds, meaning, shown, title, tone
from tidegate.render.pages import template, tidied
from tidegate.render.place import compares
from tidegate.render.rollout import bill, ending, expected, happened, standing
from tidegate.render.spending import words
from tidegate.render.verdict import number, percent, reason, signed, summary
from tidegate.render.words import lasting, share, when

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.core.story import Story, Turn
    from tidegate.render.report import Report

LIMIT = 65_000  # bytes of UTF-8, which are never fewer than the 65,536 characters GitHub counts
_SLICES = 8
_TURNS = 12
_ALERTS = {
    Outcome.PASS: "TIP",
    Outcome.INCONCLUSIVE: "WARNING",
    Outcome.REJECT: "CAUTION",
    Outcome.ERROR: "IMPORTANT",
}
_BADGES = {
    Outcome.PASS: "✅ pass",
    Outcome.INCONCLUSIVE: "⚠️ inconclusive",
    Outcome.REJECT: "❌ reject",
    Outcome.ERROR: "🚫 error",
}


def comment(report: Report) -> str:
    """Return the pull request's comment; its first line is the marker by which it is found again."""
    first = f"{marker(report.model)}\n"
    return first + _fitted(report, LIMIT - len(first))


def job_summary(report: Report) -> str:
    """Return the same for ``GITHUB_STEP_SUMMARY``, where nothing is ever looked for again."""
    return _fitted(report, LIMIT)


def _fitted(report: Report, room: int) -> str:
    """Return the report in at most ``room`` bytes."""
    body = ""
    for most in (30, 10, 3):  # rows of a list; three of the longest names always fit
        body = _body(report, most)
        if _size(body) <= room:
            break
    parts, left = [body], []
    room -= _size(body) + 300  # for the line that says what is missing
    details = (_digests(report), _findings(report), _parameters(report))
    for folded in () if report.unjudged else details:
        text, missing = folded.fit(room)
        room -= _size(text)
        parts.append(text)
        left += [f"{missing:,} of {len(folded.rows):,} {folded.what}"] if missing else []
    if left:
        where = "all of it is in `verdict.json` and `run.json`"
        parts.append(f"\nLeft out for length: {', '.join(left)}; {where}.\n")
    return "".join(parts)


def marker(model: str) -> str:
    """Return the first line of a model's comment: by it and its author it is found again."""
    return f"<!-- tidegate:{model} -->"


def _body(report: Report, most: int) -> str:
    if report.unjudged is not None:
        return tidied(_page("unjudged.md.j2").render(report=report, most=most))
    verdict, story = report.verdict, report.story
    reasons = summary(verdict, code)
    rules = report.rules
    if len(rules) > most:  # then at least what failed is seen
        rules = sorted(rules, key=lambda f: f.outcome is Outcome.PASS)
    also = [f for f in rules if f.decides and f.outcome is not Outcome.PASS]
    text: str = _page("comment.md.j2").render(
        report=report,
        most=most,
        alert=_ALERTS[tone(report)],
        badges=_BADGES,
        title=title(report).lower(),
        reason=reasons[0].upper() + reasons[1:],
        meaning=meaning(report),
        advice="" if story else advice(verdict),
        basis=basis(verdict),
        against=_against(report),
        rules=rules,
        also=[f for f in also if not reasons.startswith(reason(f, verdict.confidence, code))],
        slices=report.slices[: min(_SLICES, most)],
        about_slices=_about_slices(report.slices),
        turns=_turns(story.turns) if story else [],
        guards=standing(report),
        chart=mermaid.traffic(story) if story else "",
        now=_now(report),
        compared_with_nothing=verdict.digests.champion is None,
        expected=expected(report),
        spending=_spending(story),
        ending=ending(story) if story else "",
        sentence=lambda finding: reason(finding, verdict.confidence, code),
    )
    return tidied(text)


@cache
def _page(name: str) -> Any:
    filters = {
        "code": code,
        "number": number,
        "signed": signed,
        "percent": percent,
        "share": share,
        "when": when,
        "lasting": lasting,
        "count": _count,
        "why": why,
    }
    functions = {
        "asked": asked,
        "bill": bill,
        "bounds": bounds,
        "compares": compares,
        "shown": shown,
        "happened": happened,
        "guard_row": guard_row,
        "link": link,
        "setting": _setting,
    }
    return template(name, filters=filters, functions=functions)


def _setting(value: str | None) -> str:
    return "not set" if value is None else code(value, 80)


def _now(report: Report) -> str:
    """Return what the live rollout waits for; the guards' numbers stand in their table."""
    decision = report.decision
    if decision is None or report.story is None or report.story.rollout.phase in ENDS:
        return ""
    return "Not shown yet." if decision.cause is Waits.NOT_SHOWN else sentence(decision)


def _spending(story: Story | None) -> str:
    """Return what the rollout has cost so far; nothing where nobody bills it."""
    spending = spent(story.rollout, story.until) if story else None
    return "" if spending is None else words(spending, code)


def _count(n: int) -> str:
    return f"{n:,}"


def _against(report: Report) -> str:
    if report.verdict.first_release:
        return "Nothing serves yet: this would be the first release."
    production = f"Production is version {code(report.champion)}." if report.champion else ""
    candidate = f" The candidate is version {code(report.candidate)}." if report.candidate else ""
    return f"{production}{candidate}".strip()


def _about_slices(slices: Sequence[Finding]) -> str:
    """Return how many slices could be compared, and what was shown of them."""
    compared = sum(f.lower is not None or f.upper is not None for f in slices)
    blocking = sum(f.decides and f.outcome is not Outcome.PASS for f in slices)
    text = f"{compared:,} of {len(slices):,} slices could be compared; "
    return text + (f"blocking: {blocking:,}." if blocking else "harm is shown in none of them.")


def _turns(turns: Sequence[Turn]) -> list[Turn]:
    """Return the first change of traffic and the newest ones."""
    return list(turns) if len(turns) <= _TURNS else [turns[0], *turns[1 - _TURNS :]]


# --- collapsed details ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class _Folded:
    """A collapsed section of whole rows, so that it can be cut between two of them."""

    title: str
    what: str
    rows: Sequence[str]
    head: str = ""

    def fit(self, room: int) -> tuple[str, int]:
        """Return the section in at most ``room`` bytes, and how many rows that leaves out."""
        before = f"\n<details>\n<summary>{self.title}</summary>\n\n{self.head}"
        after = "\n</details>\n"
        room -= _size(before + after)
        kept: list[str] = []
        for row in self.rows:
            room -= _size(row) + 1
            if room < 0:
                break
            kept.append(f"{row}\n")
        missing = len(self.rows) - len(kept)
        return (f"{before}{''.join(kept)}{after}" if kept else ""), missing


def _digests(report: Report) -> _Folded:
    digests, run = report.verdict.digests, report.run
    known = {
        "commit": run.commit if run else digests.code,
        "candidate": digests.candidate,
        "production": digests.champion,
        "anchor": digests.anchor,
        "holdout": digests.holdout,
        "training data": run.train_digest if run else None,
        "rules": digests.rules,
        "recipe (code, config and data)": run.recipe if run else None,
    }
    rows = [f"| {what} | {code(value)} |" for what, value in known.items() if value]
    if run and run.dirty:
        rows.append("| work tree | differed from the commit |")
    return _Folded(
        title="Commit and digests", what="digests", rows=rows, head="| what | digest |\n| --- | --- |\n"
    )  # fmt: skip


def _findings(report: Report) -> _Folded:
    verdict = report.verdict
    ordered = [*report.data, *report.rules, *report.slices]
    rows = [
        f"- {_BADGES[f.outcome].split()[0]} {reason(f, verdict.confidence, code)}" for f in ordered
    ]
    return _Folded(title=f"Every finding ({len(rows):,})", what="findings", rows=rows)


def _parameters(report: Report) -> _Folded:
    found = sorted(report.run.params.items()) if report.run else []
    rows = [f"| {code(name)} | {code(value)} |" for name, value in found]
    return _Folded(
        title=f"Parameters ({len(rows):,})", what="parameters", rows=rows,
        head="| parameter | value |\n| --- | --- |\n",
    )  # fmt: skip


def _size(text: str) -> int:
    return len(text.encode())
