"""One loaded model that answers requests, the same in every container.

The model is loaded only where its files are those that were judged.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import TYPE_CHECKING

from tidegate.core.model import Task
from tidegate.digests import folder_digest
from tidegate.endpoint import scorer
from tidegate.endpoint.batch import predict
from tidegate.endpoint.protocol import parse
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.endpoint.scorer import Scorer

MANIFEST = "tidegate.json"  # in the archive's folder of code: the model's digest, task and classes
DIGEST = "TIDEGATE_DIGEST"  # the environment variable that says it, too


class Answerer:
    """Answers one request at a time, whoever asks: models promise nothing about threads."""

    def __init__(self, model: Scorer) -> None:
        self._model = model
        self._lock = threading.Lock()

    def answer(self, body: bytes) -> bytes:
        """Return the body of the answer: ``{"predictions": [...]}``, one number per row, or one list.

        Numbers are written so that they read back as they were.

        Raises:
            ProtocolError: the request is none, whichever model reads it.
            NotJudgedError: the model cannot answer these rows with finite numbers.
        """
        rows = parse(body, self._model.columns)
        with self._lock:
            values = predict(self._model, [rows])
        return json.dumps({"predictions": values.tolist()}, allow_nan=False).encode()


def load(folder: Path) -> Answerer:
    """Load the model of an unpacked archive: ``model/`` and ``code/`` in ``folder``.

    Raises:
        OutsideError: the model's files are not those that were judged.
        NotJudgedError: they hold no loadable MLflow model.
    """
    # A model's own modules would be compiled into its folder: the next process would find other files.
    sys.dont_write_bytecode = True
    manifest = json.loads((folder / "code" / MANIFEST).read_text(encoding="utf-8"))
    wanted = os.environ.get(DIGEST, manifest["digest"])
    found = folder_digest(folder / "model")
    if not wanted == manifest["digest"] == found:
        raise OutsideError(
            f"The model in {folder} is not what was judged: digest {found[:12]}, packed as "
            f"{manifest['digest'][:12]}, to be served as {wanted[:12]}."
        )
    classes = manifest.get("classes", ())
    return Answerer(scorer.load(folder / "model", Task(manifest["task"]), classes))


def problem(code: str, error: Exception) -> bytes:
    """Return the body of an answer that is no prediction."""
    return json.dumps({"error_code": code, "message": str(error)}).encode()
