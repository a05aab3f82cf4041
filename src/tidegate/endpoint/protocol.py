"""The bodies of ``POST /invocations``: MLflow's scoring protocol, as columns.

https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/#json-input
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FORMATS = ("dataframe_split", "dataframe_records", "inputs", "instances")


class ProtocolError(ValueError):
    """The body is no valid request, whichever model reads it: the client's fault (400)."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one request, by column; every column has ``count`` values, None is missing."""

    columns: Mapping[str, list[Any]]
    count: int


def parse(body: bytes, names: Sequence[str] | None) -> Rows:
    """Read a request's body. ``names`` are the model's columns, for rows given without names.

    Raises:
        ProtocolError: it is not JSON, not one of the four formats, or its rows are ragged.
    """
    try:
        document = json.loads(body, parse_constant=lambda _: None)
    except ValueError as error:
        raise ProtocolError(f"the body is not JSON: {error}") from error
    given = [name for name in FORMATS if isinstance(document, dict) and name in document]
    if len(given) != 1:
        raise ProtocolError(f"the body must be an object with exactly one of {', '.join(FORMATS)}")
    value = document[given[0]]
    if given[0] == "dataframe_split":
        if not isinstance(value, dict) or "data" not in value:
            raise ProtocolError("dataframe_split must hold columns and data")
        return _lists(value["data"], value.get("columns") or names)
    if isinstance(value, dict) and given[0] == "inputs":
        return _columns(value)
    if not isinstance(value, list):
        raise ProtocolError(f"{given[0]} must be a list of rows")
    if value and isinstance(value[0], dict):
        return _records(value)
    if given[0] == "dataframe_records":
        raise ProtocolError("dataframe_records must be a list of objects")
    return _lists(value, names)


def merge(requests: Sequence[Rows], names: Sequence[str]) -> dict[str, list[Any]]:
    """Return the rows of several requests as one, with exactly the columns ``names``."""
    if len(requests) == 1:
        rows = requests[0]
        return {name: rows.columns.get(name) or [None] * rows.count for name in names}
    merged: dict[str, list[Any]] = {}
    for name in names:
        column: list[Any] = []
        for rows in requests:
            column += rows.columns.get(name) or [None] * rows.count
        merged[name] = column
    return merged


def _records(records: list[Any]) -> Rows:
    names: dict[str, None] = {}
    for record in records:
        if not isinstance(record, dict):
            raise ProtocolError("every row must be an object when the first one is")
        names.update(dict.fromkeys(record))
    return Rows({name: [record.get(name) for record in records] for name in names}, len(records))


def _lists(rows: object, names: Sequence[str] | None) -> Rows:
    if names is None:
        raise ProtocolError("rows without column names, and the model names no columns either")
    if not isinstance(rows, list) or not all(
        isinstance(row, list) and len(row) == len(names) for row in rows
    ):
        raise ProtocolError(f"every row must be a list of {len(names)} values")
    return Rows({str(n): [row[i] for row in rows] for i, n in enumerate(names)}, len(rows))


def _columns(columns: dict[str, Any]) -> Rows:
    lists = {n: v if isinstance(v, list) else [v] for n, v in columns.items()}
    lengths = {len(values) for values in lists.values()}
    if len(lengths) != 1:
        raise ProtocolError("the columns of inputs must have the same number of values")
    return Rows(lists, lengths.pop())
