"""What stands on Vertex AI, read once and made sense of: models, where they are up, what is under way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from tidegate.adapters.target import vertex_names as names
from tidegate.core.endpoint import Endpoint, Variant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate.adapters.target.vertex_calls import Calls, Row

PATIENCE = 3600.0  # seconds that a model may take to be deployed: machines, image, packages
_STUCK = 2 * PATIENCE  # an operation that takes longer than this needs a person
DIGEST, VERSION_ENV = "TIDEGATE_DIGEST", "TIDEGATE_VERSION"


class Stage(StrEnum):
    """Where a model stands on one endpoint."""

    ABSENT = "absent"
    COMING = "coming"
    UP = "up"
    GOING = "going"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A model on one endpoint. ``deployed`` is the deployed model's id, ``since`` epoch seconds."""

    stage: Stage
    deployed: str
    reason: str | None = None  # of FAILED
    operation: str | None = None  # of COMING and GOING
    since: float | None = None  # when that operation began


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One model of ours, on the endpoint and on the one beside it for the parity check."""

    version: str
    digest: str
    model: str  # its id
    main: Place
    parity: Place
    elsewhere: bool = False  # somebody has deployed it to an endpoint of theirs
    torn: bool = False  # an operation has succeeded, and the endpoint read before does not show it

    @property
    def unused(self) -> bool:
        """Whether nothing serves it and nothing is about to."""
        gone = self.main.stage is Stage.ABSENT and self.parity.stage is Stage.ABSENT
        return gone and not self.elsewhere


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """Everything of ours, at one moment; the endpoints are None where they do not exist."""

    endpoint: Row | None
    parity: Row | None
    members: tuple[Member, ...]

    def serving(self, version: str) -> Member | None:
        """Return the member that is, or will be, the variant of a version."""
        found = [
            m for m in self.members if m.version == version and m.main.stage is not Stage.ABSENT
        ]
        return found[0] if found else None

    @property
    def busy(self) -> str | None:
        """What is under way on the endpoint."""
        for member in self.members:
            if member.main.stage in (Stage.COMING, Stage.GOING):
                doing = "deployed" if member.main.stage is Stage.COMING else "undeployed"
                return f"version {member.version} is being {doing}"
        return None

    def stuck(self, now: float) -> str | None:
        """Return what has been under way for so long that a person must look."""
        for member in self.members:
            since = member.main.since
            if since is not None and now - since > _STUCK:
                return (
                    f"operation {member.main.operation} (version {member.version}) has been under "
                    f"way for {(now - since) / 3600:.1f} hours: cancel it"
                )
        return None

    @property
    def unneeded(self) -> tuple[Member, ...]:
        """Members whose model and files can be deleted."""
        return tuple(member for member in self.members if member.unused)

    @property
    def parity_deployed(self) -> bool:
        """Whether there is anything on the endpoint beside."""
        return self.parity is not None and bool(self.parity.get("deployedModels"))

    @property
    def parity_leaves(self) -> bool:
        """Whether the endpoint beside is ours with all that is on it, and nothing is on its way up."""
        if self.endpoint is None or self.parity is None:
            return False
        ours = {m.model for m in self.members}
        entries = self.parity.get("deployedModels") or ()
        alone = all(last(entry["model"]) in ours for entry in entries)
        coming = any(m.parity.stage is Stage.COMING for m in self.members)
        return alone and not coming and beside_is_ours(self.parity, last(self.endpoint["name"]))


def beside_is_ours(row: Row, endpoint: str) -> bool:
    """Whether we made an endpoint for the parity checks of another one."""
    labels = row.get("labels") or {}
    return (labels.get(names.OWNER), labels.get(names.ROLE)) == (endpoint, names.PARITY)


def look(calls: Calls, endpoint: str) -> Seen:
    """Read both endpoints, our models and the operations that they name.

    Only operations whose outcome does not show in what is deployed are asked for. One that ended
    between two of these reads would show a model nowhere: then everything is read once more.

    Raises:
        GoogleError: Vertex AI does not answer.
    """
    seen = _look(calls, endpoint)
    return _look(calls, endpoint) if any(m.torn for m in seen.members) else seen


def _look(calls: Calls, endpoint: str) -> Seen:
    row = calls.endpoint(endpoint)
    if row is None:
        return Seen(endpoint=None, parity=None, members=())
    beside = names.parity_id(endpoint)
    parity = calls.endpoint(beside)
    models = calls.models(names.OWNER, endpoint)
    members = tuple(_member(calls, endpoint, row, parity or {}, model) for model in models)
    return Seen(endpoint=row, parity=parity, members=members)


def _member(calls: Calls, endpoint: str, row: Row, parity: Row, model: Row) -> Member:
    env = {item["name"]: item.get("value", "") for item in _env(model)}
    labels = model.get("labels") or {}
    version, digest = env.get(VERSION_ENV, ""), env.get(DIGEST, "")
    own = Place(stage=Stage.ABSENT, deployed=names.deployed_id(version, digest))
    identity, beside = last(model["name"]), names.parity_id(endpoint)
    ids = [labels.get(key) for key in (names.UP, names.DOWN, names.PARITY_UP, names.PARITY_DOWN)]
    here, there = _deployed(row, identity), _deployed(parity, identity)
    first = _operation(calls, endpoint, here, *ids[:2])
    second = _operation(calls, beside, there, *ids[2:])
    return Member(
        version=version,
        digest=digest,
        model=identity,
        main=_place(own, here, first),
        parity=_place(own, there, second),
        elsewhere=any(
            last(use.get("endpoint", "")) not in (endpoint, beside)
            for use in model.get("deployedModels") or ()
        ),
        torn=any(one is not None and "response" in one for one in (first, second)),
    )


def last(name: str) -> str:
    """Return a resource's id: the end of its name, without a model's version.

    >>> last("projects/1/locations/europe-west1/models/flights-v3-0123456789@1")
    'flights-v3-0123456789'
    """
    return name.rpartition("/")[2].partition("@")[0]


def shares(row: Row) -> dict[str, float]:
    """Return deployed model's id -> share, of those that have any.

    >>> shares({"trafficSplit": {"7": 95, "8": 5, "9": 0}})
    {'7': 0.95, '8': 0.05}
    """
    split = row.get("trafficSplit") or {}
    return {key: int(value) / 100 for key, value in split.items() if int(value) > 0}


def generation(row: Row) -> int:
    """Return the newest generation that an endpoint has accepted."""
    return number(row, names.GENERATION, 0)


def number(row: Row, label: str, otherwise: int) -> int:
    """Return a label that holds a number."""
    text = (row.get("labels") or {}).get(label, "")
    return int(text) if text.isascii() and text.isdigit() else otherwise


def moment(text: str | None) -> float | None:
    """Return the epoch seconds of a time as Google writes it.

    >>> moment("2026-11-23T07:00:00.123456789Z")
    1795417200.123456
    """
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def told(seen: Seen, tripped: float | None, now: float) -> Endpoint:
    """Return the endpoint as the engine sees it."""
    row = seen.endpoint
    if row is None:
        return Endpoint(variants=(), patience=PATIENCE)
    given = shares(row)
    variants = [v for m in seen.members if (v := _variant(m, row, given)) is not None]
    ours = {m.main.deployed for m in seen.members if m.main.stage is not Stage.ABSENT}
    variants += [  # somebody else's: shown while it takes requests, never touched
        Variant(version=f"foreign:{key}", digest="", share=share, ready=True)
        for key, share in given.items()
        if key not in ours
    ]
    left = [f"model {member.model}" for member in seen.unneeded]
    if seen.parity is not None and seen.parity_leaves:
        left.append(f"endpoint {last(seen.parity['name'])}")
    stuck = seen.stuck(now)
    return Endpoint(
        variants=tuple(variants),
        generation=generation(row),
        url=address(row),
        tripped=tripped,
        busy=None if stuck else seen.busy,
        broken=stuck,
        patience=PATIENCE,
        leftovers=tuple(left),
    )


def address(row: Row) -> str:
    """Return where predictions are asked for.

    https://cloud.google.com/vertex-ai/docs/predictions/choose-endpoint-type
    """
    name = row["name"]
    region = name.split("/")[3]
    host = row.get("dedicatedEndpointDns") or f"{region}-aiplatform.googleapis.com"
    return f"https://{host.removeprefix('https://')}/v1/{name}:predict"


def _variant(member: Member, row: Row, given: Mapping[str, float]) -> Variant | None:
    main, parity = member.main, member.parity
    share = given.get(main.deployed, 0.0) if main.stage in (Stage.UP, Stage.GOING) else 0.0
    failed = main.reason if main.stage is Stage.FAILED else None
    if parity.stage is Stage.FAILED and share == 0 and failed is None:
        failed = parity.reason
    if main.stage is Stage.ABSENT and failed is None:
        return None
    answers = main.stage is Stage.UP and _replicas(row, main.deployed)
    return Variant(
        version=member.version,
        digest=member.digest,
        share=share,
        ready=answers and failed is None and (share > 0 or parity.stage is not Stage.COMING),
        failed=failed,
    )


def _replicas(row: Row, deployed: str) -> bool:
    """Whether a deployed model has a replica, as far as the endpoint says so."""
    for entry in row.get("deployedModels") or ():
        if entry["id"] == deployed:
            return bool((entry.get("status") or {}).get("availableReplicaCount", 1) > 0)
    return False


def _env(model: Row) -> list[Row]:
    return list((model.get("containerSpec") or {}).get("env") or ())


def _deployed(row: Row, model: str) -> str | None:
    """Return the id under which a model is deployed on an endpoint, if it is."""
    entries = row.get("deployedModels") or ()
    return next((entry["id"] for entry in entries if last(entry["model"]) == model), None)


def _operation(
    calls: Calls, endpoint: str, deployed: str | None, up: str | None, down: str | None
) -> Row | None:
    """Return the operation that says more about a model than whether it is deployed."""
    named = down if deployed else (None if down else up)
    if named is None or named == names.NO_OPERATION:
        return None
    return calls.operation(endpoint, named)


def _place(own: Place, deployed: str | None, operation: Row | None) -> Place:
    place = own if deployed is None else Place(stage=Stage.UP, deployed=deployed)
    if operation is None:
        return place
    if not operation.get("done"):
        metadata = (operation.get("metadata") or {}).get("genericMetadata") or {}
        return replace(
            place,
            stage=Stage.COMING if deployed is None else Stage.GOING,
            operation=last(operation["name"]),
            since=moment(metadata.get("createTime")),
        )
    if deployed is None and (error := operation.get("error")):
        reason = f"Vertex AI could not deploy it: {error.get('message') or error.get('code')}"
        return replace(place, stage=Stage.FAILED, reason=reason[:2000])
    return place
