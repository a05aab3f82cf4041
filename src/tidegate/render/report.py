"""What a report is about, and which of a verdict's findings stand where in it.

The comment, the job summary and the page all show the same choice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tidegate.core.canary import GuardEvidence
from tidegate.core.events import ENDS, Mode, Phase
from tidegate.core.model import (
    Cause,
    Digests,
    Direction,
    Finding,
    Kind,
    Level,
    Outcome,
    Verdict,
)
from tidegate.render.spending import dollars
from tidegate.render.status import headline
from tidegate.render.verdict import number, percent, signed
from tidegate.render.words import lasting, share

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tidegate.core.canary import Decision
    from tidegate.core.pictures import Pictures
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


class Step(StrEnum):
    """What a pull request's run goes through before there is a verdict."""

    PREPARE = "prepare"
    CHECKS = "checks"
    TRAIN = "train"
    CANDIDATE = "candidate"
    CHAMPION = "champion"
    ANCHOR = "anchor"
    JUDGE = "judge"


_FAILED = {
    Step.PREPARE: "what it is compared with could not be had",
    Step.CHECKS: "the repository's own checks failed",
    Step.TRAIN: "training failed",
    Step.CANDIDATE: "the candidate did not answer the holdout",
    Step.CHAMPION: "production's model did not answer the holdout",
    Step.ANCHOR: "the anchor did not answer the holdout",
    Step.JUDGE: "the judgement itself failed",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Unjudged:
    """Why there is no verdict. What the step printed stays in its log."""

    step: Step
    exit_code: int | None = None
    why: str = ""  # our own error's message; it may hold names from outside

    @property
    def sentence(self) -> str:
        """What failed, without names from outside."""
        code = "" if self.exit_code is None else f" with exit code {self.exit_code}"
        return f"{_FAILED[self.step]}{code}"


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleChange:
    """A key of ``mlops.yaml`` that a pull request sets otherwise than its base; None: not there."""

    key: str
    before: str | None
    after: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Override:
    """A person let a model through that the gate did not pass."""

    by: str
    reason: str


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
    decision: Decision | None = None  # how the live rollout stood at the newest pass
    override: Override | None = None
    commit: str | None = None  # that people see: the pull request's newest, or the merged one
    run_url: str | None = None
    report_url: str | None = None  # of the artifact with the page
    seconds: float | None = None  # from the start of training to the verdict
    cost: str | None = None  # "11 runner minutes"
    own_rules: tuple[RuleChange, ...] = ()  # judged by the base branch's rules nevertheless
    fork: bool = False
    unjudged: Unjudged | None = None  # then the verdict is an empty one
    pictures: Pictures | None = None  # of the predictions; none beside older verdicts

    @classmethod
    def without_verdict(cls, *, model: str, unjudged: Unjudged, **known: Any) -> Report:
        """Return the report of a run that ended before there was a verdict."""
        nothing = Verdict(
            outcome=Outcome.ERROR, findings=(), confidence=0.0, n=0, digests=Digests()
        )
        return cls(model=model, verdict=nothing, unjudged=unjudged, **known)

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
    if report.override is not None:
        said += ", let through by a person"
    if report.story is None:
        return said
    then = _then(report.story)
    return f"{said}, {then}" if then else said


def _then(story: Story) -> str:
    """Return what became of a verdict's model in traffic."""
    if story.dismissed_at is not None:
        return "promoted, then taken back by a person"
    rollout = story.rollout
    if ended := _ENDED.get(rollout.phase):
        return f"then {ended.lower()}"
    if rollout.phase is Phase.CANARY:
        return f"now in canary at {share(rollout.traffic.get(rollout.model.version, 0.0))}"
    return "then promoted, in probation" if rollout.phase is Phase.PROBATION else "to be released"


def tone(report: Report) -> Outcome:
    """Return the outcome whose colour the report wears: a model taken back is no success."""
    if (story := report.story) is not None:
        if story.rollout.phase in (Phase.REVERTED, Phase.REFUSED) or story.dismissed_at:
            return Outcome.REJECT
        if story.rollout.phase is Phase.WITHDRAWN:
            return Outcome.INCONCLUSIVE
    return report.verdict.outcome


def meaning(report: Report) -> str:
    """Return what that means for production."""
    if report.unjudged:
        return "Production is untouched."
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
