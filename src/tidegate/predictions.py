"""Reading a predictions table: one row per holdout row, one column per model.

What is wrong with the *file* (a missing column, text where numbers belong, a duplicate id, a row
without its truth) is the caller's mistake and a :class:`ConfigError`, exit 2. What is wrong with a
*model's answers* (NaN, a probability of 1.2, one class only) is for the gate to say: a verdict
``error``, exit 6. A missing prediction is an answer that failed, so it is read as NaN.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tidegate import large
from tidegate.arrow import nulls, plain
from tidegate.columns import (
    INTERVAL,
    class_codes,
    classes_of,
    groups,
    is_list,
    lists,
    numbers,
    shown,
    weights,
)
from tidegate.core.model import Task
from tidegate.core.table import Predictions, SliceColumn
from tidegate.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tidegate.arrow import Array
    from tidegate.core.metrics.estimate import Floats

ID, TRUTH, CANDIDATE, CHAMPION, ANCHOR = "id", "y_true", "candidate", "champion", "anchor"
GROUP, WEIGHT = "group", "weight"  # read where mlops.yaml names data.group or data.weight
MISSING = "(missing)"  # the group of the rows that have no value in a slice column
MOST_GROUPS = 1000
_NULLS = ["", "NaN", "nan", "null", "NULL", "None"]  # not "NA": North America, Namibia
_LAYOUT = "Columns: id, y_true, candidate, champion, optionally anchor, and any to slice by."


def read(  # noqa: PLR0913 (what the columns mean)
    path: Path,
    *,
    task: Task | None = None,
    by: Sequence[str] = (),
    classes: Sequence[str] = (),
    group: bool = False,
    weight: bool = False,
) -> Predictions:
    """Read a table of predictions from Parquet or CSV.

    Args:
        path: the file; Parquet is known by its first bytes, CSV by its suffix.
        task: decides whether ``y_true`` must be there; None: it is read where it is, and lists of
            predictions are of a multiclass model.
        by: the slice columns to read, where they are there; a rule about one that is not makes
            the verdict an error.
        classes: multiclass: the classes in the order of the probabilities; empty: those of
            ``y_true``, in sorted order.
        group: the column ``group`` says which rows belong together.
        weight: the column ``weight`` says how much a row counts.

    Returns:
        The table; ``champion`` and ``anchor`` are None where the columns are absent.

    Raises:
        ConfigError: file, column, what is there, what was expected and how to get it.
    """
    more = [*by, *((GROUP,) if group else ())]
    alone = not group and not weight and task is not Task.MULTICLASS
    if alone and (found := _large(path, task, by)) is not None:
        return found
    table = _open(path, more, [WEIGHT] if weight else [], by)
    if task is None and TRUTH in table.column_names and _lists_of(table, CANDIDATE):
        task = Task.MULTICLASS
    if task is Task.MULTICLASS:
        classes = classes or classes_of(path, _column(path, table, TRUTH), TRUTH)
    found = predictions_of(path, table, task, by, classes)
    return replace(
        found,
        group=groups(path, _column(path, table, GROUP), GROUP) if group else None,
        weight=weights(path, _column(path, table, WEIGHT), WEIGHT) if weight else None,
    )


def _large(path: Path, task: Task | None, by: Sequence[str]) -> Predictions | None:
    """Return a large Parquet table, read in parts; None where the whole must be looked at.

    So it must when something is wrong: errors name the file's rows.
    """
    try:
        with pq.ParquetFile(path) as file:
            if file.metadata.num_rows < large.FROM_ROWS:
                return None
            names = file.schema_arrow.names
            wanted = [*dict.fromkeys([ID, TRUTH, CANDIDATE, CHAMPION, ANCHOR, *by])]
            refuse_repeated(path, names, wanted)
            schema = file.schema_arrow
            whole = ID not in names or not pa.types.is_integer(schema.field(ID).type)
            if whole or CANDIDATE not in names or is_list(schema.field(CANDIDATE).type):
                return None
        with parquet_file(path, by) as file:
            columns = [name for name in wanted if name in names]
            table = large.join(file, columns, lambda t: predictions_of(path, t, task, by, ()))
    except (pa.ArrowException, OSError, ConfigError):
        return None
    few = all(len(categories) <= MOST_GROUPS for categories, _ in table.slices.values())
    return table if few and table.ids is not None and _repeated(table.ids) is None else None


def predictions_of(  # noqa: PLR0913 (what the columns mean)
    path: Path,
    table: Any,
    task: Task | None,
    by: Sequence[str],
    classes: Sequence[str] = (),
    *,
    ids: bool = True,
) -> Predictions:
    """Return an Arrow table's columns, without groups and weights; ``ids``: those too, as unique ones."""
    names = table.column_names
    if task is Task.MULTICLASS:
        truth: Floats | None = class_codes(path, _column(path, table, TRUTH), TRUTH, classes)
    else:
        truth = _truth(path, table, task)
    _column(path, table, CANDIDATE)
    models = {
        name: _answers(path, table.column(name), name, task, classes)
        for name in (CANDIDATE, CHAMPION, ANCHOR)
        if name in names
    }
    return Predictions(
        ids=_ids(path, _column(path, table, ID)) if ids else None,
        y_true=truth,
        candidate=models[CANDIDATE],
        champion=models.get(CHAMPION),
        anchor=models.get(ANCHOR),
        slices={name: _slices(path, table.column(name), name) for name in by if name in names},
    )


