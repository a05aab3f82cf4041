"""Cloud Monitoring: https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.timeSeries/list"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.gcp import behaviour
from tests.gcp.clock import parse, stamp
from tests.gcp.counts import MINUTE
from tests.gcp.distributions import distribution
from tests.gcp.filters import clauses
from tests.gcp.routing import method, refuse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.gcp.cloud import Cloud
    from tests.gcp.counts import Minute
    from tests.gcp.routing import Request, Row

_ONLINE = "aiplatform.googleapis.com/prediction/online/"
_MOST = 100_000  # points in a page

Labels = tuple[tuple[str, str], ...]
Value = Counter[float]  # of a count: {0: n}; of a distribution: {milliseconds: n}


@dataclass(frozen=True)
class Series:
    """A time series' labels; those of the metric and those of the resource."""

    metric: Labels
    resource: Labels


@dataclass(frozen=True)
class Sample:
    """What a series has for the time from ``start`` to ``end`` (Unix)."""

    start: float
    end: float
    value: Value


def _written(minute: Minute, metric: str) -> Iterator[tuple[dict[str, str], Value]]:
    """Yield labels and value that a minute gives to a metric."""
    if metric == "prediction_count":
        yield {}, Counter({0.0: minute.predictions})
    elif metric == "response_count":
        for code, number in minute.responses.items():
            yield {"response_code": code}, Counter({0.0: number})
    elif metric == "error_count":
        bad = (n for code, n in minute.responses.items() if code[0] in "45")
        yield {}, Counter({0.0: sum(bad)})
    elif metric == "prediction_latencies":
        for kind in ("total", "model"):
            yield {"latency_type": kind}, minute.latencies
        yield {"latency_type": "overhead"}, Counter({0.5: minute.latencies.total()})
    else:
        raise refuse("NOT_FOUND", f"Cannot find metric(s) that match type = {_ONLINE}{metric}.")


@method("monitoring.projects.timeSeries.list")
def _list(cloud: Cloud, request: Request) -> Any:
    wanted = clauses(request.one("filter"))
    types = [clause.values[0] for clause in wanted if clause.field == "metric.type"]
    if len(types) != 1:
        raise refuse("INVALID_ARGUMENT", "The filter must name one metric.type.")
    start, end = _interval(request)
    found: dict[Series, list[Sample]] = {}
    for series, sample in _samples(cloud, types[0]):
        kept = all(
            clause.holds(_label(series, clause.field))
            for clause in wanted
            if clause.field != "metric.type"
        )
        if kept and start < sample.end <= end:
            found.setdefault(series, []).append(sample)
    found = _reduced(request, _aligned(request, found, end))
    behaviour.apply("points-newest-first")
    rows = [
        (series, sample)
        for series, samples in sorted(found.items(), key=str)
        for sample in sorted(samples, key=lambda one: -one.end)
    ]
    return _page(cloud, request, types[0], rows)


def _interval(request: Request) -> tuple[float, float]:
    if not request.one("interval.startTime"):
        raise refuse("INVALID_ARGUMENT", "interval.startTime must be set for a DELTA metric.")
    start, end = (parse(request.one(f"interval.{key}Time")) for key in ("start", "end"))
    if start >= end:
        raise refuse("INVALID_ARGUMENT", "interval.startTime must be before interval.endTime.")
    return start, end


def _samples(cloud: Cloud, kind: str) -> Iterator[tuple[Series, Sample]]:
    if not kind.startswith(_ONLINE):
        raise refuse("NOT_FOUND", f"Cannot find metric(s) that match type = {kind}.")
    behaviour.apply("metric-delay")
    for endpoint_id, deployed, end, minute in cloud.counts.visible():
        resource = {
            "endpoint_id": endpoint_id,
            "location": cloud.region,
            "resource_container": cloud.number,
        }
        for labels, value in _written(minute, kind.removeprefix(_ONLINE)):
            if not value.total():
                behaviour.apply("zero-absent")
                continue
            metric = {"deployed_model_id": deployed, **labels}
            series = Series(tuple(sorted(metric.items())), tuple(sorted(resource.items())))
            yield series, Sample(end - MINUTE, end, value)


