"""The release engine: from ledger state and a read-back endpoint to one next action.

Level-triggered: an action is either one event to append or one side effect, so every boundary is
a point where a kill is harmless; whoever comes next reads the same ledger and the same endpoint
and decides the same again. State never changes but by an event (:mod:`tidegate.core.state`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tidegate.core.actions import (
    Action,
    Append,
    CheckParity,
    Deploy,
    Observation,
    Publish,
    Remove,
    Route,
    Tidy,
    Wait,
)
from tidegate.core.canary import Action as Verb
from tidegate.core.canary import Cause, Decision, Evidence, Progress, decide
from tidegate.core.config import Canary, OnNewer
from tidegate.core.events import (
    Alerted,
    Deployed,
    Gap,
    Heartbeat,
    Mode,
    Phase,
    Published,
    Refused,
    Routed,
    Routing,
)
from tidegate.core.evidence import Series
from tidegate.core.intents import climb, promote, route

if TYPE_CHECKING:
    from tidegate.core.endpoint import Endpoint, Traffic, Variant
    from tidegate.core.model import VersionRef
    from tidegate.core.state import Rollout, State

HEARTBEAT = 10  # evidence intervals between two signs of life in the ledger
GAP = 20  # evidence intervals without one after which nobody was watching
BROKEN = "endpoint_broken"
CRASHES = 5  # restarts of a variant that was never ready after which we give it up
_BACK = (Phase.REVERTED, Phase.WITHDRAWN, Phase.SUPERSEDED)
_SAID = 1000  # characters of what an endpoint says that the ledger keeps
_SAME = 5e-4  # shares this close are the same: routers count in basis points


def step(state: State, canary: Canary | None, seen: Observation) -> Action:
    """Return the one next action. ``canary`` is the live rollout's recorded policy."""
    endpoint = seen.endpoint
    if endpoint.broken is not None and (state.alert is None or state.alert.cause != BROKEN):
        return Append(Alerted(cause=BROKEN, traffic=endpoint.traffic()))
    if state.rollout is not None and canary is not None:
        action = _pursue(state, state.rollout, canary, seen)
    else:
        action = _rest(state, seen)
    if isinstance(action, (Deploy, Route, Remove, Tidy)) and (endpoint.broken or endpoint.busy):
        return Wait(BROKEN if endpoint.broken else "updating")
    if seen.fading and not _goes_back(action, state.rollout):
        return Wait("session_ending")
    return action


def _goes_back(action: Action, rollout: Rollout | None) -> bool:
    """Whether an action may use the last minutes of our credentials: it exposes nobody to anything new.

    What is left half done is picked up by the next session; the dead-man's switch shuts the gate.
    """
    match action:
        case Append(payload=Routing(phase=phase)):
            return phase in _BACK
        case Route():
            return rollout is None or rollout.phase in _BACK
        case Append() | Publish() | Wait():
            return True
        case Deploy() | CheckParity() | Remove() | Tidy():
            return False


# --- at rest ----------------------------------------------------------------------------------


def _rest(state: State, seen: Observation) -> Action:
    """Keep the champion serving alone, and the registry told."""
    champion = state.champion
    if champion is None:
        return _swept(seen.endpoint) or Wait("idle")
    actual = seen.endpoint.traffic()
    variant = seen.endpoint.variant(champion.version)
    if variant is not None and variant.failed is not None:
        return _alarm(state, "not_ready", actual)
    if action := _present(champion, seen.endpoint):
        return action
    wanted = {champion.version: 1.0}
    if not actual:
        return Route(wanted)
    if seen.endpoint.busy is not None:
        return Wait("updating")
    if not _same(actual, wanted):
        return _alarm(state, "changed_outside", actual)
    tidy = Tidy() if seen.endpoint.leftovers else None
    swept = _swept(seen.endpoint, champion.version)
    return _published(state) or swept or tidy or Wait("idle")


def _alarm(state: State, cause: str, actual: Traffic) -> Action:
    """Tell a person, once: what broke the endpoint explains whatever else is wrong with it."""
    if state.alert is not None and state.alert.cause in (cause, BROKEN):
        return Wait("alerted")
    return Append(Alerted(cause=cause, traffic=actual))


def _published(state: State) -> Publish | None:
    champion = state.champion.version if state.champion else None
    rollout = state.rollout
    challenger = None
    if rollout is not None and rollout.phase in (Phase.CHECKED, Phase.CANARY):
        challenger = rollout.model.version
    ended = state.past[-1].id if state.past else None
    wanted = Published(champion=champion, challenger=challenger, ended=ended)
    return None if state.published == wanted else Publish(wanted)


def _swept(endpoint: Endpoint, *keep: str) -> Remove | None:
    """Return the removal of a variant nobody needs; never of one that has traffic."""
    for variant in endpoint.variants:
        if variant.version not in keep and variant.share == 0:
            return Remove(variant.version)
    return None