def _lists_of(table: Any, name: str) -> bool:
    return name in table.column_names and is_list(table.column(name).type)


def _answers(
    path: Path, column: Any, name: str, task: Task | None, classes: Sequence[str]
) -> Floats:
    """Return a model's answers: a number a row, a probability of each class, or point and interval."""
    if task is Task.MULTICLASS:
        what = f"a probability of each class ({shown(classes)})"
        return lists(path, column, name, len(classes), what)
    if task is Task.REGRESSION and is_list(column.type):
        return lists(path, column, name, INTERVAL, "the point, and the interval's ends")
    return numbers(path, column, name)


def infer_task(table: Predictions) -> Task:
    """Return the task that a table suggests: generic without a truth, binary for 0 and 1."""
    if table.y_true is None:
        return Task.GENERIC
    if table.candidate.ndim > 1:
        return Task.MULTICLASS
    zero_one = ((table.y_true == 0.0) | (table.y_true == 1.0)).all()
    return Task.BINARY if zero_one else Task.REGRESSION


# --- files ----------------------------------------------------------------------------------


def _open(path: Path, by: Sequence[str], more: Sequence[str], slices: Sequence[str]) -> Any:
    try:
        with path.open("rb") as stream:
            parquet = stream.read(4) == b"PAR1"
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}", remedy="Name a Parquet or CSV file of predictions."
        ) from None
    wanted = dict.fromkeys([ID, TRUTH, CANDIDATE, CHAMPION, ANCHOR, *by, *more])
    if parquet:
        table = _parquet(path, list(wanted), slices)
    elif path.suffix.lower() in {".csv", ".txt"}:
        table = _csv(path, by)
    else:
        raise ConfigError(
            f"{path}: neither Parquet (it does not begin with PAR1) nor a .csv file",
            remedy="Write it with to_parquet(), or name a CSV file *.csv.",
        )
    if table.num_rows == 0:
        raise ConfigError(
            f"{path}: 0 rows", remedy="A gate needs at least 50 rows to say anything."
        )
    return table


def parquet_file(path: Path, slices: Sequence[str], *, buffer: int = 0) -> Any:
    """Open a Parquet file; text to slice by stays as the file has it, numbers of a dictionary.

    ``buffer``: bytes of a column that are read at a time; 0: all of a row group's.
    """
    # ParquetFile, not read_table: that one loads the dataset layer first, 0.27 s. Pre-buffering is
    # for far stores: on a disk it doubles the time, most of it the system's.
    file = pq.ParquetFile(path, pre_buffer=False, buffer_size=buffer)
    schema = file.schema_arrow
    text = [s for s in slices if s in schema.names and pa.types.is_string(schema.field(s).type)]
    if not text:
        return file
    metadata = file.metadata
    file.close()
    return pq.ParquetFile(
        path, read_dictionary=text, metadata=metadata, pre_buffer=False, buffer_size=buffer
    )


def _parquet(path: Path, wanted: list[str], slices: Sequence[str]) -> Any:
    try:
        with parquet_file(path, slices) as file:
            names = file.schema_arrow.names
            refuse_repeated(path, names, wanted)
            return file.read(columns=[name for name in wanted if name in names])
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: BaseException) -> ConfigError:
    """Return the error for a Parquet file that Arrow cannot read."""
    return ConfigError(
        f"{path}: not a readable Parquet file: {_first_line(error)}",
        remedy="The file is cut short or damaged; write it again.",
    )


def _csv(path: Path, by: Sequence[str]) -> Any:
    # Only here: a reader of Parquet should not pay for it.
    import pyarrow.csv as pa_csv

    # Ids and slices as text: 007 is not 7.
    types = dict.fromkeys((ID, *by), pa.string())
    options = pa_csv.ConvertOptions(
        column_types=types, null_values=_NULLS, strings_can_be_null=True
    )
    try:
        table = pa_csv.read_csv(path, convert_options=options)
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(
            f"{path}: not a readable CSV file: {_first_line(error)}",
            remedy="Expected a header line, commas, and as many fields in every line.",
        ) from None
    refuse_repeated(path, table.column_names, [*types, TRUTH, CANDIDATE, CHAMPION, ANCHOR])
    return table


