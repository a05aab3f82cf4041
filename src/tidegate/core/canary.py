"""The canary's decision: a pure function of the policy, where the rollout stands, and the evidence.

>>> from tidegate.core.config import Canary
>>> canary = Canary()
>>> progress = Progress(first_minute=3, step=0, step_minute=3, deadline_minute=1440)
>>> decision = decide(canary, progress, Evidence.start(canary), closed=60)
>>> decision.action, decision.cause
(<Action.HOLD: 'hold'>, <Cause.NO_DATA: 'no_data'>)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from tidegate.core.config import Canary, OnExpire
from tidegate.core.guards import Evidence
from tidegate.core.standing import GuardEvidence, GuardState, standing

if TYPE_CHECKING:
    from tidegate.core.config import GuardMetric

__all__ = [
    "Action",
    "Cause",
    "Decision",
    "Evidence",
    "GuardEvidence",
    "GuardState",
    "Progress",
    "decide",
]


class Action(StrEnum):
    """What to do now."""

    HOLD = "hold"
    STEP_UP = "step_up"
    PROMOTE = "promote"
    REVERT = "revert"
    EXPIRE = "expire"  # withdraw: weight 0, not quarantined


class Cause(StrEnum):
    """Why; :mod:`tidegate.render.decision` makes a sentence of it and the numbers."""

    HARM = "harm"  # revert: a guard is harmed
    SHOWN = "shown"  # promote, step up: everything that must be shown is
    UNPROVEN = "unproven"  # promote at the deadline, because on_expire says so
    DEADLINE = "deadline"  # expire; or hold, where on_expire says hold
    NOT_FRESH = "not_fresh"  # expire: on_expire says promote, but the guards do not allow it
    HANDS_OFF = "hands_off"  # hold: harm is shown, and a person told the machine to keep off
    HELD = "held"  # hold: a person said so
    WARMUP = "warmup"
    NO_DATA = "no_data"  # the last closed minute was not measured in both arms
    SAMPLE_RATIO = "sample_ratio"  # realised traffic is not what was configured
    TICK_GAP = "tick_gap"
    BAKING = "baking"
    FEW_REQUESTS = "few_requests"
    NOT_SHOWN = "not_shown"  # a guard is neither harmed nor shown
    LABELS_UNEQUAL = "labels_unequal"  # a required guard's labels arrive unequally
    LABELS_MISSING = "labels_missing"  # a required guard has no labels yet
    PROBATION = "probation"  # promoted; the evidence goes on
    PROBATION_OVER = "probation_over"  # nothing happened: the caller ends the rollout


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Where a rollout stands. Minutes are indices as in :class:`~tidegate.core.evidence.Minute`.

    ``step_minute`` is the first minute of the current step's bake; a step moves it, and so does a
    tick gap that was too long. ``gap`` says that such a gap lies just behind: this tick may
    revert, and nothing else that moves traffic up.
    """

    first_minute: int  # the first after warm-up
    step: int  # index into canary.steps
    step_minute: int
    deadline_minute: int  # the rollout is past its deadline once this minute is closed
    probation: bool = False  # promoted; the old version keeps its holdback
    probation_end_minute: int | None = None
    held: bool = False
    hands_off: bool = False
    gap: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """One action with everything it rests on."""

    action: Action
    cause: Cause
    minute: int  # the last closed minute
    step: int
    guards: tuple[GuardEvidence, ...]
    culprits: tuple[GuardMetric, ...]  # the guards that the cause is about, if it is about guards
    alerts: tuple[Cause, ...]  # what a person should be told, whatever the action
    baked: int  # two-armed closed minutes of this step
    bake: int  # how many it needs
    step_requests: int  # candidate requests in them
    min_requests: int
    exposed: int  # candidate requests since the warm-up


def decide(canary: Canary, progress: Progress, evidence: Evidence, closed: int) -> Decision:
    """Decide what happens to a rollout now.

    Args:
        canary: the policy, as it was when the rollout started.
        progress: where the rollout stands.
        evidence: everything observed since the warm-up.
        closed: index of the first minute that is not closed yet (``Series.closed``): the clock.

    Returns:
        One decision. ``HOLD`` with cause ``PROBATION_OVER`` tells the caller to end the rollout.
    """
    facts = _Facts.of(canary, progress, evidence.settle(closed), closed)
    if facts.harmed:
        hands_off = progress.hands_off
        action, cause = (Action.HOLD, Cause.HANDS_OFF) if hands_off else (Action.REVERT, Cause.HARM)
        return facts.decision(action, cause, facts.harmed)
    if progress.held or progress.hands_off:
        return facts.decision(Action.HOLD, Cause.HELD)
    if progress.probation:
        end = progress.probation_end_minute
        over = end is not None and closed >= end
        return facts.decision(Action.HOLD, Cause.PROBATION_OVER if over else Cause.PROBATION)
    return _go_on(canary, facts)


