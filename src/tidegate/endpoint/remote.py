"""A scorer whose model runs in another interpreter (:mod:`tidegate.endpoint.worker`).

The server itself stays in the engine's environment: what a model recorded to run in need have no web
server, and can break none.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from typing import TYPE_CHECKING

import pyarrow as pa

from tidegate.endpoint.worker import ANSWERS, FAILED, READY, ROWS, receive, send, unpack
from tidegate.errors import NotJudgedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

_GRACE = 2.0  # seconds that an ending worker has


class RemoteScorer:
    """A loaded model behind a pipe. The worker is in our process group and ends with us.

    Attributes:
        columns: as :class:`tidegate.endpoint.scorer.Scorer` has them.

    Raises:
        NotJudgedError: the worker does not start, or cannot load the model.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        try:
            self._worker = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        except OSError as error:
            raise NotJudgedError(f"{command[0]} does not start: {error.strerror}") from None
        try:
            found = json.loads(self._heard(READY))
        except NotJudgedError:
            self.close()
            raise
        self.columns: tuple[str, ...] | None = None if found is None else tuple(found)

    @property
    def died(self) -> bool:
        """Whether the worker has ended."""
        return self._worker.poll() is not None

    def score(self, rows: pa.Table) -> npt.NDArray[np.float64]:
        """Return what the model answers.

        Raises:
            NotJudgedError: the model cannot answer these rows, or its process died of them.
        """
        into = pa.BufferOutputStream()
        with pa.ipc.new_stream(into, rows.schema) as stream:
            stream.write_table(rows)
        pipe = self._worker.stdin
        assert pipe is not None
        try:
            send(pipe, ROWS, into.getvalue().to_pybytes())
        except OSError:
            raise self._lost() from None
        return unpack(self._heard(ANSWERS))

    def close(self) -> None:
        """End the worker by ending its input; one that does not listen is killed."""
        given, answered = self._worker.stdin, self._worker.stdout
        assert given is not None
        assert answered is not None
        with contextlib.suppress(BrokenPipeError):  # it is gone already
            given.close()
        try:
            self._worker.wait(timeout=_GRACE)
        except subprocess.TimeoutExpired:
            self._worker.kill()
            self._worker.wait()
        answered.close()

    def _heard(self, wanted: bytes) -> bytes:
        pipe = self._worker.stdout
        assert pipe is not None
        frame = receive(pipe)
        if frame is None:
            raise self._lost()
        kind, body = frame
        if kind == FAILED:
            message, remedy = json.loads(body)
            raise NotJudgedError(message, remedy=remedy)
        if kind != wanted:
            raise NotJudgedError(f"The model's process sent {kind!r} instead of {wanted!r}.")
        return body

    def _lost(self) -> NotJudgedError:
        try:
            code: int | None = self._worker.wait(timeout=_GRACE)
        except subprocess.TimeoutExpired:
            self._worker.kill()
            code = None
        return NotJudgedError(f"The model's process has ended (exit code {code}).")
