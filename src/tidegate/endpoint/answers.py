"""The model server's own log: each answer, and how often each input column was filled.

JSON Lines in segments whose names sort by time and are never used twice. A segment is finished
when a later one exists. Writers append whole lines in one call; the collector reads and deletes.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tidegate.core.losses import Prediction

SEGMENT = 8 << 20  # bytes after which a new segment begins

_MOST_COLUMNS = 2_000


class AnswerLog:
    """Appends to the segments of one variant."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._seen = 0
        self._filled: dict[str, int] = {}
        self._fills_written = time.monotonic()
        self._open()

    def answered(self, answers: Sequence[tuple[str, float, Prediction]]) -> None:
        """Append (request id, arrival in epoch seconds, prediction) of each answered row."""
        lines = "".join(
            json.dumps({"id": name, "t": arrived, "p": prediction}) + "\n"
            for name, arrived, prediction in answers
        )
        self._write(lines)

    def filled(self, columns: Mapping[str, int], rows: int) -> None:
        """Count ``rows`` rows in which each column had that many values that are not null."""
        self._seen += rows
        for name, filled in columns.items():
            if name not in self._filled and len(self._filled) >= _MOST_COLUMNS:
                continue  # names come from the callers: they must not fill our memory
            self._filled[name] = self._filled.get(name, 0) + filled

    def flush(self) -> None:
        """Append the fill counts since the last time."""
        if self._seen:
            self._write(json.dumps({"seen": self._seen, "filled": self._filled}) + "\n")
            self._seen, self._filled = 0, {}

    def _write(self, lines: str) -> None:
        if not lines:
            return
        data = lines.encode()
        os.write(self._file, data)
        self._size += len(data)
        if self._size > SEGMENT:
            os.close(self._file)
            self._open()

    def _open(self) -> None:
        name = self._folder / f"{time.time_ns():020d}.jsonl"
        self._file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._size = 0
