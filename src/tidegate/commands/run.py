"""``tidegate run``: what a push runs. Every step continues where an earlier run was cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate import run_record
from tidegate.commands.context import Context, add_config, add_json
from tidegate.commands.evaluate import evaluate, read_evaluation
from tidegate.commands.gate import EXITS
from tidegate.commands.judging import is_current, judge_bundle, show
from tidegate.commands.prepare import refuse_quarantined
from tidegate.commands.register import register
from tidegate.commands.release import find_rollout, follow, request
from tidegate.commands.train import recipe_of, train
from tidegate.core.events import Phase
from tidegate.core.model import Outcome
from tidegate.errors import ConfigError, Exit, NotJudgedError, RefusedError
from tidegate.git import text
from tidegate.holdout import content_of

if TYPE_CHECKING:
    import argparse

    from tidegate.core.model import VersionRef
    from tidegate.core.state import State
    from tidegate.run_record import RunRecord
    from tidegate.terminal import Terminal

SUMMARY = "what a push runs: check, train, evaluate, gate, register, release"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_config(parser)
    add_json(parser)
    parser.add_argument("--no-release", action="store_true", help="stop after the gate")
    parser.add_argument("--no-wait", action="store_true", help="ask for the rollout and return")
    parser.add_argument(
        "--through-probation", action="store_true", help="tick until the probation is over, too"
    )


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Take the checked-out commit from training to its decision."""
    context = Context.of(args, terminal)
    _check_clean(context)
    state = context.ledger().read().state
    if (done := _settled_before(context, state, args)) is not None:
        return done
    recipe = recipe_of(context)
    refuse_quarantined(state, recipe)
    record = _trained(context, recipe)
    if state.champion is not None and record.model_digest == state.champion.digest:
        return _nothing_to_do(terminal, state.champion)
    outcome = _judged(context, state, record)
    accepted = outcome is Outcome.PASS or record.model_digest in state.overridden
    if not accepted or args.no_release:
        return EXITS[outcome]
    model = register(context)
    name = request(context, model)
    if name is None:  # somebody else released it meanwhile
        return _nothing_to_do(terminal, model)
    return _followed(context, name, args)


def _followed(context: Context, name: str, args: argparse.Namespace) -> Exit:
    if args.no_wait:
        context.terminal.emit({"rollout": name, "state": "requested"})
        context.terminal.progress(f"rollout {name} is asked for; `tidegate tick` does it")
        return Exit.OK
    return follow(context, name, through_probation=args.through_probation)


def _nothing_to_do(terminal: Terminal, champion: VersionRef) -> Exit:
    terminal.emit({"state": "nothing to do", "version": champion.version})
    terminal.say(f"this is version {champion.version}, which serves: nothing to do")
    return Exit.OK


def _check_clean(context: Context) -> None:
    changed = text(context.repository, "status", "--porcelain", "--untracked-files=no")
    if changed:
        raise ConfigError(
            f"files differ from the commit: {', '.join(line[3:] for line in changed.splitlines()[:3])}",
            remedy="Commit them: what serves must be what a commit makes. "
            "(`tidegate train` and `tidegate evaluate` also work on changed files.)",
        )


def _settled_before(context: Context, state: State, args: argparse.Namespace) -> Exit | None:
    """Return the exit code when this commit's rollout is known: repeat its end, or follow it."""
    head = context.head
    rollouts = (*((state.rollout,) if state.rollout else ()), *reversed(state.past))
    mine = next((r for r in rollouts if r.model.commit == head), None)
    if mine is None:
        return None
    if mine.phase is Phase.REVERTED:
        raise RefusedError(
            f"this commit's version {mine.model.version} was taken back",
            remedy="Push a change, or retry it by hand: "
            f"`tidegate release --retry {mine.model.version} --reason ...`.",
        )
    if mine.phase in (Phase.WITHDRAWN, Phase.REFUSED) and find_rollout(state, mine.id):
        return None  # releasable again
    if mine.ended_at is not None:
        return follow(context, mine.id)  # over: one pass, and its end again
    context.terminal.progress(f"rollout {mine.id} of this commit goes on")
    return _followed(context, mine.id, args)


def _trained(context: Context, recipe: str) -> RunRecord:
    """Return the bundle's record; train only when this recipe has no bundle yet."""
    try:
        record = run_record.read(context.bundle)
    except NotJudgedError:
        return train(context)
    if record.recipe != recipe or record.dirty:
        return train(context)
    context.terminal.progress("this recipe is trained already")
    return record


def _judged(context: Context, state: State, record: RunRecord) -> Outcome:
    """Return the gate's outcome; judge only what was not judged so: champion, rules, holdout."""
    serving = state.champion.digest if state.champion else None
    known = state.verdicts.get(record.model_digest)
    data = context.config.data
    holdout = content_of(context.path(data.holdout, "data.holdout"), data)
    same = (serving, context.config.rules_digest, holdout)
    again = known is not None and known.outcome == Outcome.ERROR  # what was wrong may be mended
    again = again and record.model_digest not in state.overridden
    try:
        evaluation = read_evaluation(context.bundle)
        stale = not is_current(evaluation, record, state) or bool(evaluation.silent)
        stale = stale or evaluation.file != record.holdout_digest  # the same rows, other features
    except NotJudgedError:
        stale = True
    decided = known and (known.champion, known.rules, known.holdout) == same
    if known and decided and not again and not stale:
        context.terminal.progress(f"judged already: {known.outcome}")
        return Outcome(known.outcome)
    if stale:
        evaluate(context)
    verdict = judge_bundle(context)
    show(context, verdict)
    return verdict.outcome
