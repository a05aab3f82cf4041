"""A verdict as one self-contained HTML page: no script, nothing loaded from anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from tidegate.core.events import ENDS
from tidegate.core.model import Outcome, Task
from tidegate.render import charts, heat, plots
from tidegate.render.decision import guard_line
from tidegate.render.markdown import plain
from tidegate.render.outcome import (
    SYMBOLS,
    advice,
    asked,
    basis,
    bounds,
    meaning,
    shown,
    title,
    tone,
)
from tidegate.render.place import place
from tidegate.render.rollout import bill, ending, evidence, happened
from tidegate.render.verdict import margin_text, number, percent, reason, rule, signed, summary
from tidegate.render.words import cause, lasting, share, when

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from tidegate.core.canary import GuardEvidence
    from tidegate.core.model import Finding
    from tidegate.core.story import Story
    from tidegate.render.report import Report

_SLICES = 200  # verdict.json has them all
_OPEN = 10  # slices that are seen at once
_LOST = {
    Task.BINARY: "squared error of the probability",
    Task.MULTICLASS: "squared error of the probabilities (answers are the true class's probability)",
    Task.REGRESSION: "absolute error",
    Task.GENERIC: "score",
    Task.RANKING: "score",
}
_TONES = {
    Outcome.PASS: "good",
    Outcome.INCONCLUSIVE: "open",
    Outcome.REJECT: "bad",
    Outcome.ERROR: "error",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Drawn:
    """A finding with its drawing, if there is something to draw."""

    finding: Finding
    tone: str
    word: str
    chart: Markup | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Guard:
    """A guard with the two meters of its evidence."""

    evidence: GuardEvidence
    line: str
    harm: Markup
    not_worse: Markup


def html(report: Report) -> str:
    """Return the page. Reads in light and dark, on a phone and on paper."""
    verdict, story = report.verdict, report.story
    reasons = report.unjudged.sentence if report.unjudged else summary(verdict, plain)
    page: str = _page().render(
        report=report,
        tone=_TONES[tone(report)],
        title=title(report),
        because=_opened(reasons, {plain(f.metric) for f in verdict.findings}),
        meaning=meaning(report),
        advice="" if report.unjudged or story else advice(verdict),
        symbol=SYMBOLS[tone(report)],
        basis=basis(verdict),
        rules=[_rule(finding, verdict.confidence) for finding in report.rules],
        slices=_slices(report.slices[:_SLICES], verdict.confidence),
        open_slices=_OPEN,
        maps=heat.maps(report.slices[:_SLICES]),
        figures=plots.figures(report.pictures) if report.pictures else [],
        confusion=heat.confusion(report.pictures) if report.pictures else [],
        lost_as=_LOST[report.pictures.task] if report.pictures else "",
        total_slices=len(report.slices),
        ending=ending(story) if story else "",
        timeline=_timeline(story) if story else None,
        guards=[_guard(item) for item in evidence(story.turns)] if story else [],
        lineage=_lineage(report),
    )
    return page


def _opened(sentence: str, names: set[str]) -> str:
    """Return the sentence with a capital, unless it opens with a metric's name."""
    if sentence.split(" ", 1)[0].rstrip(":") in names:
        return sentence
    return sentence[0].upper() + sentence[1:]


@cache
def _page() -> Any:
    pages = Environment(
        loader=PackageLoader("tidegate.render"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters.update(
        plain=plain, number=number, signed=signed, percent=percent, share=share, when=when,
        lasting=lasting, cause=cause, count=lambda n: f"{n:,}",
    )  # fmt: skip
    pages.globals.update(
        asked=asked, bill=bill, bounds=bounds, happened=happened, reason=reason, rule=rule, plain=plain,
        margin_text=margin_text,
    )  # fmt: skip
    return pages.get_template("report.html.j2")


def _rule(finding: Finding, confidence: float) -> _Drawn:
    where = place(finding)
    color = _TONES[finding.outcome] if finding.decides else "quiet"
    chart = None
    if where is not None:
        limit = f"margin {asked(finding)}" if where.compares else asked(finding)
        label = plain(reason(finding, confidence, plain))
        chart = charts.interval(where, limit=limit, tone=color, label=label)
    word = f"{SYMBOLS[finding.outcome]} {finding.outcome}" if finding.decides else "reported"
    return _Drawn(finding=finding, tone=color, word=word, chart=chart)


def _slices(findings: Sequence[Finding], confidence: float) -> list[_Drawn]:
    places = [place(finding) for finding in findings]
    scaled = [charts.in_margins(where) if where else None for where in places]
    scale = charts.shared(where for where in scaled if where is not None)
    drawn = []
    for finding, where in zip(findings, scaled, strict=True):
        blocks = finding.decides and finding.outcome is not Outcome.PASS
        color = _TONES[finding.outcome] if blocks else "quiet"
        label = plain(reason(finding, confidence, plain))
        chart = charts.bar(where, scale, tone=color, label=label) if where else None
        word = f"{SYMBOLS[finding.outcome]} {shown(finding)}" if blocks else shown(finding)
        drawn.append(_Drawn(finding=finding, tone=color, word=word, chart=chart))
    return drawn


def _timeline(story: Story) -> Markup | None:
    """Draw the share of traffic, with a short tail that shows what was left at the end."""
    if not story.turns:
        return None
    ends = [turn.at for turn in story.turns[1:]]
    tail = 0.06 * (story.until - story.turns[0].at) if story.rollout.phase in ENDS else 0.0
    stretches = [
        charts.Stretch(start=turn.at, end=end, share=turn.share, words=share(turn.share))
        for turn, end in zip(story.turns, [*ends, story.until + tail], strict=True)
    ]
    return charts.timeline(stretches, tone="traffic", label=f"{ending(story)}, share of traffic")


def _guard(item: GuardEvidence) -> _Guard:
    return _Guard(
        evidence=item,
        line=guard_line(item),
        harm=charts.meter(
            item.log_harm, item.harm_threshold, tone="bad", label="evidence for harm"
        ),
        not_worse=charts.meter(
            item.log_not_worse, item.promote_threshold, tone="good",
            label="evidence that it is not worse",
        ),
    )  # fmt: skip


def _lineage(report: Report) -> list[tuple[str, str]]:
    """Return what the verdict is about and where it came from, as names and values."""
    digests, run = report.verdict.digests, report.run
    known: list[tuple[str, str | None]] = [
        ("commit", run.commit if run else digests.code),
        ("work tree", "differed from the commit" if run and run.dirty else None),
        ("candidate", digests.candidate),
        ("production", digests.champion),
        ("anchor", digests.anchor),
        ("holdout", digests.holdout),
        ("training data", run.train_digest if run else None),
        ("rules", digests.rules),
        ("recipe", run.recipe if run else None),
    ]
    if run:
        known += [("trained at", f"{when(run.started_at)} UTC")]
        known += [(f"with {name}", version) for name, version in sorted(run.environment.items())]
    return [(name, value) for name, value in known if value]
