"""Counts through Cloud Monitoring: what was injected, or nothing; never less of it."""

from __future__ import annotations

import random
from bisect import bisect_right
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gcp.server import serve
from tidegate.adapters.cloud.google import connect
from tidegate.adapters.metrics.live import LiveMetrics
from tidegate.adapters.metrics.monitoring import Monitoring, slower
from tidegate.core.evidence import Arm
from tidegate.core.model import Task
from tidegate.errors import ConfigError, OutsideError
from tidegate.ports import Measure, Window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.gcp.cloud import Cloud

MEASURE = Measure(
    interval=60.0, slower_than=0.2, task=Task.BINARY, clip=None, label_source=None, label_every=600
)
PLAIN = replace(MEASURE, slower_than=None)


# --- buckets ------------------------------------------------------------------------------------

# Bounds, and how Cloud Monitoring writes them down.
BUCKETS: list[tuple[dict[str, Any], list[float]]] = [
    (
        {"exponentialBuckets": {"numFiniteBuckets": 20, "growthFactor": 2, "scale": 0.5}},
        [0.5 * 2**i for i in range(21)],
    ),
    (
        {"linearBuckets": {"numFiniteBuckets": 40, "width": 25, "offset": 1}},
        [1 + 25.0 * i for i in range(41)],
    ),
    (
        {"explicitBuckets": {"bounds": [0, 10, 50, 100, 250, 500, 1000]}},
        [0, 10, 50, 100, 250, 500, 1000],
    ),
]


@given(
    buckets=st.sampled_from(BUCKETS),
    latencies=st.lists(st.floats(0.1, 5000) | st.sampled_from([1.0, 2.0, 10.0, 26.0])),
    limit=st.floats(1, 900) | st.sampled_from([1.0, 10.0, 26.0, 250.0]),
)
def test_slow_answers_are_those_from_the_bound_at_or_below_the_limit(
    buckets: tuple[dict[str, Any], list[float]], latencies: list[float], limit: float
) -> None:
    """No answer slower than the limit goes uncounted, and what counts is one exact limit."""
    options, bounds = buckets
    counts = [0] * (len(bounds) + 1)
    for one in latencies:
        counts[bisect_right(bounds, one)] += 1
    told = {
        "count": str(len(latencies)),
        "bucketOptions": options,
        "bucketCounts": [str(count) for count in counts],
    }
    effective = max(bound for bound in bounds if bound <= limit)
    found = slower(told, limit)
    assert found == sum(one >= effective for one in latencies)
    assert found >= sum(one > limit for one in latencies)


EXPLICIT = {"explicitBuckets": {"bounds": [10, 20]}}


@pytest.mark.parametrize(
    ("told", "said"),
    [
        pytest.param({"count": "3", "bucketCounts": ["1"], "bucketOptions": EXPLICIT}, "hold its values", id="some missing"),
        pytest.param({"count": "3"}, "hold its values", id="all missing"),
        pytest.param({"count": "1", "bucketCounts": ["1"]}, "without buckets", id="no bounds"),
        pytest.param({"count": "4", "bucketCounts": ["1"] * 4, "bucketOptions": EXPLICIT}, "more buckets", id="too many"),
        pytest.param({"count": "-1", "bucketCounts": ["-1"], "bucketOptions": EXPLICIT}, "a count of", id="negative"),
        pytest.param({"count": "1", "bucketCounts": ["1"], "bucketOptions": {"explicitBuckets": {"bounds": [2, 1]}}}, "in order", id="no order"),
        pytest.param({"count": "1", "bucketCounts": ["0", "1"], "bucketOptions": {"explicitBuckets": {"bounds": [30, 40]}}}, "do not tell", id="limit below all bounds"),
    ],
)  # fmt: skip
def test_buckets_that_cannot_be_are_an_error(told: dict[str, Any], said: str) -> None:
    with pytest.raises(OutsideError, match=said):
        slower(told, 15.0)


def test_no_answers_are_not_slow() -> None:
    assert slower({}, 15.0) == 0


# --- what an answer means -----------------------------------------------------------------------


