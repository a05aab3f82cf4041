"""Letting models answer a case's rows, each in a process of its own, and checking what they said.

The contract with the user's command, or with :mod:`tidegate.score` for MLflow models:
``TIDEGATE_MODEL_DIR`` and the Parquet file ``TIDEGATE_INPUT`` in, the Parquet file ``TIDEGATE_OUTPUT``
(id, prediction) out, every id exactly once.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.cases import INPUT, Case, Scored, save_scored
from tidegate.columns import INTERVAL, is_list, lists, shown
from tidegate.core.config import Environment
from tidegate.core.model import Task
from tidegate.digests import folder_digest
from tidegate.environments import Interpreter, interpreter
from tidegate.errors import ConfigError, NotJudgedError
from tidegate.process import commands_stopped, started
from tidegate.tables import read_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    import numpy.typing as npt

_CONTRACT = (
    "Write every id of TIDEGATE_INPUT exactly once to the Parquet file TIDEGATE_OUTPUT, with the "
    "columns id and prediction (a number, or a list of probabilities in the order of TIDEGATE_CLASSES)."
)


class ModelFailedError(NotJudgedError):
    """One model did not answer; ``role`` says which."""

    def __init__(self, role: str, error: NotJudgedError) -> None:
        super().__init__(str(error), remedy=error.remedy)
        self.role = role


@contextmanager
def _told_whose(role: str) -> Iterator[None]:
    try:
        yield
    except NotJudgedError as error:
        raise ModelFailedError(role, error) from None


def score(  # noqa: PLR0913 (what is scored, and where)
    case: Case,
    rows: Path,
    models: Mapping[str, Path],
    into: Path,
    code: Path,
    *,
    environments: Path,
    say: Callable[[str], None] = lambda _: None,
) -> bool:
    """Score the models (role -> folder) and write each one's answers to ``into/<role>``.

    They run side by side; where their latency is measured, they are timed in turns, and the return
    value says whether they were. ``rows`` is the case's
    folder, ``code`` the folder in which the user's command runs, ``environments`` where what a
    model recorded to run in is built and kept; ``say`` is told of that.

    Raises:
        ModelFailedError: a model failed, missed a row or answered one twice, or its environment cannot
            be had and nothing else will do. The answers of those before it are written.
    """
    digests = {
        role: folder_digest(folder) for role, folder in models.items()
    }  # before any of it runs
    places = {}
    for role, folder in models.items():
        with _told_whose(role):
            places[role] = _place(case, role, folder, environments, say)
    ids = read_table(rows / INPUT, [case.id])[case.id]
    with tempfile.TemporaryDirectory(prefix="tidegate-score-") as temporary:
        work = Path(temporary)
        desk = _Desk(case=case, rows=rows / INPUT, work=work, code=code, models=len(models))
        desk.turns.mkdir()
        with commands_stopped(), ExitStack() as stack:  # one failure ends them all
            waiting = {
                role: stack.enter_context(desk.started(role, models[role], places[role]))
                for role in models
            }
            for role, finish in waiting.items():
                with _told_whose(role):
                    finish()
                    answers = _joined(role, work / f"{role}.parquet", ids, case)
                scored = _scored(
                    case, role, digests[role], work, answers=answers, place=places[role]
                )
                save_scored(into / role, scored)
        return case.timed and not case.predict and not (desk.turns / "apart").exists()


def _place(
    case: Case, role: str, model: Path, environments: Path, say: Callable[[str], None]
) -> Interpreter | None:
    """Return what a model runs in; None where the user's command sees to that."""
    if case.predict:
        return None
    place = interpreter(
        model, Environment(case.environment), environments, say=lambda text: say(f"{role}: {text}")
    )
    if place.note:
        say(f"{role} in the engine's environment: {place.note}")
    return place


def _scored(  # noqa: PLR0913 (all that is known of one model's answers)
    case: Case,
    role: str,
    digest: str,
    work: Path,
    *,
    answers: npt.NDArray[np.float64],
    place: Interpreter | None,
) -> Scored:
    columns = _reported(work / f"{role}.columns.json")
    latency = _reported(work / f"{role}.latency.json")
    memory = work / f"{role}.memory.json"
    return Scored(
        role=role,
        model=digest,
        input=case.input,
        answers=answers,
        columns=None if columns is None else tuple(str(name) for name in columns),
        latency_ms=None if latency is None else tuple(float(took) for took in latency),
        peak_memory_mb=float(memory.read_text()) if memory.exists() else None,
        environment=place.environment if place else "command",
        environment_note=place.note if place else "",
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
    models: int

    @property
    def turns(self) -> Path:
        """The folder in which models that are timed wait for each other."""
        return self.work / "turns"

    def started(
        self, role: str, model: Path, place: Interpreter | None
    ) -> AbstractContextManager[Callable[[], float]]:
        """Start one model's scoring, in a process of its own."""
        case, work = self.case, self.work
        env = {
            "TIDEGATE_MODEL_DIR": str(model),
            "TIDEGATE_INPUT": str(self.rows),
            "TIDEGATE_OUTPUT": str(work / f"{role}.parquet"),
            "TIDEGATE_ID": case.id,
            "TIDEGATE_TASK": case.task,
            "TIDEGATE_CLASSES": json.dumps(case.classes),
        }
        what = f"predicting with the {role}"
        if case.predict:
            return started(case.predict, what=what, folder=self.code, env=env, timeout=case.timeout)
        assert place is not None  # only the user's command goes without
        env["TIDEGATE_COLUMNS"] = str(work / f"{role}.columns.json")
        env["TIDEGATE_MEMORY"] = str(work / f"{role}.memory.json")
        if case.timed:
            env["TIDEGATE_LATENCY"] = str(work / f"{role}.latency.json")
            env |= {"TIDEGATE_TURNS": str(self.turns), "TIDEGATE_MODELS": str(self.models)}
        return started(
            place.command("tidegate.score"), what=what, folder=Path.cwd(),
            env={**env, **place.variables}, timeout=case.timeout, log=work / f"{role}.log",
        )  # fmt: skip


def _joined(role: str, output: Path, ids: pa.ChunkedArray, case: Case) -> npt.NDArray[np.float64]:
    """Return the predictions in the order of ``ids``; every id exactly once, or an error."""
    if not output.exists():
        raise NotJudgedError(f"the {role} wrote no predictions", remedy=_CONTRACT)
    try:
        table = read_table(output, ["id", "prediction"])
    except ConfigError as error:
        raise NotJudgedError(f"the {role}'s predictions: {error}", remedy=_CONTRACT) from None
    try:
        answered = table["id"].cast(ids.type).combine_chunks()
        values = _values(output, table["prediction"], case)
    except ConfigError as error:
        raise NotJudgedError(f"the {role}'s predictions: {error}", remedy=_CONTRACT) from None
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


def _values(output: Path, column: pa.ChunkedArray, case: Case) -> npt.NDArray[np.float64]:
    """Return the predictions as they were written: numbers, or lists of them."""
    if case.task is Task.MULTICLASS:
        what = f"a probability of each class ({shown(case.classes)})"
        return lists(output, column, "prediction", len(case.classes), what)
    if is_list(column.type) and INTERVAL in case.widths:
        what = "the point, and the interval's ends"
        return lists(output, column, "prediction", INTERVAL, what)
    return np.asarray(column.cast(pa.float64()).to_numpy())


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
