"""A Vertex AI endpoint's counts, from Cloud Monitoring.

The metrics: https://cloud.google.com/monitoring/api/metrics_gcp_a_b#gcp-aiplatform

*Requests and errors* are ``prediction/online/response_count`` by class of response code: every
response is counted in exactly one class, so that a class without points has no responses and nothing
is counted twice. ``error_count`` is not used: it does not say whose error it was.

*Slow answers* are the buckets of ``prediction_latencies``, type ``total``: what the caller waits, and
the only type that is always there. A bucket that the limit falls into cannot be divided; all of it
counts as slow, in both arms. The comparison is thus an exact one with the limit moved down to that
bucket's lower bound: no answer slower than the limit goes uncounted.
"""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tidegate.core.evidence import Arm
from tidegate.errors import ConfigError, OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tidegate.adapters.cloud.google import Google
    from tidegate.ports import Measure

# Seconds. None is documented for public endpoints; the same counts of private ones take up to 360 s.
DELAY = 360.0
MINUTE = 60
_METRICS = "aiplatform.googleapis.com/prediction/online"
_ANSWERED = frozenset("1234")  # first digits of response codes that are not the model's failure
_PAGE = 10_000
_SPAN = 1440  # intervals of one request


class Monitoring:
    """Counts per deployed model.

    Args:
        google: the session.
        project: the project's id.
        region: the endpoint's.
        endpoint: the endpoint's id, the last part of its name.
        deployed: version -> id of its deployed model.
        delay: seconds after its end by which a minute's data is complete.
    """

    # Seconds: a point may begin within a minute and end within the next, where it is counted.
    blur = 60.0

    def __init__(  # noqa: PLR0913 (an endpoint in a region of a project)
        self,
        google: Google,
        *,
        project: str,
        region: str,
        endpoint: str,
        deployed: Callable[[str], str],
        delay: float = DELAY,
    ) -> None:
        self._google = google
        self._project = project
        self._region = region
        self._endpoint = endpoint
        self._deployed = deployed
        self.delay = delay

    def check(self, measure: Measure) -> None:
        """Say whether these counts exist.

        Raises:
            ConfigError: the interval is no number of minutes.
        """
        if measure.interval < MINUTE or measure.interval % MINUTE:
            raise ConfigError(
                f"release.canary.interval: got {measure.interval:g} s, expected whole minutes: "
                "Cloud Monitoring samples endpoints once a minute"
            )

    def counts(
        self, versions: Sequence[str], first: int, end: int, measure: Measure
    ) -> Mapping[tuple[int, str], Arm]:
        """Return (interval's index, version) -> counts, for first <= index < end.

        ``slow`` is None where fewer latencies than answers have arrived.

        Raises:
            ConfigError: as :meth:`check`.
            OutsideError: Cloud Monitoring fails, answers in part, or says what cannot be.
        """
        self.check(measure)
        named = {self._deployed(version): version for version in versions}
        if len(named) != len(versions):
            raise OutsideError(f"two of the versions {', '.join(versions)} are one deployed model")
        found: dict[tuple[int, str], Arm] = {}
        for begin in range(first, end, _SPAN):
            try:
                found |= self._span(named, begin, min(end, begin + _SPAN), measure)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                raise _wrong(f"{type(error).__name__} {error}") from None
        return found

    def _span(
        self, named: Mapping[str, str], first: int, end: int, measure: Measure
    ) -> dict[tuple[int, str], Arm]:
        requests: defaultdict[tuple[int, str], int] = defaultdict(int)
        errors: defaultdict[tuple[int, str], int] = defaultdict(int)
        for labels, index, value in self._points("response_count", named, first, end, measure):
            key = index, named[labels["deployed_model_id"]]
            number = _whole(value.get("int64Value"))
            requests[key] += number
            if str(labels.get("response_code", ""))[:1] not in _ANSWERED:
                errors[key] += number
        timed: defaultdict[tuple[int, str], int] = defaultdict(int)
        slow: defaultdict[tuple[int, str], int] = defaultdict(int)
        if measure.slower_than is not None:
            limit = measure.slower_than * 1000  # milliseconds
            for labels, index, value in self._points(
                "prediction_latencies", named, first, end, measure
            ):
                key = index, named[labels["deployed_model_id"]]
                distribution = value.get("distributionValue") or {}
                timed[key] += _whole(distribution.get("count", "0"))
                slow[key] += slower(distribution, limit)
        return {
            key: Arm(
                requests=number,
                errors=errors[key],
                slow=slow[key]
                if measure.slower_than is not None and timed[key] >= number - errors[key]
                else None,
            )
            for key, number in requests.items()
            if number
        }

    def _points(
        self, metric: str, named: Mapping[str, str], first: int, end: int, measure: Measure
    ) -> Iterator[tuple[Mapping[str, Any], int, Mapping[str, Any]]]:
        """Yield (labels, interval's index, value) of every point.

        Raw points, not aligned ones: ``ALIGN_DELTA`` interpolates. A point counts in the interval in
        which it ends; the answer holds those that end after the start, up to the end.
        https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.timeSeries/list
        """
        models = ", ".join(f'"{one}"' for one in named)
        filters = [
            f'metric.type = "{_METRICS}/{metric}"',
            'resource.type = "aiplatform.googleapis.com/Endpoint"',
            f'resource.labels.endpoint_id = "{self._endpoint}"',
            f"metric.labels.deployed_model_id = one_of({models})",
        ]
        if metric == "prediction_latencies":
            filters.append('metric.labels.latency_type = "total"')
        query = {
            "filter": " AND ".join(filters),
            "interval.startTime": _text(first * measure.interval),
            "interval.endTime": _text(end * measure.interval),
            "view": "FULL",
            "pageSize": _PAGE,
        }
        for series in self._series(query):
            labels = series["metric"].get("labels", {})
            place = series.get("resource", {}).get("labels", {})
            if labels.get("deployed_model_id") not in named:
                continue
            if place.get("location", self._region) != self._region:
                continue  # an endpoint of the same id in another region
            if labels.get("latency_type", "total") != "total":
                continue
            for point in series.get("points", ()):
                begin = _moment(point["interval"].get("startTime") or point["interval"]["endTime"])
                stop = _moment(point["interval"]["endTime"])
                if stop - begin > measure.interval + 1:
                    raise _wrong(f"a point of {stop - begin:.0f} s")
                index = math.ceil(stop / measure.interval) - 1
                if first <= index < end:
                    yield labels, index, point.get("value", {})

    def _series(self, query: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.timeSeries/list"""
        url = f"https://monitoring.googleapis.com/v3/projects/{self._project}/timeSeries"
        seen: set[str] = set()
        token = ""
        while True:
            page = self._google.get(url, **query, **({"pageToken": token} if token else {}))
            if page.get("executionErrors") or page.get("unreachable"):
                raise OutsideError(
                    "Cloud Monitoring's answer is not complete",
                    remedy="Nothing is decided on a part of the data; the next pass asks again.",
                )
            yield from page.get("timeSeries", ())
            token = page.get("nextPageToken", "")
            if not token:
                return
            if token in seen:
                raise _wrong("the same page twice")
            seen.add(token)


def slower(distribution: Mapping[str, Any], limit: float) -> int:
    """Return how many values lie in buckets that reach above ``limit``.

    Bucket 0 is everything below the first bound, the last one everything from the last bound on; a
    bucket holds its lower bound. https://cloud.google.com/monitoring/api/ref_v3/rest/v3/TypedValue#Distribution

    Raises:
        OutsideError: the buckets do not hold the values, or the first bound is above the limit.

    >>> slower(
    ...     {
    ...         "count": "6",
    ...         "bucketOptions": {"explicitBuckets": {"bounds": [10, 20, 40]}},
    ...         "bucketCounts": ["1", "2", "3"],
    ...     },
    ...     25.0,
    ... )
    3
    """
    counts = [_whole(one) for one in distribution.get("bucketCounts", ())]
    if sum(counts) != _whole(distribution.get("count", "0")):
        raise _wrong("a distribution whose buckets do not hold its values")
    if not any(counts):
        return 0
    bounds = [*_bounds(distribution.get("bucketOptions") or {}), math.inf]
    if len(counts) > len(bounds):
        raise _wrong("a distribution with more buckets than bounds")
    if bounds[0] > limit:
        raise OutsideError(
            f"Cloud Monitoring's latencies do not tell answers of {limit:g} ms from faster ones",
            remedy="Raise `slower_than` of the guard slow_requests.",
        )
    return sum(count for count, upper in zip(counts, bounds, strict=False) if upper > limit)


def _bounds(options: Mapping[str, Any]) -> list[float]:
    if found := options.get("explicitBuckets"):
        bounds = [float(one) for one in found["bounds"]]
    elif found := options.get("linearBuckets"):
        number = int(found["numFiniteBuckets"])
        bounds = [float(found["offset"]) + float(found["width"]) * i for i in range(number + 1)]
    elif found := options.get("exponentialBuckets"):
        number = int(found["numFiniteBuckets"])
        bounds = [
            float(found["scale"]) * float(found["growthFactor"]) ** i for i in range(number + 1)
        ]
    else:
        raise _wrong("a distribution without buckets")
    if not bounds or bounds != sorted(bounds) or not all(math.isfinite(one) for one in bounds):
        raise _wrong("a distribution whose bounds are not in order")
    return bounds


def _whole(value: object) -> int:
    text = str(value)
    if isinstance(value, str | int) and text.isascii() and text.isdigit() and len(text) < 19:
        return int(text)
    raise _wrong(f"a count of {text[:40]!r}")


def _text(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _wrong(what: str) -> OutsideError:
    return OutsideError(
        f"Cloud Monitoring's answer cannot be: {what}",
        remedy="Nothing is decided on it; the next pass asks again.",
    )
