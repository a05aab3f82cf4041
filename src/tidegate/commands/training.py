"""What training here and training elsewhere share: what went in, and the one model that came out."""

from __future__ import annotations

import os
import platform
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tidegate import run_record
from tidegate.digests import file_digest, folder_digest, recipe_digest
from tidegate.errors import NotJudgedError, OutsideError
from tidegate.git import text
from tidegate.home import MODEL
from tidegate.run_record import RunRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tidegate.commands.context import Context


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What is known before training starts."""

    commit: str
    dirty: bool
    recipe: str
    config_digest: str
    rules_digest: str
    train: Path
    train_digest: str
    holdout: Path
    holdout_digest: str
    started_at: float

    @classmethod
    def of(cls, context: Context) -> Facts:
        """Return them for the checked-out commit.

        Raises:
            OutsideError: training or holdout rows cannot be read.
        """
        config, started = context.config, time.time()
        train = context.path(config.data.train, "data.train")
        holdout = context.path(config.data.holdout, "data.holdout")
        train_digest, holdout_digest = file_digest(train), file_digest(holdout)
        changed = text(context.repository, "status", "--porcelain", "--untracked-files=no")
        return cls(
            commit=context.head,
            dirty=bool(changed),
            recipe=recipe_of(context),
            config_digest=config.digest,
            rules_digest=config.rules_digest,
            train=train,
            train_digest=train_digest,
            holdout=holdout,
            holdout_digest=holdout_digest,
            started_at=started,
        )


class Logged(Protocol):
    """What was logged to MLflow; ``models`` are the folders of the models, in order."""

    @property
    def params(self) -> Mapping[str, str]:
        """Parameters."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """Metrics, finite ones."""

    @property
    def models(self) -> Sequence[Path]:
        """The folders of the models, in the order in which they were logged."""


def keep(  # noqa: PLR0913 (what a bundle is made of)
    bundle: Path,
    facts: Facts,
    saved: Path,
    logged: Logged,
    *,
    duration: float,
    machine: Mapping[str, str] | None = None,
    **elsewhere: Any,
) -> RunRecord:
    """Make the bundle of the one model that training left, and return its record.

    Args:
        bundle: the new folder.
        facts: what went in.
        saved: the folder that was TIDEGATE_MODEL_DIR.
        logged: what MLflow was told.
        duration: seconds that the training command took.
        machine: what it ran on; None: this machine.
        elsewhere: the record's fields about a service that trained.

    Raises:
        NotJudgedError: there is no model or more than one, or it is no folder of plain files.
    """
    bundle.mkdir()
    model_digest = _kept(_only_model(saved, logged), bundle / MODEL)
    record = RunRecord(
        commit=facts.commit,
        dirty=facts.dirty,
        recipe=facts.recipe,
        config_digest=facts.config_digest,
        rules_digest=facts.rules_digest,
        train_digest=facts.train_digest,
        holdout_digest=facts.holdout_digest,
        model_digest=model_digest,
        model_size_mb=_size(bundle / MODEL) / 1e6,
        params=logged.params,
        metrics=logged.metrics,
        environment=_environment(bundle / MODEL, machine or _this_machine()),
        started_at=facts.started_at,
        duration=duration,
        **elsewhere,
    )
    run_record.save(bundle, record)
    return record


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


def _this_machine() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": str(os.cpu_count()),
    }


def _environment(model: Path, machine: Mapping[str, str]) -> dict[str, str]:
    requirements = model / "requirements.txt"
    if not requirements.is_file():
        return dict(machine)
    return {**machine, "requirements": requirements.read_text(errors="replace")}
