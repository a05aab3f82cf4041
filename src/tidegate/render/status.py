"""How a model stands, for a person and for a program."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tidegate.core.canary import GuardEvidence
from tidegate.core.events import Phase
from tidegate.core.spending import spent
from tidegate.render.decision import sentence
from tidegate.render.spending import words
from tidegate.render.words import cause, lasting, share, when

if TYPE_CHECKING:
    from tidegate.core.actions import Wait
    from tidegate.core.endpoint import Endpoint
    from tidegate.core.state import Rollout, State
    from tidegate.perform import Pass

_ENDED = {
    Phase.PROMOTED: "promoted",
    Phase.REVERTED: "taken back",
    Phase.WITHDRAWN: "withdrawn",
    Phase.SUPERSEDED: "superseded",
    Phase.REFUSED: "refused",
}


def line(done: Pass) -> str:
    """Return one line: what the pass that just ended came to."""
    state = done.book.state
    if state.rollout is None:
        return f"{_last(state)}; {serving(state)}"
    rollout = state.rollout
    return f"{headline(rollout)}: {_waiting(done.wait)}"


def _waiting(wait: Wait) -> str:
    return sentence(wait.decision) if wait.decision else cause(wait.cause)


def headline(rollout: Rollout) -> str:
    """Return which version is where in its rollout."""
    version = f"version {rollout.model.version}"
    if rollout.phase is Phase.CANARY:
        part = share(rollout.traffic.get(rollout.model.version, 0.0))
        return f"{version} canary at {part} (step {rollout.step + 1})"
    if rollout.phase is Phase.PROBATION:
        return f"{version} promoted, in probation"
    return f"{version} {_ENDED.get(rollout.phase, str(rollout.phase))}"


def _last(state: State) -> str:
    if not state.past:
        return "no rollout yet"
    rollout = state.past[-1]
    return f"version {rollout.model.version} {_ENDED[rollout.phase]}: {cause(rollout.cause)}"


def serving(state: State) -> str:
    """Return what serves."""
    if state.champion is None:
        return "nothing serves yet"
    return f"version {state.champion.version} serves"


def guards(rollout: Rollout) -> tuple[GuardEvidence, ...]:
    """Return the evidence that a rollout's last change of traffic rested on."""
    return tuple(GuardEvidence(**item) for item in rollout.evidence)


def summary(state: State, rollout: Rollout | None) -> dict[str, Any]:
    """Return how the model and one of its rollouts stand, as data."""
    return {
        "champion": asdict(state.champion) if state.champion else None,
        "state": str(rollout.phase) if rollout else "idle",
        "rollout": {
            "id": rollout.id,
            "version": rollout.model.version,
            "phase": str(rollout.phase),
            "cause": rollout.cause,
            "traffic": dict(rollout.traffic),
            "evidence": list(rollout.evidence),
        }
        if rollout
        else None,
    }


def status(name: str, state: State, endpoint: Endpoint, now: float) -> str:
    """Return the page that ``tidegate status`` prints."""
    lines = [f"{name}: {serving(state)}"]
    if state.tenures:
        tenure = state.tenures[-1]
        lines[0] += f" for {lasting(now - tenure.since)} (commit {tenure.model.commit[:7]})"
    if state.rollout is not None:
        lines.append(f"rollout {state.rollout.id}: {headline(state.rollout)}")
        if (spending := spent(state.rollout, now)) is not None:
            lines.append(f"cost so far: {words(spending)}")
    elif state.past:
        lines.append(f"last rollout {state.past[-1].id}: {_last(state)}")
    if state.queue:
        lines.append(
            f"waiting: {', '.join('version ' + r.model.version for _, _, r in state.queue)}"
        )
    if state.hold is not None and state.hold.active(now):
        until = f" until {when(state.hold.until)}" if state.hold.until else ""
        lines.append(f"held by {state.hold.by}{until}: {cause(state.hold.reason)}")
    if state.pinned:
        lines.append(cause("pinned"))
    if state.anchor is not None:
        lines.append(f"anchor: version {state.anchor.version}")
    lines += ["", f"endpoint {endpoint.url or '(not running)'}"]
    if (trouble := endpoint.broken or endpoint.busy) is not None:
        lines.append(f"  {'broken' if endpoint.broken else 'busy'}: {trouble}")
    lines += [
        f"  version {v.version:>4}  {share(v.share):>6}  {'ready' if v.ready else 'not ready'}"
        f"{f', restarted {v.restarts} times' if v.restarts else ''}"
        f"{f': {v.failed}' if v.failed else ''}"
        for v in endpoint.variants
    ]
    return "\n".join(lines)
