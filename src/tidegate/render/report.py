"""What a report is about, and which of a verdict's findings stand where in it.

The comment, the job summary and the page all show the same choice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.core.canary import GuardEvidence
from tidegate.core.events import Mode, Phase
from tidegate.core.model import Cause, Direction, Finding, Kind, Level, Outcome
from tidegate.render.status import headline
from tidegate.render.verdict import number, percent, signed
from tidegate.render.words import lasting, share

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tidegate.core.model import Verdict
    from tidegate.core.story import Story, Turn
    from tidegate.run_record import RunRecord

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?")

HEADLINES = {
    Outcome.PASS: "Passed",
    Outcome.INCONCLUSIVE: "Inconclusive",
    Outcome.REJECT: "Rejected",
    Outcome.ERROR: "Not judged",
}
_MEANING = {
    Outcome.PASS: "It may go on to a canary.",
    Outcome.INCONCLUSIVE: "These rows cannot tell; production is untouched.",
    Outcome.REJECT: "Production is untouched.",
    Outcome.ERROR: "Something is wrong with the data or the measurement; production is untouched.",
}
_SHOWN = {
    Cause.SHOWN: "not worse",
    Cause.HARMED: "harm shown",
    Cause.VIOLATED: "worse",
    Cause.NOT_HARMED: "undecided",
    Cause.NOT_SHOWN: "not shown",
    Cause.TOO_FEW_ROWS: "too few rows",
    Cause.TOO_FEW_OF_A_CLASS: "too few of a class",
    Cause.NO_CHAMPION: "nothing to compare",
    Cause.UNDEFINED: "not defined",
}
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """A verdict and what is known around it.

    Raises:
        ValueError: a model name that ``schemas/mlops.schema.json`` would not let in; it stands
            unquoted in the comment's marker.
    """

    model: str
    verdict: Verdict
    notes: tuple[str, ...] = ()
    run: RunRecord | None = None
    candidate: str | None = None  # registered version, once there is one
    champion: str | None = None
    story: Story | None = None  # its rollout, once there is one

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.model):
            raise ValueError(f"not a model name: {self.model!r}")

    @property
    def rules(self) -> list[Finding]:
        """Findings of the headline rules and of measurements, as ``mlops.yaml`` orders them."""
        levels = (Level.HEADLINE, Level.SYSTEM)
        return [f for f in self.verdict.findings if f.level in levels]

    @property
    def slices(self) -> list[Finding]:
        """Findings of slices, critical or not, worst first."""
        levels = (Level.CRITICAL, Level.SLICE)
        return sorted((f for f in self.verdict.findings if f.level in levels), key=_badness)

    @property
    def data(self) -> list[Finding]:
        """Findings about the data themselves."""
        return [f for f in self.verdict.findings if f.level is Level.DATA]

    @property
    def skewed(self) -> tuple[str, ...]:
        """Columns that live requests do not fill, found when the candidate was deployed."""
        parity = self.story.rollout.parity if self.story else None
        return parity.skewed if parity else ()


_RANK = {Outcome.ERROR: 0, Outcome.REJECT: 1, Outcome.INCONCLUSIVE: 2, Outcome.PASS: 3}


def _badness(finding: Finding) -> tuple[object, ...]:
    """Return a key that sorts what blocks first, then shown harm, then the least room left."""
    blocks = finding.decides and finding.outcome is not Outcome.PASS
    p_harm = 2.0 if finding.p_harm is None else finding.p_harm
    room = place(finding)
    left = float("inf")
    if room and room.lower is not None:
        left = room.lower / abs(room.limit or 1.0)  # in margins: slices of two metrics compare
    return (not blocks, _RANK[finding.outcome] if blocks else 0, p_harm, left, finding.slice or "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A finding on an axis where right is better: what was measured, its bounds, its limit.

    For a margin, 0 is "equal to the reference" and ``limit`` is negative; for a floor or a ceiling
    the axis is the candidate's own value (negated where less is better).
    """

    value: float
    lower: float | None  # on the worse side
    upper: float | None
    limit: float | None
    compares: bool  # 0 means equal


def place(finding: Finding) -> Place | None:
    """Return where a finding stands against its limit; None when nothing was measured."""
    compares = finding.kind in (Kind.MARGIN, Kind.ANCHOR)
    value = finding.difference if compares else finding.candidate
    if value is None or finding.kind is Kind.CHECK:
        return None
    lower, upper, limit = finding.lower, finding.upper, finding.limit
    less = finding.direction is Direction.LOWER
    if compares:
        limit = _room(finding)
    else:
        less = finding.kind is Kind.CEILING
        limit = -limit if less and limit is not None else limit
    if less:
        value = -value
        lower, upper = (None if b is None else -b for b in (upper, lower))
    return Place(value=value, lower=lower, upper=upper, limit=limit, compares=compares)


def _room(finding: Finding) -> float | None:
    """Return the margin in the metric's units, below 0."""
    margin = finding.margin
    if margin is None:
        return None
    if not margin.relative:
        return -margin.value
    return None if finding.champion is None else -margin.value * abs(finding.champion)


# --- words ----------------------------------------------------------------------------------


def shown(finding: Finding) -> str:
    """Return in two words what a slice's finding comes to."""
    return _SHOWN.get(finding.cause, str(finding.outcome))


def bounds(finding: Finding) -> str:
    """Return a finding's bounds: of the difference, or of the candidate's own value."""
    if finding.lower is None and finding.upper is None:
        return ""
    of = signed if finding.kind in (Kind.MARGIN, Kind.ANCHOR) else number
    return f"{of(finding.lower)} to {of(finding.upper)}"


def title(report: Report) -> str:
    """Return the verdict in a few words, and what became of it: "Passed, then taken back"."""
    said = HEADLINES[report.verdict.outcome]
    then = _ENDED.get(report.story.rollout.phase) if report.story else None
    return f"{said}, then {then.lower()}" if then else said


def tone(report: Report) -> Outcome:
    """Return the outcome whose colour the report wears: a model taken back is no success."""
    if report.story and report.story.rollout.phase in (Phase.REVERTED, Phase.REFUSED):
        return Outcome.REJECT
    return report.verdict.outcome


def meaning(report: Report) -> str:
    """Return what that means for production."""
    if report.story:
        return f"{ending(report.story)}."
    verdict = report.verdict
    if verdict.outcome is Outcome.PASS and verdict.first_release:
        return "It may go on as the first release."
    return _MEANING[verdict.outcome]


def reuse(verdict: Verdict) -> str:
    """Return how often the holdout has decided, and what that does to the promise."""
    uses = verdict.holdout_uses
    if uses is None:
        return ""
    promise = f"; the {percent(verdict.confidence)} confidence is each decision's own, not that of all together"
    return f"decision {uses:,} of this holdout{promise if uses > 1 else ''}"


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


def evidence(turns: Iterable[Turn]) -> tuple[GuardEvidence, ...]:
    """Return the guards' numbers at the newest change of traffic that rested on any."""
    decided = [turn for turn in turns if turn.evidence]
    return tuple(GuardEvidence(**item) for item in decided[-1].evidence) if decided else ()
