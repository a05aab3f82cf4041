"""Cloud Monitoring over counts that a test gave, and over real predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.gcp.clock import stamp
from tests.gcp.rows import shows

if TYPE_CHECKING:
    from tests.gcp.client import Client, Row
    from tests.gcp.cloud import Cloud

pytestmark = pytest.mark.real
ONLINE = "aiplatform.googleapis.com/prediction/online/"


def asked(client: Client, metric: str, start: float, end: float, **query: Any) -> list[Row]:
    cloud = client.cloud
    words = f'metric.type="{ONLINE}{metric}" AND resource.labels.endpoint_id="churn"'
    if more := query.pop("more", ""):
        words += f" AND {more}"
    body = client.did(
        "GET",
        f"https://monitoring.googleapis.com/v3/projects/{cloud.project}/timeSeries",
        **{
            "filter": words,
            "interval.startTime": stamp(start),
            "interval.endTime": stamp(end),
            **{key.replace("_", "."): value for key, value in query.items()},
        },
    )
    found: list[Row] = body.get("timeSeries", [])
    return found


def points(series: Row) -> list[tuple[str, int]]:
    return [
        (point["interval"]["endTime"][11:16], int(point["value"]["int64Value"]))
        for point in series["points"]
    ]


def hour(cloud: Cloud) -> float:
    """Return the start of the last full hour."""
    return (cloud.clock.time() // 3600 - 1) * 3600


@shows("points-newest-first", "zero-absent", "metric-delay")
def test_counts_stand_by_minute_and_class(cloud: Cloud, client: Client) -> None:
    start = hour(cloud)
    cloud.put_counts("churn", "11", start, requests=100, errors=2)
    cloud.put_counts("churn", "11", start + 120, requests=50)
    cloud.put_counts("churn", "12", start, requests=0)
    found = asked(client, "response_count", start, start + 600)
    labels = {"deployed_model_id": "11", "response_code": "2xx"}
    by_code = {one["metric"]["labels"]["response_code"]: one for one in found}
    assert by_code.keys() == {"2xx", "5xx"}
    assert by_code["2xx"]["metric"]["labels"] == labels
    assert [count for _, count in points(by_code["2xx"])] == [50, 98]
    assert [count for _, count in points(by_code["5xx"])] == [2]
    assert by_code["2xx"]["resource"]["labels"]["endpoint_id"] == "churn"
    (errors,) = asked(client, "error_count", start, start + 600)
    assert [count for _, count in points(errors)] == [2]
    more = 'metric.labels.deployed_model_id = one_of("12","13")'
    assert asked(client, "response_count", start, start + 600, more=more) == []


@shows("metric-delay")
def test_a_minute_is_seen_after_the_delay(cloud: Cloud, client: Client) -> None:
    cloud.metric_delay = 180
    now = cloud.clock.time()
    cloud.put_counts("churn", "11", now, requests=10)
    assert asked(client, "prediction_count", now - 300, now + 60) == []
    cloud.advance(120)
    assert asked(client, "prediction_count", now - 300, now + 60) == []
    cloud.advance(125)
    (found,) = asked(client, "prediction_count", now - 300, now + 60)
    assert [count for _, count in points(found)] == [10]


@shows("align-at-end")
def test_series_are_aligned_and_added(cloud: Cloud, client: Client) -> None:
    start = hour(cloud)
    for minute in range(4):
        cloud.put_counts("churn", "11", start + 60 * minute, requests=10, errors=1)
        cloud.put_counts("churn", "12", start + 60 * minute, requests=1)
    query = {
        "aggregation_alignmentPeriod": "120s",
        "aggregation_perSeriesAligner": "ALIGN_DELTA",
        "aggregation_crossSeriesReducer": "REDUCE_SUM",
    }
    found = asked(client, "response_count", start, start + 240, **query)
    assert [[count for _, count in points(one)] for one in found] == [[22, 22]]
    query["aggregation_groupByFields"] = "metric.labels.deployed_model_id"
    found = asked(client, "response_count", start, start + 180, **query)
    assert {one["metric"]["labels"]["deployed_model_id"]: points(one) for one in found} == {
        "11": [(stamp(start + 180)[11:16], 20), (stamp(start + 60)[11:16], 10)],
        "12": [(stamp(start + 180)[11:16], 2), (stamp(start + 60)[11:16], 1)],
    }


@shows("latency-distribution")
@pytest.mark.parametrize(
    ("options", "limit"),
    [
        (None, 1.4**14),
        ({"explicitBuckets": {"bounds": [0.0, 50.0, 100.0]}}, 100.0),
    ],
)
def test_latencies_are_distributions(
    cloud: Cloud, client: Client, options: Row | None, limit: float
) -> None:
    cloud.bucket_options = options or cloud.bucket_options
    start = hour(cloud)
    cloud.put_counts("churn", "11", start, requests=100, slow=[(250.0, 7)], fast_ms=4.0)
    more = 'metric.labels.latency_type="total"'
    (found,) = asked(client, "prediction_latencies", start, start + 60, more=more)
    assert (found["metricKind"], found["valueType"]) == ("DELTA", "DISTRIBUTION")
    value = found["points"][0]["value"]["distributionValue"]
    given = value["bucketOptions"]
    if options:
        above = value["bucketCounts"][given["explicitBuckets"]["bounds"].index(limit) + 1 :]
    else:
        above = value["bucketCounts"][14 + 1 :]
        assert given["exponentialBuckets"]["growthFactor"] ** 14 == limit
    assert sum(map(int, above)) == 7
    assert sum(map(int, value["bucketCounts"])) == int(value["count"]) == 100


@shows("points-paged")
def test_points_come_in_pages(cloud: Cloud, client: Client) -> None:
    start = hour(cloud)
    for minute in range(3):
        cloud.put_counts("churn", "11", start + 60 * minute, requests=10, errors=1)
    query = {
        "filter": f'metric.type="{ONLINE}response_count"',
        "interval.startTime": stamp(start),
        "interval.endTime": stamp(start + 600),
        "pageSize": 4,
    }
    address = f"https://monitoring.googleapis.com/v3/projects/{cloud.project}/timeSeries"
    first = client.did("GET", address, **query)
    rest = client.did("GET", address, **query, pageToken=first["nextPageToken"])
    sizes = [[len(one["points"]) for one in page["timeSeries"]] for page in (first, rest)]
    assert sizes == [[3, 1], [2]]
    assert first["timeSeries"][1]["metric"] == rest["timeSeries"][0]["metric"]


def test_real_requests_are_counted(cloud: Cloud, client: Client) -> None:
    address = client.endpoint()
    client.deployed(address, client.model("m", "one"), "11", _0=100)
    for _ in range(5):
        client.did("POST", f"{address}:predict", {"instances": [1, 2]})
    cloud.advance(60)
    now = cloud.clock.time()
    (responses,) = asked(client, "response_count", now - 300, now)
    (predictions,) = asked(client, "prediction_count", now - 300, now)
    assert sum(count for _, count in points(responses)) == 5
    assert sum(count for _, count in points(predictions)) == 10


def test_a_request_must_be_whole(cloud: Cloud, client: Client) -> None:
    address = f"https://monitoring.googleapis.com/v3/projects/{cloud.project}/timeSeries"
    now = stamp(cloud.clock.time())
    assert client.refused(
        "GET", address, **{"filter": f'metric.type="{ONLINE}x"', "interval.endTime": now}
    ) == (400, "INVALID_ARGUMENT")
