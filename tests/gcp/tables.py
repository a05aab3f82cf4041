"""Resources by name, with what a read that lags behind still shows of them."""

from __future__ import annotations

import copy
import itertools
from typing import TYPE_CHECKING

from tests.gcp import behaviour
from tests.gcp.routing import missing, refuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.gcp.routing import Row

_etags = itertools.count(0xA3F10001)


def new_etag() -> str:
    return f"{next(_etags):X}"


class Table:
    """Rows of one kind; ``lag()`` says how many reads after a write still see the past."""

    def __init__(self, lag: Callable[[], int]) -> None:
        self.rows: dict[str, Row] = {}
        self._lag = lag
        self._past: dict[str, list[Row | None]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.rows

    def __getitem__(self, name: str) -> Row:
        """Return a row as it is.

        Raises:
            RefusedError: it does not exist (404).
        """
        if name not in self.rows:
            raise missing(name)
        return self.rows[name]

    def put(self, name: str, row: Row) -> None:
        """Store a row, with a new etag."""
        self._remember(name)
        self.rows[name] = {**row, "etag": new_etag()}

    def drop(self, name: str) -> None:
        self._remember(name)
        del self.rows[name]

    def read(self, name: str) -> Row:
        """Return a row as a client sees it now."""
        row = self._seen(name)
        if row is None:
            raise missing(name)
        return row

    def under(self, parent: str) -> list[Row]:
        """Return the rows of a parent as a client sees them now."""
        names = sorted({*self.rows, *self._past})
        rows = [self._seen(name) for name in names if name.startswith(f"{parent}/")]
        return [row for row in rows if row is not None]

    def check(self, row: Row, etag: str | None) -> None:
        """Refuse an update that was made from another state of a row."""
        if etag is None:
            behaviour.apply("blind-overwrite")
        elif etag != row["etag"]:
            raise refuse(
                "ABORTED",
                f"The etag {etag!r} does not match the current one: read {row['name']} again.",
                rule="etag-conflict",
            )

    def _remember(self, name: str) -> None:
        if count := self._lag():
            self._past[name] = [copy.deepcopy(self.rows.get(name))] * count

    def _seen(self, name: str) -> Row | None:
        if past := self._past.get(name):
            behaviour.apply("lagging-reads")
            row = past.pop()
            if not past:
                del self._past[name]
            return row
        return self.rows.get(name)
