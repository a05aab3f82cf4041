"""A large Parquet table of predictions, row group by row group, into columns made once.

Read as a whole, Arrow's copy of every column and numpy's stand in memory together. Here one row
group's do: the rest is the columns that the gate judges.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tidegate.core.table import Predictions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tidegate.arrow import Array

FROM_ROWS = 2_000_000
_COLUMNS = ("ids", "y_true", "candidate", "champion", "anchor")


def join(file: Any, columns: list[str], part: Callable[[Any], Predictions]) -> Predictions:
    """Return all rows of an open Parquet file.

    Args:
        file: a ``ParquetFile``.
        columns: the columns to read.
        part: makes a table of predictions of an Arrow table of these columns.
    """
    rows = file.metadata.num_rows
    whole: dict[str, Array] = {}
    codes: dict[str, Array] = {}
    known: dict[str, dict[str, int]] = {}
    start = 0
    for table in _row_groups(file, columns):
        found = part(table)
        stop = start + found.n
        for name in _COLUMNS:
            values = getattr(found, name)
            if values is not None:
                if name not in whole:
                    whole[name] = np.empty((rows, *values.shape[1:]), dtype=values.dtype)
                whole[name][start:stop] = values
        for name, (categories, of_part) in found.slices.items():
            numbers = known.setdefault(name, {})
            code = np.array([numbers.setdefault(c, len(numbers)) for c in categories], np.int16)
            if name not in codes:
                codes[name] = np.empty(rows, dtype=np.int16)
            codes[name][start:stop] = code[of_part]
        start = stop
    del table, found
    pa.default_memory_pool().release_unused()  # Arrow keeps what row groups took for the next ones
    slices = {name: (tuple(known[name]), codes[name]) for name in codes}
    return Predictions(
        ids=whole["ids"],
        y_true=whole.get("y_true"),
        candidate=whole["candidate"],
        champion=whole.get("champion"),
        anchor=whole.get("anchor"),
        slices=slices,
    )


def _row_groups(file: Any, columns: list[str]) -> Iterator[Any]:
    """Yield the row groups, the next one being read while one is looked at."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(file.read_row_group, 0, columns=columns)
        for number in range(1, file.num_row_groups + 1):
            table = coming.result()
            if number < file.num_row_groups:
                coming = reader.submit(file.read_row_group, number, columns=columns)
            yield table
            del table
