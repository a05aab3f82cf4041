"""What the engine may do next, as data, and what it sees before it decides.

An action is either one event to append or one side effect; :mod:`tidegate.perform` carries it out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from tidegate.core.canary import Decision
    from tidegate.core.endpoint import Endpoint, Traffic
    from tidegate.core.events import Payload, Published
    from tidegate.core.evidence import Series
    from tidegate.core.model import VersionRef


@dataclass(frozen=True, slots=True)
class Append:
    """Write one event."""

    payload: Payload


@dataclass(frozen=True, slots=True)
class Deploy:
    """Bring this version up, without traffic."""

    model: VersionRef


@dataclass(frozen=True, slots=True)
class CheckParity:
    """Ask the served candidate holdout rows and write down how it did."""

    rollout: str
    model: VersionRef


@dataclass(frozen=True, slots=True)
class Route:
    """Give each version its share."""

    traffic: Traffic


@dataclass(frozen=True, slots=True)
class Remove:
    """Take a variant without traffic away."""

    version: str


@dataclass(frozen=True, slots=True)
class Tidy:
    """Delete what we made on the endpoint and nothing uses any more."""


@dataclass(frozen=True, slots=True)
class Publish:
    """Make the registry's aliases say what the ledger says, then write that down."""

    published: Published


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do in this pass. ``decision`` holds the evidence when there was any to weigh."""

    cause: str
    decision: Decision | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing is left to do until somebody asks for something."""
        return self.cause in ("idle", "alerted")


Action: TypeAlias = Append | Deploy | CheckParity | Route | Remove | Tidy | Publish | Wait


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """What one pass sees. ``series`` is None while no evidence is asked for.

    ``fading``: our credentials end soon and cannot be renewed.
    """

    endpoint: Endpoint
    now: float
    series: Series | None = None
    fading: bool = False
