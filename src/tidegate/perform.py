"""The one interpreter of actions: reads the world, asks the core, does one thing, reads again.

Every side effect is idempotent and its intent stands in the ledger before it happens, so a kill
between any two lines here is repaired by the next pass. Every write to the endpoint carries the
ledger sequence number it was decided at: an endpoint that has seen a newer one refuses it.
"""

from __future__ import annotations

import time
from collections.abc import Callable  # noqa: TC003 (a dataclass field)
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tidegate import bundles
from tidegate.book import Book, Ledger, merge, since
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
from tidegate.core.events import Mode, ParityChecked, Phase, Published
from tidegate.core.model import Task, VersionRef
from tidegate.core.release import GAP, step
from tidegate.core.skew import skewed
from tidegate.errors import LedgerMovedError, NotJudgedError, OutsideError
from tidegate.home import MODEL
from tidegate.load import parse_canary
from tidegate.ports import DeadMan, Deployment, Measure, MetricSource, Registry, Target, Window
from tidegate.signing import Trust

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.core.config import Canary
    from tidegate.core.evidence import Series
    from tidegate.core.state import Rollout
    from tidegate.home import Home

_LOST_RACES = 20


class SafeTarget(Target, DeadMan, Protocol):
    """A target that can shut its own gate."""


@dataclass(frozen=True, kw_only=True)
class World:
    """Everything a pass touches."""

    name: str
    ledger: Ledger
    target: SafeTarget
    metrics: MetricSource
    registry: Registry
    home: Home
    task: Task
    classes: tuple[str, ...] = ()  # multiclass: as mlops.yaml orders them
    labels: Path | None = None
    serve: str | None = None
    public_key: str | None = None  # of registry.public_key; None: signatures are not asked for
    actor: str = "tidegate"
    clock: Callable[[], float] = time.time
    tell: Callable[[str], None] = field(default=lambda _: None)
    fading: Callable[[], bool] = field(default=lambda: False)  # credentials that end soon


@dataclass(frozen=True, kw_only=True, slots=True)
class Pass:
    """What one pass came to."""

    book: Book
    wait: Wait
    now: float


def run_pass(world: World) -> Pass:
    """Act until there is nothing left to do now.

    Raises:
        OutsideError: the ledger, endpoint or registry failed; the next pass goes on from there.
    """
    lost = 0
    while True:
        book = world.ledger.read()
        canary = _policy(book)
        series = _series(world, book, canary)
        endpoint = world.target.read()
        seen = Observation(
            endpoint=endpoint, now=world.clock(), series=series, fading=world.fading()
        )
        action = step(book.state, canary, seen)
        if isinstance(action, Wait):
            _arm(world, book, canary)
            return Pass(book=book, wait=action, now=seen.now)
        try:
            _perform(world, book, canary, seen, action)
        except LedgerMovedError:
            lost += 1
            if lost >= _LOST_RACES:
                raise


def _policy(book: Book) -> Canary | None:
    rollout = book.state.rollout
    if rollout is None:
        return None
    return parse_canary(rollout.request.policy, Task(rollout.request.task))


def _series(world: World, book: Book, canary: Canary | None) -> Series | None:
    rollout = book.state.rollout
    if rollout is None or canary is None or not _has_evidence(rollout):
        return None
    assert rollout.baseline is not None
    window = Window(
        candidate=rollout.model.version,
        champion=rollout.baseline.version,
        since=rollout.started_at or world.clock(),
        measure=_measure(world, rollout, canary),
        shares=rollout.routes,
        moving=rollout.moving,
    )
    try:
        fresh = world.metrics.read(window, world.clock())
    except OutsideError as error:
        # No data holds. It must not keep a person's order, or the deadline, from being carried out.
        world.tell(f"no counts of live traffic: {error}")
        return None
    return merge(book.frozen(rollout.id), fresh)


def _has_evidence(rollout: Rollout) -> bool:
    live = rollout.phase in (Phase.CANARY, Phase.PROBATION)
    return live and rollout.applied and rollout.baseline is not None


def _measure(world: World, rollout: Rollout, canary: Canary) -> Measure:
    return measure_of(canary, Task(rollout.request.task), world.labels, world.classes)


def measure_of(
    canary: Canary, task: Task, labels: Path | None, classes: tuple[str, ...] = ()
) -> Measure:
    """Return how live traffic is counted under a policy."""
    slow = next((g.slower_than for g in canary.guards if g.slower_than is not None), None)
    clip = next((g.clip for g in canary.guards if g.clip is not None), None)
    return Measure(
        interval=canary.interval,
        slower_than=slow,
        task=task,
        clip=clip,
        label_source=labels,
        label_every=canary.labels.every,
        classes=classes,
    )


