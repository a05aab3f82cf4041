"""A rollout in words: what became of a model in traffic, and what may come next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.core.canary import GuardEvidence
from tidegate.core.events import ENDS, Mode, Phase
from tidegate.render.spending import dollars
from tidegate.render.status import headline
from tidegate.render.words import lasting, share

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tidegate.core.story import Story, Turn
    from tidegate.render.report import Report
    from tidegate.run_record import RunRecord

_ENDED = {
    Phase.PROMOTED: "Promoted",
    Phase.REVERTED: "Taken back",
    Phase.WITHDRAWN: "Withdrawn",
    Phase.SUPERSEDED: "Superseded",
    Phase.REFUSED: "Refused before any traffic",
}
_TURNS = {
    Phase.PROBATION: "promoted; the old version keeps a holdback",
    Phase.PROMOTED: "all traffic",
    Phase.REVERTED: "taken back",
    Phase.WITHDRAWN: "withdrawn",
    Phase.SUPERSEDED: "superseded",
}


def became(story: Story) -> str:
    """Return what became of a verdict's model in traffic."""
    if story.dismissed_at is not None:
        return "promoted, then taken back by a person"
    rollout = story.rollout
    if ended := _ENDED.get(rollout.phase):
        return f"then {ended.lower()}"
    if rollout.phase is Phase.CANARY:
        return f"now in canary at {share(rollout.traffic.get(rollout.model.version, 0.0))}"
    return "then promoted, in probation" if rollout.phase is Phase.PROBATION else "to be released"


def ending(story: Story) -> str:
    """Return what became of a rollout: "Taken back after 4 min and at least 1,024 requests at up to 25 %"."""
    rollout = story.rollout
    ended = _ENDED.get(rollout.phase)
    if story.peak == 0.0:
        return ended or "Waiting for its first traffic"
    if rollout.phase is Phase.PROMOTED and rollout.mode is Mode.DIRECT:
        return "Got all traffic at once"
    after = lasting(story.exposed)
    if story.requests:
        after = f"{after} and at least {story.requests:,} requests"
    if rollout.phase is Phase.PROMOTED:
        return f"{ended} after {after}"
    after = f"{after} at up to {share(story.peak)}"
    if ended:
        return f"{ended} after {after}"
    now = headline(rollout).capitalize()
    return f"{now}: {after} so far" if story.exposed > 0 else now


def happened(turn: Turn) -> str:
    """Return what a change of traffic was."""
    return f"canary, step {turn.step + 1}" if turn.phase is Phase.CANARY else _TURNS[turn.phase]


def standing(report: Report) -> tuple[GuardEvidence, ...]:
    """Return the guards' numbers: of now where the rollout is live, else of its last change."""
    if report.decision is not None and _live(report):
        return report.decision.guards
    return evidence(report.story.turns) if report.story else ()


def expected(report: Report) -> str:
    """Return when the next decision can be expected; nothing where nobody can tell.

    By the guard that needs most, at the traffic the candidate has had per share.
    """
    story, decision = report.story, report.decision
    if story is None or decision is None or not _live(report):
        return ""
    waiting = [g for g in decision.guards if not g.needs_labels and not g.step_state.passed]
    more = [g.more_requests for g in waiting]
    if story.rollout.phase is not Phase.CANARY or not more or not story.pace:
        return ""
    known = [n for n in more if n is not None]
    if len(known) < len(more):
        return ""
    words = lasting(max(known) / story.pace)
    return f"about {words} to the next decision if it is as good and traffic stays the same"


def bill(run: RunRecord) -> str:
    """Return what a service billed for training; a price that is not known is never 0."""
    billed = "" if run.billed_seconds is None else f"{lasting(run.billed_seconds)} billed, "
    return f"{billed}{dollars(run.cost_usd)}"


def _live(report: Report) -> bool:
    return report.story is not None and report.story.rollout.phase not in ENDS


def evidence(turns: Iterable[Turn]) -> tuple[GuardEvidence, ...]:
    """Return the guards' numbers at the newest change of traffic that rested on any."""
    decided = [turn for turn in turns if turn.evidence]
    return tuple(GuardEvidence(**item) for item in decided[-1].evidence) if decided else ()
