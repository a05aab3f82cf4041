"""The gate's sums over partitions that an existing engine reads: the same numbers as from one table.

DuckDB reads each partition of a folder of Parquet files (pyarrow does where it is not installed), an
accumulator sums it, and the sums merge in a shuffled order. Spark and Ray Data would do the same: an
accumulator is plain arrays, and pickles.
"""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.gate import METRICS, write
from tidegate.core.metrics.table import find
from tidegate.core.model import Task
from tidegate.core.sums.accumulator import Accumulator, plan_for
from tidegate.core.sums.layout import lay_out
from tidegate.core.sums.survey import BATCH, finish, survey
from tidegate.core.table import Predictions
from tidegate.predictions import read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROWS = 2_000_000
PARTITIONS = 8
_BY = [("region",)]


def main() -> None:
    """Print how long both ways take and how far apart their numbers are."""
    reader = (
        "duckdb" if find_spec("duckdb") else "pyarrow (duckdb is not installed: pip install duckdb)"
    )
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.parquet"
        write(whole, ROWS)
        table = read(whole, task=Task.BINARY, by=["region"])
        parts = split(whole, PARTITIONS)
        began = time.perf_counter()
        found, off = merged(table, parts, _duckdb if reader == "duckdb" else _pyarrow)
        seconds = time.perf_counter() - began
    print(f"{ROWS:,} rows in {PARTITIONS} partitions, read by {reader}")
    print(
        f"read, summed, merged and finished in {seconds:.2f} s; {found} numbers; largest relative"
    )
    print(f"difference from the one table: {off:.1e}")


def split(whole: Path, partitions: int) -> list[Path]:
    """Deal a table's rows out to partitions."""
    table = pq.ParquetFile(whole).read()
    to = np.random.default_rng(1).integers(0, partitions, table.num_rows)
    paths = []
    for number in range(partitions):
        paths.append(whole.with_name(f"part-{number}.parquet"))
        pq.write_table(table.filter(pa.array(to == number)), paths[-1])
    return paths


def merged(
    table: Predictions, parts: Sequence[Path], reader: Callable[[Path], dict[str, Any]]
) -> tuple[int, float]:
    """Return how many numbers the partitions' sums gave, and how far they are from the table's."""
    metrics = [find(name, Task.BINARY) for name in METRICS]
    layout = lay_out(table, _BY)
    assert layout is not None
    plan = plan_for(layout, metrics, table)
    known = table.slices["region"][0]
    sums = [_summed(plan, reader(path), known) for path in parts]
    order = np.random.default_rng(2).permutation(len(sums))
    first = sums[order[0]]
    for index in order[1:]:
        first.merge(sums[index])
    with ThreadPoolExecutor(1) as pool:
        from_parts = finish(first, metrics, pool)
    whole = survey(table, metrics, _BY)
    assert whole is not None
    count, off = 0, 0.0
    pairs = [(from_parts.everything, whole.everything)]
    pairs += [
        (from_parts.groups[by][code], one) for by in _BY for code, one in whole.groups[by].items()
    ]
    for mine, other in pairs:
        assert mine.n == other.n
        assert set(mine.joints) == set(other.joints)
        for name, joint in other.joints.items():
            for a, b in (
                (mine.joints[name].values, joint.values),
                (mine.joints[name].gram, joint.gram),
            ):
                count += a.size
                off = max(off, float(np.max(np.abs(a - b) / np.maximum(np.abs(b), 1e-300))))
    return count, off


def _summed(plan: Any, columns: dict[str, Any], known: Sequence[str]) -> Accumulator:
    position = {name: code for code, name in enumerate(known)}
    names, codes = np.unique(np.asarray(columns["region"], dtype=str), return_inverse=True)
    part = Predictions(
        y_true=np.asarray(columns["y_true"], dtype=np.float64),
        candidate=np.asarray(columns["candidate"], dtype=np.float64),
        champion=np.asarray(columns["champion"], dtype=np.float64),
        slices={
            "region": (known, np.array([position[n] for n in names.tolist()], np.int16)[codes])
        },
    )
    sums = Accumulator(plan=plan)
    for start in range(0, part.n, BATCH):
        sums.update(part.part(start, min(start + BATCH, part.n)))
    return sums


def _pyarrow(path: Path) -> dict[str, Any]:
    table = pq.ParquetFile(path).read()
    return {name: table.column(name).to_numpy() for name in table.column_names}


def _duckdb(path: Path) -> dict[str, Any]:
    columns: dict[str, Any] = (
        import_module("duckdb")
        .execute("SELECT y_true, candidate, champion, region FROM read_parquet(?)", [str(path)])
        .fetchnumpy()
    )
    return columns


if __name__ == "__main__":
    main()
