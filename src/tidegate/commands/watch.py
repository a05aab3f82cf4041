"""``tidegate watch``: tick for a while, tell GitHub how it goes, and hand over to the next run.

A run on GitHub ends after a few hours and a job should be short; a rollout may take days. So a pass
lasts at most as long as ``--for`` says and then starts its successor. Whoever dies in between is
replaced by the schedule, and the dead-man's switch shuts the gate until then.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tidegate.commands.context import Context, add_config, add_json
from tidegate.commands.prepare import compared_with, references
from tidegate.commands.release import EXITS
from tidegate.commands.serving import is_missing, leave
from tidegate.commands.telling import announcer_of, host_of
from tidegate.core.events import Phase
from tidegate.errors import ConfigError, Exit, OutsideError, TidegateError
from tidegate.home import MODEL
from tidegate.perform import run_pass
from tidegate.render.status import line, summary
from tidegate.units import seconds

if TYPE_CHECKING:
    import argparse

    from tidegate.core.state import State
    from tidegate.perform import Pass, World
    from tidegate.terminal import Terminal

SUMMARY = "tick for a while, tell GitHub, and hand over to the next run"

_PATIENCE = 300.0  # seconds for which passes may fail
_LONGEST_PAUSE = 15.0  # seconds between two passes
_BEFORE_TRAFFIC = (Phase.REQUESTED, Phase.DEPLOYED, Phase.CHECKED)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_config(parser)
    add_json(parser)
    parser.add_argument(
        "--for", dest="lasting", metavar="TIME", type=seconds, default=3000.0,
        help="hand over after this long (default: 50m)",
    )  # fmt: skip
    parser.add_argument(
        "--through-probation", action="store_true",
        help="stay for the probation, too (without: the schedule looks in on it)",
    )  # fmt: skip
    parser.add_argument(
        "--successor", metavar="WORKFLOW", help="the workflow's file that is started next"
    )


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Tick until there is nothing to do soon, or the time is over."""
    context = Context.of(args, terminal)
    _check_machine(context)
    world, announcer = context.world(), announcer_of(context)
    pause = min(max(context.config.release.canary.interval / 4, 0.2), _LONGEST_PAUSE)
    until, before = time.monotonic() + args.lasting, None
    at_first = context.ledger().read().state
    known = {rollout.id for rollout in at_first.past}
    while True:
        done = _passed(world, terminal, pause)
        announcer(done)
        if (text := line(done)) != before:
            terminal.progress(text)
            before = text
        needed = _needed(done, through_probation=args.through_probation)
        if not needed or time.monotonic() >= until:
            break
        time.sleep(pause)
    state = done.book.state
    if needed and args.successor:
        _hand_over(context, args.successor)
    terminal.outputs(live="true" if needed else "false", state=_word(state))
    try:
        if state.champion != at_first.champion or (state.champion and is_missing(context)):
            _leave_serving(context, state)
    except (TidegateError, OSError) as error:  # a rollout's end is not lost for it
        terminal.progress(f"what serves was not left for pull requests: {error}")
    terminal.emit({**summary(state, state.rollout), "doing": line(done), "live": needed})
    terminal.say(line(done))
    return _ending([rollout.phase for rollout in state.past if rollout.id not in known])


def _ending(phases: list[Phase]) -> Exit:
    """Return the exit code of the rollouts that ended meanwhile: no later success hides a harm."""
    if Phase.REVERTED in phases:
        return EXITS[Phase.REVERTED]
    return EXITS[phases[-1]] if phases else Exit.OK


def _passed(world: World, terminal: Terminal, pause: float) -> Pass:
    """Make one pass; an outside system that fails is asked again for a while.

    Raises:
        OutsideError: it failed for minutes; the schedule starts the next watch.
    """
    patient, told = time.monotonic() + _PATIENCE, ""
    while True:
        try:
            return run_pass(world)
        except OutsideError as error:
            if time.monotonic() >= patient:
                raise
            if str(error) != told:
                told = str(error)
                terminal.progress(f"this pass failed, and is made again: {told}")
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _check_machine(context: Context) -> None:
    runner = context.terminal.runner
    if runner is not None and runner.hosted and context.config.release.target == "local":
        raise ConfigError(
            "release.target local serves on the machine that runs the job, and this one is GitHub's",
            remedy="Give the workflow `operate-runner` with the labels of a runner of your own, on the "
            "box that serves; or release to a cloud.",
        )


def _leave_serving(context: Context, state: State) -> None:
    """Leave champion and anchor for an artifact: pull requests without credentials need them."""
    if (runner := context.terminal.runner) is None:
        return
    folder = runner.temp / "serving" / context.config.model.name
    found = references(context, state)
    models = compared_with(state)
    leave({models[role].digest: bundle / MODEL for role, bundle in found.items()}, folder)
    context.terminal.outputs(serving=str(folder))


def _needed(done: Pass, *, through_probation: bool) -> bool:
    """Whether somebody must look again soon."""
    rollout = done.book.state.rollout
    if done.wait.cause == "updating":
        return True  # a change is under way, or one waits for it: variants are taken away, too
    if rollout is None or done.wait.cause == "pinned":
        return False  # a person decided, or nothing is live
    if rollout.phase in _BEFORE_TRAFFIC or not rollout.applied:
        return True
    return rollout.phase is Phase.CANARY or through_probation


def _word(state: State) -> str:
    if state.rollout is not None:
        return str(state.rollout.phase)
    return str(state.past[-1].phase) if state.past else "idle"


def _hand_over(context: Context, workflow: str) -> None:
    """Start the next run; when that fails, the schedule and the dead-man's switch are left."""
    runner = context.terminal.runner
    if runner is None:
        return
    try:
        host_of(runner).dispatch(workflow, {"command": "tick", "model": context.config.model.name})
    except TidegateError as error:
        context.terminal.progress(f"the next run could not be started: {error} {error.remedy}")
    else:
        context.terminal.progress(f"{workflow} goes on")
