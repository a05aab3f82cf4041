"""The endpoint's counts, answers and reading positions, in one SQLite file (WAL).

One process writes: the supervisor. What was counted and how far was read change in the same
transaction, so a line is counted exactly once whenever the process dies.
https://www.sqlite.org/wal.html
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING
from urllib.parse import quote

from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS offsets (
  name TEXT PRIMARY KEY, inode INTEGER NOT NULL, offset INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS floors (folder TEXT PRIMARY KEY, segment TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spans (way TEXT NOT NULL, since REAL NOT NULL, until REAL);
CREATE TABLE IF NOT EXISTS traffic (
  way TEXT, minute INTEGER, variant TEXT,
  requests INTEGER NOT NULL, errors INTEGER NOT NULL, slow INTEGER NOT NULL,
  PRIMARY KEY (way, minute, variant)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS strata (
  way TEXT, minute INTEGER, bucket INTEGER, variant TEXT,
  labelled INTEGER NOT NULL, mistakes INTEGER NOT NULL,
  loss_sum REAL NOT NULL, loss_sum_sq REAL NOT NULL,
  PRIMARY KEY (way, minute, bucket, variant)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answers (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, t REAL NOT NULL, variant TEXT NOT NULL,
  prediction REAL NOT NULL, labelled INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS pending (
  id TEXT PRIMARY KEY, label REAL NOT NULL, at REAL, seen REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fills (
  variant TEXT, name TEXT, seen INTEGER NOT NULL, filled INTEGER NOT NULL,
  PRIMARY KEY (variant, name)) WITHOUT ROWID;
"""


