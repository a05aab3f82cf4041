"""Tail the logs into the store: every line exactly once, whenever the process dies."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING

from tidegate.endpoint import lines, measuring, tail
from tidegate.endpoint.joining import Answer, Joiner
from tidegate.endpoint.layout import version_of
from tidegate.endpoint.store import Store

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection
    from pathlib import Path

    from tidegate.endpoint.layout import Folder
    from tidegate.ports import Measure

QUIET = 0.1  # seconds between two commits when there is nothing new but the time
LABEL_HORIZON = 7 * 86_400.0  # seconds for which an answer waits for its label
COUNT_HORIZON = 90 * 86_400.0
MOST_ANSWERS = 5_000_000


class Collector:
    """Reads the access log, the answers and the labels of one endpoint."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._store = Store(folder.store)
        self._measure: Measure | None = None
        self._measure_stamp: tuple[int, int] | None = None
        self._looked = 0.0
        self._pruned = 0.0

    def collect(self, now: float, *, timeout: float, gone: Collection[str]) -> None:
        """Count what was logged since the last time.

        Args:
            now: epoch seconds; everything logged before it is counted when the call returns,
                unless there is a backlog, in which case the store's clock stands still.
            timeout: the route's timeout in seconds; decides which minutes are closed.
            gone: versions whose server has ended for good.
        """
        pass_ = _Pass(self._folder, self._store, now, gone)
        changed = self._measure_changed()
        if not (changed or pass_.news(self._measure)) and 0 <= now - self._looked < QUIET:
            return
        self._looked = now
        try:
            self._commit(pass_, now, timeout, changed=changed)
        except BaseException:
            self._measure_stamp = None  # rolled back: read the measure again next time
            raise
        pass_.delete()

    def _commit(self, pass_: _Pass, now: float, timeout: float, *, changed: bool) -> None:
        with self._store.transaction() as db:
            ingested = self._store.number("ingested_to")
            closed = ingested - measuring.lag(timeout)
            if changed:
                self._measure = measuring.read(self._folder)
                self._store.count_ways(_ways(self._measure), since=now, closed_to=closed)
            pass_.run(db, self._measure, closed=closed, ingested=ingested)
            if pass_.caught_up:
                self._store.set_number("ingested_to", max(now, ingested))
            if now - self._pruned > 60:
                self._pruned = now
                self._store.prune(
                    answers_before=now - LABEL_HORIZON,
                    counts_before=now - COUNT_HORIZON,
                    most_answers=MOST_ANSWERS,
                )

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def _measure_changed(self) -> bool:
        try:
            status = self._folder.measure.stat()
        except FileNotFoundError:
            return False
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp == self._measure_stamp:
            return False
        self._measure_stamp = stamp
        return True


def _ways(measure: Measure | None) -> list[str]:
    if measure is None:
        return []
    return [measuring.traffic_key(measure), measuring.label_key(measure)]


