"""Writing events from commands: read, decide, append; when somebody was faster, all over again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tidegate.errors import LedgerMovedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.book import Book, Ledger
    from tidegate.core.events import Payload

_TRIES = 20


def record(
    ledger: Ledger,
    decide: Callable[[Book], Payload | None],
    *,
    actor: str,
    human: bool = False,
) -> Book:
    """Append what ``decide`` makes of the newest ledger; None means that it already stands there.

    Raises:
        LedgerMovedError: twenty others were faster.
    """
    for attempt in range(_TRIES):
        book = ledger.read()
        payload = decide(book)
        if payload is None:
            return book
        try:
            return ledger.append(book, payload, at=time.time(), actor=actor, human=human)
        except LedgerMovedError:
            if attempt == _TRIES - 1:
                raise
    raise AssertionError
