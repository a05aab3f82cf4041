"""Score rows with one model, in a process of its own: ``python -m tidegate.score``.

The contract is the one of ``predict.run``: TIDEGATE_MODEL_DIR and the Parquet file TIDEGATE_INPUT
in, the Parquet file TIDEGATE_OUTPUT (id, prediction) out. TIDEGATE_CLASSES holds the classes of a
multiclass model, as a JSON list, in the order of its probabilities. Besides, TIDEGATE_COLUMNS and
TIDEGATE_LATENCY may name files for the model's input columns (null when it does not name them) and
for how long answering single rows took, in milliseconds; TIDEGATE_MEMORY for the most memory this
process held until its answers were written, in megabytes (10**6 bytes). Where models are timed side by
side, TIDEGATE_TURNS is a folder in which TIDEGATE_MODELS processes wait for each other: all have loaded
and answered before the first is timed, and then they take turns, a few rows each, so that whatever
slows the machine slows them alike.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from tidegate.core.model import Task
from tidegate.endpoint.scorer import load
from tidegate.errors import TidegateError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    from tidegate.endpoint.scorer import Scorer

_WARM, _TURN = 20, 20
_TIMED = (400, 1000)  # rows at least and at most; 299 are the fewest that bound a 99 % quantile
_LONG = 20.0  # seconds of timing after which the least will do
_WAIT = 600.0  # seconds for the others to be ready


def main() -> int:
    """Score as the environment says; return the exit code."""
    env = os.environ
    classes = json.loads(env.get("TIDEGATE_CLASSES", "[]"))
    try:
        scorer = load(Path(env["TIDEGATE_MODEL_DIR"]), Task(env["TIDEGATE_TASK"]), classes)
        rows = pq.ParquetFile(env["TIDEGATE_INPUT"]).read()
        answers = scorer.score(rows)
    except TidegateError as error:
        sys.stderr.write(f"{error}\n")
        if turns := env.get("TIDEGATE_TURNS"):
            (Path(turns) / "apart").touch()  # nobody need wait for this one
        return int(error.exit_code)
    table = pa.table({"id": rows[env["TIDEGATE_ID"]], "prediction": column(answers)})
    pq.write_table(table, env["TIDEGATE_OUTPUT"])
    if path := env.get("TIDEGATE_COLUMNS"):
        Path(path).write_text(json.dumps(scorer.columns))
    if path := env.get("TIDEGATE_MEMORY"):
        Path(path).write_text(json.dumps(_peak_memory()))
    if path := env.get("TIDEGATE_LATENCY"):
        turns = env.get("TIDEGATE_TURNS")
        if turns and not _all_ready(Path(turns), int(env["TIDEGATE_MODELS"])):
            sys.stderr.write("the other models did not get ready: not timed in turns\n")
            (Path(turns) / "apart").touch()
            turns = None
        Path(path).write_text(json.dumps(_latency(scorer, rows, Path(turns) if turns else None)))
    return 0


def _peak_memory() -> float:
    """Return the largest resident set of this process so far, in megabytes (Linux counts KiB)."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _all_ready(folder: Path, models: int) -> bool:
    """Wait for the other models to have answered; whether they have."""
    (folder / f"{os.getpid()}.ready").touch()
    until = time.monotonic() + _WAIT
    while time.monotonic() < until and not (folder / "apart").exists():
        if len(list(folder.glob("*.ready"))) >= models:
            return True
        time.sleep(0.01)
    return False


@contextmanager
def _turn(folder: Path | None) -> Iterator[None]:
    """Hold the machine for one model; a moment after, so that another one gets its turn."""
    if folder is None:
        yield
        return
    with (folder / "turn").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
        fcntl.flock(lock, fcntl.LOCK_UN)
    time.sleep(0.002)


def column(answers: npt.NDArray[np.float64]) -> pa.Array:
    """Return answers as an Arrow column: of numbers, or of lists of them."""
    if answers.ndim == 1:
        return pa.array(answers)
    return pa.FixedSizeListArray.from_arrays(pa.array(answers.reshape(-1)), answers.shape[1])


def _latency(scorer: Scorer, rows: pa.Table, turns: Path | None) -> list[float]:
    """Return how long answering single rows took, in milliseconds, after a warm-up.

    How many are timed depends on how long they take, so neither a slow model waits for ever nor a
    fast one is judged by few rows; it does not depend on which of them were slow.
    """
    took: list[float] = []
    least, most = _TIMED
    while len(took) < _WARM + most:
        if sum(took) > _LONG * 1000 and len(took) >= _WARM + least:
            break
        with _turn(turns):
            for index in range(len(took), len(took) + _TURN):
                row = rows.slice(index % rows.num_rows, 1)
                began = time.perf_counter()
                scorer.score(row)
                took.append((time.perf_counter() - began) * 1000)
    return took[_WARM:]


if __name__ == "__main__":
    sys.exit(main())
