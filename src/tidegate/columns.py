"""One column of a user's table, as numpy: numbers, probabilities, classes, groups and weights.

What is wrong with a column is the caller's mistake and a :class:`ConfigError` that names file, column
and row; a prediction that is missing is an answer that failed, and NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tidegate.arrow import nulls, plain
from tidegate.core.classes import MOST_CLASSES, label, ordered
from tidegate.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tidegate.core.metrics.estimate import Floats
    from tidegate.core.metrics.kinds import Codes

INTERVAL = 3  # numbers of a regression's answer with an interval: point, lower, upper
_MOST_SHOWN = 10  # classes in an error


def numbers(path: Path, column: Any, name: str) -> Floats:
    """Return a column of numbers or booleans, shape (n,); null is NaN.

    Raises:
        ConfigError: it holds text or lists.
    """
    kind = column.type
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if not numeric and not pa.types.is_boolean(kind):
        row, value = _first_text(column)
        raise ConfigError(
            f"{path}: column {name!r}: got {kind} (row {row:,}: {value!r}), expected numbers",
            remedy="Write probabilities, numbers or 0/1; not labels, lists or text.",
        )
    if pa.types.is_decimal(kind):
        return np.array([np.nan if v is None else float(v) for v in column.to_pylist()])
    values = plain(column).astype(np.float64, copy=bool(column.null_count))
    if column.null_count:
        values[nulls(column)] = np.nan
    return values


def is_list(kind: Any) -> bool:
    """Whether a column of this Arrow type holds a list per row."""
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def lists(path: Path, column: Any, name: str, width: int, what: str) -> Floats:
    """Return a column of lists of ``width`` numbers, shape (n, width); a null row is NaN.

    ``what`` says what the numbers are, for the error.

    Raises:
        ConfigError: it holds no lists, lists of another length, or lists of something else.
    """
    if pa.types.is_null(column.type):
        return np.full((len(column), width), np.nan)
    if not is_list(column.type):
        raise ConfigError(
            f"{path}: column {name!r}: got {column.type}, expected a list of {width} numbers per row: {what}",
            remedy="Write Parquet with one list<double> column per model; CSV has no lists.",
        )
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    parts = array.chunks if isinstance(array, pa.ChunkedArray) else [array]
    found = np.full((len(column), width), np.nan)
    first = 0
    for part in parts:
        found[first : first + len(part)] = _lists(path, part, name, width, what, first=first)
        first += len(part)
    return found


def _lists(  # noqa: PLR0913 (one part of a column, and where it stands)
    path: Path, part: Any, name: str, width: int, what: str, *, first: int
) -> Floats:
    there = ~nulls(part)
    if pa.types.is_fixed_size_list(part.type):
        lengths = np.full(len(part), part.type.list_size)
    else:
        lengths = np.diff(plain(part.offsets))
    if (wrong := np.flatnonzero(there & (lengths != width))).size:
        row = int(wrong[0])
        raise ConfigError(
            f"{path}: column {name!r}: row {first + row + 1:,} has {lengths[row]} numbers, "
            f"expected {width}: {what}",
            remedy="Every row needs all of them, in this order.",
        )
    rows = np.full((len(part), width), np.nan)
    rows[there] = numbers(path, part.flatten(), name).reshape(-1, width)
    return rows


def classes_of(path: Path, column: Any, name: str) -> tuple[str, ...]:
    """Return the classes that occur in a column of truths, in sorted order.

    Raises:
        ConfigError: a row has none, there are fewer than two, or more than 1,000.
    """
    values, _ = _encoded(path, column, name)
    try:
        found = ordered(values)
    except ValueError as error:
        raise ConfigError(f"{path}: column {name!r}: {error}") from None
    if not 2 <= len(found) <= MOST_CLASSES:
        raise ConfigError(
            f"{path}: column {name!r} has {len(found):,} different values, expected 2 to "
            f"{MOST_CLASSES:,} classes",
            remedy="Name the classes in mlops.yaml (model.classes), or use another task.",
        )
    return found


def class_codes(path: Path, column: Any, name: str, classes: Sequence[str]) -> Floats:
    """Return every row's class as its number in ``classes``, shape (n,).

    Raises:
        ConfigError: a row has no class, or one that is none of them.
    """
    values, codes = _encoded(path, column, name)
    position = {known: number for number, known in enumerate(classes)}
    numbered = []
    for value in values:
        try:
            numbered.append(position[label(value)])
        except (KeyError, ValueError):
            row = int(np.flatnonzero(codes == len(numbered))[0]) + 1
            raise ConfigError(
                f"{path}: column {name!r}: got the class {str(value)[:60]!r} (row {row:,}), expected one "
                f"of {shown(classes)}",
                remedy="Add it to model.classes in mlops.yaml, or correct the row.",
            ) from None
    return np.array(numbered, dtype=np.float64)[codes]


def groups(path: Path, column: Any, name: str) -> Codes:
    """Return every row's group as a number, 0 .. groups - 1, shape (n,).

    Raises:
        ConfigError: a row has no group, or the column holds lists.
    """
    return _encoded(path, column, name)[1]


def weights(path: Path, column: Any, name: str) -> Floats:
    """Return the rows' weights, shape (n,): finite, at least 0, not all 0.

    Raises:
        ConfigError: they are not, or no numbers.
    """
    found = numbers(path, column, name)
    wrong = np.flatnonzero(~(np.isfinite(found) & (found >= 0.0)))
    if wrong.size:
        row = int(wrong[0])
        raise ConfigError(
            f"{path}: column {name!r}: got {found[row]:g} in row {row + 1:,} (and in {wrong.size - 1:,} more), "
            "expected finite weights of 0 or more",
            remedy="Leave out the rows that count for nothing, or give them the weight 0.",
        )
    if not found.any():
        raise ConfigError(
            f"{path}: column {name!r}: every weight is 0, expected one above it",
            remedy="Remove data.weight from mlops.yaml if all rows count alike.",
        )
    return found


def _encoded(path: Path, column: Any, name: str) -> tuple[list[object], Codes]:
    """Return the distinct values that occur, and every row's index among them.

    Raises:
        ConfigError: a row has no value, or the column holds lists.
    """
    if pa.types.is_nested(column.type):
        raise ConfigError(f"{path}: column {name!r}: got {column.type}, expected one value per row")
    empty = nulls(column) if column.null_count else np.zeros(len(column), dtype=np.bool_)
    if pa.types.is_floating(column.type):
        empty = empty | np.isnan(plain(column).astype(np.float64))
    if empty.any():
        raise ConfigError(
            f"{path}: column {name!r}: {int(empty.sum()):,} of {len(column):,} rows have no value "
            f"(the first is row {int(np.flatnonzero(empty)[0]) + 1:,}), expected one in every row",
            remedy="Leave these rows out, or give each of them a value.",
        )
    encoded = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not pa.types.is_dictionary(encoded.type):
        encoded = encoded.dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().chunk(0)
    present, codes = np.unique(plain(encoded.indices), return_inverse=True)
    values = encoded.dictionary.to_pylist()
    return [values[index] for index in present.tolist()], codes.astype(np.intp)


def _first_text(column: Any) -> tuple[int, object]:
    """Return the first row (from 1) that holds no number, and its value."""
    values = column.to_pylist()
    for row, value in enumerate(values, 1):
        try:
            float(value)
        except (TypeError, ValueError):
            return row, value
    return 1, values[0]


def shown(classes: Sequence[str]) -> str:
    """Return the classes as a list for people, cut where it grows long."""
    more = f" and {len(classes) - _MOST_SHOWN} more" if len(classes) > _MOST_SHOWN else ""
    return ", ".join(classes[:_MOST_SHOWN]) + more
