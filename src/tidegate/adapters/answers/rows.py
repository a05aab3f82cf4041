"""One captured request and its answer -> rows. Pure.

A row's id, by which its label will know it, is the request's id where its caller gave one (with
``/0``, ``/1``, ... for the rows of a request with several, as at the embedded endpoint), else the
value of the id column where the row was sent with it. A row with neither cannot be labelled: its id
is "", and it only counts for the skew check.
"""

from __future__ import annotations

import csv
import io
import json
import math
from typing import TYPE_CHECKING, Any

from tidegate.endpoint.protocol import ProtocolError, Rows, parse
from tidegate.ports import Answered

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tidegate.core.losses import Prediction


def rows(  # noqa: PLR0913 (a request and an answer)
    request: Rows | None,
    predictions: Sequence[Prediction],
    *,
    request_id: str | None,
    at: float,
    version: str,
    id_column: str | None,
) -> Iterator[Answered]:
    """Yield each answered row.

    Args:
        request: its rows; None where they cannot be read.
        predictions: one a row.
        request_id: what the caller named the request.
        at: when it was asked (epoch seconds).
        version: which answered.
        id_column: the column that names a row.

    Raises:
        ValueError: there are not as many answers as rows.
    """
    if request is not None and request.count != len(predictions):
        raise ValueError(f"{len(predictions)} answers to {request.count} rows")
    names = request.columns if request is not None else {}
    columns = frozenset(name for name in names if name != id_column)
    ids = names.get(id_column) if id_column else None
    for index, prediction in enumerate(predictions):
        name = "" if ids is None else _name(ids[index])
        if request_id:
            name = request_id if len(predictions) == 1 else f"{request_id}/{index}"
        filled = frozenset(column for column in columns if names[column][index] is not None)
        yield Answered(
            id=name, at=at, version=version, prediction=prediction, filled=filled, columns=columns
        )


def read_request(body: bytes, content_type: str, answers: int) -> Rows | None:
    """Return a request's rows; None where their columns have no names.

    CSV has a line of names where it has one line more than there were answers.
    """
    try:
        if content_type.startswith("text/csv"):
            return _table(body.decode(), answers)
        return parse(body, None)
    except (ProtocolError, UnicodeDecodeError, csv.Error, RecursionError):
        return None


def read_predictions(body: bytes, content_type: str) -> list[Prediction]:
    """Return an answer's predictions.

    ``{"predictions": [...]}``, a bare list, or one number a line as CSV; in JSON a prediction may be a
    list of numbers, too.

    Raises:
        ValueError: it is none of these, or a prediction is no finite number.
    """
    text = body.decode()
    if content_type.startswith("text/csv"):
        return [_number(float(line)) for line in text.splitlines() if line.strip()]
    try:
        document: Any = json.loads(text)
    except RecursionError:
        raise ValueError("no JSON") from None
    if isinstance(document, dict):
        document = document.get("predictions")
    if not isinstance(document, list):
        raise ValueError("no predictions")  # noqa: TRY004 (of what is read)
    return [tuple(map(_number, one)) if isinstance(one, list) else _number(one) for one in document]


def _table(text: str, answers: int) -> Rows | None:
    lines = [line for line in csv.reader(io.StringIO(text)) if line]
    if len(lines) == answers:
        return None
    header, *lines = lines or [[]]
    if any(len(line) != len(header) for line in lines):
        raise ProtocolError("ragged rows")
    return Rows(
        {name: [line[i] or None for line in lines] for i, name in enumerate(header)}, len(lines)
    )


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"no finite number: {str(value)[:40]}")
    return float(value)


def _name(value: object) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
