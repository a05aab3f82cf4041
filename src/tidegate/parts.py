"""The user's data in parts, so that a table larger than memory can be looked through."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tidegate.errors import ConfigError
from tidegate.tables import read_table, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_ROWS = 1 << 17  # of a part
_GROUPS = 16  # row groups that a sample is taken from
_SAMPLE = 1 << 16  # rows of a sample


@dataclass(frozen=True, slots=True)
class Parts:
    """A Parquet file, read a few row groups at a time, or a CSV file, which is held whole.

    Raises:
        ConfigError: from :meth:`of` and from every reading: as :func:`tidegate.tables.read_table`.
    """

    path: Path
    schema: pa.Schema
    whole: pa.Table | None = None

    @classmethod
    def of(cls, path: Path) -> Parts:
        """Open a table."""
        if path.suffix.lower() == ".csv":
            table = read_table(path)
            return cls(path, table.schema, table)
        if not path.is_file() or path.stat().st_size == 0:
            read_table(path)  # it says what is wrong
        with _reading(path), pq.ParquetFile(path) as file:
            return cls(path, file.schema_arrow)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns."""
        return tuple(self.schema.names)

    def sample(self, columns: Sequence[str]) -> pa.Table:
        """Return about 65,000 rows, spread evenly over the table."""
        if self.whole is not None:
            return _spread(self.whole.select(list(columns)), _SAMPLE)
        with _reading(self.path), pq.ParquetFile(self.path) as file:
            groups = file.num_row_groups
            picked = np.unique(np.linspace(0, groups - 1, min(groups, _GROUPS)).astype(int))
            parts = [
                _spread(file.read_row_group(int(g), columns=list(columns)), _SAMPLE // len(picked))
                for g in picked
            ]
            return pa.concat_tables(parts) if parts else file.read(columns=list(columns))

    def each(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the rows in order, some at a time."""
        if self.whole is not None:
            chosen = self.whole.select(list(columns))
            for at in range(0, chosen.num_rows, _ROWS):
                yield chosen.slice(at, _ROWS)
            return
        with _reading(self.path), pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(_ROWS, columns=list(columns)):
                yield pa.Table.from_batches([batch])


def _spread(table: pa.Table, most: int) -> pa.Table:
    if table.num_rows <= most:
        return table
    return table.take(pa.array(np.linspace(0, table.num_rows - 1, most).astype(np.int64)))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except ConfigError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, error) from None
