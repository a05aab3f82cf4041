"""A rollout as a deployment of the code host: its state, and one line about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.core.events import Phase
from tidegate.core.notices import HostDeployment, Serving
from tidegate.render.markdown import plain
from tidegate.render.words import cause, share

if TYPE_CHECKING:
    from tidegate.core.state import Rollout, State

_LONGEST = 140  # characters that GitHub takes as a description
_STATES = {
    Phase.REQUESTED: Serving.QUEUED,
    Phase.DEPLOYED: Serving.QUEUED,
    Phase.CHECKED: Serving.QUEUED,
    Phase.CANARY: Serving.IN_PROGRESS,
    Phase.PROBATION: Serving.SUCCESS,
    Phase.PROMOTED: Serving.SUCCESS,
    Phase.REVERTED: Serving.FAILURE,
    Phase.REFUSED: Serving.FAILURE,
    Phase.WITHDRAWN: Serving.INACTIVE,
    Phase.SUPERSEDED: Serving.INACTIVE,
}
_WORDS = {
    Phase.REQUESTED: "waits to be started",
    Phase.DEPLOYED: "starts, without traffic",
    Phase.CHECKED: "ready, without traffic",
    Phase.CANARY: "canary",
    Phase.PROBATION: "promoted, in probation",
    Phase.PROMOTED: "serves",
    Phase.REVERTED: "taken back",
    Phase.REFUSED: "refused before any traffic",
    Phase.WITHDRAWN: "withdrawn",
    Phase.SUPERSEDED: "superseded",
}
_WHY = (Phase.REVERTED, Phase.REFUSED, Phase.WITHDRAWN)


def deployment(rollout: Rollout, state: State, *, model: str, environment: str) -> HostDeployment:
    """Return how the repository's page shows a rollout.

    A promoted version that no longer serves is inactive: of one model at most one deployment is a
    success, and it is the champion's.
    """
    shown, words = _STATES[rollout.phase], _WORDS[rollout.phase]
    if rollout.phase is Phase.CANARY:
        words += f" at {share(rollout.traffic.get(rollout.model.version, 0.0))}"
    if rollout.phase is Phase.PROMOTED and rollout.applied and not _serves(rollout, state):
        shown, words = Serving.INACTIVE, "served before"
    why = f": {cause(rollout.cause)}" if rollout.phase in _WHY else ""
    return HostDeployment(
        key=f"{model}/{rollout.id}",
        environment=environment,
        commit=rollout.model.commit,
        state=shown,
        description=plain(f"version {rollout.model.version} {words}{why}", _LONGEST),
    )


def _serves(rollout: Rollout, state: State) -> bool:
    """Whether the champion is this rollout's: of several of one model, the newest's."""
    if state.champion is None or state.champion.digest != rollout.model.digest:
        return False
    newest = next(
        (
            r
            for r in reversed(state.past)
            if r.phase is Phase.PROMOTED and r.model.digest == rollout.model.digest
        ),
        rollout,
    )
    return newest.id == rollout.id
