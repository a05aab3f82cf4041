"""CloudWatch's store: samples, when they can be read, and the statistics over them.

Statistics: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html
Metrics of endpoints: https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from tests.aws.routing import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.aws.cloud import Cloud

NAMESPACE = "AWS/SageMaker"
DAY = 86_400
# How long points of a period are kept: seconds of age, shortest period still there.
RETENTION = ((15 * DAY, 60), (63 * DAY, 300), (455 * DAY, 3600))
_PLAIN = {"Sum", "SampleCount", "Average", "Minimum", "Maximum"}
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d{1,10})?|100)")
_RANGE = re.compile(r"(TC|PR)\((-?[\d.]+)?:(-?[\d.]+)?\)")

Key = tuple[str, str, tuple[tuple[str, str], ...]]
Sample = tuple[float, float, float]  # time, value, how many


class Metrics:
    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._minutes: dict[Key, dict[int, list[Sample]]] = {}
        self._dropped: set[tuple[str, str, int]] = set()
        self.partial: list[bool] = []  # one per GetMetricData to come

    # --- filling --------------------------------------------------------------------------------

    def add(
        self, namespace: str, metric: str, dimensions: Mapping[str, str], sample: Sample
    ) -> None:
        if sample[2] <= 0:
            return
        key = (namespace, metric, tuple(sorted(dimensions.items())))
        minute = int(sample[0] // 60 * 60)
        self._minutes.setdefault(key, {}).setdefault(minute, []).append(sample)

    def count(
        self, endpoint: str, variant: str, status: int, seconds: float, overhead: float
    ) -> None:
        """Count one invocation."""
        at = self._cloud.now()
        self._answered(endpoint, variant, at, 1, status)
        about = {"EndpointName": endpoint, "VariantName": variant}
        self.add(NAMESPACE, "ModelLatency", about, (at, seconds * 1e6, 1))
        self.add(NAMESPACE, "OverheadLatency", about, (at, overhead * 1e6, 1))

    def _answered(self, endpoint: str, variant: str, at: float, number: int, status: int) -> None:
        about = {"EndpointName": endpoint, "VariantName": variant}
        for metric, value in (
            ("Invocations", 1.0),
            ("Invocation4XXErrors", float(400 <= status < 500)),
            ("Invocation5XXErrors", float(500 <= status < 600)),
            ("InvocationModelErrors", float(not 200 <= status < 300)),
        ):
            self.add(NAMESPACE, metric, about, (at, value, number))

    def put_counts(
        self,
        endpoint: str,
        variant: str,
        minute: float,
        requests: int,
        errors: int,
        slow: Sequence[tuple[float, int]],
        *,
        fast: float,
        status: int,
    ) -> None:
        at = minute // 60 * 60 + 59.0
        self._answered(endpoint, variant, at, requests - errors, 200)
        self._answered(endpoint, variant, at, errors, status)
        about = {"EndpointName": endpoint, "VariantName": variant}
        rest = requests - sum(number for _, number in slow)
        for seconds, number in [*slow, (fast, rest)]:
            self.add(NAMESPACE, "ModelLatency", about, (at, seconds * 1e6, number))
            self.add(NAMESPACE, "OverheadLatency", about, (at, 1000.0, number))

    def drop(self, endpoint: str, variant: str, minutes: Iterable[float]) -> None:
        self._dropped |= {(endpoint, variant, int(one // 60 * 60)) for one in minutes}

    # --- reading --------------------------------------------------------------------------------

    def points(
        self,
        namespace: str,
        metric: str,
        dimensions: Mapping[str, str],
        statistic: str,
        *,
        period: int,
        start: float,
        end: float,
    ) -> list[tuple[int, float]]:
        """Return (start of the period, value), oldest first; nothing where there was no sample."""
        key = (namespace, metric, tuple(sorted(dimensions.items())))
        now = self._cloud.now()
        lost = (dimensions.get("EndpointName", ""), dimensions.get("VariantName", ""))
        buckets: dict[int, list[tuple[float, float]]] = {}
        for minute, samples in self._minutes.get(key, {}).items():
            if (*lost, minute) in self._dropped or not kept(period, now - minute):
                continue
            for at, value, number in samples:
                bucket = int(at // period * period)
                if (
                    start // period * period <= bucket < end
                    and at + self._cloud.metrics_delay <= now
                ):
                    buckets.setdefault(bucket, []).append((value, number))
        return [(bucket, evaluate(statistic, buckets[bucket])) for bucket in sorted(buckets)]


def kept(period: int, age: float) -> bool:
    """Return whether points of a period are still there at this age (seconds)."""
    if period < 60:
        return age <= 3 * 3600
    return any(age <= limit and period >= shortest for limit, shortest in RETENTION)


def check_statistic(statistic: str) -> None:
    """Refuse a statistic that CloudWatch does not have."""
    known = statistic in _PLAIN or _PERCENTILE.fullmatch(statistic)
    ranged = _RANGE.fullmatch(statistic)
    if not known and not (ranged and (ranged[2] or ranged[3])):
        raise RefusedError(
            "ValidationError", f"The value {statistic} for parameter Stat is not supported."
        )


def evaluate(statistic: str, samples: list[tuple[float, float]]) -> float:
    """Return a statistic over (value, how many)."""
    number = sum(many for _, many in samples)
    if statistic == "SampleCount":
        return number
    if statistic in {"Sum", "Average"}:
        total = sum(value * many for value, many in samples)
        return total if statistic == "Sum" else total / number
    if statistic in {"Minimum", "Maximum"}:
        values = [value for value, _ in samples]
        return min(values) if statistic == "Minimum" else max(values)
    if found := _PERCENTILE.fullmatch(statistic):
        return _percentile(float(found[1]), sorted(samples), number)
    found = _RANGE.fullmatch(statistic)
    assert found is not None
    low = float(found[2]) if found[2] else -math.inf
    high = float(found[3]) if found[3] else math.inf
    inside = sum(many for value, many in samples if low < value <= high)
    return inside if found[1] == "TC" else 100 * inside / number


def _percentile(per_cent: float, samples: list[tuple[float, float]], number: float) -> float:
    reached = 0.0
    for value, many in samples:
        reached += many
        if reached >= per_cent / 100 * number:
            return value
    return samples[-1][0]
