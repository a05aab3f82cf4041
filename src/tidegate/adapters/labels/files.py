"""Labels as JSON Lines: ``{"id": ..., "label": ..., "at": epoch seconds}``, appended or dropped in."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.endpoint import lines
from tidegate.errors import OutsideError
from tidegate.ports import Truth

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tidegate.ports import ObjectStore

_MOST_BYTES = 2_000_000_000  # of one file
_MOST_LINE = 1 << 16  # bytes


class LabelFile:
    """A file on this machine, or a folder: every ``*.jsonl`` under it, in order of path.

    A file that is not there yet holds no labels.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.notes: Counter[str] = Counter()

    def labels(self) -> Iterator[Truth]:
        """Yield every label so far. Malformed lines are counted in ``notes``, and left out.

        Raises:
            OutsideError: a file cannot be read.
        """
        self.notes.clear()
        paths = sorted(self._path.rglob("*.jsonl")) if self._path.is_dir() else [self._path]
        for path in paths:
            try:
                with path.open("rb") as file:
                    yield from _read(file, self.notes)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise OutsideError(f"the labels in {path} cannot be read: {error}") from None


class LabelFolder:
    """A folder of a bucket: every ``*.jsonl`` under it, in order of key.

    Within one process an object is read again only when its content is another.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._read: dict[str, tuple[str, tuple[Truth, ...], Counter[str]]] = {}
        self.notes: Counter[str] = Counter()

    def labels(self) -> Iterator[Truth]:
        """Yield every label so far. Malformed lines are counted in ``notes``, and left out.

        Raises:
            OutsideError: the store fails.
        """
        self.notes.clear()
        for key in self._store.list(""):
            if not key.endswith(".jsonl"):
                continue
            info = self._store.head(key)
            if info is None:
                continue  # taken away since
            if key not in self._read or self._read[key][0] != info.tag:
                self._read[key] = self._object(key)
            _, truths, notes = self._read[key]
            self.notes.update(notes)
            yield from truths

    def _object(self, key: str) -> tuple[str, tuple[Truth, ...], Counter[str]]:
        notes: Counter[str] = Counter()
        with tempfile.TemporaryDirectory(prefix="tidegate-labels-") as folder:
            path = Path(folder) / "labels.jsonl"
            info = self._store.get(key, path, _MOST_BYTES)
            with path.open("rb") as file:
                return info.tag, tuple(_read(file, notes)), notes


def _read(file: Iterable[bytes], notes: Counter[str]) -> Iterator[Truth]:
    """Read lines as the embedded endpoint does. A last line without an end may still be written."""
    for line in file:
        if not line.endswith(b"\n") and not _whole(line):
            continue
        if not line.strip():
            continue
        label = lines.label(line, 0.0) if len(line) <= _MOST_LINE else None
        if label is None:
            notes["malformed labels"] += 1
        else:
            yield Truth(id=label.id, value=label.value, at=label.at)


def _whole(line: bytes) -> bool:
    """Whether a last line without an end is a label: objects in buckets are written whole."""
    return lines.label(line, 0.0) is not None
