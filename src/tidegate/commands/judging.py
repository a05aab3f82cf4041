"""Judging a candidate's bundle: the verdict, and its place in the ledger."""

from __future__ import annotations

import json
from statistics import fmean
from typing import TYPE_CHECKING, Any

from tidegate import pictures, run_record
from tidegate.commands.conditions import conditions
from tidegate.commands.evaluate import read_evaluation
from tidegate.commands.prepare import compared_with
from tidegate.commands.recording import record
from tidegate.core.events import Judged, Looked
from tidegate.core.gate import beats_anchor, judge
from tidegate.core.losses import judge as loss_of
from tidegate.core.model import Digests, Verdict
from tidegate.core.system import Measurements
from tidegate.core.pictures import picture
from tidegate.errors import NotJudgedError
from tidegate.home import PREDICTIONS, VERDICT
from tidegate.predictions import read
from tidegate.render.verdict import document
from tidegate.render.verdict_table import text
from tidegate.tables import read_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate.book import Book
    from tidegate.commands.context import Context
    from tidegate.commands.evaluate import Evaluation
    from tidegate.core.state import State
    from tidegate.run_record import RunRecord


def judge_bundle(context: Context) -> Verdict:
    """Judge the candidate of the checked-out commit; the verdict counts and stands in the ledger.

    Raises:
        NotJudgedError: nothing was evaluated, or against another champion than the one that serves.
    """
    trained, evaluation = run_record.read(context.bundle), read_evaluation(context.bundle)
    ledger = context.ledger()
    state = ledger.read().state
    _check_current(evaluation, trained, state)
    verdict = _judged(context, trained, evaluation, state)
    said = Judged(
        outcome=str(verdict.outcome),
        candidate=trained.model_digest,
        champion=state.champion.digest if state.champion else None,
        holdout=evaluation.holdout,
        rules=context.config.rules_digest,
        recipe=trained.recipe,
        commit=trained.commit,
        better=beats_anchor(verdict),
        loss_center=_loss_center(context),
    )

    def spoken(book: Book) -> Judged | None:
        return None if book.state.verdicts.get(said.candidate) == said else said

    record(ledger, spoken, actor="tidegate")
    return verdict


def advise(context: Context, *, pull: int | None, publish: bool) -> Verdict:
    """Judge the candidate of a pull request: advice, no more.

    Args:
        context: at the request's merge commit, with the rules of its base.
        pull: its number.
        publish: write into the ledger that the holdout was looked at; False where we may not write.

    Raises:
        NotJudgedError: as :func:`judge_bundle`.
    """
    trained, evaluation = run_record.read(context.bundle), read_evaluation(context.bundle)
    ledger = context.ledger()
    state = ledger.read().state
    unreachable = state.champion is not None and evaluation.champion is None
    if not unreachable:
        _check_current(evaluation, trained, state)
    verdict = _judged(context, trained, evaluation, state, unreachable=unreachable)
    if publish:
        look = Looked(
            outcome=str(verdict.outcome),
            candidate=trained.model_digest,
            holdout=evaluation.holdout,
            rules=context.config.rules_digest,
            commit=trained.commit,
            pull=pull,
        )
        record(ledger, lambda book: unseen(book, look), actor="tidegate")
    return verdict


def unseen(book: Book, look: Looked) -> Looked | None:
    """Return the look, unless this very decision is counted already."""
    seen = book.state.looks.get(look.holdout, ())
    return None if f"{look.candidate}/{look.rules}" in seen else look


def _judged(
    context: Context,
    trained: RunRecord,
    evaluation: Evaluation,
    state: State,
    *,
    unreachable: bool = False,
) -> Verdict:
    """Judge what was evaluated and leave ``verdict.json`` in the bundle."""
    bundle, config = context.bundle, context.config
    task = config.model.task
    table = read(bundle / PREDICTIONS, task=task, by=config.gate.columns)
    verdict = judge(
        table,
        config.gate,
        task=task,
        measured=Measurements(
            candidate=_of(evaluation.measurements, "candidate"),
            champion=_of(evaluation.measurements, "champion"),
            in_turns=evaluation.in_turns,
        ),
        digests=Digests(
            candidate=trained.model_digest,
            champion=state.champion.digest if state.champion else None,
            anchor=state.anchor.digest if state.anchor else None,
            holdout=evaluation.holdout,
            rules=config.rules_digest,
            code=trained.commit,
        ),
        first_release=state.champion is None,
        champion_out_of_reach=unreachable,
        extra=list(conditions(bundle, config, evaluation)),
        use=state.use(evaluation.holdout, evaluation.candidate, config.rules_digest),
    )
    (bundle / VERDICT).write_text(json.dumps(document(verdict), indent=2, allow_nan=False) + "\n")
    runner = context.terminal.runner
    drawn = picture(
        table,
        task,
        names=config.model.classes,
        candidate=trained.model_digest,
        holdout=evaluation.holdout,
        with_rows=not (runner and runner.from_fork),
    )
    pictures.save(bundle, drawn)
    return verdict


def _check_current(evaluation: Evaluation, trained: RunRecord, state: State) -> None:
    if not is_current(evaluation, trained, state):
        raise NotJudgedError(
            "the predictions are of other models than candidate, champion and anchor",
            remedy="Another version was promoted meanwhile. Run `tidegate evaluate` again (on "
            "GitHub: re-run all jobs).",
        )


def is_current(evaluation: Evaluation, trained: RunRecord, state: State) -> bool:
    """Whether the predictions are of this candidate and of what it is compared with now."""
    wanted = compared_with(state)
    references = {"champion": evaluation.champion, "anchor": evaluation.anchor}
    scored = {role: digest for role, digest in references.items() if digest is not None}
    return evaluation.candidate == trained.model_digest and scored == {
        role: model.digest for role, model in wanted.items()
    }


def show(context: Context, verdict: Verdict) -> None:
    """Print the verdict for a person, on standard error: standard output is the command's own."""
    for line in text(verdict).splitlines():
        context.terminal.progress(line)


def _of(measurements: Mapping[str, Mapping[str, Any]], role: str) -> dict[str, Any]:
    return {metric: roles[role] for metric, roles in measurements.items() if role in roles}


def _loss_center(context: Context) -> float | None:
    """Return the champion's mean loss on the holdout, divided by its bound; None if unknown."""
    table = read_table(context.bundle / PREDICTIONS)
    if not {"y_true", "champion"} <= set(table.column_names):
        return None
    task, guards = context.config.model.task, context.config.release.canary.guards
    clip = next((guard.clip for guard in guards if guard.clip is not None), None)
    pairs = zip(table["champion"].to_pylist(), table["y_true"].to_pylist(), strict=True)
    losses = [loss_of(task, float(p), float(y), clip=clip).loss for p, y in pairs]
    known = [loss for loss in losses if loss is not None]
    return fmean(known) if known else None
