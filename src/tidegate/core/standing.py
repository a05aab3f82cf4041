"""Where each guard stands: the tests' arrays turned into records that a reader can check."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from tidegate.core.sequential.counts import CountTest

if TYPE_CHECKING:
    from tidegate.core.config import Canary, Guard, GuardMetric
    from tidegate.core.guards import Evidence
    from tidegate.core.sequential.losses import LossTest

MARGIN, FIRST_STEP, LATER_STEP = 0, 1, 2  # the nulls of CountRule, in order


class GuardState(StrEnum):
    """What a guard's evidence comes to. For a step that is not the last, at the step's margin."""

    HARMED = "harmed"  # worse than the margin, at this guard's error rate
    SHOWN = "shown"  # shown not worse than the margin
    NEGLIGIBLE = "negligible"  # shown to be under the rate that nobody cares about
    OPEN = "open"  # neither
    NO_DATA = "no_data"  # no minute in which both arms were measured

    @property
    def passed(self) -> bool:
        """Whether this guard lets the rollout go on."""
        return self in (GuardState.SHOWN, GuardState.NEGLIGIBLE)


@dataclass(frozen=True, kw_only=True, slots=True)
class GuardEvidence:
    """One guard as it stands. Events are errors, slow answers, mistakes or summed losses.

    Log e-values are natural logarithms; harm's is the running maximum. ``log_step_up`` is None
    for guards that need labels, because steps do not wait for them.
    """

    metric: GuardMetric
    needs_labels: bool
    margin: float
    negligible: float
    state: GuardState  # against the guard's own margin
    step_state: GuardState  # against what the current step must exclude
    suspended: bool  # labels arrive unequally: this evidence decides nothing
    candidate_n: int
    candidate_events: float
    champion_n: int
    champion_events: float
    candidate_rate: float | None  # of losses: means over the same minutes, alike weighted
    champion_rate: float | None
    ratio: float | None  # of odds (Mantel-Haenszel), or of mean losses; None: not defined yet
    log_harm: float
    harm_threshold: float
    log_not_worse: float
    promote_threshold: float
    step_margin: float | None
    log_step_up: float | None
    more_requests: int | None  # candidate's, to the next thing to show, if the models are equal

    @property
    def near_harm(self) -> bool:
        """Whether half the evidence for harm is there."""
        return self.log_harm >= 0.5 * self.harm_threshold


def standing(canary: Canary, evidence: Evidence, *, step: int) -> tuple[GuardEvidence, ...]:
    """Return one record per guard, in the policy's order, for the rollout's current ``step``."""
    last = step >= len(canary.steps) - 1
    null = MARGIN if last else FIRST_STEP if step == 0 else LATER_STEP
    unequal = evidence.coverage.unequal
    return tuple(
        _count_standing(guard, test, null, suspended=unequal and guard.needs_labels)
        if isinstance(test, CountTest)
        else _loss_standing(guard, test, suspended=unequal)
        for guard, test in zip(canary.guards, evidence.tests, strict=True)
    )


def _count_standing(guard: Guard, test: CountTest, null: int, *, suspended: bool) -> GuardEvidence:
    totals = test.totals
    n_c, x_c = int(totals.candidate[0]), int(totals.candidate_events[0])
    n_b, x_b = int(totals.champion[0]), int(totals.champion_events[0])
    more, fewer = (float(value) for value in test.mantel_haenszel[:, 0])
    labelled = guard.needs_labels
    return GuardEvidence(
        metric=guard.metric,
        needs_labels=guard.needs_labels,
        margin=guard.margin,
        negligible=guard.negligible,
        state=_count_state(test, MARGIN),
        step_state=_count_state(test, MARGIN if labelled else null),
        suspended=suspended,
        candidate_n=n_c,
        candidate_events=float(x_c),
        champion_n=n_b,
        champion_events=float(x_b),
        candidate_rate=x_c / n_c if n_c else None,
        champion_rate=x_b / n_b if n_b else None,
        ratio=more / fewer if fewer > 0 else None,
        log_harm=float(test.harm_max[0]),
        harm_threshold=test.rule.boundary,
        log_not_worse=float(test.log_not_worse()[0]),
        promote_threshold=test.rule.promote_boundary,
        step_margin=None if labelled else math.exp(test.rule.nulls[null].null),
        log_step_up=None if labelled else _log_not_worse(test, null),
        more_requests=_more_requests(test, MARGIN if labelled else null),
    )


def _log_not_worse(test: CountTest, null: int) -> float:
    """What is shown at the guard's own margin is shown at a wider one as well."""
    return max(float(test.log_not_worse(null)[0]), float(test.log_not_worse(MARGIN)[0]))


