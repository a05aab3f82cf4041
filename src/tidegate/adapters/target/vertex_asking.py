"""Ask one version past the traffic: on the endpoint beside, which serves nothing else.

https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/predict
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tidegate.adapters.cloud.google_errors import GoogleError
from tidegate.adapters.target.vertex_seen import address
from tidegate.endpoint.asking import predictions_of
from tidegate.errors import NotJudgedError, OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from tidegate.adapters.cloud.google import Google
    from tidegate.adapters.target.vertex_calls import Calls, Row

LARGEST = 1_000_000  # bytes of a request; Vertex AI takes 1.5 MB
CHUNK = 500  # rows of a request
_FOLLOWING = 60.0  # seconds that a changed split may take to be followed


def turned(calls: Calls, parity: str, deployed: str) -> Row:
    """Have every request to the endpoint beside answered by one deployed model."""
    wanted = {deployed: 100}

    def alter(row: Row) -> Row | None:
        return None if (row.get("trafficSplit") or {}) == wanted else {"trafficSplit": wanted}

    return calls.change_endpoint(parity, alter)


def ask(
    google: Google,
    row: Row,
    deployed: str,
    rows: pa.Table,
    sleep: Callable[[float], None] = time.sleep,
) -> npt.NDArray[np.float64]:
    """Return one prediction per row, each by that deployed model: the answer names who gave it.

    Raises:
        OutsideError: Vertex AI does not answer, or another deployed model does.
        NotJudgedError: the model cannot answer these rows.
    """
    parts = []
    for instances in _batches(rows):
        answer = _answered(google, address(row), deployed, instances, sleep)
        parts.append(predictions_of(answer, len(instances), "The model"))
    return np.concatenate(parts) if parts else np.empty(0)


def _answered(
    google: Google,
    url: str,
    deployed: str,
    instances: list[dict[str, Any]],
    sleep: Callable[[float], None],
) -> Row:
    end = time.monotonic() + _FOLLOWING
    while True:
        problem: OutsideError
        try:
            answer = google.post(url, {"instances": instances}, repeat=True)
        except GoogleError as error:
            if error.reason != "FAILED_PRECONDITION":  # no split yet
                raise _unanswered(error) from error
            problem = error
        else:
            if answer.get("deployedModelId") == deployed:
                return answer
            problem = OutsideError(
                f"Deployed model {answer.get('deployedModelId')} answered, {deployed} was asked."
            )
        if time.monotonic() > end:
            raise problem
        sleep(1.0)


def _unanswered(error: GoogleError) -> Exception:
    # What the container says reaches us as the status of the call.
    if error.status in {400, 500} and not error.throttled:
        return NotJudgedError(
            f"The model cannot answer: {error}", remedy="See its container's log."
        )
    return error


def _batches(rows: pa.Table) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    size = 0
    for row in _instances(rows):
        length = len(json.dumps(row)) + 2
        if batch and (size + length > LARGEST or len(batch) == CHUNK):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += length
    if batch:
        yield batch


def _instances(rows: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield the rows as JSON can carry them: times as ISO text, decimals as numbers, NaN as null."""
    columns = {}
    for name in rows.column_names:
        column = rows.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        elif pa.types.is_temporal(column.type):
            column = column.cast(pa.string())
        elif pa.types.is_decimal(column.type):
            column = column.cast(pa.float64())
        values = column.to_pylist()
        columns[name] = [None if v != v else v for v in values]  # noqa: PLR0124
    for index in range(rows.num_rows):
        yield {name: values[index] for name, values in columns.items()}
