"""Intents to change traffic, as events: written into the ledger before anything moves."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from tidegate.core.actions import Append
from tidegate.core.events import Phase, Routing

if TYPE_CHECKING:
    from tidegate.core.canary import Decision, GuardEvidence
    from tidegate.core.config import Canary
    from tidegate.core.state import Rollout


def promote(rollout: Rollout, canary: Canary, decision: Decision) -> Append:
    """Return the promotion: all traffic but the probation's holdback, or all of it at once."""
    probation = canary.probation
    if probation.duration == 0 or probation.holdback == 0 or rollout.baseline is None:
        return route(rollout, Phase.PROMOTED, decision.cause, 1.0, decision=decision)
    share = 1 - probation.holdback
    return route(rollout, Phase.PROBATION, decision.cause, share, decision=decision)


def climb(
    rollout: Rollout, canary: Canary, step: int, *, decision: Decision | None = None
) -> Append:
    """Return the intent to give the candidate the share of canary step ``step``."""
    at_step = replace(rollout, step=step)
    cause = decision.cause if decision else "start"
    return route(at_step, Phase.CANARY, cause, canary.steps[step], decision=decision)


def route(
    rollout: Rollout,
    phase: Phase,
    cause: str,
    share: float = 0.0,
    *,
    decision: Decision | None = None,
) -> Append:
    """Return the intent to give the candidate ``share`` of the traffic, and the baseline the rest."""
    return Append(
        Routing(
            rollout=rollout.id,
            phase=phase,
            step=rollout.step,
            traffic=_split(rollout, share),
            cause=str(cause),
            evidence=tuple(_numbers(guard) for guard in decision.guards) if decision else (),
        )
    )


def _numbers(guard: GuardEvidence) -> dict[str, object]:
    """Return a guard's evidence as the ledger keeps it: JSON knows no infinity."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in asdict(guard).items()
    }


def _split(rollout: Rollout, share: float) -> dict[str, float]:
    """Split the traffic between candidate and baseline; versions without a share are left out."""
    traffic = {rollout.model.version: share}
    if rollout.baseline is not None:
        traffic[rollout.baseline.version] = 1.0 - share
    return {version: round(part, 4) for version, part in traffic.items() if part > 0}
