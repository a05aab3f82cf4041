"""One model in an interpreter of its own: ``python -m tidegate.endpoint.worker MODEL TASK CLASSES``.

The other end is :class:`tidegate.endpoint.remote.RemoteScorer`. Frames go over standard input and output:
a kind (one byte), a length (eight bytes, little-endian), so many bytes. First the worker sends READY with
the model's columns as JSON; then every ROWS (an Arrow stream) is answered by ANSWERS (a .npy array).
Instead of either it may send FAILED, with a message and a remedy as JSON. It ends with its input.
"""

from __future__ import annotations

import io
import json
import os
import struct
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import pyarrow as pa

from tidegate.core.model import Task
from tidegate.endpoint.scorer import load
from tidegate.errors import NotJudgedError

if TYPE_CHECKING:
    import numpy.typing as npt

READY, ROWS, ANSWERS, FAILED = b"C", b"R", b"A", b"F"
_HEAD = struct.Struct("<cQ")


def send(pipe: IO[bytes], kind: bytes, body: bytes) -> None:
    """Write one frame."""
    pipe.write(_HEAD.pack(kind, len(body)))
    pipe.write(body)
    pipe.flush()


def receive(pipe: IO[bytes]) -> tuple[bytes, bytes] | None:
    """Read one frame; None where the other end is gone, also in the middle of a frame."""
    head = pipe.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    kind, size = _HEAD.unpack(head)
    body = pipe.read(size)
    return (kind, body) if len(body) == size else None


def pack(values: npt.NDArray[np.float64]) -> bytes:
    """Return an array as the bytes of a .npy file."""
    into = io.BytesIO()
    np.save(into, values, allow_pickle=False)
    return into.getvalue()


def unpack(body: bytes) -> npt.NDArray[np.float64]:
    """Return the array in the bytes of a .npy file; pickles are refused.

    Raises:
        ValueError: they hold none.
    """
    return np.asarray(np.load(io.BytesIO(body), allow_pickle=False), dtype=np.float64)


def main(arguments: list[str]) -> int:
    """Load the model and answer until the input ends."""
    # What a model prints must not end up among the frames.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    rows = os.fdopen(os.dup(0), "rb")
    try:
        scorer = load(Path(arguments[0]), Task(arguments[1]), json.loads(arguments[2]))
    except NotJudgedError as error:
        send(answers, FAILED, _told(error))
        return int(error.exit_code)
    send(answers, READY, json.dumps(scorer.columns).encode())
    while (frame := receive(rows)) is not None:
        try:
            with pa.ipc.open_stream(pa.py_buffer(frame[1])) as stream:
                answered = scorer.score(stream.read_all())
        except NotJudgedError as error:
            send(answers, FAILED, _told(error))
        else:
            send(answers, ANSWERS, pack(answered))
    return 0


def _told(error: NotJudgedError) -> bytes:
    return json.dumps([str(error), error.remedy]).encode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
