"""A predictions table larger than memory: gone through a few times, a batch of rows at a time.

From :data:`FROM_BYTES` of columns on. The first time through looks at the rows (:mod:`tidegate.core.sums.look`) and at the ids;
the others sum (:mod:`tidegate.core.sums.stream`). What needs all rows at once (weights, groups of rows, lists, some metrics) is still read
whole up to :data:`MOST_WHOLE`, and refused beyond it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tidegate.columns import is_list
from tidegate.core.applicable import check_grouped, check_rules
from tidegate.core.gate import judge
from tidegate.core.rowhash import UnhashableError
from tidegate.core.sums.look import Look
from tidegate.core.sums.stream import Streamed, cannot, stream
from tidegate.errors import ConfigError, NotJudgedError
from tidegate.predictions import (
    ANCHOR,
    CANDIDATE,
    CHAMPION,
    ID,
    MOST_GROUPS,
    TRUTH,
    parquet_file,
    predictions_of,
    refuse_missing_ids,
    refuse_repeated,
    repeated_id,
    too_many_groups,
    unreadable,
)
from tidegate.unique import Unique, repeated

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tidegate.core.config import Gate
    from tidegate.core.model import Digests, Task, Verdict
    from tidegate.core.system import Measurements
    from tidegate.core.table import Predictions

_T = TypeVar("_T")

FROM_BYTES = 500_000_000
MOST_WHOLE = 2_000_000_000
BATCH = 1 << 17  # rows: two at a time, about 5 MB each, are in memory
_BUFFER = 1 << 20
_TEXT = 64  # bytes of an id that is not a number, about


@dataclass(kw_only=True, slots=True)
class Source:
    """A large Parquet file of predictions.

    Attributes:
        path: the file.
        by: the slice columns to read, where they are there.
        rows: how many there are.
    """

    path: Path
    by: tuple[str, ...]
    rows: int
    _unchanged: tuple[int, int]
    _known: dict[str, dict[str, int]] = field(default_factory=dict)

    def first(self) -> Predictions:
        """Return rows that witness what occurs: enough to tell the task, and its default rules.

        Raises:
            ConfigError: as :func:`tidegate.predictions.read`.
        """
        look = Look(task=None, rows=self.rows)
        for batch in self._batches(None):
            look.update(batch)
        assert look.witness is not None
        return look.witness

    def judge(self, gate: Gate, task: Task, *, measured: Measurements, digests: Digests) -> Verdict:
        """Judge as :func:`tidegate.core.gate.judge` does, in memory that does not grow with the rows.

        Raises:
            ConfigError: as :func:`tidegate.predictions.read`, or too many groups of rows to keep sums of.
            NotJudgedError: scores in bins leave too much in doubt, or the file has changed meanwhile.
        """
        check_rules(gate, task)
        check_grouped(gate, task)
        self._check_ids()
        look = Look(task=task, rows=self.rows)
        for batch in self._batches(task):
            look.update(batch)
        assert look.witness is not None
        unusable, survey = look.unusable(), None
        if not unusable:
            survey = stream(look, gate, task, lambda: self._batches(task))
            if survey is None:
                raise ConfigError(
                    f"{self.path}: {self.rows:,} rows are more than fit into memory, and the slices' columns make too many "
                    "groups of them to keep sums of",
                    remedy="Slice by fewer or coarser columns, or judge a random sample of the rows.",
                )
        if self._unchanged != _state(self.path):
            raise NotJudgedError(
                f"{self.path} has changed while it was read",
                remedy="Judge it again when it is complete.",
            )
        return judge(
            look.witness,
            gate,
            task=task,
            measured=measured,
            digests=digests,
            first_release=look.witness.champion is None,
            streamed=Streamed(n=look.n, unusable=tuple(unusable), survey=survey),
        )

    def _batches(self, task: Task | None) -> Iterator[Predictions]:
        return _ahead(self._parsed(task))

    def _parsed(self, task: Task | None) -> Iterator[Predictions]:
        start = 0
        for table in self._tables([TRUTH, CANDIDATE, CHAMPION, ANCHOR, *self.by]):
            try:
                part = predictions_of(self.path, table, task, self.by, ids=False)
            except ConfigError as error:
                where = f" (of the {len(table):,} rows from row {start + 1:,} on)" if start else ""
                raise ConfigError(f"{error}{where}", remedy=error.remedy) from None
            start += len(table)
            yield replace(part, slices={n: self._recoded(n, *c) for n, c in part.slices.items()})

    def _recoded(self, name: str, categories: Sequence[str], codes: Any) -> Any:
        """Return a batch's slice column in the numbers of all batches so far."""
        known = self._known.setdefault(name, {})
        numbers = np.array([known.setdefault(c, len(known)) for c in categories], dtype=np.int16)
        if len(known) > MOST_GROUPS:
            raise too_many_groups(self.path, name, f"over {MOST_GROUPS:,}")
        return tuple(known), numbers[codes]

    def _check_ids(self) -> None:
        with Unique() as unique:
            if all(self._ascends(column, unique) for column in self._ids()):
                return
            try:
                for column in self._ids():
                    refuse_missing_ids(self.path, column)
                    unique.keep(column)
            except UnhashableError as error:
                raise ConfigError(
                    f"{self.path}: column 'id': {error}", remedy="Make ids integers or text."
                ) from None
            keys = unique.twice()
        if len(keys) and (value := repeated(keys, self._ids())) is not None:
            raise repeated_id(self.path, value)

    def _ascends(self, column: Any, unique: Unique) -> bool:
        refuse_missing_ids(self.path, column)
        return pa.types.is_integer(column.type) and unique.ascends(column)

    def _ids(self) -> Iterator[Any]:
        return (table.column(0) for table in _ahead(self._tables([ID])))

    def _tables(self, wanted: Sequence[str]) -> Iterator[Any]:
        try:
            with parquet_file(self.path, self.by, buffer=_BUFFER) as file:
                names = file.schema_arrow.names
                columns = [name for name in dict.fromkeys(wanted) if name in names]
                for batch in file.iter_batches(BATCH, columns=columns):
                    yield pa.Table.from_batches([batch])
        except (pa.ArrowException, OSError) as error:
            raise unreadable(self.path, error) from None


