"""Whether ids are unique, in memory that does not grow with them.

Integers that ascend, as most do, cost one comparison each. Of others 64-bit keys go to temporary files, by their
top bits: equal keys meet in one file, and one file at a time is sorted.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.arrow import plain
from tidegate.core.rowhash import hashes, mixed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from tidegate.core.rowhash import Hashes

_FILES = 64  # by the top six bits: of 100 million ids about 12 MB each


class Unique:
    """Ids seen batch by batch. A context, because of its files."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._files: list[IO[bytes]] = []
        self._open = ExitStack()

    def __enter__(self) -> Unique:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def ascends(self, column: Any) -> bool:
        """Whether these integers, none of them null, ascend and follow those before; else use :meth:`keep` for all."""
        ids = plain(column)
        if not len(ids):
            return True
        first, last = int(ids[0]), int(ids[-1])
        ascends = (self._last is None or first > self._last) and bool((ids[1:] > ids[:-1]).all())
        self._last = last
        return ascends

    def keep(self, column: Any) -> None:
        """Write the keys of ids down."""
        if not self._files:
            for _ in range(_FILES):
                fresh = tempfile.TemporaryFile()  # noqa: SIM115 (the stack closes it)
                self._files.append(self._open.enter_context(fresh))
        keys = keys_of(column)
        place = (keys >> np.uint64(58)).astype(np.uint8)
        keys = keys[np.argsort(place, kind="stable")]
        ends = np.cumsum(np.bincount(place, minlength=_FILES))
        for file, part in zip(self._files, np.split(keys, ends[:-1]), strict=True):
            file.write(part.tobytes())

    def twice(self) -> Hashes:
        """Return keys that occur more than once, at most a thousand of them."""
        found: list[Hashes] = []
        for file in self._files:
            file.seek(0)
            keys = np.frombuffer(file.read(), dtype=np.uint64)
            ordered = np.sort(keys)
            found.append(np.unique(ordered[1:][ordered[1:] == ordered[:-1]])[:1000])
        return np.concatenate(found)[:1000] if found else np.empty(0, dtype=np.uint64)


def keys_of(column: Any) -> Hashes:
    """Return a key per id, shape (n,): integers' keys differ where they do, others' nearly always."""
    if pa.types.is_integer(column.type):
        return mixed(plain(column).astype(np.int64).view(np.uint64))
    return hashes(column)


def repeated(keys: Hashes, columns: Iterable[Any]) -> object:
    """Return an id that occurs twice among those with these keys, or None: the keys met by chance."""
    seen: set[object] = set()
    for column in columns:
        suspects = np.flatnonzero(np.isin(keys_of(column), keys))
        for value in pc.take(column, pa.array(suspects)).to_pylist():
            if value in seen:
                return value
            seen.add(value)
    return None
