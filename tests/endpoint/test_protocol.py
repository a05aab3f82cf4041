"""Request bodies become columns."""

from __future__ import annotations

import json

import pytest

from tidegate.endpoint.protocol import ProtocolError, Rows, merge, parse


@pytest.mark.parametrize(
    "document",
    [
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1, "x"], [None, "y"]]}},
        {"dataframe_split": {"data": [[1, "x"], [None, "y"]]}},
        {"dataframe_records": [{"a": 1, "b": "x"}, {"b": "y"}]},
        {"inputs": {"a": [1, None], "b": ["x", "y"]}},
        {"inputs": [[1, "x"], [None, "y"]]},
        {"instances": [{"a": 1, "b": "x"}, {"a": None, "b": "y"}]},
        {"instances": [[1, "x"], [None, "y"]]},
    ],
    ids=json.dumps,
)
def test_the_four_formats_say_the_same(document: object) -> None:
    rows = parse(json.dumps(document).encode(), ("a", "b"))
    assert rows == Rows({"a": [1, None], "b": ["x", "y"]}, 2)


def test_nan_is_missing_and_single_values_are_one_row() -> None:
    assert parse(b'{"inputs": {"a": NaN, "b": 2}}', None) == Rows({"a": [None], "b": [2]}, 1)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"inputs": {"a": [1]}, "instances": []}',
        b'{"dataframe_split": [1]}',
        b'{"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}',
        b'{"dataframe_records": [1]}',
        b'{"dataframe_records": [{"a": 1}, 2]}',
        b'{"inputs": {"a": [1], "b": [1, 2]}}',
        b'{"inputs": {}}',
        b'{"instances": 5}',
    ],
)
def test_anything_else_is_the_clients_fault(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(body, ("a", "b"))


def test_rows_without_names_need_a_model_that_has_them() -> None:
    with pytest.raises(ProtocolError, match="names no columns"):
        parse(b'{"instances": [[1, 2]]}', None)


def test_requests_are_merged_into_the_models_columns() -> None:
    first, second = Rows({"a": [1], "other": [0]}, 1), Rows({"b": ["x", "y"]}, 2)
    assert merge([first, second], ("a", "b")) == {"a": [1, None, None], "b": [None, "x", "y"]}
