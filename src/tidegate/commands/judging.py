"""Judging a candidate's bundle: the verdict, and its place in the ledger."""

from __future__ import annotations

import json
from statistics import fmean
from typing import TYPE_CHECKING, Any

from tidegate import pictures, run_record
from tidegate.commands.checking import data_findings, unanswered
from tidegate.commands.conditions import conditions
from tidegate.commands.evaluate import about, predictions, read_evaluation
from tidegate.commands.prepare import compared_with
from tidegate.commands.recording import record
from tidegate.core.events import Judged, Looked
from tidegate.core.gate import beats_anchor, judge
from tidegate.core.losses import LOSSY
from tidegate.core.losses import judge as loss_of
from tidegate.core.model import Digests, Verdict
from tidegate.core.pictures import picture
from tidegate.core.reuse import told
from tidegate.core.system import Measurements
from tidegate.errors import NotJudgedError
from tidegate.home import VERDICT
from tidegate.own_metrics import with_measured
from tidegate.render.verdict import document
from tidegate.render.verdict_table import text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate.book import Book
    from tidegate.commands.context import Context
    from tidegate.commands.evaluate import Evaluation
    from tidegate.core.losses import Prediction
    from tidegate.core.state import State
    from tidegate.core.table import Predictions
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
        loss_center=_loss_center(context, predictions(context)),
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
    verdict = _judged(context, trained, evaluation, state, unreachable=unreachable, advice=True)
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


def _judged(  # noqa: PLR0913 (what is judged, and for whom)
    context: Context,
    trained: RunRecord,
    evaluation: Evaluation,
    state: State,
    *,
    unreachable: bool = False,
    advice: bool = False,
) -> Verdict:
    """Judge what was evaluated and leave ``verdict.json`` in the bundle.

    Advice is told no finer than a holdout with a budget may give away.
    """
    bundle, config = context.bundle, context.config
    task = config.model.task
    table = predictions(context)
    what = about(context, evaluation, table)
    table = with_measured(table, config.gate, bundle, what)
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
        extra=[
            *unanswered(evaluation, table.n),
            *conditions(bundle, config, evaluation),
            *data_findings(context, state, evaluation.reads),
        ],
        use=state.use(evaluation.holdout, evaluation.candidate, config.rules_digest),
    )
    if advice:
        verdict = told(verdict, config.gate)
    (bundle / VERDICT).write_text(json.dumps(document(verdict), indent=2, allow_nan=False) + "\n")
    runner = context.terminal.runner
    drawn = (
        None
        if verdict.rounded
        else picture(  # a picture would tell what rounding hides
            table,
            task,
            names=config.model.classes,
            candidate=trained.model_digest,
            holdout=evaluation.holdout,
            with_rows=not (runner and runner.from_fork),
        )
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


def _loss_center(context: Context, table: Predictions) -> float | None:
    """Return the champion's mean loss on the holdout, divided by its bound; None if unknown."""
    task, guards = context.config.model.task, context.config.release.canary.guards
    if table.y_true is None or table.champion is None or task not in LOSSY:
        return None
    clip = next((guard.clip for guard in guards if guard.clip is not None), None)
    answers: list[Prediction] = table.champion.tolist()
    classes = [str(number) for number in range(table.champion.shape[-1])]
    losses = []
    for answer, truth in zip(answers, table.y_true.tolist(), strict=True):
        given = answer if isinstance(answer, float) else tuple(answer)
        try:
            losses.append(loss_of(task, given, truth, clip=clip, classes=classes).loss)
        except ValueError:  # no answer of this task: the verdict says so
            return None
    known = [loss for loss in losses if loss is not None]
    return fmean(known) if known else None
