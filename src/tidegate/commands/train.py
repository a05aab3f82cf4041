"""``tidegate train``: the user's checks, the user's training command, one model in a bundle."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.commands.context import Context, add_config, add_json
from tidegate.commands.training import Facts, keep, recipe_of
from tidegate.core.clouds import Where
from tidegate.digests import file_digest
from tidegate.errors import Exit, NotJudgedError
from tidegate.process import run_command

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from tidegate.run_record import RunRecord
    from tidegate.terminal import Terminal

__all__ = ["recipe_of", "train"]

SUMMARY = "run your checks and your training command, and keep the one model it made"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_config(parser)
    add_json(parser)
    parser.add_argument(
        "--hide-holdout", action="store_true",
        help="take the holdout out of the work tree while the user's code runs",
    )  # fmt: skip


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Train the checked-out commit."""
    context = Context.of(args, terminal)
    bundle = context.bundle
    record = train(context, hide_holdout=args.hide_holdout)
    terminal.outputs(bundle=str(bundle), model=record.model_digest)
    terminal.emit({"bundle": str(bundle), "model": record.model_digest,
                   "seconds": round(record.duration, 1), "metrics": dict(record.metrics),
                   "compute": record.compute, "job": record.job,
                   "billed_seconds": record.billed_seconds, "cost_usd": record.cost_usd})  # fmt: skip
    terminal.say(
        f"trained {record.model_digest[:12]} in {record.duration:.1f} s "
        f"({record.model_size_mb:.2f} MB) -> {bundle}"
    )
    return Exit.OK


def train(context: Context, *, hide_holdout: bool = False) -> RunRecord:
    """Run checks and training, here or where ``train.compute`` says; leave a bundle, or nothing.

    With ``hide_holdout`` the user's code runs without the holdout in the work tree: an honest script
    cannot peek by mistake. (Against a dishonest one only the scoring in other jobs helps.)

    Raises:
        NotJudgedError: a check or the training failed, or left no single model.
        OutsideError: the service that trains failed; run again, it goes on.
    """
    bundle = context.bundle  # by the commit that is checked out now
    work = bundle.with_name(f"{bundle.name}.part")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        if context.config.train.compute is Where.RUNNER:
            record = _train_here(context, work, hide_holdout=hide_holdout)
        else:
            from tidegate.commands.training_elsewhere import train_elsewhere

            record = train_elsewhere(context, work)
        shutil.rmtree(bundle, ignore_errors=True)
        (work / "bundle").rename(bundle)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return record


def _train_here(context: Context, work: Path, *, hide_holdout: bool) -> RunRecord:
    from tidegate.adapters.tracking.mlflow import open_run, read_run

    config = context.config
    # Asked before the user's code runs, which can change what git says and what git runs.
    facts = Facts.of(context)
    # A name of its own: MLflow keeps connections by path, also to a store that is gone.
    store = Path(tempfile.mkdtemp(prefix="tracking-", dir=work))
    opened = open_run(store, template=context.home.root / "tracking" / "empty")
    folder = work / "model"
    folder.mkdir()
    env = {
        **opened.environment,
        "TIDEGATE_MODEL_DIR": str(folder),
        "TIDEGATE_TRAIN": str(facts.train),
    }
    with _out_of_sight(facts.holdout, work, context) if hide_holdout else nullcontext():
        for check in config.checks:
            context.terminal.progress(f"check: {check.run}")
            run_command(
                check.run, what="a check", folder=context.folder, env={}, timeout=check.timeout
            )
        context.terminal.progress(f"train: {config.train.run}")
        duration = run_command(
            config.train.run, what="training", folder=context.folder, env=env,
            timeout=config.train.timeout,
        )  # fmt: skip
    if file_digest(facts.holdout) != facts.holdout_digest:
        raise NotJudgedError(
            f"training changed the holdout rows in {facts.holdout}",
            remedy="Who trains must not choose the rows it is judged on: make them elsewhere.",
        )
    logged = read_run(opened)
    return keep(work / "bundle", facts, folder, logged, duration=duration)


@contextmanager
def _out_of_sight(holdout: Path, work: Path, context: Context) -> Iterator[None]:
    context.terminal.progress(f"{holdout.name} is not there while your code runs: it judges it")
    aside = work / "holdout"
    shutil.move(holdout, aside)
    try:
        yield
    finally:
        holdout.unlink(missing_ok=True)
        shutil.move(aside, holdout)
