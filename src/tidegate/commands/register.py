"""``tidegate register``: give an accepted model exactly one version in the registry."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from tidegate import bundles, run_record
from tidegate.commands.context import Context, add_config, add_json
from tidegate.commands.recording import record
from tidegate.core.events import Registered
from tidegate.core.model import Outcome, VersionRef
from tidegate.digests import file_digest, folder_digest
from tidegate.errors import ConfigError, Exit, RefusedError
from tidegate.home import MODEL, PROFILE
from tidegate.ports import Registration
from tidegate.signing import TAG, Trust, sign, signing_key, statement

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
    parser.add_argument(
        "--sign", metavar="VERSION",
        help="sign a version registered before registry.public_key was set (with its private key)",
    )  # fmt: skip


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Register the candidate of the checked-out commit."""
    context = Context.of(args, terminal)
    model = sign_known(context, args.sign) if args.sign else register(context)
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
    state = context.ledger().read().state
    _check_accepted(state, trained)
    public = context.config.registry.public_key
    private = signing_key(public, os.environ) if public else None
    if folder_digest(bundle / MODEL) != trained.model_digest:
        raise RefusedError(f"{bundle / MODEL} was changed after it was judged")
    trust, name = context.trust(state), context.config.model.name
    model = next((v for v in state.versions if v.digest == trained.model_digest), None)
    if model is not None and trust.holds(name, model):
        return model
    if model is None:
        context.terminal.progress("register the model")
        model = VersionRef(
            version=context.registry().register(_registration(context, trained)),
            digest=trained.model_digest,
            recipe=trained.recipe,
            commit=trained.commit,
        )
    profile = file_digest(bundle / PROFILE) if (bundle / PROFILE).is_file() else ""
    _note(context, model, private, profile=profile)
    return model


def _note(
    context: Context, model: VersionRef, private: str | None, *, profile: str = "",
    person: str | None = None,
) -> None:  # fmt: skip
    """Write a version, with its signature where there is a key, into registry and ledger."""
    name = context.config.model.name
    signature = sign(statement(name, model), private) if private else ""
    if signature:
        context.registry().annotate(name, model.version, {TAG: signature})

    def registered(book: Book) -> Registered | None:
        signed = not signature or signature in book.state.signatures.get(model.digest, ())
        if model in book.state.versions and signed:
            return None
        return Registered(model=model, signature=signature, profile=profile)

    record(context.ledger(), registered, actor=person or "tidegate", human=person is not None)


def sign_known(context: Context, version: str) -> VersionRef:
    """Sign a version that was registered before there was a key, after verifying its bytes.

    Raises:
        ConfigError: no such version, no ``registry.public_key``, or not its private key.
        OutsideError: its bytes are not those that the ledger knows.
    """
    public = context.config.registry.public_key
    if public is None:
        raise ConfigError("nothing to sign for: mlops.yaml has no registry.public_key")
    private = signing_key(public, os.environ)
    known = {model.version: model for model in context.ledger().read().state.versions}
    if version not in known:
        raise ConfigError(f"no registered version {version}; known: {', '.join(known) or 'none'}")
    model = known[version]
    anyone = Trust(public_key=None)  # the bytes are verified all the same
    bundles.fetch(context.home, context.registry(), context.config.model.name, model, anyone)
    _note(context, model, private, person=context.actor)
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
    if trained.compute is not None:
        known = trained.cost_usd is not None
        tags["tidegate.compute"] = trained.compute
        tags["tidegate.cost"] = f"{trained.cost_usd:.4f} USD" if known else "unknown"
    return Registration(
        name=context.config.model.name,
        digest=trained.model_digest,
        bundle=context.bundle,
        tags=tags,
        params=trained.params,
        metrics=trained.metrics,
    )
