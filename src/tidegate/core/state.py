"""What the ledger's events come to: the fold. The only way state changes is an event."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tidegate.core.events import (
    ENDS,
    Alerted,
    Anchored,
    Deployed,
    Gap,
    Heartbeat,
    Held,
    Judged,
    Looked,
    Mode,
    Ordered,
    Overridden,
    ParityChecked,
    Phase,
    Published,
    Refused,
    Registered,
    Requested,
    Resumed,
    Routed,
    Routing,
)
from tidegate.core.model import Outcome, Reuse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tidegate.core.ledger import Event
    from tidegate.core.model import VersionRef


_UNPUBLISHED = Published(champion=None, challenger=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollout:
    """One version's way to traffic. ``traffic`` is what the endpoint is meant to do."""

    id: str
    model: VersionRef
    baseline: VersionRef | None
    mode: Mode
    request: Requested
    phase: Phase
    requested_at: float
    step: int = 0
    traffic: Mapping[str, float] = field(default_factory=dict)
    applied: bool = True  # the endpoint was read back and does this
    routes: tuple[tuple[float, float], ...] = ()  # (when it was verified, candidate's share)
    moving: tuple[tuple[float, float], ...] = ()  # (from, to) in which a split was changing
    moving_since: float | None = None  # one that is under way
    step_at: float | None = None  # start of the step's bake
    deployed_at: float | None = None  # when its variant was up
    promoted_at: float | None = None  # when it took over, and its probation began
    cause: str = ""
    evidence: tuple[Mapping[str, Any], ...] = ()
    parity: ParityChecked | None = None
    order: Ordered | None = None
    ended_at: float | None = None

    @property
    def ended(self) -> bool:
        """Whether the rollout is over and the endpoint agrees."""
        return self.phase in ENDS and self.applied

    @property
    def started_at(self) -> float | None:
        """When the candidate first got traffic."""
        return next((at for at, share in self.routes if share > 0), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Hold:
    """A person's (or, after an outside change, the machine's) hold."""

    until: float | None
    hands_off: bool
    reason: str
    by: str

    def active(self, now: float) -> bool:
        """Whether the hold still counts."""
        return self.until is None or now < self.until


@dataclass(frozen=True, kw_only=True, slots=True)
class Tenure:
    """A stretch of time in which one version was the champion."""

    model: VersionRef
    since: float
    until: float | None = None
    healthy: bool = True  # False: it was taken back


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """Everything the engine knows between two events."""

    champion: VersionRef | None = None
    anchor: VersionRef | None = None
    rollout: Rollout | None = None  # the live one
    queue: tuple[tuple[str, float, Requested], ...] = ()  # waiting: rollout id, when, request
    past: tuple[Rollout, ...] = ()
    tenures: tuple[Tenure, ...] = ()
    versions: tuple[VersionRef, ...] = ()
    signatures: Mapping[str, frozenset[str]] = field(default_factory=dict)  # of a digest
    profiles: Mapping[str, str] = field(default_factory=dict)  # digest -> its profile's
    quarantined: frozenset[str] = frozenset()  # digests of bytes and of recipes
    overridden: frozenset[str] = frozenset()
    verdicts: Mapping[str, Judged] = field(default_factory=dict)  # candidate digest -> newest
    looks: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # holdout -> decisions, in order
    passes: Mapping[str, frozenset[str]] = field(
        default_factory=dict
    )  # holdout -> those that passed
    hold: Hold | None = None
    pinned: bool = False  # a person decided: the machine only alerts until `resume`
    alert: Alerted | None = None
    published: Published = _UNPUBLISHED
    last_at: float = 0.0  # time of the newest event
    seq: int = 0

    def healthy_before(self, digest: str) -> VersionRef | None:
        """Return the newest champion before ``digest`` that served and was not taken back."""
        bad = self.quarantined
        for tenure in reversed(self.tenures):
            model = tenure.model
            if tenure.healthy and model.digest != digest and model.digest not in bad:
                return model
        return None

    def uses(self, holdout: str) -> int:
        """Return how many decisions this holdout has served."""
        return len(self.looks.get(holdout, ()))

    def use(self, holdout: str, candidate: str, rules: str) -> Reuse:
        """Return which decision of its holdout this is; one that was made already keeps its number."""
        decision, made = _decision(candidate, rules), self.looks.get(holdout, ())
        number = made.index(decision) if decision in made else len(made)
        others = self.passes.get(holdout, frozenset()) - {decision}
        return Reuse(decision=number + 1, passed_before=bool(others))


def fold(events: Iterable[Event], state: State | None = None) -> State:
    """Return the state after ``events``."""
    state = state or State()
    for event in events:
        state = replace(_apply(state, event), seq=event.seq, last_at=event.at)
        if state.rollout is not None and state.rollout.ended:
            state = _close(state, event.at)
    return state


def _apply(state: State, event: Event) -> State:  # noqa: C901, PLR0911, PLR0912 (one case an event)
    match event.payload:
        case Judged() as judged:
            return _judged(state, judged)
        case Looked() as look:
            return _seen(state, look)
        case Overridden(candidate=digest):
            return replace(state, overridden=state.overridden | {digest})
        case Registered() as registered:
            return _registered(state, registered)
        case Requested() as request:
            return _requested(state, request, event)
        case Deployed():
            return _advance(state, phase=Phase.DEPLOYED, deployed_at=event.at)
        case ParityChecked() as parity:
            return _parity(state, parity)
        case Refused(cause=cause):
            return _advance(state, phase=Phase.REFUSED, cause=cause)
        case Routing() as routing:
            return _routing(state, routing, event.at)
        case Routed():
            return _routed(state, event.at)
        case Heartbeat():
            return state
        case Gap(tripped=tripped):
            # The switch may have fired at any time since we last looked.
            again = {"applied": False, "moving_since": state.last_at} if tripped else {}
            return _advance(state, step_at=event.at, **again)
        case Published() as published:
            return replace(state, published=published)
        case Ordered() as order:
            return replace(_advance(state, order=order), pinned=True)
        case Held(until=until, hands_off=hands_off, reason=reason):
            hold = Hold(until=until, hands_off=hands_off, reason=reason, by=event.actor)
            return replace(state, hold=hold)
        case Resumed():
            return replace(state, hold=None, pinned=False, alert=None)
        case Alerted() as alert:
            hold = Hold(until=None, hands_off=False, reason=alert.cause, by="tidegate")
            return replace(state, alert=alert, hold=state.hold or hold)
        case Anchored(model=model):
            return replace(state, anchor=model)


def _registered(state: State, registered: Registered) -> State:
    """Note a version; registered again, it may have got (another) signature."""
    model, signed = registered.model, state.signatures
    if registered.signature:
        given = signed.get(model.digest, frozenset()) | {registered.signature}
        signed = {**signed, model.digest: given}
    known = state.versions if model in state.versions else (*state.versions, model)
    profiles = state.profiles
    if registered.profile:
        profiles = {**profiles, model.digest: registered.profile}
    return replace(state, versions=known, signatures=signed, profiles=profiles)


def _judged(state: State, judged: Judged) -> State:
    verdicts = {**state.verdicts, judged.candidate: judged}
    return replace(_seen(state, judged), verdicts=verdicts)


def _decision(candidate: str, rules: str) -> str:
    return f"{candidate}/{rules}"


def _seen(state: State, look: Judged | Looked) -> State:
    """Count a decision that a holdout has served; the same decision again costs nothing."""
    decision, made = _decision(look.candidate, look.rules), state.looks.get(look.holdout, ())
    if decision not in made:
        state = replace(state, looks={**state.looks, look.holdout: (*made, decision)})
    if look.outcome != Outcome.PASS:
        return state
    passed = state.passes.get(look.holdout, frozenset()) | {decision}
    return replace(state, passes={**state.passes, look.holdout: passed})


def _requested(state: State, request: Requested, event: Event) -> State:
    waiting = (f"r{event.seq}", event.at, request)
    if request.retry:
        lifted = {request.model.digest, request.model.recipe}
        state = replace(state, quarantined=state.quarantined - lifted)
    if request.quarantine and state.champion is not None:
        state = _banish(state, state.champion)
    if event.human:
        state = replace(state, pinned=request.mode == Mode.DIRECT)
    state = replace(state, queue=(*state.queue, waiting))
    return state if state.rollout else _start_next(state, event.at)


def _start_next(state: State, at: float) -> State:
    """Make the newest waiting request the live rollout; older ones are superseded by it."""
    if not state.queue:
        return state
    *older, (name, when, request) = state.queue
    past = tuple(
        replace(_new(n, w, r, state.champion), phase=Phase.SUPERSEDED, ended_at=at)
        for n, w, r in older
    )
    rollout = _new(name, when, request, state.champion)
    return replace(state, rollout=rollout, queue=(), past=(*state.past, *past))


def _new(name: str, when: float, request: Requested, champion: VersionRef | None) -> Rollout:
    return Rollout(
        id=name, model=request.model, baseline=champion, mode=Mode(request.mode),
        request=request, phase=Phase.REQUESTED, requested_at=when,
    )  # fmt: skip


def _advance(state: State, **changes: Any) -> State:
    if state.rollout is None:
        return state
    return replace(state, rollout=replace(state.rollout, **changes))


def _routing(state: State, routing: Routing, at: float) -> State:
    phase = Phase(routing.phase)
    pending = state.rollout.moving_since if state.rollout else None
    state = _advance(
        state, phase=phase, step=routing.step, traffic=routing.traffic, applied=False,
        cause=routing.cause, evidence=routing.evidence, moving_since=at if pending is None else pending,
    )  # fmt: skip
    if phase is Phase.REVERTED and state.rollout is not None:
        state = _banish(state, state.rollout.model)
    return state


def _parity(state: State, parity: ParityChecked) -> State:
    """Let the version on if it answers as it did offline; a person's way back is never barred."""
    back = state.rollout is not None and state.rollout.request.quarantine
    if parity.ok or back:
        return _advance(state, phase=Phase.CHECKED, parity=parity)
    return _advance(state, phase=Phase.REFUSED, parity=parity, cause="parity")


def _banish(state: State, model: VersionRef) -> State:
    """Quarantine bytes and recipe: neither this model nor a retrain of the same thing."""
    tenures = tuple(
        replace(t, healthy=False) if t.model.digest == model.digest else t for t in state.tenures
    )
    return replace(
        state, quarantined=state.quarantined | {model.digest, model.recipe}, tenures=tenures
    )


def _routed(state: State, at: float) -> State:
    rollout = state.rollout
    if rollout is None:
        return state
    share = rollout.traffic.get(rollout.model.version, 0.0)
    began = at if rollout.moving_since is None else rollout.moving_since
    state = _advance(
        state, applied=True, step_at=at, routes=(*rollout.routes, (at, share)),
        moving=(*rollout.moving, (began, at)), moving_since=None,
    )  # fmt: skip
    if rollout.phase is Phase.PROBATION and rollout.promoted_at is None:
        state = _advance(state, promoted_at=at)
    if rollout.phase in (Phase.PROBATION, Phase.PROMOTED):
        return _crown(state, rollout.model, at)
    if rollout.baseline is not None:
        return _crown(state, rollout.baseline, at)
    return state


def _crown(state: State, model: VersionRef, at: float) -> State:
    """Make ``model`` the champion, if it is not.

    The first champion is also the anchor; a later one becomes it when it was shown better.
    """
    if state.champion == model:
        return state
    tenures = tuple(replace(t, until=at) if t.until is None else t for t in state.tenures)
    tenure = Tenure(model=model, since=at)
    verdict = state.verdicts.get(model.digest)
    moves = state.anchor is None or (verdict is not None and verdict.better)
    anchor = model if moves else state.anchor
    return replace(state, champion=model, tenures=(*tenures, tenure), anchor=anchor)


def _close(state: State, at: float) -> State:
    """Put the ended rollout into the past and start the next request, if one waits."""
    assert state.rollout is not None
    past = (*state.past, replace(state.rollout, ended_at=at))
    return _start_next(replace(state, rollout=None, past=past), at)
