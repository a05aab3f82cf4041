"""A verdict in words and as JSON: the only place where its numbers become text."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, assert_never

from tidegate.core.model import Cause, Direction, Finding, Kind, Level, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tidegate.core.model import Margin, Verdict

FORMAT = 1  # of verdict.json; grows by added keys only


# --- numbers --------------------------------------------------------------------------------


def number(value: float | None) -> str:
    """Return a value with four significant digits, thousands with commas.

    >>> number(0.912345), number(12345.6), number(None), number(20)
    ('0.9123', '12,346', '-', '20')
    """
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def signed(value: float | None) -> str:
    """Return a difference with its sign and three significant digits.

    >>> signed(0.00123456), signed(-12345.6), signed(0.0)
    ('+0.00123', '-12,346', '+0')
    """
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:+,.0f}" if abs(value) >= 1000 else f"{value:+.3g}"


def percent(share: float) -> str:
    """Return a share as a percentage.

    >>> percent(0.95), percent(0.005)
    ('95%', '0.5%')
    """
    return f"{100 * share:.4g}%"


def margin_text(margin: Margin | None) -> str:
    """Return a margin as it was written: in the metric's units, or relative as a percentage."""
    if margin is None:
        return "-"
    return percent(margin.value) if margin.relative else number(margin.value)


# --- sentences ------------------------------------------------------------------------------


def rule(finding: Finding, quote: Callable[[str], str] = str) -> str:
    """Return what was demanded. ``quote`` makes names from outside harmless, here and below.

    >>> from tidegate.core.model import Margin
    >>> rule(Finding(metric="roc_auc", kind=Kind.FLOOR, level=Level.HEADLINE, n=9, limit=0.75,
    ...              outcome=Outcome.PASS, cause=Cause.SHOWN))
    'roc_auc at least 0.75'
    """
    what = quote(finding.metric)
    match finding.kind:
        case Kind.CHECK:
            return "usable data"
        case Kind.FLOOR:
            text = f"{what} at least {number(finding.limit)}"
        case Kind.CEILING:
            text = f"{what} at most {number(finding.limit)}"
        case Kind.MARGIN | Kind.ANCHOR:
            side = "above" if finding.direction is Direction.LOWER else "below"
            text = f"{what} no more than {margin_text(finding.margin)} {side} the {_reference(finding)}"
        case Kind.IMPROVES:
            text = f"{what} better than the champion by more than {margin_text(finding.margin)}"
        case Kind.DISAGREEMENT:
            return (
                f"at most {percent(finding.limit or 0.0)} of the answers differ from the champion's"
            )
        case Kind.GAP:
            text = f"{what} at most {number(finding.limit)} apart"
        case Kind.GAP_MARGIN:
            text = f"{what} apart by no more than {margin_text(finding.margin)} above the champion's gap"
        case _:
            assert_never(finding.kind)
    return f"{text} in {quote(finding.slice)}" if finding.slice else text


def reason(finding: Finding, confidence: float, quote: Callable[[str], str] = str) -> str:
    """Return one sentence: what was found, with the numbers that decide it."""
    if finding.kind is Kind.CHECK:
        return _data_reason(finding, quote)
    what = quote(finding.metric) + (f" in {quote(finding.slice)}" if finding.slice else "")
    if (text := _no_answer(finding)) is not None:
        return f"{what}: {text}"
    if finding.kind in (Kind.FLOOR, Kind.CEILING, Kind.GAP, Kind.DISAGREEMENT):
        return f"{what}: {_absolute_reason(finding, confidence)}"
    return f"{what}: {_margin_reason(finding, confidence)}"


def _reference(finding: Finding) -> str:
    return "anchor" if finding.kind is Kind.ANCHOR else "champion"