def _before_route(world: World, book: Book, canary: Canary | None) -> None:
    """Keep a switch that was armed for the step before from firing into the next one.

    It is armed anew, not disarmed, while evidence decides: whoever dies between the two lines leaves a
    gate that shuts by itself. One that was taken back needs the switch as it is: both want the same
    traffic.
    """
    rollout = book.state.rollout
    if rollout is None or canary is None or rollout.mode is not Mode.CANARY:
        return
    weighed = rollout.phase in (Phase.CANARY, Phase.PROBATION)
    if weighed and rollout.routes and rollout.baseline is not None:
        until = world.clock() + GAP * canary.interval
        fallback = {rollout.baseline.version: 1.0}
        world.target.arm(until, fallback, generation=book.state.seq)
    elif rollout.phase is Phase.PROMOTED:
        world.target.arm(None, {}, generation=book.state.seq)


def _arm(world: World, book: Book, canary: Canary | None) -> None:
    """Re-arm the dead-man's switch while a canary has traffic; disarm it otherwise."""
    rollout, generation = book.state.rollout, book.state.seq
    live = rollout is not None and rollout.phase is Phase.CANARY and rollout.applied
    if live and rollout and rollout.baseline and canary:
        until = world.clock() + GAP * canary.interval
        world.target.arm(until, {rollout.baseline.version: 1.0}, generation=generation)
    else:
        world.target.arm(None, {}, generation=generation)


def _perform(
    world: World, book: Book, canary: Canary | None, seen: Observation, action: Action
) -> None:
    rollout = book.state.rollout
    match action:
        case Append(payload=payload):
            fresh = None
            if rollout is not None and seen.series is not None:
                fresh = since(seen.series, book.frozen(rollout.id))
            world.ledger.append(book, payload, at=world.clock(), actor=world.actor, evidence=fresh)
        case Deploy(model=model):
            world.tell(f"starting version {model.version}")
            world.target.deploy(_deployment(world, book, model), generation=book.state.seq)
        case CheckParity(rollout=name, model=model):
            checked = _parity(world, book, name, model)
            world.ledger.append(book, checked, at=world.clock(), actor=world.actor)
        case Route(traffic=traffic):
            if rollout is not None and canary is not None:
                world.metrics.observe(_measure(world, rollout, canary))
            _before_route(world, book, canary)
            world.tell("traffic " + ", ".join(f"{v}: {s:.0%}" for v, s in traffic.items()))
            world.target.route(traffic, generation=book.state.seq)
        case Remove(version=version):
            _arm(world, book, canary)  # the switch may still name it
            world.target.remove(version, generation=book.state.seq)
        case Tidy():
            world.target.tidy(generation=book.state.seq)
        case Publish(published=published):
            _publish(world, book, published)
        case Wait():
            raise AssertionError("a wait is not performed")


def _bundle(world: World, book: Book, model: VersionRef) -> Path:
    """Return the model's folder: the bytes that were judged, signed where that is asked for."""
    trust = Trust(public_key=world.public_key, signatures=book.state.signatures)
    return bundles.fetch(world.home, world.registry, world.name, model, trust)


def _deployment(world: World, book: Book, model: VersionRef) -> Deployment:
    bundle = _bundle(world, book, model)
    return Deployment(
        version=model.version,
        digest=model.digest,
        model_dir=bundle / MODEL,
        task=world.task,
        serve=world.serve,
        classes=bundles.classes(bundle),
    )


def _parity(world: World, book: Book, rollout: str, model: VersionRef) -> ParityChecked:
    """Ask the served candidate what it was asked offline: the same rows, the same answers."""
    bundle = _bundle(world, book, model)
    rows, offline = bundles.load_parity(bundle)
    try:
        worst = bundles.differs(offline, world.target.ask(model.version, rows))
    except (NotJudgedError, OutsideError) as error:
        world.tell(f"the parity check failed: {error}")
        worst = float("inf")
    champion = book.state.champion
    live = world.metrics.fill(champion.version) if champion else {}
    return ParityChecked(
        rollout=rollout,
        ok=worst <= bundles.TOLERANCE,
        rows=rows.num_rows,
        worst=min(worst, 1e300),  # JSON has no infinity
        skewed=skewed(bundles.filled(rows), live),
    )


def _publish(world: World, book: Book, published: Published) -> None:
    """Publish the aliases, if the registry remembers no ledger but this one."""
    aliases = {"champion": published.champion, "challenger": published.challenger}
    world.registry.publish(world.name, aliases, [event.hash for event in book.chain])
    for past in book.state.past[-1:]:
        tags = {"tidegate.rollout": past.id, "tidegate.outcome": str(past.phase)}
        world.registry.annotate(world.name, past.model.version, tags)
    world.ledger.append(book, published, at=world.clock(), actor=world.actor)
