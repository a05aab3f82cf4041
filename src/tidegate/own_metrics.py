"""Having the user's own metrics computed, in a process that holds nothing, and taking what came of it.

    measured.json    what was measured on what (schemas/measured.schema.json)
    measured.f64     little-endian 64-bit floats: for each item, the value and every replicate, and in
                     each of these the models in the order candidate, champion, anchor

The function is the user's code: it runs in :mod:`tidegate.own_runner`, a process without credentials, and
never in a job that has any. What it wrote is read as raw floats.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.core.metrics.resampling import RESAMPLES, Replicates
from tidegate.core.own import MOST, wanted
from tidegate.digests import file_digest
from tidegate.errors import ConfigError, NotJudgedError
from tidegate.load import violations
from tidegate.process import commands_stopped, started
from tidegate.runner import Runner
from tidegate.strict import bounded, strict_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from tidegate.core.config import Config, Gate
    from tidegate.core.metrics.kinds import Floats
    from tidegate.core.model import Task
    from tidegate.core.own import Wanted
    from tidegate.core.table import Predictions

MEASURED, VALUES = "measured.json", "measured.f64"
_FLOAT = np.dtype("<f8")
_MOST_BYTES = 16_000_000
_TIMEOUT = 3600.0  # seconds for all own metrics together


@dataclass(frozen=True, kw_only=True, slots=True)
class About:
    """What own metrics were measured on, by digest; the draws are seeded by it."""

    holdout: str
    rules: str  # and of the files with the functions: :func:`rules_of`
    models: tuple[str, ...]  # candidate, champion, anchor: those that are there

    @property
    def seed(self) -> int:
        """The seed of the draws, by the holdout alone: a comment in a file rolls no other dice."""
        return int(self.holdout[:8], 16)


def needed(gate: Gate) -> bool:
    """Whether a rule names a metric of the user's own."""
    return any(own.name in gate.metrics for own in gate.own)


def rules_of(config: Config, code: Path) -> str:
    """Return the digest of the rules and of the files whose functions they name.

    Raises:
        ConfigError: there is no such file.
        OutsideError: it cannot be read.
    """
    total = hashlib.sha256(config.rules_digest.encode())
    for file in sorted({file for file, _ in _functions(config.gate, code).values()}):
        total.update(f"\n{file}\0{file_digest(code / file)}".encode())
    return total.hexdigest()


def measure(  # noqa: PLR0913 (what is measured, on what, by which code)
    table: Predictions,
    config: Config,
    about: About,
    *,
    code: Path,
    into: Path,
    timeout: float = _TIMEOUT,
) -> None:
    """Have every own metric that the rules need computed; ``code`` is the folder of its file.

    Raises:
        ConfigError: rules ask for more metrics and groups than can be measured, or there is no such file.
        NotJudgedError: a function failed, returned something else than a number, or took too long.
    """
    if (runner := Runner.find()) is not None and runner.token:
        raise ConfigError(
            "a metric of your own was to be computed in a job that holds a token",
            remedy="Its function is code of the repository's: run it in a job without github-token.",
        )
    items = _items(table, config.gate)
    functions = _functions(config.gate, code)
    request = {
        "functions": functions,
        "items": [[item.metric, number] for number, item in enumerate(items)],
        "seed": about.seed,
        "resamples": RESAMPLES,
    }
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tidegate-measure-") as temporary:
        work = Path(temporary)
        (work / "request.json").write_text(json.dumps(request))
        _leave(work, table, items, config.model.task)
        command = [
            sys.executable,
            "-P",
            "-m",
            "tidegate.own_runner",
            str(work),
            str(code.absolute()),
        ]
        what = f"computing {', '.join(dict.fromkeys(item.metric for item in items))}"
        with (
            commands_stopped(),
            started(
                command, what=what, folder=code, env={}, timeout=timeout, log=work / "log"
            ) as finish,
        ):
            finish()
        written = work / VALUES
        if not written.is_file():
            raise NotJudgedError(f"{what}: it left no values")
        (into / VALUES).write_bytes(written.read_bytes())
    document = {
        "version": 1,
        **asdict(about),
        "table": _table_digest(table),
        "resamples": RESAMPLES,
        "items": [[item.metric, item.slice] for item in items],
    }
    (into / MEASURED).write_text(json.dumps(document) + "\n")


def _functions(gate: Gate, code: Path) -> dict[str, tuple[str, str]]:
    """Return own metric -> (file, function), of those that a rule names."""
    found = {}
    for own in gate.own:
        if own.name not in gate.metrics:
            continue
        file, _, function = own.run.partition(":")
        if not (code / file).is_file():
            raise ConfigError(
                f"{code / file}: no such file (gate.metrics in mlops.yaml)",
                remedy="Commit the file whose function the metric is; its path is relative to mlops.yaml.",
            )
        found[own.name] = (file, function)
    return found


