"""Reading the user's data files: Parquet or CSV, as Arrow tables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from tidegate.errors import ConfigError
from tidegate.problems import near

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MOST_SHOWN = 30  # columns in an error


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table, or only some of its columns.

    Raises:
        ConfigError: no such file, not Parquet or CSV, truncated, or without a column asked for.
    """
    if path.exists() and not (path.is_file() and path.stat().st_size):
        # Nor /proc, whose files are regular and have no size.
        raise ConfigError(f"{path}: empty, or not a regular file", remedy="Write it anew.")
    try:
        table = _read(path, columns)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file", remedy="Check data: in mlops.yaml.") from None
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, error) from None
    missing = [name for name in columns or () if name not in table.column_names]
    if missing:
        raise ConfigError(
            f"{path}: no column {missing[0]!r}; its columns are {_shown(table.column_names)}",
            remedy=near(missing[0], table.column_names) or "Check data: in mlops.yaml.",
        )
    return table


def unreadable(path: Path, error: Exception) -> ConfigError:
    """Return the error of a file that is neither Parquet nor CSV, or is truncated."""
    return ConfigError(
        f"{path}: not a readable Parquet or CSV file: {_without_rows(str(error))}",
        remedy="Write it anew: its name must end in .csv if it is CSV.",
    )


def _without_rows(message: str) -> str:
    """Return Arrow's message without the row it quotes: errors are public, rows may not be.

    >>> _without_rows("CSV parse error: Row #3: Expected 2 columns, got 3: 7,ada,secret")
    'CSV parse error: Row #3: Expected 2 columns, got 3'
    """
    return re.sub(r"(columns, got \d+|to [\w\[\]:, ]+): .*", r"\1", message, flags=re.DOTALL)


def _shown(names: Sequence[str]) -> str:
    more = f", and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(name[:60] for name in names[:_MOST_SHOWN]) + more


def _read(path: Path, columns: Sequence[str] | None) -> pa.Table:
    if path.suffix.lower() == ".csv":
        from pyarrow import csv

        return csv.read_csv(path)
    # ParquetFile, not read_table: the latter's first call loads the whole dataset layer.
    with pq.ParquetFile(path) as file:
        known = set(file.schema_arrow.names)
        return file.read(columns=[c for c in columns if c in known] if columns else None)
