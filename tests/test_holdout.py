"""A holdout is its ids and truths: what leaves it the same, and what makes another one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from tidegate.core.config import Data
from tidegate.holdout import content_digest, content_of

if TYPE_CHECKING:
    from pathlib import Path

ROWS = pa.table({"id": [3, 1, 2], "y": [1, 0, 1], "x": [0.5, 0.25, 0.125], "city": ["b", "a", "c"]})
SAME = content_digest(ROWS, "id", "y")


def _with(**columns: object) -> pa.Table:
    table = ROWS
    for name, values in columns.items():
        place = (
            table.column_names.index(name)
            if name in table.column_names
            else len(table.column_names)
        )
        kept = table.remove_column(place) if name in table.column_names else table
        table = kept.add_column(
            place, name, pa.array(values) if isinstance(values, list) else values
        )
    return table


@pytest.mark.parametrize(
    "rows",
    [
        ROWS.take([2, 0, 1]),
        ROWS.select(["city", "y", "id"]),
        _with(unused=[9, 9, 9]),
        _with(x=[0.0, 0.0, 0.0]),
        _with(id=pa.array([3, 1, 2], pa.uint8())),
        _with(id=["3", "1", "2"]),
        _with(y=[1.0, 0.0, 1.0]),
        _with(y=[True, False, True]),
        _with(y=pa.array(["1", "0", "1"]).dictionary_encode()),
        pa.concat_tables([ROWS.slice(0, 1), ROWS.slice(1)]),
    ],
    ids=["row order", "column order", "another column", "a corrected feature", "narrow ids",
         "ids as text", "truth as floats", "truth as booleans", "truth as a dictionary", "chunks"],
)  # fmt: skip
def test_the_same_rows_in_another_form_are_the_same_holdout(rows: pa.Table) -> None:
    assert content_digest(rows, "id", "y") == SAME


@pytest.mark.parametrize(
    "rows",
    [
        ROWS.slice(1),
        _with(y=[0, 0, 1]),
        _with(y=[1, None, 1]),
        _with(id=[4, 1, 2]),
        _with(id=["03", "1", "2"]),
        _with(y=[1.5, 0.0, 1.0]),
    ],
    ids=[
        "a row less",
        "another truth",
        "a truth missing",
        "another id",
        "ids that are text",
        "fractions",
    ],
)
def test_other_rows_or_truths_are_another_holdout(rows: pa.Table) -> None:
    assert content_digest(rows, "id", "y") != SAME


def test_a_text_does_not_run_into_the_next() -> None:
    one, two = (pa.table({"id": [1, 2], "y": y}) for y in (["ab", "c"], ["a", "bc"]))
    assert content_digest(one, "id", "y") != content_digest(two, "id", "y")


def test_without_a_truth_every_column_counts() -> None:
    plain = content_digest(ROWS, "id", None)
    assert content_digest(ROWS.select(["city", "x", "y", "id"]), "id", None) == plain
    assert content_digest(_with(x=[0.0, 0.0, 0.0]), "id", None) != plain


def test_csv_and_parquet_under_any_name_are_one_holdout(tmp_path: Path) -> None:
    data = Data(train="t", holdout="h", target="y", id="id")
    pq.write_table(ROWS, tmp_path / "a.parquet")
    pq.write_table(ROWS, tmp_path / "b.parquet", row_group_size=1, compression="gzip")
    csv.write_csv(ROWS, tmp_path / "c.csv")
    assert {content_of(tmp_path / n, data) for n in ("a.parquet", "b.parquet", "c.csv")} == {SAME}


def test_odd_types_have_a_digest() -> None:
    day = pa.array([1, 2], pa.date32())
    stamps = day.cast(pa.timestamp("s"))
    for values in (
        day,
        pa.array([[1], [2]]),
        pa.array([1.5, float("nan")]),
        pa.array([None, None]),
    ):
        assert content_digest(pa.table({"id": [1, 2], "y": values}), "id", "y")
    days, seconds = (pa.table({"id": [1, 2], "y": y}) for y in (day, stamps))
    assert content_digest(days, "id", "y") == content_digest(seconds, "id", "y")


def test_a_million_rows_take_well_under_a_second_or_two() -> None:
    rng = np.random.default_rng(0)
    ids = rng.permutation(1_000_000)
    rows = pa.table({"id": ids, "y": rng.integers(0, 2, len(ids))})
    began = time.perf_counter()
    content_digest(rows, "id", "y")
    assert time.perf_counter() - began < 5