def _data_reason(finding: Finding, quote: Callable[[str], str]) -> str:
    column, n = quote(finding.column or "-"), f"{finding.n:,}"
    allowed = "0 and 1" if finding.column == "y_true" else "[0, 1]"
    sentences = {
        Cause.TOO_FEW_ROWS: "the table has no rows",
        Cause.NOT_A_NUMBER: f"column {column}: {n} rows are missing, NaN or infinite",
        Cause.OUT_OF_RANGE: f"column {column}: {n} rows are outside {allowed}",
        Cause.NOT_NORMALISED: f"column {column}: in {n} rows the probabilities do not sum to 1",
        Cause.NEGATIVE: f"column {column}: {n} rows have a relevance below 0",
        Cause.CONSTANT: f"column {column}: all {n} predictions are the same, so they rank nothing",
        Cause.ONE_CLASS: f"column {column}: all {n} rows are of one class",
        Cause.CHAMPION_OUT_OF_REACH: "the champion is out of reach here, so only absolute rules were judged",
        Cause.NO_CHAMPION: "the table has no champion column, but this is not a first release",
        Cause.SAME_MODEL: "candidate and champion are the same model; there is nothing to compare",
        Cause.NO_ANCHOR: "no anchor column: creep over many releases is not checked",
        Cause.NO_MARGIN: "no rule has a margin: nothing compares the candidate with the champion",
        Cause.MISSING_COLUMN: f"slices need the column {column}, and the table has none",
        Cause.EMPTY_SLICE: f"slice {column}: no rows",
        Cause.NO_DECISIONS_LEFT: f"the holdout has served all {finding.minimum or 0:,} decisions it may; "
        "refresh it: new rows, with new ids and truths, begin a new count",
        Cause.RETIRED: "a model has passed on this holdout, which retires it (adaptivity: first_change); "
        "refresh it: new rows, with new ids and truths, begin a new count",
        Cause.CHAMPION_INCOMPATIBLE: "the champion did not answer today's rows, so only absolute rules were "
        "judged; its log says why, and a person may let the candidate through (tidegate override)",
        Cause.ANCHOR_INCOMPATIBLE: "the anchor did not answer today's rows, so creep is not checked; its log "
        "says why, and a person may move it (tidegate anchor VERSION)",
        Cause.NO_PROFILE: "no profile of the champion's columns yet: contract and drift are not checked",
        Cause.PROFILE_CHANGED: "the champion's profile is not the one that the ledger names",
        Cause.COLUMN_GONE: f"column {column}: the champion had it, and it is gone",
        Cause.KIND_CHANGED: f"column {column}: holds another kind of value than under the champion",
        Cause.NULLS: f"column {column}: {n} values are missing, {_share(finding.candidate)} of the rows "
        f"and {_share(finding.champion)} under the champion",
        Cause.OUT_OF_BOUNDS: f"column {column}: {n} values far outside the champion's "
        f"{number(finding.lower)} to {number(finding.upper)}, up to {number(finding.candidate)}",
        Cause.NEW_CATEGORY: f"column {column}: {n} rows have a value that the champion's rows did not have",
        Cause.SHARED_IDS: f"column {column}: {n} holdout rows have an id of the training rows; "
        "take those out of one of the two",
        Cause.SHARED_ROWS: f"{n} holdout rows equal a training row in every column, and chance explains "
        f"{number(finding.champion)}, at most {number(finding.limit)}; take those out of one of the two",
        Cause.REPEATED_ROWS: f"{n} holdout rows repeat an earlier one in every column: they count twice",
        Cause.OVERLAP_UNCHECKED: f"column {column}: its values cannot be compared, so nobody looked for "
        "training rows in the holdout",
        Cause.LABEL_SHIFT: f"column {column}: the truth's distribution has shifted by {_effect(finding)}",
        Cause.DRIFT: f"column {column}: has drifted, stability index {_effect(finding)}, "
        f"distance {number(finding.difference)}",
        Cause.SKEWED: f"column {column} is filled in the holdout and empty in live requests",
        Cause.FORMAT: _format_reason(finding, quote),
        Cause.ENVIRONMENT: f"scored in another environment than the model recorded ({column})",
    }
    return sentences.get(finding.cause, f"{column}: {finding.cause.replace('_', ' ')}")


def _format_reason(finding: Finding, quote: Callable[[str], str]) -> str:
    what = f" ({quote(finding.column)})" if finding.column else ""
    if finding.decides:
        return f"loading the model may run what model.formats does not allow{what}"
    return f"loading the model runs code that it carries{what}"


def _share(share: float | None) -> str:
    return "-" if share is None else percent(share)


def _effect(finding: Finding) -> str:
    limit = "" if finding.limit is None else f", limit {number(finding.limit)}"
    bounds = f"bounds {number(finding.lower)} to {number(finding.upper)}"
    return f"{number(finding.candidate)} ({bounds}{limit})"


def _no_answer(finding: Finding) -> str | None:  # noqa: PLR0911 (one case a cause)
    """Return the sentence of a finding without a comparison; None when there is one."""
    n, least = f"{finding.n:,}", f"{finding.minimum or 0:,}"
    match finding.cause:
        case Cause.TOO_FEW_ROWS if finding.level is Level.SYSTEM:
            return f"{n} samples are too few for a bound on the quantile"
        case Cause.TOO_FEW_ROWS:
            return f"{n} rows are too few, at least {least} are needed"
        case Cause.TOO_FEW_OF_A_CLASS:
            more = f", about {finding.rows_needed:,} rows like these" if finding.rows_needed else ""
            return f"fewer than {least} rows of one class among {n}; needed: {least} of each{more}"
        case Cause.TOO_FEW_GROUPS:
            return f"fewer than two groups of {least} rows or more: nothing to compare"
        case Cause.MEASURED_APART:
            return (
                f"{number(finding.candidate)} against {number(finding.champion)}, each measured on a "
                "machine of its own: no margin can be shown; use at_most, or judge on one machine"
            )
        case Cause.NOT_PROPORTION:
            return "not every score is 0 or 1, so that guarantee: exact says nothing of their mean"
        case Cause.NO_CHAMPION:
            return f"{number(finding.candidate)}, and no champion to compare with"
        case Cause.MISSING_MEASUREMENT:
            return "nobody measured it"
        case Cause.NOT_A_NUMBER:
            return "the measurement is empty, NaN or infinite"
        case Cause.UNDEFINED:
            return f"not defined well enough on these {n} rows to be compared"
        case _:
            return None