def refuse_repeated(path: Path, names: list[str], wanted: list[str]) -> None:
    """Raise a ConfigError where a column that is wanted is there twice."""
    for name in wanted:
        if names.count(name) > 1:
            raise ConfigError(
                f"{path}: column {name!r} occurs {names.count(name)} times",
                remedy="Keep one of them.",
            )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


# --- columns --------------------------------------------------------------------------------


def _column(path: Path, table: Any, name: str) -> Any:
    if name in table.column_names:
        return table.column(name)
    raise ConfigError(
        f"{path}: no column {name!r}; it has {', '.join(table.column_names) or 'none that count'}",
        remedy=_LAYOUT,
    )


def _truth(path: Path, table: Any, task: Task | None) -> Floats | None:
    if task is Task.GENERIC or (task is None and TRUTH not in table.column_names):
        return None
    truth = numbers(path, _column(path, table, TRUTH), TRUTH)
    if missing := int(np.isnan(truth).sum()):
        first = int(np.flatnonzero(np.isnan(truth))[0]) + 1
        raise ConfigError(
            f"{path}: column 'y_true': {missing:,} of {len(truth):,} rows have no truth "
            f"(the first is row {first:,}), expected one in every row",
            remedy="Leave out the rows whose truth is not known yet.",
        )
    return truth


def _ids(path: Path, column: Any) -> Array:
    refuse_missing_ids(path, column)
    if pa.types.is_integer(column.type):
        ids = plain(column)
    else:
        ids = np.empty(len(column), dtype=object)
        ids[:] = column.to_pylist()
    repeated = _repeated(ids)
    if repeated is not None:
        raise repeated_id(path, repeated)
    return ids


def refuse_missing_ids(path: Path, column: Any) -> None:
    """Raise a ConfigError where a row has no id."""
    if column.null_count:
        raise ConfigError(
            f"{path}: column 'id': {column.null_count:,} of {len(column):,} rows have no id, "
            "expected one in every row",
            remedy="Ids pair the models row by row; give every row its own.",
        )


def repeated_id(path: Path, value: object) -> ConfigError:
    """Return the error for an id that occurs more than once."""
    return ConfigError(
        f"{path}: column 'id': {value!r} occurs more than once, expected unique ids",
        remedy="Ids pair the models row by row; drop the duplicates or use another column.",
    )


def _repeated(ids: Array) -> object:
    """Return one id that occurs twice, or None."""
    if ids.dtype != object:
        if (ids[1:] > ids[:-1]).all():
            return None
        ordered = np.sort(ids)
        twice = ordered[1:][ordered[1:] == ordered[:-1]]
        return twice[0].item() if len(twice) else None
    listed = ids.tolist()
    if len(set(listed)) == len(listed):
        return None
    seen: set[object] = set()
    for value in listed:
        if value in seen:
            return value
        seen.add(value)
    return None


def _slices(path: Path, column: Any, name: str) -> SliceColumn:
    """Return the categories that occur and every row's code; rows without a value are a group."""
    if pa.types.is_nested(column.type):
        raise ConfigError(
            f"{path}: column {name!r}: got {column.type}, expected one value per row to slice by",
        )
    encoded = column.combine_chunks()
    if not pa.types.is_dictionary(encoded.type):
        encoded = encoded.dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().chunk(0)
    values = [_text(value) for value in encoded.dictionary.to_pylist()]
    indices = plain(encoded.indices)
    if encoded.indices.null_count:  # not fill_null(): that imports pandas
        indices = np.where(nulls(encoded.indices), len(values), indices)
    occurs = np.bincount(indices, minlength=len(values) + 1) > 0
    present = np.flatnonzero(occurs)
    if len(present) > MOST_GROUPS:
        raise too_many_groups(path, name, f"{len(present):,}")
    categories = [*values, MISSING]
    codes = np.take((np.cumsum(occurs) - 1).astype(np.int16), indices)
    return tuple(categories[code] for code in present.tolist()), codes


def too_many_groups(path: Path, name: str, found: str) -> ConfigError:
    """Return the error for a slice column of so many values."""
    return ConfigError(
        f"{path}: column {name!r} has {found} different values, "
        f"expected at most {MOST_GROUPS:,} groups to slice by",
        remedy="Slice by a coarser column: bands instead of numbers, regions instead of ids.",
    )


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return MISSING if value is None else str(value)