def _label(series: Series, field: str) -> str | None:
    part, _, name = field.partition(".")
    name = name.removeprefix("labels.").removeprefix("label.")
    if field == "resource.type":
        return "aiplatform.googleapis.com/Endpoint"
    if field == "project":
        return dict(series.resource)["resource_container"]
    return dict(series.metric if part == "metric" else series.resource).get(name)


def _aligned(
    request: Request, found: dict[Series, list[Sample]], end: float
) -> dict[Series, list[Sample]]:
    """Put each series' samples into periods that are counted back from the interval's end."""
    aligner = request.one("aggregation.perSeriesAligner", "ALIGN_NONE")
    if aligner == "ALIGN_NONE":
        return found
    if aligner not in {"ALIGN_DELTA", "ALIGN_SUM"}:
        raise refuse("UNIMPLEMENTED", f"The stand-in does not align by {aligner}.")
    period = float(request.one("aggregation.alignmentPeriod", "0s").removesuffix("s"))
    if period < MINUTE:
        raise refuse("INVALID_ARGUMENT", "aggregation.alignmentPeriod must be at least 60 s.")
    behaviour.apply("align-at-end")
    aligned: dict[Series, list[Sample]] = {}
    for series, samples in found.items():
        periods: dict[int, Value] = {}
        for sample in samples:
            periods.setdefault(int((end - sample.end) // period), Counter()).update(sample.value)
        aligned[series] = [
            Sample(end - (back + 1) * period, end - back * period, value)
            for back, value in periods.items()
        ]
    return aligned


def _reduced(request: Request, found: dict[Series, list[Sample]]) -> dict[Series, list[Sample]]:
    """Add the series of each group together."""
    reducer = request.one("aggregation.crossSeriesReducer", "REDUCE_NONE")
    if reducer == "REDUCE_NONE":
        return found
    if reducer != "REDUCE_SUM":
        raise refuse("UNIMPLEMENTED", f"The stand-in does not reduce by {reducer}.")
    if request.one("aggregation.perSeriesAligner", "ALIGN_NONE") == "ALIGN_NONE":
        raise refuse("INVALID_ARGUMENT", "A reducer needs an aligner.")
    fields = request.query.get("aggregation.groupByFields", ())
    groups: dict[Series, dict[tuple[float, float], Value]] = {}
    for series, samples in found.items():
        group = Series(_kept(series, "metric", fields), _kept(series, "resource", fields))
        for sample in samples:
            at = groups.setdefault(group, {}).setdefault((sample.start, sample.end), Counter())
            at.update(sample.value)
    return {
        group: [Sample(*span, value) for span, value in spans.items()]
        for group, spans in groups.items()
    }


def _kept(series: Series, part: str, fields: Any) -> Labels:
    names = {field.rpartition(".")[2] for field in fields if field.startswith(f"{part}.")}
    return tuple(pair for pair in getattr(series, part) if pair[0] in names)


def _page(cloud: Cloud, request: Request, kind: str, rows: list[tuple[Series, Sample]]) -> Row:
    """Return a page of points: a series can go on in the next page."""
    token = request.one("pageToken", "0")
    if not token.isdigit():
        raise refuse("INVALID_ARGUMENT", f"Invalid page token: {token!r}")
    first = int(token)
    size = min(int(request.one("pageSize", "0")) or _MOST, _MOST)
    heads = request.one("view") == "HEADERS"
    latencies = kind.endswith("_latencies")
    shown: dict[Series, Row] = {}
    for series, sample in rows[first : first + size]:
        row = shown.setdefault(series, _head(kind, series, latencies))
        if not heads:
            value: Row = {"int64Value": str(sample.value.total())}
            if latencies:
                value = {"distributionValue": distribution(sample.value, cloud.bucket_options)}
            span = {"startTime": stamp(sample.start), "endTime": stamp(sample.end)}
            row["points"].append({"interval": span, "value": value})
    body: Row = {"timeSeries": list(shown.values())} if shown else {}
    if first + size < len(rows):
        behaviour.apply("points-paged")
        body["nextPageToken"] = str(first + size)
    return body


def _head(kind: str, series: Series, latencies: bool) -> Row:
    return {
        "metric": {"type": kind, "labels": dict(series.metric)},
        "resource": {
            "type": "aiplatform.googleapis.com/Endpoint",
            "labels": dict(series.resource),
        },
        "metricKind": "DELTA",
        "valueType": "DISTRIBUTION" if latencies else "INT64",
        "points": [],
    }
