"""Distributions of Cloud Monitoring.

https://cloud.google.com/monitoring/api/ref_v3/rest/v3/TypedValue#Distribution
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from tests.gcp import behaviour

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.gcp.routing import Row

EXPONENTIAL: Row = {
    "exponentialBuckets": {"numFiniteBuckets": 66, "growthFactor": 1.4, "scale": 1.0}
}


def bounds(options: Row) -> list[float]:
    """Return the limits between buckets: bucket ``i`` holds ``bounds[i-1] <= x < bounds[i]``.

    >>> bounds({"exponentialBuckets": {"numFiniteBuckets": 2, "growthFactor": 2, "scale": 1}})
    [1, 2, 4]
    >>> bounds({"explicitBuckets": {"bounds": [0, 10]}})
    [0, 10]
    """
    if "explicitBuckets" in options:
        return list(options["explicitBuckets"]["bounds"])
    given = options["exponentialBuckets"]
    return [
        given["scale"] * given["growthFactor"] ** power
        for power in range(given["numFiniteBuckets"] + 1)
    ]


def distribution(values: Mapping[float, int], options: Row) -> Row:
    """Return how values, each so many times, are distributed."""
    behaviour.apply("latency-distribution")
    limits = bounds(options)
    counts = [0] * (len(limits) + 1)
    for value, number in values.items():
        counts[bisect_right(limits, value)] += number
    while counts and not counts[-1]:
        counts.pop()
    total = sum(values.values())
    mean = sum(value * number for value, number in values.items()) / total
    return {
        "count": str(total),
        "mean": mean,
        "sumOfSquaredDeviation": sum(n * (v - mean) ** 2 for v, n in values.items()),
        "bucketOptions": options,
        "bucketCounts": [str(count) for count in counts],
    }
