"""Score rows with one model, in a process of its own: ``python -m tidegate.score``.

The contract is the one of ``predict.run``: TIDEGATE_MODEL_DIR and the Parquet file TIDEGATE_INPUT
in, the Parquet file TIDEGATE_OUTPUT (id, prediction) out. Besides, TIDEGATE_COLUMNS and
TIDEGATE_LATENCY may name files for the model's input columns (null when it does not name them) and
for how long answering 200 single rows took, in milliseconds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from tidegate.core.model import Task
from tidegate.endpoint.scorer import load
from tidegate.errors import TidegateError

if TYPE_CHECKING:
    from tidegate.endpoint.scorer import Scorer

_WARM, _TIMED = 20, 200


def main() -> int:
    """Score as the environment says; return the exit code."""
    env = os.environ
    try:
        scorer = load(Path(env["TIDEGATE_MODEL_DIR"]), Task(env["TIDEGATE_TASK"]))
        rows = pq.ParquetFile(env["TIDEGATE_INPUT"]).read()
        answers = scorer.score(rows)
    except TidegateError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    table = pa.table({"id": rows[env["TIDEGATE_ID"]], "prediction": pa.array(answers)})
    pq.write_table(table, env["TIDEGATE_OUTPUT"])
    if path := env.get("TIDEGATE_COLUMNS"):
        Path(path).write_text(json.dumps(scorer.columns))
    if path := env.get("TIDEGATE_LATENCY"):
        Path(path).write_text(json.dumps(_latency(scorer, rows)))
    return 0


def _latency(scorer: Scorer, rows: pa.Table) -> list[float]:
    """Return how long answering single rows took, in milliseconds, after a warm-up."""
    took = []
    for index in range(_WARM + _TIMED):
        row = rows.slice(index % rows.num_rows, 1)
        began = time.perf_counter()
        scorer.score(row)
        took.append((time.perf_counter() - began) * 1000)
    return took[_WARM:]


if __name__ == "__main__":
    sys.exit(main())
