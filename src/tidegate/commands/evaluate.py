"""``tidegate evaluate``: candidate, champion and anchor answer the same holdout rows.

Each model runs in a process of its own and sees the rows without the truth; the truth is joined
by id afterwards, here.
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tidegate import bundles, run_record
from tidegate.commands.context import Context, add_config, add_json
from tidegate.digests import file_digest
from tidegate.errors import ConfigError, Exit, NotJudgedError
from tidegate.home import MEASUREMENTS, MODEL, PREDICTIONS
from tidegate.process import started
from tidegate.tables import read_table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    import numpy.typing as npt

    from tidegate.core.model import VersionRef
    from tidegate.core.state import State
    from tidegate.terminal import Terminal

SUMMARY = "let candidate and champion answer the same holdout rows, each in its own process"

_CONTRACT = (
    "Write every id of TIDEGATE_INPUT exactly once to the Parquet file TIDEGATE_OUTPUT, with the "
    "columns id and prediction."
)
_TAKEN = ("id", "y_true", "candidate", "champion", "anchor")
_LATENCY = "latency_p95_ms"
_SIZE = "model_size_mb"


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What was scored, by digest, and what was measured while scoring: metric -> role -> value."""

    candidate: str
    champion: str | None
    champion_version: str | None
    anchor: str | None
    holdout: str
    measurements: Mapping[str, Mapping[str, Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_config(parser)
    add_json(parser)


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Evaluate the candidate of the checked-out commit."""
    context = Context.of(args, terminal)
    done = evaluate(context)
    terminal.emit({"predictions": str(context.bundle / PREDICTIONS), **asdict(done)})
    against = f"champion {done.champion_version}" if done.champion else "no champion yet"
    terminal.say(f"scored {done.candidate[:12]} and {against} -> {context.bundle / PREDICTIONS}")
    return Exit.OK


def evaluate(context: Context) -> Evaluation:
    """Score everybody and write the predictions table into the candidate's bundle.

    Raises:
        NotJudgedError: a model failed, missed a row or answered one twice; or the holdout is older
            than the training rows.
    """
    bundle = context.bundle
    record = run_record.read(bundle)
    state = context.ledger().read().state
    (bundle / MEASUREMENTS).unlink(missing_ok=True)  # it says whose predictions stand beside it
    rows = _holdout(context)
    references = compared_with(state)
    models = {"candidate": bundle / MODEL, **_registered(context, references)}
    hidden = [c for c in (context.config.data.target,) if c and c in rows.column_names]
    inputs = rows.drop_columns(hidden)
    with tempfile.TemporaryDirectory(prefix="tidegate-score-") as folder:
        answers, latency = _score_all(context, inputs, models, Path(folder))
        used = _columns_used(Path(folder) / "candidate.columns.json", inputs)
    _write_predictions(context, rows, answers)
    bundles.save_parity(bundle, inputs.select(used), answers["candidate"])
    measurements: dict[str, dict[str, Any]] = {
        _SIZE: {role: _megabytes(path) for role, path in models.items()}
    }
    if latency:
        measurements[_LATENCY] = dict(latency)
    done = Evaluation(
        candidate=record.model_digest,
        champion=state.champion.digest if state.champion else None,
        champion_version=state.champion.version if state.champion else None,
        anchor=references["anchor"].digest if "anchor" in references else None,
        holdout=file_digest(context.path(context.config.data.holdout, "data.holdout")),
        measurements=measurements,
    )
    (bundle / MEASUREMENTS).write_text(json.dumps(asdict(done), indent=2) + "\n")
    return done


def read_evaluation(bundle: Path) -> Evaluation:
    """Read what :func:`evaluate` left in a bundle.

    Raises:
        NotJudgedError: nothing was evaluated there.
    """
    try:
        return Evaluation(**json.loads((bundle / MEASUREMENTS).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise NotJudgedError(
            f"{bundle / MEASUREMENTS}: {error}", remedy="Run `tidegate evaluate` first."
        ) from None


def _holdout(context: Context) -> pa.Table:
    """Return the holdout rows, checked: ids, truth, and not older than the training rows."""
    data = context.config.data
    path = context.path(data.holdout, "data.holdout")
    rows = read_table(path)
    for key, column in (("id", data.id), ("target", data.target), ("time", data.time)):
        if column is not None and column not in rows.column_names:
            raise ConfigError(f"{path}: no column {column!r} (data.{key} in mlops.yaml)")
    ids = rows[data.id]
    if rows.num_rows == 0:
        raise NotJudgedError(f"{path}: no rows")
    if ids.null_count or pc.count_distinct(ids).as_py() != rows.num_rows:
        raise NotJudgedError(f"{path}: the ids in {data.id!r} are not unique, or some are missing")
    if data.time is not None:
        _check_time(context, rows, data.time)
    return rows


def _check_time(context: Context, rows: pa.Table, column: str) -> None:
    train = read_table(context.path(context.config.data.train, "data.train"), [column])
    newest, oldest = pc.max(train[column]), pc.min(rows[column])
    if newest.type != oldest.type:
        raise NotJudgedError(
            f"{column} is {newest.type} in the training rows and {oldest.type} in the holdout",
            remedy="Write both with the same type: their order cannot be checked.",
        )
    if newest.as_py() is None or oldest.as_py() is None or oldest.as_py() < newest.as_py():
        raise NotJudgedError(
            f"the holdout begins at {oldest} and the training rows end at {newest}",
            remedy=f"No holdout row may be older than a training row ({column}): "
            "such a comparison flatters whoever saw the future.",
        )


def compared_with(state: State) -> dict[str, VersionRef]:
    """Return champion and anchor; an anchor that is the champion is not scored twice."""
    roles = {"champion": state.champion, "anchor": state.anchor}
    if state.anchor == state.champion:
        roles.pop("anchor")
    return {role: model for role, model in roles.items() if model is not None}


def _registered(context: Context, versions: Mapping[str, VersionRef]) -> dict[str, Path]:
    """Fetch the versions' bundles."""
    if not versions:
        return {}
    registry, name = context.registry(), context.config.model.name
    return {
        role: bundles.fetch(context.home, registry, name, model) / MODEL
        for role, model in versions.items()
    }


def _score_all(
    context: Context, inputs: pa.Table, models: Mapping[str, Path], folder: Path
) -> tuple[dict[str, npt.NDArray[np.float64]], dict[str, list[float]]]:
    """Score all models side by side, or one by one when their latency is measured."""
    pq.write_table(inputs, folder / "input.parquet")
    timed = any(rule.metric == _LATENCY for rule in context.config.gate.rules)
    for role in models:
        context.terminal.progress(f"score {inputs.num_rows} rows: {role}")
    ids = inputs[context.config.data.id]
    answers: dict[str, npt.NDArray[np.float64]] = {}
    for group in [[role] for role in models] if timed else [list(models)]:
        with ExitStack() as stack:  # one failure, or an interrupt, ends them all
            waiting = {
                role: stack.enter_context(
                    _started(context, role, models[role], folder, timed=timed)
                )
                for role in group
            }
            for role, finish in waiting.items():
                finish()
                answers[role] = _joined(role, folder / f"{role}.parquet", ids)
    latency = {
        role: json.loads(path.read_text())
        for role in models
        if (path := folder / f"{role}.latency.json").exists()
    }
    return answers, latency


def _columns_used(reported: Path, inputs: pa.Table) -> list[str]:
    """Return the columns that the model said it reads; all of them when it did not say."""
    named = json.loads(reported.read_text()) if reported.exists() else None
    return [name for name in named or inputs.column_names if name in inputs.column_names]


def _started(
    context: Context, role: str, model: Path, folder: Path, *, timed: bool
) -> AbstractContextManager[Callable[[], float]]:
    """Start one model's scoring, in a process of its own."""
    config = context.config
    env = {
        "TIDEGATE_MODEL_DIR": str(model),
        "TIDEGATE_INPUT": str(folder / "input.parquet"),
        "TIDEGATE_OUTPUT": str(folder / f"{role}.parquet"),
        "TIDEGATE_ID": config.data.id,
        "TIDEGATE_TASK": config.model.task,
    }
    what, timeout = f"predicting with the {role}", config.predict.timeout
    if config.predict.run:
        return started(
            config.predict.run, what=what, folder=context.folder, env=env, timeout=timeout
        )
    env["TIDEGATE_COLUMNS"] = str(folder / f"{role}.columns.json")
    if timed:
        env["TIDEGATE_LATENCY"] = str(folder / f"{role}.latency.json")
    return started(
        [sys.executable, "-m", "tidegate.score"],
        what=what, folder=Path.cwd(), env=env, timeout=timeout, log=folder / f"{role}.log",
    )  # fmt: skip


def _joined(role: str, output: Path, ids: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Return the predictions in the order of ``ids``; every id exactly once, or an error."""
    if not output.exists():
        raise NotJudgedError(f"the {role} wrote no predictions", remedy=_CONTRACT)
    try:
        table = read_table(output, ["id", "prediction"])
    except ConfigError as error:
        raise NotJudgedError(f"the {role}'s predictions: {error}", remedy=_CONTRACT) from None
    try:
        answered = table["id"].cast(ids.type).combine_chunks()
        values = table["prediction"].cast(pa.float64()).to_numpy()
    except pa.ArrowException as error:
        raise NotJudgedError(
            f"the {role}'s predictions are not numbers, or its ids not like those it was given: "
            f"{error}",
            remedy=_CONTRACT,
        ) from None
    position = pc.index_in(ids.combine_chunks(), value_set=answered)
    if table.num_rows != len(ids) or position.null_count:
        missing = position.null_count
        raise NotJudgedError(
            f"the {role} answered {table.num_rows} rows for {len(ids)} ids, {missing} of them missing",
            remedy=_CONTRACT,
        )
    return np.asarray(values[position.to_numpy()], dtype=np.float64)


def _write_predictions(
    context: Context, rows: pa.Table, answers: Mapping[str, npt.NDArray[np.float64]]
) -> None:
    data = context.config.data
    columns: dict[str, pa.ChunkedArray | pa.Array] = {"id": rows[data.id]}
    if data.target is not None:
        columns["y_true"] = rows[data.target]
    columns |= {role: pa.array(values) for role, values in answers.items()}
    for rule in context.config.gate.slices:
        for name in rule.by:
            if name not in rows.column_names:
                raise ConfigError(f"gate.slices: the holdout has no column {name!r}")
            if name in _TAKEN:
                raise ConfigError(
                    f"gate.slices: {name!r} is also a column of the predictions table",
                    remedy="Give the holdout's column another name.",
                )
            columns[name] = rows[name]
    pq.write_table(pa.table(columns), context.bundle / PREDICTIONS)


def _megabytes(folder: Path) -> float:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6