class _Pass:
    """One transaction's worth of reading."""

    def __init__(self, folder: Folder, store: Store, now: float, gone: Collection[str]) -> None:
        self._folder = folder
        self._store = store
        self._now = now
        self._gone = gone
        self._done: list[Path] = []
        self.caught_up = True

    def news(self, measure: Measure | None) -> bool:
        """Whether any file has grown."""
        folders = [self._folder.access, *self._answer_folders()]
        for folder in folders:
            for name in tail.segments(folder):
                path = folder / name
                if path.stat().st_size > self._store.position(self._name(path))[1]:
                    return True
        labels = self._labels(measure)
        if labels is None:
            return False
        inode, offset = self._store.position(str(labels))
        status = labels.stat()
        return status.st_ino != inode or status.st_size != offset

    def run(
        self, db: sqlite3.Connection, measure: Measure | None, *, closed: float, ingested: float
    ) -> None:
        """Read everything that is there, within limits."""
        self._read_access(measure, closed)
        joiner = Joiner(self._store, db, measure, ingested)
        for folder in self._answer_folders():
            self._read_answers(folder, joiner)
        labels = self._labels(measure)
        if labels is not None:
            self._read_labels(labels, joiner)

    def delete(self) -> None:
        """Delete the segments that the committed transaction was done with."""
        for path in self._done:
            path.unlink(missing_ok=True)
        for folder in self._answer_folders():
            if version_of(folder.name) in self._gone and not tail.segments(folder):
                folder.rmdir()

    def _read_access(self, measure: Measure | None, closed: float) -> None:
        counts: defaultdict[tuple[int, str], list[int]] = defaultdict(lambda: [0, 0, 0])
        limit = math.inf if measure is None or measure.slower_than is None else measure.slower_than
        late = malformed = 0
        for line in self._segment_lines(self._folder.access, final=False):
            request = lines.access(line)
            if request is None:
                malformed += 1
            elif measure is not None and isinstance(request, lines.Access):
                minute = math.floor(request.arrived / measure.interval)
                if minute < math.floor(closed / measure.interval):
                    late += 1
                    continue
                count = counts[minute, request.variant]
                count[0] += 1
                count[1] += request.error
                count[2] += request.took > limit
        if measure is not None:
            self._store.add_traffic(measuring.traffic_key(measure), counts)
        self._note(("malformed access lines", malformed), ("requests after their minute", late))

    def _read_answers(self, folder: Path, joiner: Joiner) -> None:
        variant = version_of(folder.name)
        answers: list[Answer] = []
        malformed = 0
        for line in self._segment_lines(folder, final=variant in self._gone):
            record = lines.answer(line, variant)
            if record is None:
                malformed += 1
            elif isinstance(record, Answer):
                answers.append(record)
            else:
                self._store.add_fills(variant, record.seen, record.filled)
        joiner.answers(answers)
        self._note(("malformed answer lines", malformed))

    def _read_labels(self, path: Path, joiner: Joiner) -> None:
        status = path.stat()
        inode, offset = self._store.position(str(path))
        if inode != status.st_ino or offset > status.st_size:
            offset = 0  # another file under the same name; the first label of an id still counts
        piece = tail.read(path, offset)
        malformed = 0
        for line in piece.lines:
            if not line.strip():
                continue
            label = lines.label(line, self._now)
            if label is None:
                malformed += 1
            else:
                joiner.label(label)
        self._store.set_position(str(path), status.st_ino, piece.offset)
        self.caught_up &= piece.finished
        self._note(("malformed labels", malformed))

    def _segment_lines(self, folder: Path, *, final: bool) -> list[bytes]:
        """Return the new lines of a folder's segments; ``final``: no more will ever come."""
        names = tail.segments(folder)
        floor = self._store.floor(folder.name)
        found: list[bytes] = []
        for index, name in enumerate(names):
            path = folder / name
            if name <= floor:  # deleting it was interrupted
                self._done.append(path)
                continue
            _, offset = self._store.position(self._name(path))
            piece = tail.read(path, offset)
            found += piece.lines
            if not piece.finished:
                self._store.set_position(self._name(path), 0, piece.offset)
                self.caught_up = False
                break
            # A writer closes a segment before it makes the next one.
            if final or index + 1 < len(names):
                if piece.rest:
                    found.append(b"")  # the writer died within a line
                self._store.finish(folder.name, name)
                self._done.append(path)
            elif piece.lines:
                self._store.set_position(self._name(path), 0, piece.offset)
        return found

    def _answer_folders(self) -> list[Path]:
        return sorted(path for path in self._folder.answers.iterdir() if path.is_dir())

    def _labels(self, measure: Measure | None) -> Path | None:
        """The labels' file; None while nobody has said how to count, or it is not there."""
        if measure is None:
            return None
        path = measure.label_source or self._folder.labels
        return path if path.is_file() else None

    def _note(self, *counts: tuple[str, int]) -> None:
        for what, count in counts:
            if count:
                self._store.note(what, count)

    @staticmethod
    def _name(path: Path) -> str:
        return f"{path.parent.name}/{path.name}"
