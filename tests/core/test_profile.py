"""Profiles: what columns hold, exactly, however the table is cut into parts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.core.profile import Column, ColumnKind, Profile, TableSketch, edges_of, kind_of

TABLE = pa.table(
    {
        "amount": [1.0, 2.0, None, float("nan"), 4.0, float("inf")],
        "region": ["n", "s", None, "n", "n", "e"],
        "member": [True, False, None, True, True, True],
        "day": pa.array([1, 2, 3, None, 5, 6], pa.timestamp("s")),
        "bag": [[1], [2], None, [], [3], [4]],
        "void": pa.nulls(6),
        "y": [0, 1, 1, 0, 1, 1],
    }
)
EDGES = {"amount": (1.0, 2.0, 4.0)}


def profile(*parts: pa.Table, known: Profile | None = None) -> Profile:
    sketch = TableSketch(TABLE.column_names, edges=EDGES, target="y", discrete=True, known=known)
    for part in parts:
        sketch.update(part)
    return sketch.finish()


def test_each_kind_of_column_is_counted() -> None:
    number, text, flag = ColumnKind.NUMBER, ColumnKind.TEXT, ColumnKind.FLAG
    assert profile(TABLE).columns == {
        "amount": Column(kind=number, rows=6, nulls=2, low=1.0, high=4.0, edges=(1.0, 2.0, 4.0), bins=(0, 1, 1, 2)),
        "region": Column(kind=text, rows=6, nulls=1, categories=(("n", 3), ("e", 1), ("s", 1))),
        "member": Column(kind=flag, rows=6, nulls=1, categories=(("true", 4), ("false", 1))),
        "day": Column(kind=ColumnKind.TIME, rows=6, nulls=1),
        "bag": Column(kind=ColumnKind.OTHER, rows=6, nulls=1),
        "void": Column(kind=ColumnKind.EMPTY, rows=6, nulls=6),
        "y": Column(kind=number, rows=6, nulls=0, categories=(("1", 4), ("0", 2))),
    }  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 6), max_size=4), st.permutations(range(5)))
def test_parts_in_any_order_merge_to_the_whole(cuts: list[int], order: list[int]) -> None:
    bounds = [0, *sorted(cuts), 6]
    parts = [TABLE.slice(a, b - a) for a, b in pairwise(bounds)]
    merged = TableSketch(TABLE.column_names, edges=EDGES, target="y", discrete=True)
    for index in order:
        if index < len(parts):
            other = TableSketch(TABLE.column_names, edges=EDGES, target="y", discrete=True)
            other.update(parts[index])
            merged.merge(other)
    assert merged.finish() == profile(TABLE) == profile(*parts)


def test_too_many_or_too_long_texts_are_no_categories_in_whatever_parts_they_come() -> None:
    many = pa.table({"t": [f"t{i}" for i in range(1001)]})
    long = pa.table({"t": ["x" * 101, "y"]})
    for table in (many, long):
        whole, parts = TableSketch(["t"]), TableSketch(["t"])
        whole.update(table)
        for at in range(0, table.num_rows, 400):
            part = TableSketch(["t"])
            part.update(table.slice(at, 400))
            parts.merge(part)
        assert whole.finish() == parts.finish()
        assert whole.finish().columns["t"].categories == ()


def test_a_hundred_categories_are_kept_and_the_rest_is_counted() -> None:
    sketch = TableSketch(["t"])
    sketch.update(pa.table({"t": [f"{i:03}" for i in range(150) for _ in range(1 + (i < 50))]}))
    column = sketch.finish().columns["t"]
    assert len(column.categories) == 100
    assert column.categories[:2] == (("000", 2), ("001", 2))
    assert (column.other, column.closed) == (50, False)


def test_what_an_earlier_table_did_not_allow_is_counted() -> None:
    known = profile(TABLE.slice(0, 5))
    sketch = TableSketch(TABLE.column_names, edges=EDGES, target="y", discrete=True, known=known)
    sketch.update(
        pa.table(
            {
                "amount": [0.71, 0.69, 4.29, 4.31, float("inf"), None],  # 1 to 4, and 0.3 more
                "region": pa.array(["n", "s", "w", "w", None, "e"]).dictionary_encode(),
                "member": [True, False, None, True, True, True],
                "day": pa.array([1, 2, 3, None, 5, 6], pa.timestamp("s")),
                "bag": [[1], [2], None, [], [3], [4]],
                "void": pa.nulls(6),
                "y": [0.0, 1.0, 2.0, None, 1.0, 2.0],
            }
        )
    )
    strange = {name: column.strange for name, column in sketch.columns.items() if column.strange}
    assert strange == {"amount": 3, "region": 3, "y": 2}


def test_edges_are_values_with_about_equally_many_between_them() -> None:
    assert edges_of(pa.chunked_array([[5, 5, 5]])) == (5.0,)
    assert edges_of(pa.chunked_array([pa.nulls(3, pa.float64())])) == ()
    edges = edges_of(pa.chunked_array([np.arange(10_000)]))
    assert len(edges) == 20
    assert max(np.diff(edges)) - min(np.diff(edges)) <= 1


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (pa.int8(), "number"), (pa.decimal128(9, 2), "number"), (pa.float16(), "number"),
        (pa.large_string(), "text"), (pa.dictionary(pa.int8(), pa.string()), "text"),
        (pa.date32(), "time"), (pa.duration("s"), "time"), (pa.binary(), "other"), (pa.null(), "empty"),
    ],
)  # fmt: skip
def test_widths_and_encodings_of_a_kind_do_not_matter(kind: pa.DataType, expected: str) -> None:
    assert kind_of(kind) == expected


def test_an_empty_table_has_an_empty_profile() -> None:
    found = profile(TABLE.slice(0, 0))
    assert found.rows == 0
    assert found.columns["amount"] == Column(
        kind=ColumnKind.NUMBER, rows=0, nulls=0, edges=EDGES["amount"], bins=(0, 0, 0, 0)
    )
