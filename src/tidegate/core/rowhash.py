"""64-bit hashes of Arrow columns and of whole rows, vectorised: equal values, equal hashes.

A text is hashed by its bytes: the sum of byte times a fixed random 64-bit multiplier of its place, modulo
2**64 (multilinear hashing: Lemire and Kaser, "Strongly universal string hashing is fast", 2014), then
finished by splitmix64 (Steele, Lea, Flood 2014). Two given values that differ share a hash with probability
at most 2**-57 (texts of up to 4,096 bytes), so that among a million holdout rows and ten million training rows (10**13 pairs) a false
match is expected less than once in ten thousand runs.

A number is hashed by its value, whatever its type: 3, 3.0 and a decimal 3 are one value; a float that is not
whole is hashed by its bits as float64. Null and NaN are one value. Times are hashed in microseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.arrow import nulls, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

Hashes: TypeAlias = npt.NDArray[np.uint64]

_BLOCK = 1 << 15  # rows at a time: what is made of their bytes stays in the cache
_PLACES = 4096  # multipliers; longer texts reuse them, shifted by how often
_MULTIPLIERS = np.random.default_rng(20_161_117).integers(
    0, 2**64, size=_PLACES, dtype=np.uint64, endpoint=False
)
_NULL = np.uint64(0x9AE16A3B2F90404F)
_WHOLE = 2.0**63  # floats below it, in absolute value, may be whole numbers of 64 bits


class UnhashableError(TypeError):
    """A column of a type whose values cannot be compared here; ``column`` names it, if it has a name."""

    def __init__(self, what: str, column: str = "") -> None:
        super().__init__(f"{column}: {what}" if column else what)
        self.column = column


def mixed(values: Hashes) -> Hashes:
    """Return splitmix64's finish of each value, shape (n,): a bijection of 64 bits."""
    x = values + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)), dtype=np.uint64)


def hashes(column: Any) -> Hashes:
    """Return a hash per value of an Arrow column, shape (n,).

    Raises:
        UnhashableError: a type without an order of bytes that we know (a map, a union, an extension).

    >>> [int(h) for h in np.diff(hashes(pa.array([3, 4])) == hashes(pa.array([3.0, 4.5])))]
    [1]
    """
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    blocks = [c.slice(at, _BLOCK) for c in chunks for at in range(0, len(c), _BLOCK)]
    parts = [_block(block) for block in blocks]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.uint64)


def rows(columns: Mapping[str, Any]) -> Hashes:
    """Return a hash per row, shape (n,); the order of the columns does not matter, their names do.

    Raises:
        UnhashableError: as :func:`hashes`; the message names the column.
    """
    total: Hashes | None = None
    for name, column in columns.items():
        try:
            values = hashes(column)
        except UnhashableError as error:
            raise UnhashableError(str(error), name) from None
        seed = hashes(pa.array([name]))[0]
        term = mixed(values ^ seed)
        total = term if total is None else total + term
    if total is None:
        raise UnhashableError("no columns")
    return mixed(total)


def _block(chunk: pa.Array) -> Hashes:
    if pa.types.is_null(chunk.type):
        return np.full(len(chunk), _NULL)
    values = _values(chunk)
    if chunk.null_count:
        values = np.where(nulls(chunk), _NULL, values)
    return np.asarray(values, dtype=np.uint64)


def _values(chunk: pa.Array) -> Hashes:
    kind = chunk.type
    if pa.types.is_dictionary(kind):
        codes = plain(chunk.indices.cast(pa.int64()))
        known = np.append(hashes(chunk.dictionary), _NULL)
        return known[np.where(nulls(chunk), len(known) - 1, codes)]
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return _integers(chunk)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _floats(plain(chunk.cast(pa.float64(), safe=False)))
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _integers(chunk.cast(pa.timestamp("us"), safe=False).cast(pa.int64()))
    if pa.types.is_time(kind) or pa.types.is_duration(kind):
        wide = pa.int32() if kind.bit_width == 32 else pa.int64()
        return _integers(chunk.view(wide))
    if pa.types.is_string(kind) or pa.types.is_binary(kind) or _is_large(kind):
        return _texts(chunk.cast(pa.large_binary()))
    if pa.types.is_fixed_size_binary(kind):
        return _texts(chunk.cast(pa.binary()).cast(pa.large_binary()))
    if pa.types.is_fixed_size_list(kind):
        chunk = chunk.cast(pa.list_(kind.value_type))
    if pa.types.is_list(chunk.type) or pa.types.is_large_list(chunk.type):
        return _lists(chunk)
    if pa.types.is_struct(kind):
        fields = {kind.field(i).name: chunk.field(i) for i in range(kind.num_fields)}
        return rows(fields)
    raise UnhashableError(f"a column of type {kind} cannot be compared")


def _is_large(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_string(kind) or pa.types.is_large_binary(kind))


def _integers(chunk: pa.Array) -> Hashes:
    values = plain(chunk)
    bits = values if values.dtype == np.uint64 else values.astype(np.int64).view(np.uint64)
    return mixed(np.asarray(bits, dtype=np.uint64))


def _floats(values: npt.NDArray[Any]) -> Hashes:
    values = np.asarray(values, dtype=np.float64)
    bits = np.ascontiguousarray(values).view(np.uint64)
    with np.errstate(invalid="ignore"):
        whole = (np.abs(values) < _WHOLE) & (values == np.floor(values))
        integers = np.where(whole, values, 0.0).astype(np.int64).view(np.uint64)
    found = np.where(whole, mixed(integers), mixed(~bits))
    return np.where(np.isnan(values), _NULL, found)


def _texts(chunk: pa.Array) -> Hashes:
    _, offsets, data = chunk.buffers()
    starts = np.frombuffer(offsets, dtype=np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
    if data is None:
        codes = np.zeros(0, dtype=np.uint64)
    else:
        codes = np.frombuffer(data, dtype=np.uint8)[starts[0] : starts[-1]].astype(np.uint64)
    return _summed(codes + np.uint64(1), starts - starts[0])


def _lists(chunk: pa.Array) -> Hashes:
    lengths = plain(pc.fill_null(pc.list_value_length(chunk), 0)).astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return mixed(_summed(hashes(chunk.flatten()), starts) + np.uint64(1))


def _summed(terms: Hashes, starts: npt.NDArray[np.int64]) -> Hashes:
    """Return the multilinear hash of each run ``terms[starts[i]:starts[i + 1]]``, shape (n,)."""
    lengths = np.diff(starts)
    places = np.arange(len(terms), dtype=np.int64) - np.repeat(starts[:-1], lengths)
    turns, places = np.divmod(places, _PLACES) if lengths.max(initial=0) > _PLACES else (0, places)
    weights = _MULTIPLIERS[places] + np.asarray(turns, dtype=np.uint64) * np.uint64(
        0x2545F4914F6CDD1D
    )
    running = np.concatenate(
        [np.zeros(1, dtype=np.uint64), np.cumsum(terms * weights, dtype=np.uint64)]
    )
    sums = running[starts[1:]] - running[starts[:-1]]
    return mixed(sums ^ mixed(lengths.astype(np.uint64)))
