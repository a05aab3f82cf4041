"""Hashes of values and rows: equal values, equal hashes, whatever their type."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tidegate.core.rowhash import UnhashableError, hashes, rows

DAY = dt.date(2026, 11, 23)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([3, None]), pa.array([3.0, None])),
        (pa.array([3, 4], pa.int8()), pa.array([3, 4], pa.uint64())),
        (pa.array([1, None]), pa.array([1.0, float("nan")])),
        (pa.array([-0.0]), pa.array([0])),
        (pa.array([Decimal("2.50")]), pa.array([2.5])),
        (pa.array(["a", "", None, "é"]), pa.array(["a", "", None, "é"], pa.large_string())),
        (pa.array(["a", "b", None]), pa.array(["a", "b", None]).dictionary_encode()),
        (pa.array(["x", "a", "b"]).slice(1), pa.array(["a", "b"])),
        (pa.array([DAY]), pa.array([20_780 * 86_400_000], pa.timestamp("ms"))),
        (pa.array([[1.0], [], None, [2, 3]]), pa.array([[1], [], None, [2, 3]], pa.large_list(pa.int8()))),
        (pa.array([[1.5, 2]], pa.list_(pa.float64(), 2)), pa.array([[1.5, 2]], pa.list_(pa.float64()))),
        (pa.array([True, None]), pa.array([True, None, False]).slice(0, 2)),
    ],
)  # fmt: skip
def test_equal_values_of_different_types_have_one_hash(one: pa.Array, other: pa.Array) -> None:
    assert hashes(one).tolist() == hashes(other).tolist()


@pytest.mark.parametrize(
    "values",
    [
        ["a", "b", "ab", "ba", "", "\0", "a\0", None],
        [0, 1, -1, 2**62, 2**62 + 1, -(2**62), None],
        [0.1, 0.2, -0.1, 1e300, float("inf"), float("-inf"), None, 7.0],
        [[], [0], [0, 0], [1, 2], [2, 1], None],
        [{"a": 1, "b": 2}, {"a": 2, "b": 1}, {"a": None, "b": None}],
        [dt.time(1), dt.time(2), None],
        [b"\0", b"\1", b""],
        ["x" * 4096, "x" * 4097, "x" * 4096 + "y", "y" + "x" * 4096],
    ],
)
def test_different_values_have_different_hashes(values: list[Any]) -> None:
    assert len(set(hashes(pa.array(values)).tolist())) == len(values)


def test_three_hundred_thousand_texts_and_numbers_do_not_collide() -> None:
    n = 300_000
    numbers = np.arange(n, dtype=np.int64)
    digits = np.array([b"0"]).view(np.uint8) + numbers[:, None] // 10 ** np.arange(6)[::-1] % 10
    texts = pa.Array.from_buffers(
        pa.string(), n, [None, pa.py_buffer(np.arange(0, 6 * n + 1, 6, dtype=np.int32)), pa.py_buffer(digits.astype(np.uint8))]
    )  # fmt: skip
    for column in (texts, pa.array(numbers), pa.array(numbers / 7)):
        assert len(np.unique(hashes(column))) == n


def test_a_rows_hash_is_of_names_and_values_in_any_order_of_columns() -> None:
    a, b = pa.array([1, 2]), pa.array(["x", "y"])
    assert rows({"a": a, "b": b}).tolist() == rows({"b": b, "a": a}).tolist()
    assert rows({"a": a, "b": b}).tolist() != rows({"b": a, "a": b}).tolist()
    swapped = rows({"a": pa.array([1, 2]), "b": pa.array([2, 1])})
    assert swapped[0] != swapped[1]  # the same two values, each in the other's place


def test_what_cannot_be_compared_says_which_column_it_is() -> None:
    odd = pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64()))
    with pytest.raises(
        UnhashableError, match=r"^tags: a column of type map<.*> cannot be compared$"
    ):
        rows({"a": pa.array([1]), "tags": odd})
