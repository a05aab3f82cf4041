"""What can go wrong between a client and the cloud, on a test's demand."""

from __future__ import annotations

import random
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from tests.gcp import behaviour

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass
class Fault:
    """An answer that a request gets instead of its own."""

    method: str  # "*.endpoints.patch"
    status: int | None  # None: the connection is reset
    reason: str
    apply: bool  # the request had its effect all the same
    times: int
    headers: Mapping[str, str]


REASONS = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class Faults:
    """Faults asked for, in order, and a share of requests refused at random."""

    def __init__(self) -> None:
        self._planned: list[Fault] = []
        self._rate = 0.0
        self._random = random.Random(0)

    def fail_next(
        self,
        method: str,
        times: int = 1,
        status: int | None = 503,
        apply: bool = False,
        *,
        reason: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        reason = reason or REASONS.get(status or 0, "INVALID_ARGUMENT")
        self._planned.append(Fault(method, status, reason, apply, times, headers or {}))

    def throttle(self, rate: float, seed: int = 0) -> None:
        self._rate = rate
        self._random = random.Random(seed)

    def take(self, method: str) -> Fault | None:
        """Return the fault that this request meets."""
        for fault in self._planned:
            if fault.times and fnmatchcase(method, fault.method):
                fault.times -= 1
                return fault
        if self._rate and self._random.random() < self._rate:
            behaviour.apply("throttled")
            status = self._random.choice((429, 503))
            wait = {"Retry-After": "1"} if self._random.random() < 0.25 else {}
            return Fault(method, status, REASONS[status], False, 0, wait)
        return None