def _absolute_reason(finding: Finding, confidence: float) -> str:
    floor = finding.kind is Kind.FLOOR
    value, limit = number(finding.candidate), number(finding.limit)
    if finding.kind is Kind.GAP:
        value = f"a largest difference of {value}"
    want = f"at least {limit}" if floor else f"at most {limit}"
    bounds = f"{percent(confidence)} bounds {number(finding.lower)} to {number(finding.upper)}"
    match finding.outcome:
        case Outcome.PASS:
            return f"{value} is {want} ({bounds})"
        case Outcome.REJECT:
            return f"{value} is not {want} ({bounds})"
        case Outcome.INCONCLUSIVE | Outcome.ERROR:
            return f"{value} is not shown to be {want} ({bounds}){_more_rows(finding)}"
        case _:
            assert_never(finding.outcome)


def _p(p: float | None) -> str:
    if p is None:
        return "p unknown"
    return "p < 1e-12" if p < 1e-12 else f"p = {p:.2g}"


def _margin_reason(finding: Finding, confidence: float) -> str:
    against = f"{number(finding.candidate)} against the {_reference(finding)}'s {number(finding.champion)}"
    if finding.kind is Kind.GAP_MARGIN:
        against = f"largest difference {against}"
    interval = (
        f"difference {signed(finding.difference)}, {percent(confidence)} bounds "
        f"{signed(finding.lower)} to {signed(finding.upper)}, margin {margin_text(finding.margin)}"
    )
    if finding.kind is Kind.IMPROVES:
        how = {
            Cause.SHOWN: "shown better by more than the margin",
            Cause.VIOLATED: "shown not better",
        }
        said = how.get(finding.cause, "not shown better by more than the margin")
        return f"{against}, {said} ({interval}){_more_rows(finding)}"
    match finding.cause:
        case Cause.SHOWN:
            return f"{against}, shown not worse than the margin ({interval})"
        case Cause.VIOLATED:
            return f"{against}, shown worse than the margin ({interval})"
        case Cause.HARMED:
            return f"{against}, harm shown, {_p(finding.p_harm)} after Holm ({interval})"
        case Cause.NOT_HARMED:
            return f"{against}, harm neither shown nor excluded ({interval}){_more_rows(finding)}"
        case _:
            return f"{against}, not shown to keep the margin ({interval}){_more_rows(finding)}"


def _more_rows(finding: Finding) -> str:
    return f"; about {finding.rows_needed:,} rows would settle it" if finding.rows_needed else ""


def summary(verdict: Verdict, quote: Callable[[str], str] = str) -> str:
    """Return the verdict's reason in one line: the first finding that decides, and how many more."""
    deciding = [f for f in verdict.findings if f.decides and f.outcome is verdict.outcome]
    if not deciding:
        return "nothing was judged: no rule decides"
    if verdict.outcome is Outcome.PASS:
        rules = "the one rule is" if len(deciding) == 1 else f"all {len(deciding)} rules are"
        return f"{rules} shown at {percent(verdict.confidence)} confidence on {verdict.n:,} rows"
    first = reason(deciding[0], verdict.confidence, quote)
    more = len(deciding) - 1
    return f"{first} (and {more} more)" if more else first


# --- documents ------------------------------------------------------------------------------


def document(verdict: Verdict, notes: Iterable[str] = ()) -> dict[str, Any]:
    """Return ``verdict.json``: see schemas/verdict.schema.json. Holds no NaN and no infinity."""
    return {
        "format": FORMAT,
        "outcome": str(verdict.outcome),
        "reason": summary(verdict),
        "confidence": verdict.confidence,
        "n": verdict.n,
        "first_release": verdict.first_release,
        "holdout_uses": verdict.holdout_uses,
        "holdout_budget": verdict.holdout_budget,
        "adaptivity": verdict.adaptivity,
        "rounded": verdict.rounded,
        "digests": asdict(verdict.digests),
        "notes": list(notes),
        "findings": [_finding(finding, verdict.confidence) for finding in verdict.findings],
    }


def _finding(finding: Finding, confidence: float) -> dict[str, Any]:
    margin = finding.margin
    return {
        "metric": finding.metric,
        "slice": finding.slice,
        "level": str(finding.level),
        "kind": str(finding.kind),
        "rule": rule(finding),
        "outcome": str(finding.outcome),
        "cause": str(finding.cause),
        "reason": reason(finding, confidence),
        "decides": finding.decides,
        "n": finding.n,
        "direction": str(finding.direction) if finding.direction else None,
        "candidate": _json(finding.candidate),
        "champion": _json(finding.champion),
        "difference": _json(finding.difference),
        "lower": _json(finding.lower),
        "upper": _json(finding.upper),
        "limit": _json(finding.limit),
        "margin": margin.value if margin else None,
        "margin_relative": margin.relative if margin else False,
        "p_harm": _json(finding.p_harm),
        "rows_needed": finding.rows_needed,
        "minimum": finding.minimum,
        "column": finding.column,
    }


def _json(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
