"""What answers a variant's requests: a loaded MLflow model, or the user's own server."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Protocol

from tidegate.endpoint.batch import Asked, Batcher, Model, predict
from tidegate.endpoint.forward import UserServer, predictions
from tidegate.endpoint.protocol import ProtocolError, Rows, parse
from tidegate.errors import NotJudgedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from tidegate.core.losses import Prediction
    from tidegate.endpoint.answers import AnswerLog


class Refused(Exception):  # noqa: N818 (it is an answer, with its status)
    """An answer that is not a prediction."""

    def __init__(self, status: int, message: str, answer: tuple[bytes, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.answer = answer  # body and content type when somebody else has already said it


class Backend(Protocol):
    """What answers: our scorer, or the user's server."""

    async def invoke(
        self, body: bytes, request_id: str | None, arrived: float
    ) -> tuple[bytes, str]:
        """Answer a counted request: body and content type."""

    async def ask(self, body: bytes) -> npt.NDArray[np.float64]:
        """Answer without counting: only the predictions."""

    async def ready(self) -> bool:
        """Whether requests would be answered now."""


class ModelBackend:
    """Answers with a loaded MLflow model, in micro-batches."""

    def __init__(self, scorer: Model, log: AnswerLog) -> None:
        self._scorer = scorer
        self._log = log
        self._batcher = Batcher(scorer, self._record)

    async def invoke(
        self, body: bytes, request_id: str | None, arrived: float
    ) -> tuple[bytes, str]:
        """Answer one request."""
        rows = parse(body, self._scorer.columns)
        values = await self._batcher.score(rows, request_id, arrived)
        return json.dumps({"predictions": values.tolist()}).encode(), "application/json"

    async def ask(self, body: bytes) -> npt.NDArray[np.float64]:
        """Answer past the log."""
        return predict(self._scorer, [parse(body, self._scorer.columns)])

    async def ready(self) -> bool:
        """Whether the model is loaded: it is, or nobody would listen."""
        return True

    def _record(self, answered: Sequence[tuple[Asked, npt.NDArray[np.float64]]]) -> None:
        for asked, _ in answered:
            # What a request could have filled and what it did fill, the model's columns or not:
            # the next model may want a column that this one does not.
            names = dict.fromkeys((*(self._scorer.columns or ()), *asked.rows.columns))
            _count_filled(self._log, asked.rows, tuple(names))
        self._log.answered(
            [line for asked, values in answered for line in _lines(asked.id, asked.arrived, values)]
        )


class UserBackend:
    """Answers with the user's own server behind this one."""

    def __init__(self, server: UserServer, log: AnswerLog) -> None:
        self._server = server
        self._log = log

    async def invoke(
        self, body: bytes, request_id: str | None, arrived: float
    ) -> tuple[bytes, str]:
        """Forward one request; log what was predicted when the answer says it readably."""
        headers = {"content-type": "application/json"}
        if request_id and request_id.isprintable():
            headers["x-request-id"] = request_id
        response = await self._server.invoke(body, headers)
        if response.status != 200:
            raise Refused(
                response.status, "the user's server said so", (response.body, response.kind)
            )
        values = predictions(response.body)
        if values is not None:
            self._log.answered(_lines(request_id, arrived, values))
        with contextlib.suppress(ProtocolError):
            rows = parse(body, None)
            _count_filled(self._log, rows, tuple(rows.columns))
        return response.body, response.kind

    async def ask(self, body: bytes) -> npt.NDArray[np.float64]:
        """Forward past the log."""
        response = await self._server.invoke(body, {"content-type": "application/json"})
        values = predictions(response.body) if response.status == 200 else None
        if values is None:
            raise NotJudgedError(
                f"The user's server answered {response.status}: {response.body[:200]!r}"
            )
        return values

    async def ready(self) -> bool:
        """Whether the user's server takes connections."""
        return await self._server.accepts()


def _lines(
    request_id: str | None, arrived: float, values: npt.NDArray[np.float64]
) -> list[tuple[str, float, Prediction]]:
    """Name each row's answer: the request's id, and the row's index when there are several."""
    if request_id is None:
        return []
    answers: list[Prediction] = values.tolist()
    if len(answers) == 1:
        return [(request_id, arrived, answers[0])]
    return [(f"{request_id}/{i}", arrived, answer) for i, answer in enumerate(answers)]


def _count_filled(log: AnswerLog, rows: Rows, names: tuple[str, ...]) -> None:
    filled = {
        name: rows.count - values.count(None) if (values := rows.columns.get(name)) else 0
        for name in names
    }
    log.filled(filled, rows.count)
