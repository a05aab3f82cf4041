"""Ask one variant's server directly: past the router, its counts and its log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tidegate.endpoint import envoy
from tidegate.errors import NotJudgedError, OutsideError

if TYPE_CHECKING:
    import numpy.typing as npt

    from tidegate.endpoint.layout import Folder


def ask(folder: Folder, version: str, rows: pa.Table) -> npt.NDArray[np.float64]:
    """Return one prediction per row: a number, or a row of numbers.

    Raises:
        OutsideError: the server does not answer within a minute.
        NotJudgedError: the model cannot answer these rows.
    """
    name = folder.socket(version)
    body = json.dumps({"inputs": columns_of(rows)}).encode()
    try:
        status, answer = envoy.over_socket(folder, name, "POST", "/ask", body=body, timeout=60.0)
    except OSError as error:
        raise OutsideError(
            f"The server of version {version} does not answer: {error}",
            remedy=f"See {folder.server_log(version)}.",
        ) from error
    if status != 200:
        raise NotJudgedError(
            f"Version {version} cannot answer: {answer.decode(errors='replace')[:400]}",
            remedy=f"See {folder.server_log(version)}.",
        )
    return predictions_of(json.loads(answer), rows.num_rows, f"Version {version}")


def predictions_of(document: object, rows: int, who: str) -> npt.NDArray[np.float64]:
    """Return the predictions of an answer: a number for each row, or a list of as many for each.

    Raises:
        NotJudgedError: they are something else, or of another number of rows.
    """
    try:
        found = document["predictions"] if isinstance(document, dict) else None
        values = np.asarray(found, dtype=np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise NotJudgedError(f"{who} answered something else than predictions: {error}") from None
    if values.ndim not in (1, 2) or len(values) != rows:
        raise NotJudgedError(f"{who} answered {rows} rows with {values.size} predictions.")
    return values


def columns_of(rows: pa.Table) -> dict[str, list[Any]]:
    """Return the rows as JSON can carry them: times as ISO text, decimals as numbers."""
    columns: dict[str, list[Any]] = {}
    for name in rows.column_names:
        column = rows.column(name)
        kind = column.type
        if pa.types.is_dictionary(kind):
            column = column.cast(kind.value_type)
        elif pa.types.is_temporal(kind):
            column = column.cast(pa.string())
        elif pa.types.is_decimal(kind):
            column = column.cast(pa.float64())
        values = column.to_pylist()
        # NaN has no JSON; the scorer reads null and NaN alike.
        columns[name] = [None if v != v else v for v in values]  # noqa: PLR0124
    return columns
