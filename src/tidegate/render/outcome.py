"""What a verdict comes to, in words and signs that every page uses alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.core.events import Phase
from tidegate.core.model import Cause, Finding, Kind, Level, Outcome
from tidegate.render.place import compares
from tidegate.render.rollout import became, ending
from tidegate.render.verdict import margin_text, number, percent, signed

if TYPE_CHECKING:
    from tidegate.core.model import Verdict
    from tidegate.render.report import Report

SYMBOLS = {  # never colour alone
    Outcome.PASS: "✓",
    Outcome.INCONCLUSIVE: "?",
    Outcome.REJECT: "✗",
    Outcome.ERROR: "!",
}
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
_ADVICE = {
    Cause.NO_CHAMPION: "Give one metric an at_least or at_most: a first release has nothing to be compared with.",
    Cause.CHAMPION_OUT_OF_REACH: "Let somebody with write access run it: here only absolute rules can be judged.",
    Cause.CHAMPION_INCOMPATIBLE: "Read why the champion did not answer; `tidegate override` lets a person decide.",
    Cause.MISSING_MEASUREMENT: "Measure it, or take the rule out.",
    Cause.NOT_A_NUMBER: "Find out why there is no number there, and run it again.",
    Cause.OUT_OF_RANGE: "Let the model answer in the range that its task has, and run it again.",
    Cause.CONSTANT: "Find out why every answer is the same, and train again.",
    Cause.ONE_CLASS: "Get rows of both classes into the holdout.",
    Cause.SAME_MODEL: "Train another model: this one is the champion.",
    Cause.MISSING_COLUMN: "Add the column to the holdout, or take the slice rule out.",
    Cause.EMPTY_SLICE: "Get rows of that slice into the holdout, or take the rule out.",
    Cause.SHARED_IDS: "Take those rows out of the training data or out of the holdout, and train again.",
    Cause.SHARED_ROWS: "Take those rows out of the training data or out of the holdout, and train again.",
    Cause.NO_DECISIONS_LEFT: "Refresh the holdout: new rows begin a new count.",
    Cause.RETIRED: "Refresh the holdout: new rows begin a new count.",
    Cause.MEASURED_APART: "Use at_most for it, or judge on one machine.",
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
    of = signed if compares(finding) else number
    return f"{of(finding.lower)} to {of(finding.upper)}"


def asked(finding: Finding) -> str:
    """Return the margin, or the limit in words."""
    match finding.kind:
        case Kind.FLOOR:
            return f"at least {number(finding.limit)}"
        case Kind.CEILING | Kind.GAP:
            return f"at most {number(finding.limit)}"
        case Kind.DISAGREEMENT:
            return f"at most {percent(finding.limit or 0.0)}"
        case Kind.IMPROVES:
            return f"better by {margin_text(finding.margin)}"
        case _:
            return margin_text(finding.margin)


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
    uses, budget = verdict.holdout_uses, verdict.holdout_budget
    if uses is None:
        return ""
    if budget is not None:
        promise = f"; the promise is of all {budget:,} together"
        if verdict.adaptivity in (None, "none"):
            promise += ", for candidates that no earlier answer has shaped"
        return f"decision {uses:,} of the {budget:,} that this holdout may serve{promise}"
    promise = f"; the {percent(verdict.confidence)} confidence is each decision's own, not that of all together"
    return f"decision {uses:,} of this holdout{promise if uses > 1 else ''}"


def basis(verdict: Verdict) -> str:
    """Return what a verdict rests on: rows, confidence, and which decision of its holdout it is.

    Empty where there were no rows at all.
    """
    if not verdict.n:
        return ""
    told = reuse(verdict)
    sure = "" if "confidence" in told else f"{percent(verdict.confidence)} confidence"
    return ", ".join(part for part in (f"{verdict.n:,} holdout rows", sure, told) if part)


def advice(verdict: Verdict) -> str:
    """Return what to do now, in one sentence of ours without names from outside; empty for a pass."""
    deciding = [f for f in verdict.findings if f.decides and f.outcome is verdict.outcome]
    if verdict.outcome is Outcome.PASS:
        return ""
    if not deciding:
        return "Give mlops.yaml a rule that decides."
    first = deciding[0]
    if (known := _ADVICE.get(first.cause)) is not None:
        return known
    if verdict.outcome is Outcome.INCONCLUSIVE:
        return _advice_to_the_undecided(verdict, first)
    if verdict.outcome is Outcome.REJECT:
        return _advice_to_the_rejected(first)
    return "Repair what the line above names, and run it again."


def _advice_to_the_undecided(verdict: Verdict, first: Finding) -> str:
    if first.rows_needed and first.rows_needed > verdict.n and first.slice is None:
        return (
            f"Judge it on about {first.rows_needed:,} holdout rows (there are {verdict.n:,}), "
            "make it better, or accept a wider margin or limit."
        )
    if first.rows_needed:
        return (
            f"Get about {first.rows_needed:,} rows of that kind into the holdout "
            f"(there are {first.n:,}), make it better, or accept a wider margin or limit."
        )
    return "Make it better, get more holdout rows, or accept a wider margin or limit."


def _advice_to_the_rejected(first: Finding) -> str:
    if first.level is Level.SYSTEM:
        return "Make the model smaller or faster, or raise the limit."
    if first.cause is Cause.HARMED or first.level is Level.CRITICAL:
        return "Find out what is different about that group of rows, and train again."
    if first.kind is Kind.CHECK:
        return "Repair the data or the model, and run it again."
    return "Train a better model: more rows would not change this."
