"""What the endpoints served, by minute: the ground of the metrics."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.gcp.cloud import Cloud

MINUTE = 60.0


@dataclass
class Minute:
    """What one deployed model served in one minute."""

    responses: Counter[str] = field(default_factory=Counter)  # by class: "2xx"
    predictions: int = 0  # instances that were answered
    latencies: Counter[float] = field(default_factory=Counter)  # how many took so many ms


class Counts:
    """Minutes by endpoint, deployed model and number of the minute since 1970."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._minutes: dict[tuple[str, str, int], Minute] = {}
        self._lock = threading.Lock()

    def add(self, endpoint_id: str, deployed: str, status: int, ms: float, instances: int) -> None:
        """Count a request that was just answered."""
        with self._lock:
            one = self._at(endpoint_id, deployed, self._cloud.clock.time())
            one.responses[f"{status // 100}xx"] += 1
            one.predictions += instances if status == 200 else 0
            one.latencies[round(ms, 3)] += 1

    def put(
        self,
        endpoint_id: str,
        deployed: str,
        minute: float,
        requests: int,
        errors: int,
        slow: Sequence[tuple[float, int]],
        fast_ms: float,
    ) -> None:
        assert 0 <= errors <= requests
        with self._lock:
            one = self._at(endpoint_id, deployed, minute)
            one.responses["2xx"] += requests - errors
            one.responses["5xx"] += errors
            one.predictions += requests - errors
            for ms, number in slow:
                one.latencies[ms] += number
            rest = requests - sum(number for _, number in slow)
            assert rest >= 0
            one.latencies[fast_ms] += rest

    def _at(self, endpoint_id: str, deployed: str, when: float) -> Minute:
        return self._minutes.setdefault((endpoint_id, deployed, int(when // MINUTE)), Minute())

    def visible(self) -> Iterator[tuple[str, str, float, Minute]]:
        """Yield endpoint, deployed model, the minute's end (Unix) and what was served in it."""
        limit = self._cloud.clock.time() - self._cloud.metric_delay
        with self._lock:
            found = sorted(self._minutes.items())
        for (endpoint_id, deployed, number), minute in found:
            end = (number + 1) * MINUTE
            if end <= limit:
                yield endpoint_id, deployed, end, minute
