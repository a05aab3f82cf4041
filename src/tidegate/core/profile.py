"""A profile of a table: per column its kind, nulls, range, counts in bins or of categories.

Profiles of parts of a table merge to the profile of the whole, exactly and in any order, because whatever
decides where a value is counted is fixed beforehand: the edges of a column's bins (from a sample of the first
profile's rows, :func:`edges_of`), and how many categories are told apart.

The size is bounded: the first 1,000 columns, 20 bins or 100 categories each. More than 1,000 different texts,
or one longer than 100 characters, are no categories: such a column has its kind and nulls alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.arrow import nulls, plain

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import numpy.typing as npt

MOST_COLUMNS = 1000
_BINS = 20
_DISTINCT = 1000  # categories counted
_SHOWN = 100  # and kept
_LONGEST = 100  # characters of a category
_SLACK = 0.1  # of the known range: how far outside is still inside


class ColumnKind(StrEnum):
    """What a column holds, as far as a model can tell. Widths of numbers do not matter."""

    NUMBER = "number"
    TEXT = "text"
    FLAG = "flag"
    TIME = "time"
    OTHER = "other"
    EMPTY = "empty"  # no value at all, hence of no kind: compatible with each


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """What one column holds. NaN counts as null.

    Attributes:
        low, high: the range of the finite values of a number; None when there are none.
        edges: increasing; ``bins[i]`` counts values from ``edges[i - 1]`` up to below ``edges[i]``.
        categories: (text, rows), most frequent first. Those of a target are its values as text.
        other: rows with a value that none of ``categories`` holds.
    """

    kind: ColumnKind
    rows: int
    nulls: int
    low: float | None = None
    high: float | None = None
    edges: tuple[float, ...] = ()
    bins: tuple[int, ...] = ()
    categories: tuple[tuple[str, int], ...] = ()
    other: int = 0

    @property
    def filled(self) -> int:
        """How many rows have a value."""
        return self.rows - self.nulls

    @property
    def closed(self) -> bool:
        """Whether ``categories`` are all there are."""
        return bool(self.categories) and self.other == 0

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Return the range that a value may have: the known one and a tenth of its width more."""
        if self.low is None or self.high is None:
            return None
        slack = _SLACK * (self.high - self.low)
        return self.low - slack, self.high + slack


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """What the columns of a table hold.

    Attributes:
        target: the column of the truth, if the table has one.
        reads: those of ``columns`` that the model said it reads; None: it did not say.
    """

    rows: int
    columns: Mapping[str, Column]
    target: str | None = None
    reads: tuple[str, ...] | None = None


def kind_of(kind: pa.DataType) -> ColumnKind:
    """Return what a column of an Arrow type holds."""
    if pa.types.is_dictionary(kind):
        return kind_of(kind.value_type)
    if pa.types.is_null(kind):
        return ColumnKind.EMPTY
    if pa.types.is_boolean(kind):
        return ColumnKind.FLAG
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return ColumnKind.NUMBER
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return ColumnKind.TEXT
    return ColumnKind.TIME if pa.types.is_temporal(kind) else ColumnKind.OTHER


def edges_of(column: Any) -> tuple[float, ...]:
    """Return edges of bins with about equally many of a sample's values; () if it has no number.

    >>> edges_of(pa.chunked_array([[0, 0, 1, None]]))
    (0.0, 1.0)
    """
    values = _numbers(column)[0]
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return ()
    found = np.quantile(values, np.linspace(0, 1, _BINS), method="inverted_cdf")
    return tuple(np.unique(found).tolist())


