"""The stand-in's clock: real time, stretched, and moved ahead by hand.

now = origin + (real - origin) * scale + offset. A client in another process gets the same clock
from the variables of :meth:`Clock.variables`: ``FAKE_TIME_ORIGIN`` (epoch seconds),
``FAKE_TIME_SCALE`` (60: one real second is one minute) and ``FAKE_TIME_OFFSET`` (seconds).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass
class Clock:
    scale: float = 1.0
    offset: float = 0.0
    origin: float = field(default_factory=time.time)

    def now(self) -> float:
        """Return the stand-in's time in epoch seconds."""
        return self.origin + (time.time() - self.origin) * self.scale + self.offset

    def date(self) -> datetime:
        return datetime.fromtimestamp(self.now(), UTC)

    def real(self, seconds: float) -> float:
        """Return how many real seconds this many seconds of the stand-in's clock take."""
        return seconds / self.scale

    def advance(self, seconds: float) -> None:
        """Move the clock ahead at once."""
        self.offset += seconds

    def variables(self) -> dict[str, str]:
        return {
            "FAKE_TIME_ORIGIN": repr(self.origin),
            "FAKE_TIME_SCALE": repr(self.scale),
            "FAKE_TIME_OFFSET": repr(self.offset),
        }

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Clock:
        """Return the clock that a process was given; real time without the variables."""
        return cls(
            origin=float(environ.get("FAKE_TIME_ORIGIN", "0")),
            scale=float(environ.get("FAKE_TIME_SCALE", "1")),
            offset=float(environ.get("FAKE_TIME_OFFSET", "0")),
        )
