"""The records that travel between the parts: outcomes, findings, verdicts, versions.

All are frozen and keyword-only; whoever holds one holds everything it needs, nobody looks
anything up again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Outcome(StrEnum):
    """What a rule, and the gate as a whole, comes to. Ordered from best to worst."""

    PASS = "pass"  # noqa: S105 (a verdict, not a password)
    INCONCLUSIVE = "inconclusive"
    REJECT = "reject"
    ERROR = "error"


_SEVERITY = {outcome: rank for rank, outcome in enumerate(Outcome)}


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """Return the worst of ``outcomes``; nothing to fold is an error, never a pass.

    >>> worst([Outcome.PASS, Outcome.REJECT, Outcome.INCONCLUSIVE])
    <Outcome.REJECT: 'reject'>
    >>> worst([])
    <Outcome.ERROR: 'error'>
    """
    return max(outcomes, key=_SEVERITY.__getitem__, default=Outcome.ERROR)


class Task(StrEnum):
    """What the model predicts; decides which metrics and losses make sense."""

    BINARY = "binary"  # prediction: probability of class 1
    MULTICLASS = "multiclass"  # prediction: a probability of each class; truth: a class's number
    REGRESSION = "regression"  # prediction: a number
    RANKING = "ranking"  # prediction: a score; truth: relevance, 0 or more; rows of one query
    GENERIC = "generic"  # prediction: a per-row score, larger is better; no truth needed


class Direction(StrEnum):
    """Which way a metric is better. Written once, beside the metric's formula."""

    HIGHER = "higher"
    LOWER = "lower"


class Level(StrEnum):
    """The gate's hierarchy. ``SLICE`` findings decide only by shown harm (Holm)."""

    DATA = "data"
    HEADLINE = "headline"
    CRITICAL = "critical"
    SLICE = "slice"
    GAP = "gap"  # between groups of rows
    SYSTEM = "system"


class Kind(StrEnum):
    """What a finding tested."""

    CHECK = "check"  # a data check: no statistics
    FLOOR = "floor"  # at_least
    CEILING = "ceiling"  # at_most
    MARGIN = "margin"  # not worse than the champion by more than the margin
    ANCHOR = "anchor"  # the same, against the fixed anchor
    IMPROVES = "improves"  # better than the champion by more than the margin
    GAP = "gap"  # the largest difference between two groups is at most the limit
    GAP_MARGIN = "gap_margin"  # it has not grown by more than the margin
    DISAGREEMENT = "disagreement"  # the share of answers that two models give differently


class Cause(StrEnum):
    """Why a finding has its outcome. ``render`` turns a cause and the numbers into a sentence."""

    SHOWN = "shown"  # the bound is on the right side of the limit
    NOT_SHOWN = "not_shown"  # the interval straddles the limit
    VIOLATED = "violated"  # the whole interval is beyond the limit
    TOO_FEW_ROWS = "too_few_rows"
    TOO_FEW_OF_A_CLASS = "too_few_of_a_class"
    EMPTY_SLICE = "empty_slice"  # a configured slice has no rows
    NOT_A_NUMBER = "not_a_number"  # NaN or infinity among predictions or truth
    OUT_OF_RANGE = "out_of_range"  # a probability outside [0, 1]
    NOT_NORMALISED = "not_normalised"  # the classes' probabilities do not sum to 1
    NEGATIVE = "negative"  # a relevance below 0
    CONSTANT = "constant"  # every prediction is the same
    ONE_CLASS = "one_class"
    MISSING_COLUMN = "missing_column"  # a slice rule names a column that the table has not
    NO_MARGIN = "no_margin"  # absolute limits only: nothing compares with the champion
    CHAMPION_OUT_OF_REACH = "champion_out_of_reach"  # it serves, but cannot be had here
    NO_CHAMPION = "no_champion"  # margin rule on a first release: nothing to compare with
    NO_ANCHOR = "no_anchor"  # creep not checked
    SAME_MODEL = "same_model"  # candidate and champion are one object
    MISSING_MEASUREMENT = "missing_measurement"  # a system metric nobody measured
    UNDEFINED = "undefined"  # the metric does not exist on these rows
    NOT_HARMED = "not_harmed"  # a slice: harm not shown, after Holm
    HARMED = "harmed"  # a slice: harm shown, after Holm
    FORMAT = "format"  # loading the model runs code that it carries
    ENVIRONMENT = "environment"  # scored in another environment than the model recorded
    TOO_FEW_GROUPS = "too_few_groups"  # of the demanded size: nothing to compare with
    MEASURED_APART = "measured_apart"  # latencies of two models, each on a machine of its own
    NO_DECISIONS_LEFT = "no_decisions_left"  # the holdout has served all the decisions it may
    RETIRED = "retired"  # adaptivity first_change: a model has passed on this holdout
    NOT_PROPORTION = "not_proportion"  # guarantee exact: the scores are not all 0 or 1
    SKEWED = "skewed"  # a column is filled in the holdout and empty in live requests
    NO_PROFILE = "no_profile"  # the champion's columns are not known: no contract, no drift
    PROFILE_CHANGED = "profile_changed"  # it is not the one that the ledger names
    COLUMN_GONE = "column_gone"  # the champion had it, the holdout has not
    KIND_CHANGED = "kind_changed"  # a number is a text now, or the like
    NULLS = "nulls"  # more of them than the champion's rows had
    OUT_OF_BOUNDS = "out_of_bounds"  # values beyond the champion's range
    NEW_CATEGORY = "new_category"  # values that the champion's rows did not have
    SHARED_IDS = "shared_ids"  # the same id in training rows and holdout
    SHARED_ROWS = "shared_rows"  # whole rows in both
    REPEATED_ROWS = "repeated_rows"  # whole rows more than once in the holdout
    OVERLAP_UNCHECKED = "overlap_unchecked"  # a column whose values cannot be compared
    LABEL_SHIFT = "label_shift"  # the target's distribution is another one
    DRIFT = "drift"  # a column's distribution is another one
    CHAMPION_INCOMPATIBLE = "champion_incompatible"  # it did not answer these rows
    ANCHOR_INCOMPATIBLE = "anchor_incompatible"  # the anchor did not


