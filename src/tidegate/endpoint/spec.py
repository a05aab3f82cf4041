"""What an endpoint is wanted to be, and the rules by which that may change.

Adapters change the spec under a lock, the supervisor makes reality follow it. ``generation`` is
the ledger's sequence number and the fence: a controller that fell behind cannot write any more.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tidegate.core.model import Task
from tidegate.endpoint.files import locked, write_atomic
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tidegate.core.endpoint import Traffic
    from tidegate.endpoint.layout import Folder

TOTAL = 10_000  # the weights of a route sum to this: shares in hundredths of a per cent


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One variant that is to be served. ``model`` is relative to the endpoint's folder."""

    version: str
    digest: str
    model: str
    task: Task
    classes: tuple[str, ...] = ()
    serve: str | None = None
    cwd: str | None = None  # where the user's server command runs
    environment: str = "engine"  # predict.environment, as it was when the variant was deployed
    environments: str | None = None  # where built environments are kept; None: the engine's alone


@dataclass(frozen=True, kw_only=True, slots=True)
class Spec:
    """The wanted state. ``asked`` is the last route; ``traffic`` is what is in force."""

    port: int
    bind: str
    timeout: float  # seconds
    generation: int = 0
    routed: int = -1  # generation of the last route
    members: Mapping[str, Member] = field(default_factory=dict)
    asked: Mapping[str, float] = field(default_factory=dict)
    traffic: Mapping[str, float] = field(default_factory=dict)
    until: float | None = None  # the dead-man's switch fires then (epoch seconds)
    fallback: Mapping[str, float] = field(default_factory=dict)
    tripped: float | None = None  # when it fired; cleared by a newer route


def read(folder: Folder) -> Spec | None:
    """Return the stored spec; None when nothing was ever deployed.

    Raises:
        OutsideError: the file is damaged.
    """
    try:
        text = folder.spec.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        raw: dict[str, Any] = json.loads(text)
        raw["members"] = {
            version: Member(
                **{
                    **member,
                    "task": Task(member["task"]),
                    "classes": tuple(member.get("classes", ())),
                }
            )
            for version, member in raw["members"].items()
        }
        return Spec(**raw)
    except (ValueError, TypeError, KeyError) as error:
        raise OutsideError(
            f"{folder.spec} is damaged: {error}",
            remedy="Stop the endpoint, move the file away and release again.",
        ) from error


def change(folder: Folder, empty: Spec, alter: Callable[[Spec], Spec]) -> Spec:
    """Read, alter and write the spec under its lock; ``empty`` is the start of a new one."""
    folder.make()
    with locked(folder.spec_lock):
        before = read(folder)
        after = alter(before or empty)
        if after != before:
            write_atomic(folder.spec, json.dumps(asdict(after), indent=1, sort_keys=True))
        return after


def deployed(spec: Spec, member: Member, generation: int) -> Spec:
    """Add a variant; the same one again changes nothing but the generation.

    Raises:
        OutsideError: a newer generation was seen, or the version is there with other bytes.
    """
    fence(spec, generation)
    present = spec.members.get(member.version)
    if present is not None and present.digest != member.digest:
        raise OutsideError(
            f"Version {member.version} is on the endpoint with other bytes "
            f"({present.digest}, not {member.digest}).",
            remedy="A version's name stands for one model. Remove it first.",
        )
    members = dict(spec.members) if present else {**spec.members, member.version: member}
    return replace(spec, members=members, generation=generation)


def routed(spec: Spec, traffic: Traffic, generation: int) -> Spec:
    """Give each version its share, and clear a fired dead-man's switch.

    Raises:
        OutsideError: a newer generation was seen, this one asked for another split before, a
            version is not deployed, or the shares are no shares.
    """
    fence(spec, generation)
    wanted = _checked(spec, traffic)
    if generation == spec.routed:
        if wanted != spec.asked:
            raise OutsideError(
                f"Generation {generation} has already routed {dict(spec.asked)}, now it asks for "
                f"{wanted}.",
                remedy="Two controllers share a generation: only one of them may go on.",
            )
        return spec
    return replace(
        spec,
        asked=wanted,
        traffic=wanted,
        generation=generation,
        routed=generation,
        tripped=None,
    )


def removed(spec: Spec, version: str, generation: int) -> Spec:
    """Take a variant away; one that is not there is taken away already.

    Raises:
        OutsideError: a newer generation was seen, or the variant has traffic, now or when the
            dead-man's switch fires.
    """
    fence(spec, generation)
    if version in spec.traffic:
        raise OutsideError(
            f"Version {version} still has {spec.traffic[version]:.2%} of the traffic.",
            remedy="Route its share elsewhere before removing it.",
        )
    if spec.until is not None and version in spec.fallback:
        raise OutsideError(
            f"The dead-man's switch would send traffic to version {version}.",
            remedy="Arm it with another fallback, or disarm it, before removing the version.",
        )
    members = {name: member for name, member in spec.members.items() if name != version}
    return replace(spec, members=members, generation=generation)


def armed(spec: Spec, until: float | None, fallback: Traffic, generation: int) -> Spec:
    """Set, move or (``until`` None) clear the dead-man's switch.

    A caller that fell behind changes nothing: whoever came after it has armed as is right now.

    Raises:
        OutsideError: the fallback names a version that is not deployed.
    """
    if generation < spec.generation:
        return spec
    if until is None:
        return replace(spec, until=None, fallback={})
    return replace(spec, until=until, fallback=_checked(spec, fallback))


def fired(spec: Spec, now: float) -> Spec:
    """Return the spec with its switch fired, when its time has passed; else unchanged."""
    if spec.until is None or now < spec.until:
        return spec
    return replace(spec, traffic=spec.fallback, until=None, tripped=now)


def weights(traffic: Traffic) -> dict[str, int]:
    """Return whole weights that sum to :data:`TOTAL`; nobody with a share gets none.

    >>> weights({"1": 2 / 3, "2": 1 / 3})
    {'1': 6667, '2': 3333}
    >>> weights({"1": 0.99999, "2": 0.00001})
    {'1': 9999, '2': 1}
    """
    exact = {version: share * TOTAL for version, share in sorted(traffic.items()) if share > 0}
    whole = {version: max(1, int(value)) for version, value in exact.items()}
    by_remainder = sorted(exact, key=lambda version: whole[version] - exact[version])
    spare = TOTAL - sum(whole.values())
    for version in by_remainder[: max(0, spare)]:
        whole[version] += 1
    if whole:  # what the guarantee of one took, or rounding left, is the largest share's
        whole[max(whole, key=whole.__getitem__)] += TOTAL - sum(whole.values())
    return whole


def fence(spec: Spec, generation: int) -> None:
    """Let only the newest controller through.

    Raises:
        OutsideError: a newer generation was seen.
    """
    if generation < spec.generation:
        raise OutsideError(
            f"The endpoint has seen generation {spec.generation}; {generation} is out of date.",
            remedy="Somebody else moved on. Read the ledger again and decide again.",
        )


def _checked(spec: Spec, traffic: Traffic) -> dict[str, float]:
    wanted = {version: float(share) for version, share in traffic.items() if share != 0}
    if not wanted or min(wanted.values()) < 0 or abs(sum(wanted.values()) - 1) > 1e-6:
        raise OutsideError(
            f"These shares do not sum to 1: {dict(traffic)}.",
            remedy="Give every version a share between 0 and 1, together 1.",
        )
    for version in wanted:
        if version not in spec.members:
            raise OutsideError(
                f"Version {version} is not on the endpoint (there: {', '.join(spec.members)}).",
                remedy="Deploy it before giving it traffic.",
            )
    return wanted