def _go_on(canary: Canary, facts: _Facts) -> Decision:
    last = facts.progress.step >= len(canary.steps) - 1
    obstacle, culprits = facts.obstacle(last=last)
    if last and obstacle is None:
        return facts.decision(Action.PROMOTE, Cause.SHOWN)
    if facts.closed >= facts.progress.deadline_minute:
        return _at_deadline(canary, facts)
    if obstacle is None:
        return facts.decision(Action.STEP_UP, Cause.SHOWN)
    return facts.decision(Action.HOLD, obstacle, culprits)


def _at_deadline(canary: Canary, facts: _Facts) -> Decision:
    match canary.on_expire:
        case OnExpire.WITHDRAW:
            return facts.decision(Action.EXPIRE, Cause.DEADLINE)
        case OnExpire.HOLD:
            return facts.decision(Action.HOLD, Cause.DEADLINE)
        case OnExpire.PROMOTE:
            stale = facts.stale()
            if facts.before_evidence() is None and not stale:
                return facts.decision(Action.PROMOTE, Cause.UNPROVEN)
            return facts.decision(Action.EXPIRE, Cause.NOT_FRESH, stale)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Facts:
    """What the rules ask about, looked up once."""

    canary: Canary
    progress: Progress
    evidence: Evidence
    closed: int
    guards: tuple[GuardEvidence, ...]
    baked: int
    requests: int

    @staticmethod
    def of(canary: Canary, progress: Progress, evidence: Evidence, closed: int) -> _Facts:
        baked, requests = evidence.bake(max(progress.step_minute, progress.first_minute))
        return _Facts(
            canary=canary,
            progress=progress,
            evidence=evidence,
            closed=closed,
            guards=standing(canary, evidence, step=progress.step),
            baked=baked,
            requests=requests,
        )

    @property
    def bake(self) -> int:
        return math.ceil(self.canary.bake / self.canary.interval - 1e-9)

    @property
    def harmed(self) -> tuple[GuardMetric, ...]:
        return tuple(
            g.metric for g in self.guards if g.state is GuardState.HARMED and not g.suspended
        )

    def before_evidence(self) -> Cause | None:
        """What forbids more traffic before any guard is asked, if anything does."""
        last_closed = self.closed - 1
        obstacles = {
            Cause.WARMUP: last_closed < self.progress.first_minute,
            Cause.NO_DATA: not self.evidence.observed(last_closed),
            Cause.SAMPLE_RATIO: self.evidence.sample_ratio.off,
            Cause.TICK_GAP: self.progress.gap,
            Cause.BAKING: self.baked < self.bake,
            Cause.FEW_REQUESTS: self.requests < self.canary.min_requests,
        }
        return next((cause for cause, stands in obstacles.items() if stands), None)

    def obstacle(self, *, last: bool) -> tuple[Cause | None, tuple[GuardMetric, ...]]:
        """What forbids the next step (after the ``last``: promotion), and which guards do."""
        early = self.before_evidence()
        if early is not None:
            return early, ()
        plain = [g for g in self.guards if not g.needs_labels]
        states = {g.metric: g.state if last else g.step_state for g in plain}
        missing = tuple(m for m, state in states.items() if not state.passed)
        if missing:
            empty = all(states[m] is GuardState.NO_DATA for m in missing)
            return (Cause.NO_DATA if empty else Cause.NOT_SHOWN), missing
        if last and self.canary.labels.required:
            return self._label_obstacle()
        return None, ()

    def _label_obstacle(self) -> tuple[Cause | None, tuple[GuardMetric, ...]]:
        labels = [g for g in self.guards if g.needs_labels]
        for cause, wrong in (
            (Cause.LABELS_UNEQUAL, [g for g in labels if g.suspended]),
            (Cause.LABELS_MISSING, [g for g in labels if g.state is GuardState.NO_DATA]),
            (Cause.NOT_SHOWN, [g for g in labels if not g.state.passed]),
        ):
            if wrong:
                return cause, tuple(g.metric for g in wrong)
        return None, ()

    def stale(self) -> tuple[GuardMetric, ...]:
        """Guards that forbid promoting without proof: no data, or half-way to harm."""
        required = self.canary.labels.required
        return tuple(
            g.metric
            for g in self.guards
            if g.near_harm
            or (g.state is GuardState.NO_DATA and (required or not g.needs_labels))
            or (g.suspended and required)
        )

    def decision(
        self, action: Action, cause: Cause, culprits: tuple[GuardMetric, ...] = ()
    ) -> Decision:
        alerts = []
        if self.evidence.sample_ratio.off:
            alerts.append(Cause.SAMPLE_RATIO)
        if self.evidence.coverage.unequal:
            alerts.append(Cause.LABELS_UNEQUAL)
        if cause is Cause.HANDS_OFF:
            alerts.append(cause)
        return Decision(
            action=action,
            cause=cause,
            minute=self.closed - 1,
            step=self.progress.step,
            guards=self.guards,
            culprits=culprits,
            alerts=tuple(alerts),
            baked=self.baked,
            bake=self.bake,
            step_requests=self.requests,
            min_requests=self.canary.min_requests,
            exposed=self.evidence.exposed,
        )