def _present(model: VersionRef, endpoint: Endpoint) -> Action | None:
    """Return what is missing until ``model`` is up and ready on the endpoint."""
    variant = endpoint.variant(model.version)
    if variant is None:
        return Deploy(model)
    return None if variant.ready else Wait("starting")


def _same(actual: Traffic, wanted: Traffic) -> bool:
    versions = {*actual, *wanted}
    return all(abs(actual.get(v, 0.0) - wanted.get(v, 0.0)) < _SAME for v in versions)


# --- a live rollout ---------------------------------------------------------------------------


def _pursue(state: State, rollout: Rollout, canary: Canary, seen: Observation) -> Action:
    if not rollout.applied:
        return (
            _overruled(rollout) or _given_up(state, rollout, seen) or _apply(rollout, seen.endpoint)
        )
    mine = (rollout.model, *((rollout.baseline,) if rollout.baseline else ()))
    if left_over := _swept(seen.endpoint, *(model.version for model in mine)):
        return left_over
    if rollout.phase in (Phase.REQUESTED, Phase.DEPLOYED, Phase.CHECKED):
        return _prepare(state, rollout, canary, seen)
    return _watch(state, rollout, canary, seen)


def _overruled(rollout: Rollout) -> Action | None:
    """Return a person's order that came while an intent waits; what was reverted stays reverted."""
    if rollout.order is None or rollout.phase is Phase.REVERTED:
        return None
    if rollout.order.verb == "revert":
        return route(rollout, Phase.REVERTED, "human")
    return None if rollout.phase is Phase.PROMOTED else route(rollout, Phase.PROMOTED, "human", 1.0)


def _given_up(state: State, rollout: Rollout, seen: Observation) -> Action | None:
    """Withdraw a canary whose candidate died before it could be given its traffic."""
    variant = seen.endpoint.variant(rollout.model.version)
    if rollout.phase is not Phase.CANARY or variant is None or variant.ready or variant.share > 0:
        return None
    if _dead(variant, seen, since=state.last_at):
        return route(rollout, Phase.WITHDRAWN, "not_ready")
    return None


def _apply(rollout: Rollout, endpoint: Endpoint) -> Action:
    """Carry out the recorded intent, and read it back before saying so."""
    for version in rollout.traffic:
        variant = endpoint.variant(version)
        if variant is None:
            return Deploy(_model(rollout, version))
        if not variant.ready and variant.share == 0:
            return Wait("starting")
    if _same(endpoint.traffic(), rollout.traffic) and endpoint.tripped is None:
        return Append(Routed(rollout=rollout.id))
    return Route(rollout.traffic)


def _model(rollout: Rollout, version: str) -> VersionRef:
    if rollout.baseline is not None and rollout.baseline.version == version:
        return rollout.baseline
    return rollout.model


def _prepare(state: State, rollout: Rollout, canary: Canary, seen: Observation) -> Action:
    """Everything before the first request reaches the candidate."""
    if action := _called_off(state, rollout, canary):
        return action
    if state.pinned and rollout.mode is Mode.CANARY:
        return Wait("pinned")
    # A canary needs its champion; a person's way back must not wait for the one that is broken.
    compared = rollout.baseline if rollout.mode is Mode.CANARY else None
    if compared is not None and (action := _present(compared, seen.endpoint)):
        return action
    if rollout.phase is Phase.REQUESTED:
        return _deploy(rollout, seen)
    if rollout.phase is Phase.DEPLOYED:
        return CheckParity(rollout.id, rollout.model)
    if published := _published(state):
        return published
    if rollout.mode is Mode.DIRECT:
        return route(rollout, Phase.PROMOTED, rollout.request.reason or "first_release", 1.0)
    if state.hold is not None and state.hold.active(seen.now):
        return Wait("held")
    return climb(rollout, canary, 0)


def _called_off(state: State, rollout: Rollout, canary: Canary) -> Action | None:
    """Return the end of a rollout that must not get traffic (any more)."""
    if rollout.order is not None and rollout.order.verb == "revert":
        return route(rollout, Phase.REVERTED, "human")
    if rollout.order is not None and rollout.phase is not Phase.REQUESTED:
        return route(rollout, Phase.PROMOTED, "human", 1.0)
    if _makes_way(state, canary):
        return route(rollout, Phase.SUPERSEDED, "newer")
    if rollout.mode is Mode.CANARY:
        serving = rollout.baseline.digest if rollout.baseline else None
        if rollout.request.judged_against != serving:
            return Append(Refused(rollout=rollout.id, cause="another_champion"))
    return None


def _deploy(rollout: Rollout, seen: Observation) -> Action:
    variant = seen.endpoint.variant(rollout.model.version)
    if variant is None:
        return Deploy(rollout.model)
    if variant.ready:
        return Append(Deployed(rollout=rollout.id))
    if _dead(variant, seen, since=rollout.requested_at):
        said = (variant.failed or "")[:_SAID]
        return Append(Refused(rollout=rollout.id, cause="not_ready", reason=said))
    return Wait("starting")