class Scripted:
    """Answers the listing of time series with pages."""

    project = "acme"

    def __init__(self, *pages: dict[str, Any]) -> None:
        self.pages = pages
        self.asked: list[dict[str, Any]] = []

    def get(self, url: str, **query: Any) -> dict[str, Any]:
        assert url == "https://monitoring.googleapis.com/v3/projects/acme/timeSeries"
        self.asked.append(query)
        return self.pages[int(query.get("pageToken", "0"))]


def monitoring(scripted: Scripted) -> Monitoring:
    return Monitoring(
        scripted, project="acme", region="europe-west1", endpoint="e",  # type: ignore[arg-type]
        deployed=lambda version: f"90{version}",
    )  # fmt: skip


def series(code: str, points: dict[str, str], **labels: str) -> dict[str, Any]:
    return {
        "metric": {"labels": {"deployed_model_id": "907", "response_code": code, **labels}},
        "resource": {"labels": {"endpoint_id": "e", "location": labels.get("location", "europe-west1")}},
        "points": [
            {
                "interval": {"startTime": f"1970-01-01T00:{begin}Z", "endTime": f"1970-01-01T00:{end}Z"},
                "value": {"int64Value": value},
            }
            for span, value in points.items()
            for begin, _, end in [span.partition("-")]
        ],
    }  # fmt: skip


def counted(*pages: dict[str, Any]) -> dict[tuple[int, str], Arm]:
    return dict(monitoring(Scripted(*pages)).counts(["7"], 10, 20, PLAIN))


def test_each_response_counts_once_in_its_class() -> None:
    page = {
        "timeSeries": [
            series("2xx", {"10:00-11:00": "90"}),
            series("2xx", {"10:00-11:00": "5"}, spot="True"),
            series("4xx", {"10:00-11:00": "3"}),
            series("5xx", {"10:00-11:00": "2"}),
            series("", {"11:00-12:00": "1"}),  # no answer at all
        ]
    }
    assert counted(page) == {
        (10, "7"): Arm(requests=100, errors=2),
        (11, "7"): Arm(requests=1, errors=1),
    }


def test_a_point_counts_where_it_ends() -> None:
    page = {
        "timeSeries": [
            series("2xx", {"09:30-10:30": "1", "10:00-11:00": "2", "10:30.5-11:30.5": "4"}),
            series("2xx", {"08:59-10:00": "64", "19:30-20:00": "8", "19:30-20:30": "128"}),
        ]
    }
    assert counted(page) == {
        (10, "7"): Arm(requests=3, errors=0),
        (11, "7"): Arm(requests=4, errors=0),
        (19, "7"): Arm(requests=8, errors=0),
    }


def test_other_models_and_regions_do_not_count() -> None:
    page = {
        "timeSeries": [
            series("2xx", {"10:00-11:00": "90"}, deployed_model_id="908"),
            series("2xx", {"10:00-11:00": "90"}, location="us-central1"),
        ]
    }
    assert counted(page) == {}


def test_pages_are_followed() -> None:
    first = {"timeSeries": [series("2xx", {"10:00-11:00": "90"})], "nextPageToken": "1"}
    second = {"timeSeries": [series("2xx", {"11:00-12:00": "7"})]}
    assert counted(first, second) == {
        (10, "7"): Arm(requests=90, errors=0),
        (11, "7"): Arm(requests=7, errors=0),
    }


@pytest.mark.parametrize(
    ("page", "said"),
    [
        pytest.param({"executionErrors": [{"code": 4}]}, "not complete", id="errors"),
        pytest.param({"unreachable": ["x"]}, "not complete", id="unreachable"),
        pytest.param({"nextPageToken": "0"}, "same page", id="for ever"),
        pytest.param(
            {"timeSeries": [series("2xx", {"10:00-11:00": "-5"})]}, "a count of", id="negative"
        ),
        pytest.param(
            {"timeSeries": [series("2xx", {"10:00-11:00": "NaN"})]}, "a count of", id="nan"
        ),
        pytest.param(
            {"timeSeries": [series("2xx", {"10:00-11:00": "1.5"})]}, "a count of", id="fraction"
        ),
        pytest.param(
            {"timeSeries": [series("2xx", {"10:00-15:00": "9"})]}, "300 s", id="a long point"
        ),
        pytest.param({"timeSeries": [{"points": []}]}, "KeyError", id="no metric"),
        pytest.param(
            {"timeSeries": [series("2xx", {"10:00-soon": "9"})]}, "ValueError", id="no time"
        ),
    ],
)
def test_what_cannot_be_is_an_error(page: dict[str, Any], said: str) -> None:
    with pytest.raises(OutsideError, match=said):
        counted(page)