def _numbers(column: Any) -> tuple[npt.NDArray[np.float64], int]:
    """Return the values of a column of numbers that are not NaN, and how many are missing."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    values = plain(column.cast(pa.float64(), safe=False)) if len(column) else np.zeros(0)
    missing = np.isnan(values) | (nulls(column) if len(column) else False)
    return values[~missing], int(np.count_nonzero(missing))


class Sketch:
    """One column's profile in the making: updated by parts, merged with others of the same layout."""

    def __init__(
        self, edges: tuple[float, ...] = (), *, discrete: bool = False, known: Column | None = None
    ) -> None:
        """Begin.

        Args:
            edges: of the bins, should the column hold numbers.
            discrete: count the values of numbers as categories (the target of a classification).
            known: what an earlier table's column held: rows that it does not allow are counted.
        """
        self.kind = ColumnKind.EMPTY
        self.strange = 0  # rows outside the known range, or in none of the known categories
        self._edges, self._discrete, self._known = edges, discrete, known
        self._rows = self._nulls = self._filled_text = 0
        self._low, self._high = np.inf, -np.inf
        self._bins = np.zeros(len(edges) + 1, dtype=np.int64)
        self._counts: dict[str, int] | None = {}  # None: too many different ones

    def update(self, column: Any) -> None:
        """Add a part of the column (an Arrow array)."""
        kind = kind_of(column.type)
        if kind is not ColumnKind.EMPTY:
            self.kind = kind
        self._rows += len(column)
        if kind is ColumnKind.NUMBER and not self._discrete:
            self._add_numbers(column)
        elif kind in (ColumnKind.TEXT, ColumnKind.FLAG) or (kind is ColumnKind.NUMBER):
            self._add_categories(column)
        else:
            self._nulls += column.null_count

    def merge(self, other: Sketch) -> None:
        """Add what another sketch of the same layout saw."""
        self.kind = other.kind if self.kind is ColumnKind.EMPTY else self.kind
        self._rows += other._rows
        self._nulls += other._nulls
        self._filled_text += other._filled_text
        self._low, self._high = min(self._low, other._low), max(self._high, other._high)
        self._bins += other._bins
        self.strange += other.strange
        if other._counts is None:
            self._counts = None
        else:
            self._count(other._counts)

    def finish(self) -> Column:
        """Return the column's profile."""
        column = Column(kind=self.kind, rows=self._rows, nulls=self._nulls)
        if self.kind is ColumnKind.NUMBER and not self._discrete:
            found = self._low <= self._high
            return Column(
                kind=self.kind,
                rows=self._rows,
                nulls=self._nulls,
                low=float(self._low) if found else None,
                high=float(self._high) if found else None,
                edges=self._edges,
                bins=tuple(self._bins.tolist()),
            )
        if self._counts is None or not self._counts:
            return column
        ordered = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN]
        return Column(
            kind=self.kind,
            rows=self._rows,
            nulls=self._nulls,
            categories=tuple(ordered),
            other=self._filled_text - sum(count for _, count in ordered),
        )

    def _add_numbers(self, column: Any) -> None:
        values, missing = _numbers(column)
        self._nulls += missing
        finite = values[np.isfinite(values)] if not np.isfinite(values).all() else values
        if len(finite):
            self._low = min(self._low, float(finite.min()))
            self._high = max(self._high, float(finite.max()))
        if self._known is not None and (bounds := self._known.bounds) is not None:
            self.strange += int(np.count_nonzero((values < bounds[0]) | (values > bounds[1])))
        if self._edges:
            places = np.searchsorted(np.asarray(self._edges), values, side="right")
            self._bins += np.bincount(places, minlength=len(self._bins))

    def _add_categories(self, column: Any) -> None:
        column = _as_categories(column)
        self._nulls += column.null_count
        self._filled_text += len(column) - column.null_count
        self._count_strange(column)
        if self._counts is None:
            return
        counted = pc.value_counts(column.drop_null())
        if len(counted) > _DISTINCT:
            self._counts = None
            return
        pairs = zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True)
        self._count({_category(value): count for value, count in pairs})

    def _count(self, counts: Mapping[str, int]) -> None:
        if self._counts is None:
            return
        for value, count in counts.items():
            self._counts[value] = self._counts.get(value, 0) + count
        if len(self._counts) > _DISTINCT or any(len(value) > _LONGEST for value in counts):
            self._counts = None

    def _count_strange(self, column: Any) -> None:
        if self._known is None or not self._known.closed:
            return
        texts = [value for value, _ in self._known.categories]
        if kind_of(column.type) is ColumnKind.NUMBER:
            known = pa.array([float(text) for text in texts if _is_number(text)], pa.float64())
            column = column.cast(pa.float64(), safe=False)
        else:
            known, column = pa.array(texts, pa.string()), column.cast(pa.string())
        inside = pc.is_in(column.drop_null(), value_set=known)
        self.strange += len(inside) - (pc.sum(inside).as_py() or 0)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _as_categories(column: Any) -> Any:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    elif pa.types.is_decimal(column.type):
        column = column.cast(pa.float64(), safe=False)
    return column.cast(pa.string()) if pa.types.is_large_string(column.type) else column


def _category(value: object) -> str:
    """Return a value as the text of its category.

    >>> [_category(v) for v in (True, 1, 1.0, 0.5, "x")]
    ['true', '1', '1', '0.5', 'x']
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


class TableSketch:
    """A table's profile in the making.

    >>> sketch = TableSketch(["y"], target="y", discrete=True)
    >>> sketch.update(pa.table({"y": [0, 1, 1]}))
    >>> sketch.finish().columns["y"].categories
    (('1', 2), ('0', 1))
    """

    def __init__(
        self,
        columns: Collection[str],
        *,
        edges: Mapping[str, tuple[float, ...]] | None = None,
        target: str | None = None,
        discrete: bool = False,
        known: Profile | None = None,
    ) -> None:
        """Begin a profile of the named columns; the rest as in :class:`Sketch`, by column.

        ``discrete``: the target's values are classes.
        """
        self._target = target if target in columns else None
        self.rows = 0
        self.columns = {
            name: Sketch(
                (edges or {}).get(name, ()),
                discrete=discrete and name == target,
                known=known.columns.get(name) if known else None,
            )
            for name in columns
        }

    def update(self, part: pa.Table) -> None:
        """Add some rows."""
        self.rows += part.num_rows
        for name, sketch in self.columns.items():
            sketch.update(part[name])

    def merge(self, other: TableSketch) -> None:
        """Add what another sketch of the same layout saw."""
        self.rows += other.rows
        for name, sketch in self.columns.items():
            sketch.merge(other.columns[name])

    def finish(self) -> Profile:
        """Return the profile."""
        columns = {name: sketch.finish() for name, sketch in self.columns.items()}
        return Profile(rows=self.rows, columns=columns, target=self._target)
