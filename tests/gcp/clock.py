"""The time that the stand-in's metrics, schedules and time stamps go by."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """Real time, shifted and run faster: with ``scale`` 60 a real second is a minute here."""

    def __init__(self, *, scale: float = 1.0, start: float | None = None) -> None:
        self.scale = scale
        self._real = time.monotonic()
        self._start = time.time() if start is None else start

    def time(self) -> float:
        """Return the Unix time here, in seconds."""
        return self._start + (time.monotonic() - self._real) * self.scale

    def advance(self, seconds: float) -> None:
        """Let seconds pass at once."""
        self._start += seconds


def stamp(seconds: float) -> str:
    """Return a Unix time as Google's JSON writes it.

    >>> stamp(0.25)
    '1970-01-01T00:00:00.250000Z'
    """
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse(text: str) -> float:
    """Return the Unix time of an RFC 3339 time stamp.

    >>> parse("1970-01-01T00:01:00Z")
    60.0
    """
    return datetime.fromisoformat(text).timestamp()
