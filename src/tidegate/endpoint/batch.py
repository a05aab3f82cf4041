"""Micro-batching: requests that are waiting together are scored together.

Building a frame and walking a pipeline costs milliseconds whatever the number of rows, so one
call for all waiting rows is what makes a Python model server fast. Nothing waits for company:
while one batch is scored, the next one gathers by itself in the sockets.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa

from tidegate.endpoint.protocol import Rows, merge
from tidegate.errors import NotJudgedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

LARGEST = 256  # rows scored in one call; a larger single request is scored alone


class Model(Protocol):
    """A loaded model: here (:class:`tidegate.endpoint.scorer.Scorer`) or in a process of its own."""

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The input columns it asks for, in its order; None when it takes what it is given."""

    def score(self, rows: pa.Table, /) -> npt.NDArray[np.float64]:
        """Answer every row, or raise NotJudgedError."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request on its way to its answer. ``arrived`` in epoch seconds."""

    id: str | None
    arrived: float
    rows: Rows
    answer: asyncio.Future[npt.NDArray[np.float64]]


class Batcher:
    """Scores waiting requests together, in arrival order, on the event loop's own thread.

    ``record`` is called with the requests that were answered and their predictions *before* the
    answers leave, so that a process killed afterwards has already written them down.
    """

    def __init__(
        self,
        scorer: Model,
        record: Callable[[Sequence[tuple[Asked, npt.NDArray[np.float64]]]], None],
    ) -> None:
        self._scorer = scorer
        self._record = record
        self._waiting: list[Asked] = []
        self._loop = asyncio.get_running_loop()
        self._scheduled = False

    async def score(
        self, rows: Rows, request_id: str | None, arrived: float
    ) -> npt.NDArray[np.float64]:
        """Return one prediction per row.

        Raises:
            NotJudgedError: the model cannot answer these rows.
        """
        answer: asyncio.Future[npt.NDArray[np.float64]] = self._loop.create_future()
        self._waiting.append(Asked(request_id, arrived, rows, answer))
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._score_waiting)
        return await answer

    def _score_waiting(self) -> None:
        batch, self._waiting = _take(self._waiting, together=self._scorer.columns is not None)
        self._scheduled = bool(self._waiting)
        if self._waiting:
            self._loop.call_soon(self._score_waiting)
        answered: list[tuple[Asked, npt.NDArray[np.float64]]] = []
        failed: list[tuple[Asked, NotJudgedError]] = []
        self._answer(batch, answered, failed)
        self._record(answered)
        for asked, predictions in answered:
            if not asked.answer.done():
                asked.answer.set_result(predictions)
        for asked, error in failed:
            if not asked.answer.done():
                asked.answer.set_exception(error)

    def _answer(
        self,
        batch: Sequence[Asked],
        answered: list[tuple[Asked, npt.NDArray[np.float64]]],
        failed: list[tuple[Asked, NotJudgedError]],
    ) -> None:
        try:
            predictions = predict(self._scorer, [asked.rows for asked in batch])
        except NotJudgedError as error:
            if len(batch) == 1:
                failed.append((batch[0], error))
                return
            for asked in batch:  # one bad row fails only the request it came with
                self._answer([asked], answered, failed)
            return
        begin = 0
        for asked in batch:
            answered.append((asked, predictions[begin : begin + asked.rows.count]))
            begin += asked.rows.count


def predict(scorer: Model, requests: Sequence[Rows]) -> npt.NDArray[np.float64]:
    """Score the rows of several requests in one call.

    Raises:
        NotJudgedError: the model cannot answer, or answers something that is no finite number.
    """
    count = sum(rows.count for rows in requests)
    if count == 0:
        return np.empty(0)
    names = scorer.columns or tuple(requests[0].columns)
    merged = merge(requests, names)
    try:
        table = pa.table({name: pa.array(values) for name, values in merged.items()})
    except pa.ArrowException as error:
        raise NotJudgedError(f"A column mixes different kinds of values: {error}") from error
    predictions = scorer.score(table)
    if not np.isfinite(predictions).all():
        raise NotJudgedError("The model's answer is not a finite number.")
    return predictions


def _take(waiting: list[Asked], *, together: bool) -> tuple[list[Asked], list[Asked]]:
    """Split off the next batch: as many requests as fit, at least one."""
    size = 0
    for index, asked in enumerate(waiting):
        size += asked.rows.count
        if index and (size > LARGEST or not together):
            return waiting[:index], waiting[index:]
    return waiting, []