def _items(table: Predictions, gate: Gate) -> list[Wanted]:
    items = list(wanted(table, gate))
    if len(items) > MOST:
        raise ConfigError(
            f"gate: own metrics are wanted on {len(items):,} groups of rows, expected at most {MOST:,}",
            remedy="Slice them by coarser columns.",
        )
    return items


def _table_digest(table: Predictions) -> str:
    """Return the SHA-256 of all numbers that a function is given: truth, answers, groups, weights."""
    total = hashlib.sha256()
    for name, values in _columns(table).items():
        total.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
        total.update(np.ascontiguousarray(values).data)
    return total.hexdigest()


def _columns(table: Predictions) -> dict[str, npt.NDArray[Any]]:
    return {
        **dict(table.columns()),
        **({} if table.group is None else {"group": table.group}),
        **({} if table.weight is None else {"weight": table.weight}),
    }


def _leave(work: Path, table: Predictions, items: list[Wanted], task: Task) -> None:
    """Write the columns and the groups' rows where the other process finds them."""
    columns = _columns(table)
    if task == "generic":
        columns.pop("y_true", None)
    for name, values in columns.items():
        np.save(work / f"{name}.npy", values, allow_pickle=False)
    for number, item in enumerate(items):
        if item.rows is not None:
            np.save(work / f"rows-{number}.npy", item.rows, allow_pickle=False)


def measured(
    folder: Path, table: Predictions, gate: Gate, about: About
) -> Mapping[tuple[str, str | None], Replicates]:
    """Read what was measured, and nothing that was measured on something else.

    Raises:
        NotJudgedError: it is missing, of other models, rows or rules, of the wrong size, or a value is
            one that ``mlops.yaml`` says cannot be.
    """
    path = folder / MEASURED
    try:
        data = strict_json(bounded(path, _MOST_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise NotJudgedError(
            f"{path}: {error}", remedy="Run `tidegate evaluate` again: it computes own metrics."
        ) from None
    if found := violations(data, "measured.schema.json"):
        raise NotJudgedError(f"{path}: {found[0]}")
    items = _items(table, gate)
    wanted_of = {
        **asdict(about),
        "models": list(about.models),
        "table": _table_digest(table),
        "resamples": RESAMPLES,
        "items": [[item.metric, item.slice] for item in items],
    }
    if others := [name for name, value in wanted_of.items() if data[name] != value]:
        raise NotJudgedError(
            f"{path} is about other models, rows or rules than those that are judged ({others[0]})",
            remedy="Run `tidegate evaluate` again (on GitHub: re-run all jobs).",
        )
    models = sum(name != "y_true" for name, _ in table.columns())
    size = len(items) * (1 + RESAMPLES) * models * _FLOAT.itemsize
    values = folder / VALUES
    if not values.is_file() or values.stat().st_size != size:
        raise NotJudgedError(f"{values}: not the {size:,} bytes that these metrics are")
    numbers = np.fromfile(values, dtype=_FLOAT).astype(np.float64)
    numbers = numbers.reshape(len(items), 1 + RESAMPLES, models)
    _check_range(gate, items, numbers)
    return {
        (item.metric, item.slice): Replicates(
            values=found[0],
            draws=found[1:],
            n=table.n if item.rows is None else len(item.rows),
        )
        for item, found in zip(items, numbers, strict=True)
    }


def with_measured(table: Predictions, gate: Gate, folder: Path, about: About) -> Predictions:
    """Return the table with what was measured of own metrics, where the rules need any.

    Raises:
        NotJudgedError: as :func:`measured`.
    """
    if not needed(gate):
        return table
    return replace(table, measured=measured(folder, table, gate, about))


def _check_range(gate: Gate, items: list[Wanted], numbers: Floats) -> None:
    ranges = {own.name: own for own in gate.own}
    for item, found in zip(items, numbers, strict=True):
        own = ranges[item.metric]
        low = -np.inf if own.low is None else own.low
        high = np.inf if own.high is None else own.high
        beyond = np.isinf(found) | (found < low) | (found > high)
        if beyond.any():
            where = "" if item.slice is None else f" on {item.slice}"
            raise NotJudgedError(
                f"{item.metric}{where} is {float(found[beyond][0]):g}, outside of {low:g} to {high:g}",
                remedy=f"Correct {own.run}, or low and high of gate.metrics in mlops.yaml.",
            )
