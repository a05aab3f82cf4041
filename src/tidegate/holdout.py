"""What a holdout is, by content: the same rows under another name or format are the same holdout.

What a decision spends is not a file but the drawn sample: which rows there are, and their truth. So the
digest is of the pairs (id, truth), sorted by id. Renaming the file, CSV or Parquet, row groups,
compression, the order of rows and columns, integers in another width or as text, columns added, removed
or corrected: all leave it as it is, and the count goes on. Another row, or another truth of one, makes
another holdout. That is a loophole as well (one row more begins a new count while nearly all of the
old ones are seen again), stated in the docs: a refresh is *new* rows. A holdout without a truth (task
generic) is its ids and all other columns, because nothing else tells two of them apart.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.core.config import Data

_EXACT = 2.0**53  # whole numbers above it may have been rounded


def content_digest(rows: pa.Table, id_column: str, target: str | None) -> str:
    """Return the SHA-256 of the rows' ids and truths, in the order of the ids.

    Holds two columns of the table in memory, and a permutation; ids are unique and not null.

    >>> a = pa.table({"id": [2, 1], "y": [0, 1], "x": ["p", "q"]})
    >>> b = pa.table({"y": [1.0, 0.0], "id": ["1", "2"]})
    >>> content_digest(a, "id", "y") == content_digest(b, "id", "y")
    True
    """
    ids = _canonical(rows[id_column])
    order = pc.sort_indices(ids)
    others = (
        sorted(name for name in rows.column_names if name != id_column)
        if target is None
        else [target]
    )
    total = hashlib.sha256(b"tidegate holdout 1\n")
    _add(total, ids.take(order))
    for name in others:
        if target is None:
            total.update(f"{len(name)}:{name}\n".encode())
        _add(total, _canonical(rows[name]).take(order))
    return total.hexdigest()


def content_of(path: Path, data: Data) -> str:
    """Return the digest of a holdout file.

    Raises:
        ConfigError: it cannot be read, or a column is missing.
    """
    from tidegate.tables import read_table

    columns = [data.id, data.target] if data.target else None
    return content_digest(read_table(path, columns), data.id, data.target)


def _canonical(column: pa.ChunkedArray) -> pa.Array:
    """Return the values in one of three types: whole numbers, numbers, text."""
    values = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_temporal(values.type) and not pa.types.is_duration(values.type):
        values = _microseconds(values)
    if pa.types.is_boolean(values.type) or pa.types.is_integer(values.type):
        return _whole(values) or values.cast(pa.large_string())
    if pa.types.is_floating(values.type):
        return _numbers(values.cast(pa.float64()))
    if pa.types.is_decimal(values.type):
        return _numbers(values.cast(pa.float64()))
    try:
        texts = values.cast(pa.large_string())
    except pa.ArrowException:  # lists and other nested columns
        return pa.array([str(value) for value in values.to_pylist()], pa.large_string())
    return _numbered(texts) or texts


def _whole(values: pa.Array) -> pa.Array | None:
    try:
        return values.cast(pa.int64())
    except pa.ArrowInvalid:
        return None


def _numbered(texts: pa.Array) -> pa.Array | None:
    """Return texts that are whole numbers, written as one writes them, as such."""
    whole = _whole(texts)
    if whole is None:
        return None
    same = whole.cast(pa.large_string()).equals(texts)
    return whole if same else None


def _numbers(values: pa.Array) -> pa.Array:
    known = values.drop_null().to_numpy(zero_copy_only=False)
    if np.isfinite(known).all() and (np.abs(known) < _EXACT).all() and (known % 1 == 0).all():
        return values.cast(pa.int64())
    return values


def _microseconds(values: pa.Array) -> pa.Array:
    try:
        return values.cast(pa.timestamp("us")).cast(pa.int64())
    except pa.ArrowException:  # times of day, or finer than a microsecond
        return values.cast(pa.large_string())


def _add(total: hashlib._Hash, values: pa.Array) -> None:
    """Hash a column's type, its gaps and its values, whatever their layout in memory was."""
    total.update(f"{values.type} {len(values)}\n".encode())
    total.update(np.packbits(values.is_valid().to_numpy(zero_copy_only=False)).tobytes())
    if pa.types.is_large_string(values.type):
        filled = values.fill_null("")
        lengths = pc.binary_length(filled).to_numpy(zero_copy_only=False).astype("<i8")
        total.update(lengths.tobytes())
        _, offsets, texts = filled.buffers()
        begin = int(np.frombuffer(offsets, "<i8")[filled.offset]) if len(filled) else 0
        total.update(memoryview(texts or b"")[begin : begin + int(lengths.sum())])
        return
    filled = values.fill_null(0)
    wanted = "<i8" if pa.types.is_integer(values.type) else "<f8"
    total.update(filled.to_numpy(zero_copy_only=False).astype(wanted).tobytes())
