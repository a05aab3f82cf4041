"""What travels between the jobs that judge a model: the case, and each model's answers to it.

    case.json       who is compared on what (schemas/case.schema.json)
    input.parquet   the holdout's rows without the truth

    scored.json     who answered (schemas/scored.schema.json)
    answers.f64     little-endian 64-bit floats: for each row of input.parquet, in its order, one, or
                    as many as scored.json's width says (a probability of each class)

The answers come out of jobs that run the user's code, and are read in one that holds credentials:
hence no format with a parser, and nothing in them is believed that can be checked.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.columns import INTERVAL
from tidegate.core.model import Task
from tidegate.digests import file_digest
from tidegate.errors import NotJudgedError
from tidegate.load import violations
from tidegate.strict import bounded, strict_json

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

CASE = "case.json"
INPUT = "input.parquet"
SCORED = "scored.json"
ANSWERS = "answers.f64"
ROLES = ("candidate", "champion", "anchor")
_MOST_BYTES = 16_000_000  # of a JSON file that somebody else wrote
MOST_NOTE = 1000  # characters of a note
_FLOAT = np.dtype("<f8")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """A registered version that the candidate is compared with; size in megabytes (10**6 bytes)."""

    version: str
    digest: str
    size_mb: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """Who is compared, on which rows. ``timeout`` in seconds."""

    model: str
    task: Task
    id: str
    folder: str  # of mlops.yaml, from the repository's top
    commit: str
    base: str | None  # the commit whose rules judge; None: the same
    input: str  # SHA-256 of input.parquet
    holdout: str
    predict: str | None
    hidden: tuple[str, ...]  # files with the truth, from the repository's top: not for `predict`
    timeout: float
    timed: bool
    champion: Reference | None
    anchor: Reference | None
    environment: str = "auto"  # of mlops.yaml's predict
    classes: tuple[str, ...] = ()  # multiclass: in the order of the probabilities

    @property
    def widths(self) -> frozenset[int]:
        """How many numbers a row's answer may have."""
        if self.task is Task.MULTICLASS:
            return frozenset({len(self.classes)})
        return frozenset({1, INTERVAL} if self.task is Task.REGRESSION else {1})

    @property
    def references(self) -> dict[str, Reference]:
        """Role -> the version that has it."""
        roles = {"champion": self.champion, "anchor": self.anchor}
        return {role: found for role, found in roles.items() if found is not None}


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """One model's answers, shape (rows,) or (rows, width), in the order of the input's rows."""

    role: str
    model: str  # digest
    input: str
    answers: npt.NDArray[np.float64]
    columns: tuple[str, ...] | None
    latency_ms: tuple[float, ...] | None
    peak_memory_mb: float | None = None  # of the process that answered; None where nobody measured
    environment: str = "engine"  # "recorded": its own; "command": the user's command chose
    environment_note: str = ""  # why it is another one than the model recorded


def save_case(folder: Path, case: Case) -> str:
    """Write the case and return the file's digest."""
    text = json.dumps({"version": 1, **asdict(case)}, indent=2) + "\n"
    (folder / CASE).write_text(text)
    return file_digest(folder / CASE)


def read_case(folder: Path, digest: str | None = None) -> Case:
    """Read a case; with ``digest``, only the very one that was written.

    Raises:
        NotJudgedError: it is missing, was changed, is not what the schema demands, or its rows are not.
    """
    if digest is not None and (found := _digest(folder / CASE)) != digest:
        raise NotJudgedError(
            f"{folder / CASE} is not what the prepare job wrote: {found[:12]}, not {digest[:12]}",
            remedy="Another job of this run replaced it. Look at what its code does.",
        )
    data = _document(folder / CASE, "case.schema.json")
    data["task"] = Task(data["task"])
    data["hidden"] = tuple(data["hidden"])
    data["classes"] = tuple(data.get("classes", ()))
    if len(set(data["classes"])) < len(data["classes"]):
        raise NotJudgedError(f"{folder / CASE}: one class twice")
    for role in ("champion", "anchor"):
        data[role] = Reference(**data[role]) if data[role] else None
    case = Case(**data)
    if _digest(folder / INPUT) != case.input:
        raise NotJudgedError(f"{folder / INPUT} holds other rows than the case is about")
    return case


def save_scored(folder: Path, scored: Scored) -> None:
    """Write a model's answers."""
    document = {
        "version": 1, "role": scored.role, "model": scored.model, "input": scored.input,
        "rows": len(scored.answers), "columns": scored.columns, "latency_ms": scored.latency_ms,
        "peak_memory_mb": scored.peak_memory_mb,
        "environment": scored.environment, "environment_note": plain(scored.environment_note),
        "width": scored.answers.shape[1] if scored.answers.ndim > 1 else 1,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ANSWERS).write_bytes(scored.answers.astype(_FLOAT).tobytes())
    (folder / SCORED).write_text(json.dumps(document) + "\n")


def read_scored(folder: Path, role: str, model: str, case: Case, rows: int) -> Scored:
    """Read the answers of the model with the digest ``model`` in its ``role``.

    Raises:
        NotJudgedError: they are missing, of another model, role or input, or not one per row.
    """
    data = _document(folder / SCORED, "scored.schema.json")
    said = (data["role"], data["model"], data["input"], data["rows"])
    if said != (role, model, case.input, rows):
        raise NotJudgedError(
            f"{folder / SCORED} is about a {data['role']} {data['model'][:12]} on {data['rows']} rows "
            f"of {data['input'][:12]}; wanted: {role} {model[:12]}, {rows} rows of {case.input[:12]}"
        )
    width = data.get("width", 1)
    if width not in case.widths:
        raise NotJudgedError(
            f"{folder / SCORED}: {width} numbers a row, expected "
            f"{' or '.join(map(str, sorted(case.widths)))} of task {case.task}"
        )
    path = folder / ANSWERS
    size = path.stat().st_size if path.is_file() else 0
    if size != rows * width * _FLOAT.itemsize:
        raise NotJudgedError(f"{path}: {size} bytes are not {rows} answers of {width} numbers")
    answers = np.fromfile(path, dtype=_FLOAT).astype(np.float64)
    return Scored(
        role=role,
        model=model,
        input=case.input,
        answers=answers if width == 1 else answers.reshape(rows, width),
        columns=None if data["columns"] is None else tuple(data["columns"]),
        latency_ms=None if data["latency_ms"] is None else tuple(data["latency_ms"]),
        peak_memory_mb=data.get("peak_memory_mb"),
        environment=data["environment"],
        environment_note=data["environment_note"],
    )


def plain(text: str) -> str:
    """Return a text as one bounded line of printable characters.

    >>> plain("a\\n\\x1b[1mb")
    'a [1mb'
    """
    kept = "".join(sign for sign in " ".join(text.split()) if sign.isprintable())
    return kept if len(kept) <= MOST_NOTE else kept[: MOST_NOTE - 3] + "..."


def _digest(path: Path) -> str:
    if not path.is_file():
        raise NotJudgedError(f"{path} is missing")
    return file_digest(path)


def _document(path: Path, schema: str) -> dict[str, Any]:
    try:
        data = strict_json(bounded(path, _MOST_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise NotJudgedError(f"{path}: {error}") from None
    if found := violations(data, schema):
        raise NotJudgedError(f"{path}: {found[0]}")
    data.pop("version")
    return dict(data)
