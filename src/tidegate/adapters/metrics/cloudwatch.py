"""A SageMaker endpoint's counts, from CloudWatch.

Which metric says what: https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html

*Errors.* ``Invocation5XXErrors`` counts requests that the model answered with 5xx;
``InvocationModelErrors`` counts requests that did not end in 2xx for whatever reason: 4xx, 5xx, broken
connections, malformed replies, timeouts. One failed request is in both, so their sum would count it
twice, and 5xx alone would miss the timeouts: the larger of the two is taken, which never counts a
request twice. It holds the model's 4xx, too. Taking ``Invocation4XXErrors`` away from it would be
wrong: SageMaker answers a model's error with 424, itself a 4xx, so that a failing model could hide its
failures there. Requests that are the client's fault come to both arms alike.

*Slow answers.* ``ModelLatency`` only: it is what a version can change. ``OverheadLatency`` is the
platform's, and per request the two cannot be added from their statistics. ``TC(a:b)`` counts samples
above a (exclusive) and up to b (inclusive):
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tidegate.core.evidence import Arm
from tidegate.errors import ConfigError, OutsideError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tidegate.adapters.cloud.aws import Aws
    from tidegate.ports import Measure

DELAY = 180.0  # seconds; AWS promises none
MINUTE = 60
MOST_QUERIES = 500  # of one call
MOST_POINTS = 100_800  # of one call
_STALLED = 15  # intervals with requests and without a value that every request sends


class CloudWatch:
    """Counts per production variant ``v{version}``.

    Args:
        aws: the account and region.
        endpoint: the endpoint's name.
        delay: seconds after its end by which a minute's data is complete.
    """

    # Seconds by which a request may be counted away from its arrival: data points are for whole
    # requests.
    blur = 5.0

    def __init__(self, aws: Aws, endpoint: str, *, delay: float = DELAY) -> None:
        self._aws = aws
        self._endpoint = endpoint
        self.delay = delay

    def check(self, measure: Measure) -> None:
        """Say whether these counts exist.

        Raises:
            ConfigError: the interval is no number of minutes.
        """
        if measure.interval < MINUTE or measure.interval % MINUTE:
            raise ConfigError(
                f"release.canary.interval: got {measure.interval:g} s, expected whole minutes: "
                "SageMaker's metrics are one value a minute"
            )

    def counts(
        self, versions: Sequence[str], first: int, end: int, measure: Measure
    ) -> Mapping[tuple[int, str], Arm]:
        """Return (interval's index, version) -> counts, for first <= index < end.

        An interval without ``Invocations``, or without the error metrics, which are documented to send
        0 or 1 with every request, has no entry: what is missing has not arrived, and is not zero.
        ``slow`` is None where fewer latencies than answers have arrived.

        https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html

        Raises:
            ConfigError: as :meth:`check`.
            OutsideError: CloudWatch fails, answers in part, or says what cannot be.
        """
        self.check(measure)
        statistics = _statistics(measure)
        found: dict[tuple[int, str], Arm] = {}
        together = MOST_QUERIES // len(statistics)
        for begin in range(0, len(versions), together):
            some = versions[begin : begin + together]
            step = MOST_POINTS // (len(some) * len(statistics))
            for start in range(first, end, step):
                values = self._values(some, statistics, start, min(end, start + step), measure)
                for version in some:
                    found |= _arms(self._endpoint, version, values[version])
        return found

    def _values(
        self,
        versions: Sequence[str],
        statistics: Mapping[str, tuple[str, str]],
        first: int,
        end: int,
        measure: Measure,
    ) -> dict[str, dict[str, dict[int, int]]]:
        """Return version -> statistic -> interval -> count."""
        interval = int(measure.interval)
        queries = {
            f"q{index}_{name}": (version, name, metric, stat)
            for index, version in enumerate(versions)
            for name, (metric, stat) in statistics.items()
        }
        arguments = {
            "MetricDataQueries": [
                {
                    "Id": key,
                    "MetricStat": {
                        "Metric": {
                            "Namespace": "AWS/SageMaker",
                            "MetricName": metric,
                            "Dimensions": [
                                {"Name": "EndpointName", "Value": self._endpoint},
                                {"Name": "VariantName", "Value": f"v{version}"},
                            ],
                        },
                        "Period": interval,
                        "Stat": stat,
                    },
                }
                for key, (version, _, metric, stat) in queries.items()
            ],
            "StartTime": datetime.fromtimestamp(first * interval, UTC),
            "EndTime": datetime.fromtimestamp(end * interval, UTC),
            "ScanBy": "TimestampAscending",
            "MaxDatapoints": MOST_POINTS,
        }
        values: dict[str, dict[str, dict[int, int]]] = {
            version: {name: {} for name in statistics} for version in versions
        }
        status = dict.fromkeys(queries, "missing")
        for result in self._results(arguments):
            key = str(result.get("Id"))
            if key not in queries:
                raise _wrong(self._endpoint, f"a result of no query of ours, {key[:40]!r}")
            status[key] = str(result.get("StatusCode"))
            version, name, _, _ = queries[key]
            moments, numbers = result.get("Timestamps") or (), result.get("Values") or ()
            if len(moments) != len(numbers):
                raise _wrong(self._endpoint, "more values than times, or fewer")
            for moment, number in zip(moments, numbers, strict=True):
                index, rest = divmod(moment.timestamp(), interval)
                if rest or not first <= index < end:
                    raise _wrong(self._endpoint, f"a value at {moment}, which was not asked for")
                if int(index) in values[version][name]:
                    raise _wrong(self._endpoint, f"two values of one minute, {moment}")
                values[version][name][int(index)] = _count(self._endpoint, number)
        if odd := sorted({one for one in status.values() if one != "Complete"}):
            raise OutsideError(
                f"CloudWatch's answer about endpoint {self._endpoint} is not complete: "
                f"{', '.join(odd)}",
                remedy="Nothing is decided on a part of the data; the next pass asks again.",
            )
        return values

    def _results(self, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
        """https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html"""
        results: list[dict[str, Any]] = []
        seen: set[str] = set()
        extra: dict[str, Any] = {}
        while True:
            page = self._aws.call("cloudwatch", "get_metric_data", **arguments, **extra)
            if messages := page.get("Messages"):
                text = "; ".join(str(one.get("Value") or one.get("Code")) for one in messages)
                raise _wrong(self._endpoint, f"a message that data is missing: {text}")
            results += page.get("MetricDataResults") or ()
            token = page.get("NextToken")
            if not token:
                return results
            if token in seen:
                raise _wrong(self._endpoint, "the same page twice")
            seen.add(token)
            extra = {"NextToken": token}


def _statistics(measure: Measure) -> dict[str, tuple[str, str]]:
    """Return our name -> (metric, statistic) of everything that one variant is asked for."""
    wanted = {
        "requests": ("Invocations", "Sum"),
        "failed": ("InvocationModelErrors", "Sum"),
        "refused": ("Invocation5XXErrors", "Sum"),
    }
    if measure.slower_than is not None:
        limit = f"{measure.slower_than * 1e6:.0f}"  # microseconds
        wanted |= {
            "timed": ("ModelLatency", "SampleCount"),
            "slow": ("ModelLatency", f"TC({limit}:)"),
            "fast": ("ModelLatency", f"TC(:{limit})"),
        }
    return wanted


def _arms(
    endpoint: str, version: str, values: Mapping[str, Mapping[int, int]]
) -> dict[tuple[int, str], Arm]:
    asked, failed, refused = (values[name] for name in ("requests", "failed", "refused"))
    for name, metric in (("failed", "InvocationModelErrors"), ("refused", "Invocation5XXErrors")):
        if not values[name] and len(asked) > _STALLED:
            raise OutsideError(
                f"CloudWatch has the Invocations of endpoint {endpoint}, variant v{version}, and no "
                f"{metric}, which every request sends",
                remedy="Look at the endpoint's metrics in CloudWatch; without errors nothing is known.",
            )
    found = {}
    for index, requests in asked.items():
        if requests and index in failed and index in refused:
            # A request that times out may be counted as failed a minute after it was asked.
            errors = min(max(failed[index], refused[index]), requests)
            slow = _slow(values, index, answered=requests - errors)
            found[index, version] = Arm(requests=requests, errors=errors, slow=slow)
    return found


def _slow(values: Mapping[str, Mapping[int, int]], index: int, *, answered: int) -> int | None:
    """Return how many answers were slow; None where that is not known for all of them.

    A range without a sample may have no value, so that a missing one means 0 only where the other
    range holds all samples.
    """
    if "timed" not in values:
        return None
    timed, slow, fast = (values[name].get(index) for name in ("timed", "slow", "fast"))
    if timed is None:
        return 0 if answered == 0 else None
    slow = timed - fast if slow is None and fast == timed else slow
    fast = timed - slow if fast is None and slow == timed else fast
    if slow is None or fast is None or slow + fast != timed or timed < answered:
        return None
    return slow


def _count(endpoint: str, number: object) -> int:
    if not isinstance(number, int | float) or not math.isfinite(number) or number < 0:
        raise _wrong(endpoint, f"a count of {number!r}")
    if number != round(number):
        raise _wrong(endpoint, f"a count of {number!r}")
    return round(number)


def _wrong(endpoint: str, what: str) -> OutsideError:
    return OutsideError(
        f"CloudWatch's answer about endpoint {endpoint} cannot be: {what}",
        remedy="Nothing is decided on it; the next pass asks again.",
    )