def find(path: Path, *, by: Sequence[str] = (), whole: str | None = None) -> Source | None:
    """Return the file if it is too large to be read whole; None: read it.

    A file that is no Parquet, or has not the columns, is for :func:`tidegate.predictions.read` to refuse.

    Args:
        path: the file.
        by: the slice columns.
        whole: what asks for all rows at once, whatever the file holds; see :func:`needs`.

    Raises:
        ConfigError: it cannot be streamed and is larger than may be read whole.
    """
    wanted = list(dict.fromkeys([ID, TRUTH, CANDIDATE, CHAMPION, ANCHOR, *by]))
    try:
        with pq.ParquetFile(path) as file:
            schema, metadata = file.schema_arrow, file.metadata
            refuse_repeated(path, schema.names, wanted)
    except (pa.ArrowException, OSError):
        return None
    there = [name for name in wanted if name in schema.names]
    size = _size(schema, metadata, there)
    if size < FROM_BYTES or ID not in there or CANDIDATE not in there:
        return None
    if any(is_list(schema.field(name).type) for name in there):
        whole = whole or "a column of lists"
    if whole is None:
        return Source(path=path, by=tuple(by), rows=metadata.num_rows, _unchanged=_state(path))
    if size <= MOST_WHOLE:
        return None
    raise ConfigError(
        f"{path}: {whole} needs all rows at once, and its {metadata.num_rows:,} rows take {size / 1e9:.1f} GB; "
        f"expected at most {MOST_WHOLE / 1e9:.0f} GB",
        remedy="Judge a random sample of the rows, or leave that rule out.",
    )


def needs(gate: Gate, task: Task, *, group: bool, weight: bool) -> str | None:
    """Return what asks for all rows at once, in words; None where nothing does."""
    if group or weight:
        return "data.group" if group else "data.weight"
    return cannot(gate, task)


def _size(schema: Any, metadata: Any, names: Sequence[str]) -> int:
    """Return how many bytes the columns take in memory: 8 a number, 2 a slice's code."""
    total = 0
    for index in range(metadata.num_columns):
        name = metadata.schema.column(index).path.split(".")[0]
        if name not in names:
            continue
        values = sum(
            metadata.row_group(g).column(index).num_values for g in range(metadata.num_row_groups)
        )
        text = name == ID and not pa.types.is_integer(schema.field(name).type)
        known = name in (ID, TRUTH, CANDIDATE, CHAMPION, ANCHOR)
        total += values * (_TEXT if text else 8 if known else 2)
    return total


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _ahead(items: Iterator[_T]) -> Iterator[_T]:
    """Yield items, the next one being made while one is looked at."""
    with ThreadPoolExecutor(1) as maker:
        coming = maker.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = maker.submit(next, items, None)
            yield item
