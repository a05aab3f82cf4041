"""What a rollout costs: the hours in which a second variant is up beside the one that serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.core.events import Mode

if TYPE_CHECKING:
    from tidegate.core.state import Rollout

_HOUR = 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Spending:
    """Endpoint-hours of one more variant. ``hourly`` is its price in US dollars, where that is known."""

    machine: str  # in words
    canary: float  # hours before the promotion
    holdback: float  # hours of the old version after it
    hourly: float | None

    @property
    def dollars(self) -> float | None:
        """What the hours cost at the list price; None where no price is known."""
        return None if self.hourly is None else (self.canary + self.holdback) * self.hourly


def spent(rollout: Rollout, now: float) -> Spending | None:
    """Return what a rollout has cost until ``now`` (epoch seconds), or until its end.

    None where nobody bills the machine, and for a version that came alone: a first release. The hours
    begin when the variant was up; clouds do not bill the minutes in which it is being made.
    """
    request = rollout.request
    alone = rollout.baseline is None or rollout.mode is Mode.DIRECT
    if not request.machine or alone or rollout.deployed_at is None:
        return None
    end = now if rollout.ended_at is None else rollout.ended_at
    promoted = end if rollout.promoted_at is None else min(rollout.promoted_at, end)
    return Spending(
        machine=request.machine,
        canary=max(0.0, promoted - rollout.deployed_at) / _HOUR,
        holdback=(end - promoted) / _HOUR,
        hourly=request.hourly,
    )
