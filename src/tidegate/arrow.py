"""Arrow columns as numpy arrays, without pandas.

Arrow's own ``to_numpy()`` imports pandas (0.9 s) even for a plain column of numbers; the numbers
lie in the column's buffers, one after the other.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

Array: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[Any]]


def plain(column: Any) -> Array:
    """Return a column of integers, floats or booleans, shape (n,); nulls hold anything."""
    parts = [_chunk(chunk) for chunk in _chunks(column)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _chunks(column: Any) -> list[Any]:
    return column.chunks if isinstance(column, pa.ChunkedArray) else [column]


def _chunk(chunk: Any) -> Array:
    first, last, data = chunk.offset, chunk.offset + len(chunk), chunk.buffers()[1]
    if pa.types.is_boolean(chunk.type):
        return _bits(data, first, last)
    kind = (
        "float16"
        if str(chunk.type) == "halffloat"
        else str(chunk.type).replace("double", "float64")
    )
    dtype = np.dtype("float32" if kind == "float" else kind)
    return np.frombuffer(data, dtype=dtype, count=last)[first:]


def nulls(column: Any) -> Array:
    """Return which rows of a column are null, shape (n,)."""
    parts: list[Array] = []
    for chunk in _chunks(column):
        valid = chunk.buffers()[0]
        if valid is None:
            parts.append(np.zeros(len(chunk), dtype=np.bool_))
        else:
            parts.append(~_bits(valid, chunk.offset, chunk.offset + len(chunk)))
    return np.concatenate(parts)


def _bits(data: Any, first: int, last: int) -> Array:
    packed = np.frombuffer(data, dtype=np.uint8)
    return np.unpackbits(packed, count=last, bitorder="little")[first:].astype(np.bool_)
