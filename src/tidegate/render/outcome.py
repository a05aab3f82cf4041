"""What a verdict comes to, in words and signs that every page uses alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.core.events import Phase
from tidegate.core.model import Cause, Finding, Kind, Outcome
from tidegate.render.rollout import became, ending
from tidegate.render.verdict import number, percent, signed

if TYPE_CHECKING:
    from tidegate.core.model import Verdict
    from tidegate.render.report import Report

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
    then = became(report.story)
    return f"{said}, {then}" if then else said


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
