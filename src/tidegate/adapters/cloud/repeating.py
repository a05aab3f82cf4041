"""Repeating what failed: few times, with jitter, as long as the server asks, and never in a storm.

Two bounds hold at once. One call is tried at most :data:`TRIES` times within :data:`PATIENCE`
seconds. And all calls of a session share a :class:`Budget`: a repeat costs one, an answer pays one
back, so that a session makes at most one repeat per answer and :data:`ALLOWANCE` beyond that,
however many of its calls fail. Jitter:
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.errors import OutsideError

T = TypeVar("T")

TRIES = 8
PATIENCE = 120.0  # seconds that one call may spend waiting
ALLOWANCE = 60  # repeats that a session has before its first answer
_FIRST, _LONGEST = 0.2, 20.0  # seconds: the longest first and last pause
_RANDOM = random.SystemRandom()


class AgainError(Exception):
    """This try failed, and another one does no harm.

    Args:
        error: what the caller is told when nothing helps.
        after: seconds that the server asks for.
        lost: whether this try may have done what was asked, all the same.
    """

    def __init__(
        self, error: OutsideError, *, after: float | None = None, lost: bool = False
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.after = after
        self.lost = lost


class Budget:
    """How many repeats a session has left. Safe to share between threads."""

    def __init__(self, allowance: int = ALLOWANCE) -> None:
        self._most = self._left = allowance
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Use one up; False when there is none."""
        with self._lock:
            if self._left == 0:
                return False
            self._left -= 1
            return True

    def give(self) -> None:
        """Put one back, up to the first allowance."""
        with self._lock:
            self._left = min(self._most, self._left + 1)


@dataclass(frozen=True, slots=True)
class Repeater:
    """Repeats calls within a budget.

    Attributes:
        sleep: waits that many seconds.
        clock: seconds that never go backwards.
    """

    budget: Budget
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    tries: int = TRIES
    patience: float = PATIENCE

    def __call__(self, attempt: Callable[[bool], T]) -> T:
        """Return what an attempt returns; it is told whether one before it may have been done.

        Raises:
            OutsideError: the last attempt's, when tries, time or budget are used up.
        """
        end = self.clock() + self.patience
        lost = False
        for number in range(self.tries):
            try:
                answer = attempt(lost)
            except AgainError as again:
                lost = lost or again.lost
                pause = _RANDOM.uniform(0, min(_LONGEST, _FIRST * 2**number))
                if again.after is not None:
                    pause += again.after  # the jitter keeps many from coming back at once
                last = number + 1 == self.tries
                if last or self.clock() + pause > end or not self.budget.take():
                    raise again.error from None
                self.sleep(pause)
            else:
                self.budget.give()
                return answer
        raise AssertionError


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds of a ``Retry-After`` header: a number or a date; None where it is neither.

    https://www.rfc-editor.org/rfc/rfc9110#field.retry-after

    >>> retry_after("2"), retry_after("soon"), retry_after(None)
    (2.0, None, None)
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - (now or datetime.now(UTC))).total_seconds())
