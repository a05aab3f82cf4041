"""Judging a candidate's bundle: the verdict, and its place in the ledger."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tidegate import run_record
from tidegate.commands.evaluate import compared_with, read_evaluation
from tidegate.commands.recording import record
from tidegate.core.events import Judged
from tidegate.core.gate import beats_anchor, judge
from tidegate.core.model import Digests, Verdict
from tidegate.errors import NotJudgedError
from tidegate.home import PREDICTIONS, VERDICT
from tidegate.predictions import read
from tidegate.render.verdict import document
from tidegate.render.verdict_table import text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate.book import Book
    from tidegate.commands.context import Context
    from tidegate.commands.evaluate import Evaluation
    from tidegate.core.state import State
    from tidegate.run_record import RunRecord


def judge_bundle(context: Context) -> Verdict:
    """Judge the candidate of the checked-out commit and write the verdict down.

    Raises:
        NotJudgedError: nothing was evaluated, or against another champion than the one that serves.
    """
    bundle, config = context.bundle, context.config
    trained, evaluation = run_record.read(bundle), read_evaluation(bundle)
    ledger = context.ledger()
    state = ledger.read().state
    serving = state.champion.digest if state.champion else None
    if not is_current(evaluation, trained, state):
        raise NotJudgedError(
            "the predictions are of other models than candidate, champion and anchor",
            remedy="Run `tidegate evaluate` again.",
        )
    by = tuple(dict.fromkeys(name for rule in config.gate.slices for name in rule.by))
    task = config.model.task
    judged = Judged(
        outcome="",
        candidate=trained.model_digest,
        champion=serving,
        holdout=evaluation.holdout,
        rules=config.rules_digest,
        recipe=trained.recipe,
        commit=trained.commit,
    )
    verdict = judge(
        read(bundle / PREDICTIONS, task=task, by=by),
        config.gate,
        task=task,
        measurements=_of(evaluation.measurements, "candidate"),
        champion_measurements=_of(evaluation.measurements, "champion"),
        digests=Digests(
            candidate=judged.candidate,
            champion=serving,
            anchor=state.anchor.digest if state.anchor else None,
            holdout=judged.holdout,
            rules=judged.rules,
            code=trained.commit,
        ),
        first_release=state.champion is None,
        holdout_uses=_uses(state, judged),
    )
    (bundle / VERDICT).write_text(json.dumps(document(verdict), indent=2, allow_nan=False) + "\n")

    def spoken(book: Book) -> Judged | None:
        known = book.state.verdicts.get(judged.candidate)
        said = replace(judged, outcome=str(verdict.outcome), better=beats_anchor(verdict))
        return None if known == said else said

    record(ledger, spoken, actor="tidegate")
    return verdict


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


def _uses(state: State, judged: Judged) -> int:
    """Return how many decisions the holdout has served, this one included."""
    decision = f"{judged.candidate}/{judged.rules}"
    return len(state.looks.get(judged.holdout, frozenset()) | {decision})