class Store:
    """An open store; the writer's side. Readers use :class:`Reader`."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, timeout=10.0)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")  # all tables at once

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def number(self, name: str, default: float = 0.0) -> float:
        """Return a stored number."""
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return default if row is None else float(row[0])

    def set_number(self, name: str, value: float) -> None:
        """Store a number."""
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def note(self, what: str, count: int = 1) -> None:
        """Count something odd: malformed, late or duplicate lines."""
        self.set_number(f"note {what}", self.number(f"note {what}") + count)

    def position(self, name: str) -> tuple[int, int]:
        """Return (inode, offset) up to which a file was read."""
        row = self._db.execute(
            "SELECT inode, offset FROM offsets WHERE name = ?", (name,)
        ).fetchone()
        return (0, 0) if row is None else (int(row[0]), int(row[1]))

    def set_position(self, name: str, inode: int, offset: int) -> None:
        """Store up to where a file was read."""
        self._db.execute("INSERT OR REPLACE INTO offsets VALUES (?, ?, ?)", (name, inode, offset))

    def floor(self, folder: str) -> str:
        """Return the newest segment of a folder that is done with; it and older ones may go."""
        row = self._db.execute("SELECT segment FROM floors WHERE folder = ?", (folder,)).fetchone()
        return "" if row is None else str(row[0])

    def finish(self, folder: str, segment: str) -> None:
        """Mark a segment as done with, for ever: its name is never used again."""
        self._db.execute("INSERT OR REPLACE INTO floors VALUES (?, ?)", (folder, segment))
        self._db.execute("DELETE FROM offsets WHERE name = ?", (f"{folder}/{segment}",))

    def count_ways(self, ways: Iterable[str], *, since: float, closed_to: float) -> None:
        """Make exactly ``ways`` the active ways of counting, from ``since`` on."""
        active = set(ways)
        rows = self._db.execute("SELECT way FROM spans WHERE until IS NULL").fetchall()
        for way in {str(row[0]) for row in rows} - active:
            self._db.execute(
                "UPDATE spans SET until = ? WHERE way = ? AND until IS NULL", (closed_to, way)
            )
        for way in active - {str(row[0]) for row in rows}:
            self._db.execute("INSERT INTO spans VALUES (?, ?, NULL)", (way, since))

    def add_traffic(self, way: str, counts: Mapping[tuple[int, str], list[int]]) -> None:
        """Add [requests, errors, slow] per (minute, variant)."""
        self._db.executemany(
            "INSERT INTO traffic VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "requests = requests + excluded.requests, errors = errors + excluded.errors, "
            "slow = slow + excluded.slow",
            [(way, minute, variant, *three) for (minute, variant), three in counts.items()],
        )

    def add_fills(self, variant: str, seen: int, filled: Mapping[str, int]) -> None:
        """Add rows seen and rows filled per column."""
        self._db.executemany(
            "INSERT INTO fills VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "seen = seen + excluded.seen, filled = filled + excluded.filled",
            [(variant, name, seen, count) for name, count in filled.items()],
        )

    def prune(self, *, answers_before: float, counts_before: float, most_answers: int) -> None:
        """Delete what nobody will ask for any more, a slice at a time. Times in epoch seconds."""
        self._db.execute(
            "DELETE FROM answers WHERE seq IN "
            "(SELECT seq FROM (SELECT seq, t FROM answers ORDER BY seq LIMIT 20000) WHERE t < ?)",
            (answers_before,),
        )
        self._db.execute(
            "DELETE FROM answers WHERE seq <= (SELECT max(seq) FROM answers) - ?", (most_answers,)
        )
        self._db.execute("DELETE FROM pending WHERE seen < ?", (answers_before,))
        self._db.execute("DELETE FROM spans WHERE until < ?", (counts_before,))
        self._db.execute("DELETE FROM traffic WHERE way NOT IN (SELECT way FROM spans)")
        self._db.execute("DELETE FROM strata WHERE way NOT IN (SELECT way FROM spans)")


class Reader:
    """The store, read only, as it was at one moment.

    Raises:
        OutsideError: it is not there (yet), or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._db = sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=10.0)
        except sqlite3.Error as error:
            raise _unreadable(path, error) from error
        try:
            self._db.execute("PRAGMA query_only=ON")
            self._db.execute("BEGIN")  # one snapshot for all that is read
            self._db.execute("SELECT 1 FROM meta")
        except sqlite3.Error as error:
            self._db.close()
            raise _unreadable(path, error) from error

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def ingested_to(self) -> float:
        """Return the time up to which everything that was logged has been counted."""
        row = self._db.execute("SELECT value FROM meta WHERE name = 'ingested_to'").fetchone()
        return 0.0 if row is None else float(row[0])

    def spans(self, way: str) -> list[tuple[float, float | None]]:
        """Return the times (from, to) in which traffic was counted this way; None: still is."""
        rows = self._db.execute("SELECT since, until FROM spans WHERE way = ?", (way,))
        return [(float(since), until) for since, until in rows]

    def traffic(self, way: str, first: int, end: int) -> dict[tuple[int, str], tuple[int, ...]]:
        """Return (requests, errors, slow) per (minute, variant) of minutes first <= m < end."""
        rows = self._db.execute(
            "SELECT minute, variant, requests, errors, slow FROM traffic "
            "WHERE way = ? AND minute >= ? AND minute < ?",
            (way, first, end),
        )
        return {(minute, variant): tuple(counts) for minute, variant, *counts in rows}

    def strata(
        self, way: str, first: int, end: int, last_bucket: int
    ) -> dict[tuple[int, int, str], tuple[int, int, float, float]]:
        """Return (labelled, mistakes, loss sum, sum of squares) per (minute, bucket, variant)."""
        rows = self._db.execute(
            "SELECT minute, bucket, variant, labelled, mistakes, loss_sum, loss_sum_sq "
            "FROM strata WHERE way = ? AND minute >= ? AND minute < ? AND bucket <= ?",
            (way, first, end, last_bucket),
        )
        return {(m, b, v): (n, wrong, total, squares) for m, b, v, n, wrong, total, squares in rows}

    def fills(self, variant: str) -> dict[str, tuple[int, int]]:
        """Return (rows seen, rows filled) per column."""
        rows = self._db.execute(
            "SELECT name, seen, filled FROM fills WHERE variant = ?", (variant,)
        )
        return {name: (seen, filled) for name, seen, filled in rows}

    def notes(self) -> dict[str, int]:
        """Return how many odd lines of each kind were met."""
        rows = self._db.execute("SELECT name, value FROM meta WHERE name LIKE 'note %'")
        return {name.removeprefix("note "): int(value) for name, value in rows}


def _unreadable(path: Path, error: Exception) -> OutsideError:
    return OutsideError(
        f"Cannot read the endpoint's counts in {path}: {error}",
        remedy="See whether the endpoint's supervisor runs and the disk is not full.",
    )
