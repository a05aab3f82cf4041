"""What people do by hand: promote, revert, hold, resume, override, anchor.

Each writes one event with a name and a reason, then runs one pass, so that it takes effect at
once; whoever ticks next would do the same.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tidegate.commands.recording import record
from tidegate.commands.release import EXITS, find_rollout, find_version
from tidegate.core.events import (
    Anchored,
    Held,
    Mode,
    Ordered,
    Overridden,
    Phase,
    Requested,
    Resumed,
)
from tidegate.core.model import Outcome
from tidegate.errors import ConfigError, Exit, RefusedError
from tidegate.perform import run_pass
from tidegate.render.status import line, summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.book import Book
    from tidegate.commands.context import Context
    from tidegate.core.events import Payload
    from tidegate.core.ledger import Event
    from tidegate.core.model import VersionRef
    from tidegate.core.state import State

_SETTLE = 120.0  # seconds a by-hand change of version may take to be carried out


def act(context: Context, decide: Callable[[Book], Payload | None]) -> Exit:
    """Write a person's event, then pass until it has taken effect; say how things stand.

    A change of version that was not carried out is no success: 5 while it is still under way, the
    rollout's own exit code when it ended otherwise.
    """
    event = record(context.ledger(), decide, actor=context.actor, human=True).chain[-1]
    world, deadline = context.world(), time.monotonic() + _SETTLE
    while True:
        done = run_pass(world)
        if done.wait.cause != "starting" or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    context.terminal.emit(summary(done.book.state, done.book.state.rollout))
    context.terminal.say(line(done))
    return _carried_out(done.book.state, event)


def _carried_out(state: State, event: Event) -> Exit:
    match event.payload:
        case Ordered(rollout=name, verb=verb):
            wanted = Phase.REVERTED if verb == "revert" else Phase.PROMOTED
        case Requested():
            name, wanted = f"r{event.seq}", Phase.PROMOTED
        case _:
            return Exit.OK
    rollout = find_rollout(state, name)
    if rollout is None or rollout.ended_at is None:
        return Exit.INCONCLUSIVE
    return Exit.OK if rollout.phase is wanted else EXITS[rollout.phase] or Exit.INCONCLUSIVE


def promote(context: Context, version: str | None, reason: str) -> Exit:
    """Give a version all traffic now: the live candidate, or any registered one."""

    def decided(book: Book) -> Payload:
        rollout = book.state.rollout
        if rollout is not None and version in (None, rollout.model.version):
            return Ordered(verb="promote", rollout=rollout.id, reason=reason)
        if version is None:
            raise ConfigError("no rollout is live", remedy="Name a version to promote.")
        return _direct(context, book.state, find_version(context, version), reason)

    return act(context, decided)


def revert(context: Context, version: str | None, reason: str) -> Exit:
    """Take the live candidate back, or go back to the last version that served and was healthy.

    Raises:
        RefusedError: there is nothing to go back to.
    """

    def decided(book: Book) -> Payload:
        state = book.state
        if state.rollout is not None and version is None:
            return Ordered(verb="revert", rollout=state.rollout.id, reason=reason)
        if state.champion is None:
            raise RefusedError("nothing serves, so there is nothing to revert")
        back = (
            find_version(context, version)
            if version
            else state.healthy_before(state.champion.digest)
        )
        if back is None:
            raise RefusedError(
                "no earlier version served and was healthy",
                remedy="Name one with `tidegate revert VERSION`.",
            )
        return _direct(context, state, back, reason, quarantine=True)

    return act(context, decided)


def _direct(
    context: Context, state: State, model: VersionRef, reason: str, *, quarantine: bool = False
) -> Requested:
    if state.champion is not None and state.champion.digest == model.digest:
        raise RefusedError(f"version {model.version} serves already")
    return Requested(
        model=model,
        mode=Mode.DIRECT,
        judged_against=None,
        policy=context.config.release.policy,
        task=context.config.model.task,
        loss_center=None,
        reason=reason,
        quarantine=quarantine,
        retry=model.digest in state.quarantined,
    )


def hold(context: Context, *, until: float | None, hands_off: bool, reason: str) -> Exit:
    """Forbid stepping up, promoting and expiring."""
    held = Held(until=until, hands_off=hands_off, reason=reason)
    return act(context, lambda _: held)


def resume(context: Context, reason: str) -> Exit:
    """Lift holds and pins."""
    return act(context, lambda _: Resumed(reason=reason))


def anchor(context: Context, version: str, reason: str) -> Exit:
    """Make a registered version the fixed model that guards against margin creep."""
    model = find_version(context, version)
    return act(context, lambda _: Anchored(model=model, reason=reason))


def override(context: Context, commit: str | None, reason: str) -> Exit:
    """Let a model through that the gate did not pass.

    Raises:
        RefusedError: nothing was judged for the commit, or it passed anyway.
    """
    wanted = commit or context.head

    def decided(book: Book) -> Payload:
        judged = [v for v in book.state.verdicts.values() if v.commit.startswith(wanted)]
        if not judged:
            raise RefusedError(f"no verdict on commit {wanted[:12]}", remedy="Run the gate first.")
        if judged[-1].outcome == Outcome.PASS:
            raise RefusedError("the gate passed this model: there is nothing to override")
        return Overridden(candidate=judged[-1].candidate, reason=reason)

    book = record(context.ledger(), decided, actor=context.actor, human=True)
    context.terminal.emit({"overridden": sorted(book.state.overridden)})
    context.terminal.say("overridden; `tidegate register` and `tidegate release` accept it now")
    return Exit.OK
