"""``tidegate train``: the user's checks, the user's training command, one model in a bundle."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate import run_record
from tidegate.commands.context import Context, add_config, add_json
from tidegate.digests import file_digest, folder_digest, recipe_digest
from tidegate.errors import Exit, NotJudgedError, OutsideError
from tidegate.git import text
from tidegate.home import MODEL
from tidegate.process import run_command
from tidegate.run_record import RunRecord

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from tidegate.adapters.tracking.mlflow import Logged
    from tidegate.terminal import Terminal

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
                   "seconds": round(record.duration, 1), "metrics": dict(record.metrics)})  # fmt: skip
    terminal.say(
        f"trained {record.model_digest[:12]} in {record.duration:.1f} s "
        f"({record.model_size_mb:.2f} MB) -> {bundle}"
    )
    return Exit.OK


def train(context: Context, *, hide_holdout: bool = False) -> RunRecord:
    """Run checks and training; leave a bundle, or nothing.

    With ``hide_holdout`` the user's code runs without the holdout in the work tree: an honest script
    cannot peek by mistake. (Against a dishonest one only the scoring in other jobs helps.)

    Raises:
        NotJudgedError: a check or the training failed, or left no single model.
    """
    bundle = context.bundle  # by the commit that is checked out now
    work = bundle.with_name(f"{bundle.name}.part")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        record = _train_in(context, work, hide_holdout=hide_holdout)
        shutil.rmtree(bundle, ignore_errors=True)
        (work / "bundle").rename(bundle)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return record


def _train_in(context: Context, work: Path, *, hide_holdout: bool) -> RunRecord:
    from tidegate.adapters.tracking.mlflow import open_run, read_run

    config, started = context.config, time.time()
    train_data = context.path(config.data.train, "data.train")
    holdout = context.path(config.data.holdout, "data.holdout")
    train_digest, holdout_digest = file_digest(train_data), file_digest(holdout)
    # A name of its own: MLflow keeps connections by path, also to a store that is gone.
    # Asked before the user's code runs, which can change what git says and what git runs.
    commit, recipe = context.head, recipe_of(context)
    dirty = bool(text(context.repository, "status", "--porcelain", "--untracked-files=no"))
    store = Path(tempfile.mkdtemp(prefix="tracking-", dir=work))
    opened = open_run(store, template=context.home.root / "tracking" / "empty")
    folder = work / "model"
    folder.mkdir()
    env = {
        **opened.environment,
        "TIDEGATE_MODEL_DIR": str(folder),
        "TIDEGATE_TRAIN": str(train_data),
    }
    with _out_of_sight(holdout, work, context) if hide_holdout else nullcontext():
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
    if file_digest(holdout) != holdout_digest:
        raise NotJudgedError(
            f"training changed the holdout rows in {holdout}",
            remedy="Who trains must not choose the rows it is judged on: make them elsewhere.",
        )
    logged = read_run(opened)
    bundle = work / "bundle"
    bundle.mkdir()
    model_digest = _kept(_only_model(folder, logged), bundle / MODEL)
    record = RunRecord(
        commit=commit,
        dirty=dirty,
        recipe=recipe,
        config_digest=config.digest,
        rules_digest=config.rules_digest,
        train_digest=train_digest,
        holdout_digest=holdout_digest,
        model_digest=model_digest,
        model_size_mb=_size(bundle / MODEL) / 1e6,
        params=logged.params,
        metrics=logged.metrics,
        environment=_environment(bundle / MODEL),
        started_at=started,
        duration=duration,
    )
    run_record.save(bundle, record)
    return record


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


def recipe_of(context: Context) -> str:
    """Return the digest of what the checked-out commit would train."""
    data = context.config.data
    digests = [
        file_digest(context.path(data.train, "data.train")),
        file_digest(context.path(data.holdout, "data.holdout")),
    ]
    paths = context.config.train.paths
    return recipe_digest(context.repository, context.folder, context.config.digest, digests, paths)


def _only_model(folder: Path, logged: Logged) -> Path:
    """Return the folder of the one model that training left."""
    saved = folder.is_dir() and any(folder.iterdir())
    folders = [*([folder] if saved else []), *logged.models]
    if not folders:
        raise NotJudgedError(
            "training ended well but left no model",
            remedy="Log it with two lines (`import mlflow`, `mlflow.sklearn.log_model(model, "
            'name="model")`), or save a model folder at $TIDEGATE_MODEL_DIR.',
        )
    if len(folders) > 1:
        raise NotJudgedError(
            f"training left {len(folders)} models, and only one can be judged",
            remedy="Log one model (with autologging on, do not log it again), or save just one "
            "at $TIDEGATE_MODEL_DIR.",
        )
    return folders[0]


def _kept(model: Path, into: Path) -> str:
    """Copy a model folder into the bundle and return its digest.

    Raises:
        NotJudgedError: it holds no files, or something else than regular files: a link's target
            is not part of what was judged, and may be anywhere.
    """
    try:
        digest = folder_digest(model)
    except OutsideError as error:
        raise NotJudgedError(
            f"the model cannot be kept: {error}",
            remedy="Save copies of files, not links, into the model's folder.",
        ) from None
    shutil.copytree(model, into)
    return digest


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _environment(model: Path) -> dict[str, str]:
    requirements = model / "requirements.txt"
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": str(os.cpu_count()),
        **(
            {"requirements": requirements.read_text(errors="replace")}
            if requirements.is_file()
            else {}
        ),
    }