@dataclass(frozen=True, kw_only=True, slots=True)
class Margin:
    """How much worse than the reference is still acceptable; relative ones as a fraction."""

    value: float
    relative: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One rule applied to one group of rows: everything a reader needs to check it.

    ``difference`` is candidate minus reference in the metric's own units (for a relative margin:
    candidate minus (1 ± margin) times the reference is what was tested, ``lower`` and ``upper``
    still bound the plain difference). ``lower`` and ``upper`` are one-sided bounds, each at the
    verdict's confidence; for a floor or ceiling they bound the candidate's own value.
    """

    metric: str
    kind: Kind
    level: Level
    outcome: Outcome
    cause: Cause
    n: int
    slice: str | None = None  # "region=north", or None for all rows
    direction: Direction | None = None
    candidate: float | None = None
    champion: float | None = None  # the reference: champion, or anchor for Kind.ANCHOR
    difference: float | None = None
    lower: float | None = None
    upper: float | None = None
    limit: float | None = None  # at_least / at_most, or a minimum that a check demands
    margin: Margin | None = None
    p_harm: float | None = None  # slices: Holm-adjusted p-value for "harmed beyond the margin"
    rows_needed: int | None = None  # inconclusive: about how many rows would settle it
    minimum: int | None = None  # too few rows: how many are demanded, of each class if of a class
    column: str | None = None  # the column a data check looked at
    decides: bool = True  # False: reported, cannot change the verdict's outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class Digests:
    """What a verdict is about, by content. A release refuses a verdict about something else."""

    candidate: str | None = None
    champion: str | None = None
    anchor: str | None = None
    holdout: str | None = None
    rules: str | None = None
    code: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reuse:
    """Which decision of its holdout one is (from 1 on), and whether another one has passed."""

    decision: int
    passed_before: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The gate's answer: its outcome is a function of the findings that decide."""

    outcome: Outcome
    findings: tuple[Finding, ...]
    confidence: float
    n: int
    digests: Digests
    first_release: bool = False
    holdout_uses: int | None = None  # how many decisions this holdout has served, this one included
    holdout_budget: int | None = None  # how many it may serve; the confidence allows for them
    adaptivity: str | None = None  # of guarantee: exact, which this verdict then has
    rounded: bool = False  # numbers are told no finer than the holdout may give away


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionRef:
    """One registered model version, as the ledger knows it. ``digest`` is of its bytes."""

    version: str  # the registry's version number, as text
    digest: str
    recipe: str  # digest of code tree, config and data: a retrain of the same thing has the same
    commit: str
