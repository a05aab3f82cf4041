"""``tidegate register``: give an accepted model exactly one version in the registry."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from tidegate import run_record
from tidegate.commands.context import Context, add_config, add_json
from tidegate.commands.recording import record
from tidegate.core.events import Registered
from tidegate.core.model import Outcome, VersionRef
from tidegate.digests import folder_digest
from tidegate.errors import Exit, RefusedError
from tidegate.home import MODEL
from tidegate.ports import Registration

if TYPE_CHECKING:
    import argparse

    from tidegate.book import Book
    from tidegate.core.state import State
    from tidegate.run_record import RunRecord
    from tidegate.terminal import Terminal

SUMMARY = "register the accepted candidate: one version per model digest, lineage in its tags"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_config(parser)
    add_json(parser)


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Register the candidate of the checked-out commit."""
    context = Context.of(args, terminal)
    model = register(context)
    terminal.emit(asdict(model))
    terminal.say(f"{context.config.model.name} version {model.version} ({model.digest[:12]})")
    return Exit.OK


def register(context: Context) -> VersionRef:
    """Register the bundle of the checked-out commit and write its version into the ledger.

    Raises:
        RefusedError: no passing verdict (or override) for these very bytes, or a dirty work tree.
        OutsideError: the registry or the ledger failed; calling again continues.
    """
    bundle = context.bundle
    trained = run_record.read(bundle)
    ledger = context.ledger()
    state = ledger.read().state
    _check_accepted(state, trained)
    if folder_digest(bundle / MODEL) != trained.model_digest:
        raise RefusedError(f"{bundle / MODEL} was changed after it was judged")
    for known in state.versions:
        if known.digest == trained.model_digest:
            return known
    context.terminal.progress("register the model")
    version = context.registry().register(_registration(context, trained))
    model = VersionRef(
        version=version,
        digest=trained.model_digest,
        recipe=trained.recipe,
        commit=trained.commit,
    )

    def registered(book: Book) -> Registered | None:
        return None if model in book.state.versions else Registered(model=model)

    record(ledger, registered, actor="tidegate")
    return model


def _check_accepted(state: State, trained: RunRecord) -> None:
    if trained.dirty:
        raise RefusedError(
            "the model was trained from files that differ from the commit",
            remedy="Commit them and run again: what serves must be what a commit makes.",
        )
    verdict = state.verdicts.get(trained.model_digest)
    if trained.model_digest in state.overridden:
        return
    if verdict is None:
        raise RefusedError(
            f"model {trained.model_digest[:12]} has not been judged",
            remedy="Run `tidegate evaluate` and `tidegate gate` first.",
        )
    if verdict.outcome != Outcome.PASS:
        raise RefusedError(
            f"the gate's verdict on model {trained.model_digest[:12]} is {verdict.outcome}",
            remedy="Only a pass is registered; a person can let it through with "
            "`tidegate override --reason ...`.",
        )


def _registration(context: Context, trained: RunRecord) -> Registration:
    tags = {
        "tidegate.commit": trained.commit,
        "tidegate.recipe": trained.recipe,
        "tidegate.config": trained.config_digest,
        "tidegate.train_data": trained.train_digest,
        "tidegate.holdout": trained.holdout_digest,
        "tidegate.duration_s": f"{trained.duration:.1f}",
        "tidegate.by": context.actor,
    }
    return Registration(
        name=context.config.model.name,
        digest=trained.model_digest,
        bundle=context.bundle,
        tags=tags,
        params=trained.params,
        metrics=trained.metrics,
    )
