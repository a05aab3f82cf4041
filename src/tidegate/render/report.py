"""What a report is about, and which of a verdict's findings stand where in it.

The comment, the job summary and the page all show the same choice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tidegate.core.model import (
    Digests,
    Finding,
    Level,
    Outcome,
    Verdict,
)
from tidegate.render.place import place

if TYPE_CHECKING:
    from tidegate.core.canary import Decision
    from tidegate.core.pictures import Pictures
    from tidegate.core.story import Story
    from tidegate.run_record import RunRecord

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?")


class Step(StrEnum):
    """What a pull request's run goes through before there is a verdict."""

    PREPARE = "prepare"
    CHECKS = "checks"
    TRAIN = "train"
    CANDIDATE = "candidate"
    CHAMPION = "champion"
    ANCHOR = "anchor"
    MEASURE = "measure"
    JUDGE = "judge"


_FAILED = {
    Step.PREPARE: "what it is compared with could not be had",
    Step.CHECKS: "the repository's own checks failed",
    Step.TRAIN: "training failed",
    Step.CANDIDATE: "the candidate did not answer the holdout",
    Step.CHAMPION: "production's model did not answer the holdout",
    Step.ANCHOR: "the anchor did not answer the holdout",
    Step.MEASURE: "a metric of your own could not be computed",
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
        """Findings of rules about all rows, gaps and measurements, as ``mlops.yaml`` orders them."""
        levels = (Level.HEADLINE, Level.GAP, Level.SYSTEM)
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
