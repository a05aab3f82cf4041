"""``tidegate evaluate``: candidate, champion and anchor answer the same holdout rows.

Each model runs in a process of its own and sees the rows without the truth; the truth is joined
by id afterwards, here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tidegate import bundles, run_record
from tidegate.commands.context import Context, add_config, add_json
from tidegate.errors import ConfigError, Exit, NotJudgedError
from tidegate.home import MEASUREMENTS, MODEL, PREDICTIONS
from tidegate.process import run_command
from tidegate.tables import read_table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    import numpy.typing as npt

    from tidegate.core.model import VersionRef
    from tidegate.terminal import Terminal

SUMMARY = "let candidate and champion answer the same holdout rows, each in its own process"

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
    rows = _holdout(context)
    models = {"candidate": bundle / MODEL}
    models |= _registered(context, {"champion": state.champion, "anchor": state.anchor})
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
        anchor=state.anchor.digest if "anchor" in models and state.anchor else None,
        holdout=record.holdout_digest,
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
    if newest.as_py() is None or oldest.as_py() is None or oldest.as_py() < newest.as_py():
        raise NotJudgedError(
            f"the holdout begins at {oldest} and the training rows end at {newest}",
            remedy=f"No holdout row may be older than a training row ({column}): "
            "such a comparison flatters whoever saw the future.",
        )


def _registered(context: Context, versions: Mapping[str, VersionRef | None]) -> dict[str, Path]:
    """Fetch the champion and the anchor; an anchor that is the champion is not scored twice."""
    present = {role: model for role, model in versions.items() if model is not None}
    if present.get("anchor") == present.get("champion"):
        present.pop("anchor", None)
    if not present:
        return {}
    registry, name = context.registry(), context.config.model.name
    return {
        role: bundles.fetch(context.home, registry, name, model) / MODEL
        for role, model in present.items()
    }


def _score_all(
    context: Context, inputs: pa.Table, models: Mapping[str, Path], folder: Path
) -> tuple[dict[str, npt.NDArray[np.float64]], dict[str, list[float]]]:
    """Score all models side by side, or one by one when their latency is measured."""
    pq.write_table(inputs, folder / "input.parquet")
    timed = any(rule.metric == _LATENCY for rule in context.config.gate.rules)
    for role in models:
        context.terminal.progress(f"score {inputs.num_rows} rows: {role}")
    with ThreadPoolExecutor(max_workers=1 if timed else len(models)) as pool:
        futures = {
            role: pool.submit(_score, context, role, model, folder, timed=timed)
            for role, model in models.items()
        }
        ids = inputs[context.config.data.id]
        answers = {role: _joined(role, future.result(), ids) for role, future in futures.items()}
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


def _score(context: Context, role: str, model: Path, folder: Path, *, timed: bool) -> Path:
    output = folder / f"{role}.parquet"
    config = context.config
    env = {
        "TIDEGATE_MODEL_DIR": str(model),
        "TIDEGATE_INPUT": str(folder / "input.parquet"),
        "TIDEGATE_OUTPUT": str(output),
        "TIDEGATE_ID": config.data.id,
        "TIDEGATE_TASK": config.model.task,
    }
    what = f"predicting with the {role}"
    if config.predict.run:
        run_command(
            config.predict.run, what=what, folder=context.folder, env=env,
            timeout=config.predict.timeout,
        )  # fmt: skip
        return output
    env["TIDEGATE_COLUMNS"] = str(folder / f"{role}.columns.json")
    if timed:
        env["TIDEGATE_LATENCY"] = str(folder / f"{role}.latency.json")
    _score_mlflow(what, env, config.predict.timeout)
    return output


def _score_mlflow(what: str, env: Mapping[str, str], timeout: float) -> None:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tidegate.score"],
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        raise NotJudgedError(f"{what} took longer than {timeout:g} s") from None
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise NotJudgedError(f"{what} failed: {last[0]}")


def _joined(role: str, output: Path, ids: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Return the predictions in the order of ``ids``; every id exactly once, or an error."""
    table = read_table(output, ["id", "prediction"]) if output.exists() else None
    if table is None:
        raise NotJudgedError(f"the {role} wrote no predictions")
    position = pc.index_in(ids.combine_chunks(), value_set=table["id"].combine_chunks())
    if table.num_rows != len(ids) or position.null_count:
        missing = position.null_count
        raise NotJudgedError(
            f"the {role} answered {table.num_rows} rows for {len(ids)} ids, {missing} of them missing",
            remedy="Write every id of TIDEGATE_INPUT exactly once to TIDEGATE_OUTPUT.",
        )
    order = position.to_numpy()
    if len(np.unique(order)) != len(order):
        raise NotJudgedError(f"the {role} answered some id twice")
    try:
        values = table["prediction"].cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid as error:
        raise NotJudgedError(f"the {role}'s predictions are not numbers: {error}") from None
    return np.asarray(values[order], dtype=np.float64)


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
            columns[name] = rows[name]
    pq.write_table(pa.table(columns), context.bundle / PREDICTIONS)


def _megabytes(folder: Path) -> float:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6