def _dead(variant: Variant, seen: Observation, *, since: float) -> bool:
    """Whether a variant that is not ready has had its chance."""
    late = seen.now - since > seen.endpoint.patience
    return late or variant.restarts >= CRASHES or variant.failed is not None


def _watch(state: State, rollout: Rollout, canary: Canary, seen: Observation) -> Action:
    """The candidate has traffic: weigh the evidence."""
    if action := _interrupted(state, rollout, canary, seen):
        return action
    decision = _decision(state, rollout, canary, seen)
    match decision.action:
        case Verb.REVERT:
            return route(rollout, Phase.REVERTED, decision.cause, decision=decision)
        case Verb.STEP_UP:
            return climb(rollout, canary, rollout.step + 1, decision=decision)
        case Verb.PROMOTE:
            return promote(rollout, canary, decision)
        case Verb.EXPIRE:
            return route(rollout, Phase.WITHDRAWN, decision.cause, decision=decision)
        case Verb.HOLD if decision.cause is Cause.PROBATION_OVER:
            return route(rollout, Phase.PROMOTED, decision.cause, 1.0, decision=decision)
        case Verb.HOLD:
            return _published(state) or _held(state, rollout, canary, seen, decision)


def _interrupted(
    state: State, rollout: Rollout, canary: Canary, seen: Observation
) -> Action | None:
    """Orders, the dead-man's switch, outside changes, gaps and newer candidates come first."""
    if rollout.order is not None:
        if rollout.order.verb == "revert":
            return route(rollout, Phase.REVERTED, "human")
        return route(rollout, Phase.PROMOTED, "human", 1.0)
    silent = seen.now - state.last_at
    if (
        seen.endpoint.tripped is not None
    ):  # nobody's doing: not for long, it is disarmed in probation
        return Append(Gap(rollout=rollout.id, seconds=silent, tripped=True))
    if seen.endpoint.busy is None and not _same(actual := seen.endpoint.traffic(), rollout.traffic):
        version = rollout.model.version
        if actual.get(version, 0.0) < rollout.traffic.get(version, 0.0):
            return route(rollout, Phase.REVERTED, "lowered_outside")
        if state.alert is None:
            return Append(Alerted(cause="raised_outside", traffic=actual))
    if silent > GAP * canary.interval:
        return Append(Gap(rollout=rollout.id, seconds=silent, tripped=False))
    if state.queue and rollout.phase is Phase.PROBATION:
        return route(rollout, Phase.PROMOTED, "newer", 1.0)
    if _makes_way(state, canary):
        return route(rollout, Phase.SUPERSEDED, "newer")
    return None


def _makes_way(state: State, canary: Canary) -> bool:
    """Whether what waits ends the live rollout; a version that a person put in never queues."""
    by_hand = any(request.mode == Mode.DIRECT for _, _, request in state.queue)
    return by_hand or (bool(state.queue) and canary.on_newer is OnNewer.SUPERSEDE)


def _held(
    state: State, rollout: Rollout, canary: Canary, seen: Observation, decision: Decision
) -> Action:
    if seen.series is not None and seen.now - state.last_at >= HEARTBEAT * canary.interval:
        return Append(Heartbeat(rollout=rollout.id, closed=seen.series.closed))
    return Wait(decision.cause, decision)


def _decision(state: State, rollout: Rollout, canary: Canary, seen: Observation) -> Decision:
    progress = progress_of(state, rollout, canary, seen.now)
    # Without a source the clock still runs, so that a dead one reaches its deadline.
    closed = math.floor(seen.now / canary.interval)
    series = seen.series or Series(minutes=(), labels=(), closed=closed)
    evidence = Evidence.of(
        canary,
        series,
        first_minute=progress.first_minute,
        loss_center=rollout.request.loss_center,
    )
    return decide(canary, progress, evidence, closed=series.closed)


def progress_of(state: State, rollout: Rollout, canary: Canary, now: float) -> Progress:
    """Return where the rollout stands, in evidence minutes."""
    interval = canary.interval
    started = rollout.started_at or now
    first = math.ceil((started + canary.warmup) / interval)
    hold = state.hold if state.hold is not None and state.hold.active(now) else None
    probation = rollout.phase is Phase.PROBATION
    ends = rollout.routes[-1][0] + canary.probation.duration if probation else None
    return Progress(
        first_minute=first,
        step=rollout.step,
        step_minute=max(first, math.ceil((rollout.step_at or now) / interval)),
        deadline_minute=math.floor((started + canary.deadline) / interval),
        probation=probation,
        probation_end_minute=None if ends is None else math.ceil(ends / interval),
        held=hold is not None,
        hands_off=hold is not None and hold.hands_off,
    )
