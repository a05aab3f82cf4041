"""``tidegate release``: ask for a rollout, then tick until it is decided."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tidegate.commands.context import Context, add_config, add_json
from tidegate.commands.endpoints import machine_of
from tidegate.commands.recording import record
from tidegate.core.events import Mode, Phase, Requested
from tidegate.core.model import Outcome
from tidegate.errors import ConfigError, Exit, RefusedError
from tidegate.perform import Pass, run_pass
from tidegate.render.status import line, summary

if TYPE_CHECKING:
    import argparse

    from tidegate.book import Book
    from tidegate.core.model import VersionRef
    from tidegate.core.state import Rollout, State
    from tidegate.terminal import Terminal

SUMMARY = "send a registered version to the endpoint, step by step, until it is decided"

EXITS = {
    Phase.PROBATION: Exit.OK,
    Phase.PROMOTED: Exit.OK,
    Phase.REVERTED: Exit.REJECTED,
    Phase.WITHDRAWN: Exit.INCONCLUSIVE,
    Phase.SUPERSEDED: Exit.INCONCLUSIVE,
    Phase.REFUSED: Exit.NOT_JUDGED,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_config(parser)
    add_json(parser)
    parser.add_argument("version", nargs="?", help="a registered version (default: this commit's)")
    parser.add_argument("--retry", metavar="VERSION", help="lift this version's quarantine first")
    parser.add_argument("--reason", help="why (needed with --retry)")
    parser.add_argument("--by", help="who decides (default: git's user.name)")
    parser.add_argument("--no-wait", action="store_true", help="ask and return; others tick")
    parser.add_argument(
        "--through-probation", action="store_true", help="tick until the probation is over, too"
    )


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Release a version."""
    context = Context.of(args, terminal)
    if args.retry and not args.reason:
        raise ConfigError("--retry lifts a quarantine", remedy="Say why with --reason.")
    model = find_version(context, args.retry or args.version)
    name = request(context, model, retry=bool(args.retry), reason=args.reason or "")
    if name is None:
        terminal.emit({"state": "nothing to do", "version": model.version})
        terminal.say(f"version {model.version} serves already: nothing to do")
        return Exit.OK
    if args.no_wait:
        terminal.emit({"rollout": name, "version": model.version, "state": "requested"})
        terminal.say(
            f"rollout {name} of version {model.version} is asked for; `tidegate tick` does it"
        )
        return Exit.OK
    return follow(context, name, through_probation=args.through_probation)


def find_version(context: Context, version: str | None) -> VersionRef:
    """Return a version by number, or the one of the checked-out commit.

    Raises:
        ConfigError: the ledger knows no such version.
    """
    versions = context.ledger().read().state.versions
    commit = None if version else context.head
    for model in reversed(versions):
        if version in (model.version, None) and commit in (model.commit, None):
            return model
    wanted = f"version {version}" if version else f"version of commit {str(commit)[:12]}"
    known = ", ".join(model.version for model in versions) or "none"
    raise ConfigError(f"no registered {wanted}; known: {known}", remedy="Run `tidegate register`.")


def request(
    context: Context, model: VersionRef, *, retry: bool = False, reason: str = ""
) -> str | None:
    """Ask the ledger for a rollout and return its name; None when the version serves already.

    Raises:
        RefusedError: quarantined, not accepted by the gate, or judged against another champion.
    """

    def asked(book: Book) -> Requested | None:
        state = book.state
        if _serves(state, model) or _under_way(state, model):
            return None
        if not retry:
            _check_allowed(state, model)
        return _requested(context, state, model, retry=retry, reason=reason)

    book = record(context.ledger(), asked, actor=context.actor, human=retry)
    return _under_way(book.state, model)


def _serves(state: State, model: VersionRef) -> bool:
    return (
        state.rollout is None
        and state.champion is not None
        and (state.champion.digest == model.digest)
    )


def _under_way(state: State, model: VersionRef) -> str | None:
    """Return the name of the live or waiting rollout of this version."""
    if state.rollout is not None and state.rollout.model.digest == model.digest:
        return state.rollout.id
    waiting = (name for name, _, asked in state.queue if asked.model.digest == model.digest)
    return next(waiting, None)


def _check_allowed(state: State, model: VersionRef) -> None:
    if quarantined := state.quarantined & {model.digest, model.recipe}:
        what = "it was" if model.digest in quarantined else "a model of the same recipe was"
        raise RefusedError(
            f"version {model.version} is quarantined: {what} taken back",
            remedy="Change the code or the data. Only a person lifts a quarantine: "
            f"`tidegate release --retry {model.version} --reason ...`.",
        )
    verdict = state.verdicts.get(model.digest)
    serving = state.champion.digest if state.champion else None
    if verdict is None:
        raise RefusedError(f"version {model.version} has no verdict")
    if verdict.outcome != Outcome.PASS and model.digest not in state.overridden:
        raise RefusedError(
            f"the gate's newest verdict on version {model.version} is {verdict.outcome}",
            remedy="A person can let it through with `tidegate override --reason ...`.",
        )
    if verdict.champion != serving:
        raise RefusedError(
            f"version {model.version} was judged against another champion than the one that serves",
            remedy="Run `tidegate evaluate` and `tidegate gate` again.",
        )


def _requested(
    context: Context, state: State, model: VersionRef, *, retry: bool, reason: str
) -> Requested:
    verdict = state.verdicts.get(model.digest)
    first = state.champion is None
    judged_against = verdict.champion if verdict and not retry else None
    if retry and state.champion is not None:
        judged_against = state.champion.digest
    machine, hourly = machine_of(context.config.release)
    return Requested(
        model=model,
        mode=Mode.DIRECT if first else Mode.CANARY,
        judged_against=judged_against,
        policy=context.config.release.policy,
        task=context.config.model.task,
        loss_center=verdict.loss_center if verdict else None,
        reason=reason or ("first_release" if first else ""),
        retry=retry,
        machine=machine,
        hourly=hourly,
    )


def follow(context: Context, name: str, *, through_probation: bool = False) -> Exit:
    """Tick until the rollout is decided (or, with ``through_probation``, over); report it."""
    terminal, world = context.terminal, context.world()
    pause = min(max(context.config.release.canary.interval / 4, 0.2), 15.0)
    last = ""
    while True:
        done = run_pass(world)
        rollout = find_rollout(done.book.state, name)
        if (text := line(done)) != last:
            terminal.progress(text)
            last = text
        if rollout is not None and _decided(rollout, through_probation=through_probation):
            break
        if done.wait.cause == "pinned":  # a person decided; waiting for them is not our job
            break
        time.sleep(pause)
    return report(terminal, done, name)


def find_rollout(state: State, name: str) -> Rollout | None:
    """Return the live or past rollout of this name."""
    live = (state.rollout,) if state.rollout else ()
    return next((r for r in (*live, *reversed(state.past)) if r.id == name), None)


def _decided(rollout: Rollout, *, through_probation: bool) -> bool:
    return rollout.ended_at is not None or (
        rollout.phase is Phase.PROBATION and rollout.applied and not through_probation
    )


def report(terminal: Terminal, done: Pass, name: str) -> Exit:
    """Say how the rollout stands and return its exit code."""
    rollout = find_rollout(done.book.state, name)
    terminal.emit(summary(done.book.state, rollout))
    terminal.say(line(done))
    if rollout is None:
        return Exit.INCONCLUSIVE
    return EXITS.get(rollout.phase, Exit.INCONCLUSIVE)