def _count_state(test: CountTest, null: int) -> GuardState:
    if not test.totals.candidate[0]:
        return GuardState.NO_DATA
    if test.harmed[0]:
        return GuardState.HARMED
    if _log_not_worse(test, null) < test.rule.promote_boundary:
        return GuardState.OPEN
    by_rate = test.rule.negligible > 0 and test.log_rate_part()[0] > test.log_odds_part(null)[0]
    return GuardState.NEGLIGIBLE if by_rate else GuardState.SHOWN


def _more_requests(test: CountTest, null: int) -> int | None:
    """Estimate the candidate's requests until "not worse" is shown, were the models equal.

    The evidence an equal model gains per request is known from the minutes seen (their exact
    conditional expectation); a rate under ``negligible`` gains its Kullback-Leibler divergence.
    None: nothing to go by yet, or an equal model can never show it (margin 1.0).
    """
    n, x = float(test.totals.candidate[0]), float(test.totals.candidate_events[0])
    if not n:
        return None
    rule, grid = test.rule, test.rule.nulls[null]
    goal = rule.promote_boundary + (math.log(2.0) if rule.negligible > 0 else 0.0)
    ways = []
    growth = float(test.growth[0, null]) / n
    if grid.null > 0 and growth > 0:
        equal = float(test.odds[null][0, -1] + grid.log_weights[-1])
        ways.append((goal - equal) / growth)
    if x / n < rule.negligible:
        p, q = x / n, rule.negligible
        gain = (1 - p) * math.log((1 - p) / (1 - q)) + (p * math.log(p / q) if p else 0.0)
        ways.append((goal - min(float(test.log_rate_part()[0]), goal)) / gain)
    if not ways:
        return None
    return max(0, math.ceil(min(ways)))


def _loss_standing(guard: Guard, test: LossTest, *, suspended: bool) -> GuardEvidence:
    n_c, total_c, n_b, total_b = (float(value) for value in test.sums[:, 0])
    means = tuple(float(mean[0]) for mean in test.means()) if n_c else (None, None)
    log_not_worse = float(test.log_not_worse()[0])
    state = GuardState.OPEN
    if not n_c:
        state = GuardState.NO_DATA
    elif test.harmed[0]:
        state = GuardState.HARMED
    elif log_not_worse >= test.rule.promote_boundary:
        state = GuardState.SHOWN
    return GuardEvidence(
        metric=guard.metric,
        needs_labels=guard.needs_labels,
        margin=guard.margin,
        negligible=guard.negligible,
        state=state,
        step_state=state,
        suspended=suspended,
        candidate_n=int(n_c),
        candidate_events=total_c,
        champion_n=int(n_b),
        champion_events=total_b,
        candidate_rate=means[0],
        champion_rate=means[1],
        ratio=means[0] / means[1] if means[0] is not None and means[1] else None,
        log_harm=float(test.harm_max[0]),
        harm_threshold=test.rule.boundary,
        log_not_worse=log_not_worse,
        promote_threshold=test.rule.promote_boundary,
        step_margin=None,
        log_step_up=None,
        more_requests=None,
    )
