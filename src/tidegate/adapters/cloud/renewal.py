"""Credentials with an end: renewed at 80 % of their life, used to their last second if need be."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

RENEW_AT = 0.8  # of a life
_PAUSE = 0.25  # of what is left, until a renewal that failed is tried again


class SessionOver(OutsideError):  # noqa: N818 (what happened, not that it is wrong)
    """The cloud's session ended and no new one is to be had. Nothing was sent."""


@dataclass(frozen=True, slots=True)
class Lease(Generic[T]):
    """Credentials, and for how many seconds from when they were asked for."""

    value: T
    life: float


class Renewing(Generic[T]):
    """Credentials that are renewed while they are used. Safe to share between threads.

    Args:
        renew: asks for new ones; raises OutsideError where it gets none.
        what: names the session in a message ("the AWS session of role ...").
        remedy: what the reader can do when it is over.
        clock: seconds that never go backwards.
    """

    def __init__(
        self,
        renew: Callable[[], Lease[T]],
        *,
        what: str,
        remedy: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._renew = renew
        self._what = what
        self._remedy = remedy
        self._clock = clock
        self._lock = threading.Lock()
        self._held: T | None = None
        self._began = False
        self._due = 0.0
        self._ends = 0.0
        self._failed = False  # the last renewal

    def value(self) -> T:
        """Return credentials that are valid now.

        Raises:
            SessionOver: the last ones have ended and renewing fails.
            OutsideError: there never were any; why.
        """
        held, now = self._held, self._clock()
        if held is not None and now < self._due:
            return held
        # Somebody renews already: what is still good serves everybody else meanwhile.
        usable = held is not None and now < self._ends
        if not self._lock.acquire(blocking=not usable):
            assert held is not None
            return held
        try:
            return self._renewed()
        finally:
            self._lock.release()

    def _renewed(self) -> T:
        asked = self._clock()
        if self._held is not None and asked < self._due:
            return self._held  # another thread did it while this one waited
        try:
            lease = self._renew()
        except OutsideError as error:
            self._failed = True
            now = self._clock()
            if self._held is not None and now < self._ends:
                self._due = now + (self._ends - now) * _PAUSE
                return self._held
            if not self._began:
                raise
            raise SessionOver(
                f"{self._what} is over and cannot be renewed: {error}",
                remedy=f"{self._remedy} {error.remedy}".strip(),
            ) from None
        self._began, self._failed = True, False
        self._due, self._ends = asked + lease.life * RENEW_AT, asked + lease.life
        self._held = lease.value
        return lease.value

    @property
    def fading(self) -> bool:
        """Whether what is held cannot be renewed, so that it ends soon."""
        return self._began and self._failed

    def spoil(self, value: T) -> None:
        """Forget these credentials: the cloud says that they have ended."""
        with self._lock:
            if self._held == value:
                self._held = None

    @property
    def held(self) -> T | None:
        """What is held now, valid or not: for hiding it in messages."""
        return self._held