def test_two_versions_of_one_deployed_model_are_an_error() -> None:
    source = Monitoring(
        Scripted(), project="acme", region="r", endpoint="e", deployed=lambda _: "1"  # type: ignore[arg-type]
    )  # fmt: skip
    with pytest.raises(OutsideError, match="one deployed model"):
        source.counts(["6", "7"], 10, 12, PLAIN)


@pytest.mark.parametrize("interval", [30.0, 90.0])
def test_only_whole_minutes_are_counted(interval: float) -> None:
    with pytest.raises(ConfigError, match="whole minutes"):
        monitoring(Scripted()).check(replace(MEASURE, interval=interval))


# --- through the stand-in -----------------------------------------------------------------------


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with serve() as found:
        for name, value in found.env.items():
            monkeypatch.setenv(name, value)
        yield found


def source_of(cloud: Cloud) -> Monitoring:
    return Monitoring(
        connect(cloud.project), project=cloud.project, region=cloud.region, endpoint="churn",
        deployed=lambda version: f"90{version}",
    )  # fmt: skip


def injected(cloud: Cloud, seed: int, minutes: int) -> tuple[int, dict[tuple[int, str], Arm]]:
    """Inject random counts up to now; return (first, the truth)."""
    dice = random.Random(seed)
    first = int(cloud.clock.time() // 60) - minutes
    truth = {}
    for version in ("6", "7"):
        for index in range(first, first + minutes):
            if dice.random() < 0.2:
                continue  # nobody asked
            requests = dice.randrange(1, 500)
            errors = dice.randrange(requests + 1) if dice.random() < 0.3 else 0
            slow = dice.randrange(requests - errors + 1)
            cloud.put_counts(
                "churn", f"90{version}", index * 60.0, requests, errors, [(500.0, slow)]
            )
            truth[index, version] = Arm(requests=requests, errors=errors, slow=slow)
    cloud.put_counts("other", "907", first * 60.0, 7)
    return first, truth


@pytest.mark.real
@pytest.mark.parametrize("seed", range(5))
def test_every_minute_that_is_told_is_the_injected_one(cloud: Cloud, seed: int) -> None:
    """With a delay and answers in pages: the truth up to the watermark."""
    dice = random.Random(seed)
    cloud.metric_delay = dice.choice([0.0, 120.0, 360.0])
    first, truth = injected(cloud, seed, 30)
    window = Window(
        candidate="7", champion="6", since=first * 60.0, measure=MEASURE, shares=((0.0, 0.5),)
    )
    metrics = LiveMetrics(source_of(cloud))
    told: dict[tuple[int, str], Arm] = {}
    for _ in range(8):
        series = metrics.read(window, cloud.clock.time())
        told = {
            (minute.index, version): arm
            for minute in series.minutes
            for version, arm in (("6", minute.champion), ("7", minute.candidate))
            if arm is not None
        }
        assert told == {key: arm for key, arm in truth.items() if key[0] < series.closed}
        cloud.advance(60.0)
    assert told == truth


@pytest.mark.real
def test_pages_of_a_few_points_add_up(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.adapters.metrics.monitoring._PAGE", 7)
    first, truth = injected(cloud, 9, 30)
    assert source_of(cloud).counts(["6", "7"], first, first + 30, MEASURE) == truth


@pytest.mark.real
def test_intervals_of_several_minutes_are_sums(cloud: Cloud) -> None:
    first = int(cloud.clock.time() // 300) - 3
    for minute in range(10):
        cloud.put_counts("churn", "907", first * 300 + minute * 60, 10, 1, [(500.0, 2)])
    found = source_of(cloud).counts(["7"], first, first + 3, replace(MEASURE, interval=300.0))
    arm = Arm(requests=50, errors=5, slow=10)
    assert found == {(first, "7"): arm, (first + 1, "7"): arm}


@pytest.mark.real
def test_a_monitoring_that_fails_is_an_error(cloud: Cloud) -> None:
    cloud.fail_next("monitoring.projects.timeSeries.list", 1, 403)
    with pytest.raises(OutsideError):
        source_of(cloud).counts(["7"], 10, 12, MEASURE)
