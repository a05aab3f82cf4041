"""What can happen to a model, as ledger events. Their JSON form is ``schemas/event.schema.json``.

An event is written once and read for ever: fields are only ever added, with a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, TypeAlias

from tidegate.core.model import VersionRef

Data: TypeAlias = Mapping[str, Any]


class Phase(StrEnum):
    """Where a rollout stands. The last five are ends."""

    REQUESTED = "requested"  # to be deployed
    DEPLOYED = "deployed"  # ready, no traffic; parity to be checked
    CHECKED = "checked"  # answers as judged; no traffic yet
    CANARY = "canary"
    PROBATION = "probation"  # promoted; the old version keeps its holdback
    PROMOTED = "promoted"
    REVERTED = "reverted"
    WITHDRAWN = "withdrawn"  # expired without a decision, or judged against another champion
    SUPERSEDED = "superseded"
    REFUSED = "refused"  # never got traffic: not ready, or its answers differ from those judged


ENDS = frozenset({Phase.PROMOTED, Phase.REVERTED, Phase.WITHDRAWN, Phase.SUPERSEDED, Phase.REFUSED})


class Mode(StrEnum):
    """How a version gets its traffic."""

    CANARY = "canary"
    DIRECT = "direct"  # all at once: a first release, or a person's decision


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """The gate has looked at the holdout and spoken."""

    outcome: str
    candidate: str
    champion: str | None
    holdout: str
    rules: str
    recipe: str
    commit: str
    better: bool = False  # shown better than the anchor on every compared headline rule
    loss_center: float | None = None  # the champion's mean holdout loss, divided by its bound


@dataclass(frozen=True, kw_only=True, slots=True)
class Looked:
    """A verdict on a pull request was published: advice, that cost the holdout a look."""

    outcome: str
    candidate: str
    holdout: str
    rules: str
    commit: str
    pull: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Overridden:
    """A person lets a model through that the gate did not pass."""

    candidate: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Registered:
    """The registry has the version, or a known one was signed."""

    model: VersionRef
    signature: str = ""  # base64, of name, version and digest; empty: not signed
    profile: str = ""  # digest of the bundle's profile.json; empty: it has none, or it is known


@dataclass(frozen=True, kw_only=True, slots=True)
class Requested:
    """Somebody wants this version to serve. Its rollout is named ``r<seq of this event>``."""

    model: VersionRef
    mode: str
    judged_against: str | None  # digest of the champion in the verdict; None: no champion
    policy: Data  # release.canary as it stood in mlops.yaml
    task: str
    loss_center: float | None  # the champion's mean holdout loss, fixed before the start
    reason: str = ""
    retry: bool = False  # lifts the quarantine of this version
    quarantine: bool = False  # a person's revert: what serves now must not come back
    machine: str = ""  # what one variant runs on, in words; empty where nobody bills it
    hourly: float | None = None  # US dollars an hour of it; None where no price is known


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployed:
    """The candidate is up and ready, without traffic."""

    rollout: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ParityChecked:
    """The served candidate has answered holdout rows, compared with what was judged."""

    rollout: str
    ok: bool
    rows: int
    worst: float  # largest absolute difference of a prediction
    skewed: tuple[str, ...] = ()  # columns filled in the holdout, empty in live requests


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """The candidate never became ready to take traffic."""

    rollout: str
    cause: str
    reason: str = ""  # what the endpoint says of it


@dataclass(frozen=True, kw_only=True, slots=True)
class Routing:
    """The intent to change traffic: written before it happens."""

    rollout: str
    phase: str
    step: int
    traffic: Mapping[str, float]
    cause: str
    evidence: tuple[Data, ...] = ()  # the guards' numbers at the decision


@dataclass(frozen=True, kw_only=True, slots=True)
class Routed:
    """The endpoint was read back and does what the intent said."""

    rollout: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Heartbeat:
    """Nothing to do, and somebody is watching. ``closed``: first minute not closed yet."""

    rollout: str
    closed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """Nobody watched for too long: the step's bake starts again."""

    rollout: str
    seconds: float
    tripped: bool  # the dead-man's switch had taken the candidate's traffic away


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """The registry's aliases say what the ledger says."""

    champion: str | None
    challenger: str | None
    ended: str | None = None  # the newest ended rollout whose outcome was noted on its version


@dataclass(frozen=True, kw_only=True, slots=True)
class Ordered:
    """A person's decision about the live rollout: promote or revert."""

    verb: str
    rollout: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """No step up, no promotion, no expiry; evidence still reverts unless ``hands_off``."""

    until: float | None
    hands_off: bool
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Resumed:
    """Holds and pins are lifted."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Alerted:
    """Something a person must look at: traffic raised from outside, a lost variant."""

    cause: str
    traffic: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Anchored:
    """The fixed model that guards against margin creep is now this one."""

    model: VersionRef
    reason: str


Payload: TypeAlias = (
    Judged
    | Looked
    | Overridden
    | Registered
    | Requested
    | Deployed
    | ParityChecked
    | Refused
    | Routing
    | Routed
    | Heartbeat
    | Gap
    | Published
    | Ordered
    | Held
    | Resumed
    | Alerted
    | Anchored
)

_TYPES: dict[str, type[Payload]] = {
    "judged": Judged,
    "looked": Looked,
    "overridden": Overridden,
    "registered": Registered,
    "requested": Requested,
    "deployed": Deployed,
    "parity": ParityChecked,
    "refused": Refused,
    "routing": Routing,
    "routed": Routed,
    "heartbeat": Heartbeat,
    "gap": Gap,
    "published": Published,
    "ordered": Ordered,
    "held": Held,
    "resumed": Resumed,
    "alerted": Alerted,
    "anchored": Anchored,
}
_NAMES = {kind: name for name, kind in _TYPES.items()}


def type_of(payload: Payload) -> str:
    """Return the event type's name."""
    return _NAMES[type(payload)]


def to_data(payload: Payload) -> dict[str, Any]:
    """Return the payload as plain JSON data."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(payload).items()}


def from_data(kind: str, data: Data) -> Payload:
    """Read a payload back.

    Raises:
        ValueError: an event type or field that this version does not know, or a missing one.
    """
    if kind not in _TYPES:
        raise ValueError(f"an event of the unknown type {kind!r}")
    known = {field.name for field in fields(_TYPES[kind])}
    if unknown := set(data) - known:
        raise ValueError(f"{kind} event with the unknown field {min(unknown)!r}")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    if "model" in values:
        values["model"] = VersionRef(**values["model"])
    try:
        return _TYPES[kind](**values)
    except TypeError as error:
        raise ValueError(f"{kind} event: {error}") from None
