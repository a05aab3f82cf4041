"""Letting models answer a case's rows, each in a process of its own, and checking what they said.

The contract with the user's command, or with :mod:`tidegate.score` for MLflow models:
``TIDEGATE_MODEL_DIR`` and the Parquet file ``TIDEGATE_INPUT`` in, the Parquet file ``TIDEGATE_OUTPUT``
(id, prediction) out, every id exactly once.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.cases import INPUT, Case, Scored, save_scored
from tidegate.digests import folder_digest
from tidegate.errors import ConfigError, NotJudgedError
from tidegate.process import commands_stopped, started
from tidegate.tables import read_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    import numpy.typing as npt

_CONTRACT = (
    "Write every id of TIDEGATE_INPUT exactly once to the Parquet file TIDEGATE_OUTPUT, with the "
    "columns id and prediction."
)


def score(case: Case, rows: Path, models: Mapping[str, Path], into: Path, code: Path) -> None:
    """Score the models (role -> folder) and write each one's answers to ``into/<role>``.

    They run side by side, or one by one when their latency is measured. ``rows`` is the case's
    folder, ``code`` the folder in which the user's command runs.

    Raises:
        NotJudgedError: a model failed, missed a row or answered one twice.
    """
    digests = {
        role: folder_digest(folder) for role, folder in models.items()
    }  # before any of it runs
    ids = read_table(rows / INPUT, [case.id])[case.id]
    with tempfile.TemporaryDirectory(prefix="tidegate-score-") as temporary:
        work = Path(temporary)
        desk = _Desk(case=case, rows=rows / INPUT, work=work, code=code)
        for group in [[role] for role in models] if case.timed else [list(models)]:
            with commands_stopped(), ExitStack() as stack:  # one failure ends them all
                waiting = {
                    role: stack.enter_context(desk.started(role, models[role])) for role in group
                }
                for role, finish in waiting.items():
                    finish()
                    answers = _joined(role, work / f"{role}.parquet", ids)
                    save_scored(into / role, _scored(case, role, digests[role], work, answers))


def _scored(
    case: Case, role: str, digest: str, work: Path, answers: npt.NDArray[np.float64]
) -> Scored:
    columns = _reported(work / f"{role}.columns.json")
    latency = _reported(work / f"{role}.latency.json")
    return Scored(
        role=role,
        model=digest,
        input=case.input,
        answers=answers,
        columns=None if columns is None else tuple(str(name) for name in columns),
        latency_ms=None if latency is None else tuple(float(took) for took in latency),
    )


def _reported(path: Path) -> list[Any] | None:
    found = json.loads(path.read_text()) if path.exists() else None
    return found if isinstance(found, list) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Desk:
    """Where models are scored: the rows, a folder for what they write, the user's code."""

    case: Case
    rows: Path
    work: Path
    code: Path

    def started(self, role: str, model: Path) -> AbstractContextManager[Callable[[], float]]:
        """Start one model's scoring, in a process of its own."""
        case, work = self.case, self.work
        env = {
            "TIDEGATE_MODEL_DIR": str(model),
            "TIDEGATE_INPUT": str(self.rows),
            "TIDEGATE_OUTPUT": str(work / f"{role}.parquet"),
            "TIDEGATE_ID": case.id,
            "TIDEGATE_TASK": case.task,
        }
        what = f"predicting with the {role}"
        if case.predict:
            return started(case.predict, what=what, folder=self.code, env=env, timeout=case.timeout)
        env["TIDEGATE_COLUMNS"] = str(work / f"{role}.columns.json")
        if case.timed:
            env["TIDEGATE_LATENCY"] = str(work / f"{role}.latency.json")
        return started(
            [sys.executable, "-m", "tidegate.score"],
            what=what, folder=Path.cwd(), env=env, timeout=case.timeout, log=work / f"{role}.log",
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


def hide(checkout: Path, names: Sequence[str]) -> None:
    """Take the rows with the truth, and the history that holds them, out of a throw-away checkout.

    The user's command then finds the rows it is given, and no others. Files outside are not ours.
    """
    top = checkout.resolve()
    for name in names:
        path = top / name
        if path.parent.resolve().is_relative_to(top) and (path.is_file() or path.is_symlink()):
            path.unlink()
    shutil.rmtree(top / ".git", ignore_errors=True)
