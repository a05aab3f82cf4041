"""Counts through CloudWatch: what was injected, or nothing; never less of it."""

from __future__ import annotations

import contextlib
import random
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.aws import serve
from tidegate.adapters.cloud.aws import connect
from tidegate.adapters.metrics.cloudwatch import CloudWatch
from tidegate.adapters.metrics.live import LiveMetrics
from tidegate.core.evidence import Arm
from tidegate.core.model import Task
from tidegate.errors import ConfigError, OutsideError
from tidegate.ports import Measure, Window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.aws import Cloud

MEASURE = Measure(
    interval=60.0, slower_than=0.2, task=Task.BINARY, clip=None, label_source=None, label_every=600
)
PLAIN = replace(MEASURE, slower_than=None)


# --- what an answer means -----------------------------------------------------------------------


class Scripted:
    """Answers GetMetricData with values by (variant, metric, statistic) and minute."""

    def __init__(self, values: dict[tuple[str, str], dict[int, float]], **extra: Any) -> None:
        self.values = values
        self.extra = extra
        self.asked: list[dict[str, Any]] = []

    def call(self, service: str, operation: str, /, **asked: Any) -> dict[str, Any]:
        assert (service, operation) == ("cloudwatch", "get_metric_data")
        self.asked.append(asked)
        start, end = asked["StartTime"].timestamp(), asked["EndTime"].timestamp()
        results = []
        for query in asked["MetricDataQueries"]:
            stat = query["MetricStat"]
            held = self.values.get((stat["Metric"]["MetricName"], stat["Stat"]), {})
            points = [(m, v) for m, v in held.items() if start <= m * 60 < end]
            results.append({
                "Id": query["Id"],
                "StatusCode": "Complete",
                "Timestamps": [datetime.fromtimestamp(m * 60, UTC) for m, _ in points],
                "Values": [value for _, value in points],
            })  # fmt: skip
        return {"MetricDataResults": results, **self.extra}


def counted(scripted: Scripted, measure: Measure = PLAIN) -> dict[tuple[int, str], Arm]:
    source = CloudWatch(scripted, "e")  # type: ignore[arg-type]
    return dict(source.counts(["7"], 10, 40, measure))


def values(
    requests: float = 100, failed: float | None = 0, refused: float | None = 0, **latency: float
) -> dict[tuple[str, str], dict[int, float]]:
    metrics = {
        ("Invocations", "Sum"): requests,
        ("InvocationModelErrors", "Sum"): failed,
        ("Invocation5XXErrors", "Sum"): refused,
        ("ModelLatency", "SampleCount"): latency.get("timed"),
        ("ModelLatency", "TC(200000:)"): latency.get("slow"),
        ("ModelLatency", "TC(:200000)"): latency.get("fast"),
    }
    return {key: {10: value} for key, value in metrics.items() if value is not None}


@pytest.mark.parametrize(
    ("failed", "refused", "errors"),
    [
        pytest.param(0, 0, 0, id="none"),
        pytest.param(7, 7, 7, id="each 5xx is in both: not twice"),
        pytest.param(7, 2, 7, id="timeouts are no 5xx"),
        pytest.param(0, 3, 3, id="the platform's own 5xx"),
        pytest.param(120, 5, 100, id="not more than requests"),
    ],
)
def test_a_request_is_an_error_once(failed: int, refused: int, errors: int) -> None:
    assert counted(Scripted(values(100, failed, refused))) == {
        (10, "7"): Arm(requests=100, errors=errors)
    }


@pytest.mark.parametrize(
    "held",
    [
        pytest.param(values(failed=None), id="no model errors"),
        pytest.param(values(refused=None), id="no 5xx"),
        pytest.param({("InvocationModelErrors", "Sum"): {10: 4.0}}, id="no requests"),
        pytest.param(values(requests=0), id="zero requests"),
        pytest.param({}, id="nothing"),
    ],
)
def test_a_minute_that_is_not_whole_is_no_data(
    held: dict[tuple[str, str], dict[int, float]],
) -> None:
    assert counted(Scripted(held)) == {}


def test_errors_that_never_come_are_an_error() -> None:
    held = {("Invocations", "Sum"): dict.fromkeys(range(10, 40), 5.0)}
    with pytest.raises(OutsideError, match="no InvocationModelErrors"):
        counted(Scripted(held))


@pytest.mark.parametrize(
    ("latency", "slow"),
    [
        pytest.param({"timed": 100, "slow": 3, "fast": 97}, 3, id="both ranges"),
        pytest.param({"timed": 100, "fast": 100}, 0, id="no sample above"),
        pytest.param({"timed": 100, "slow": 100}, 100, id="no sample below"),
        pytest.param({"timed": 100, "slow": 3}, None, id="one range has not arrived"),
        pytest.param({"timed": 100, "fast": 97}, None, id="the other has not arrived"),
        pytest.param({"timed": 100, "slow": 3, "fast": 90}, None, id="they do not add up"),
        pytest.param({"timed": 60, "slow": 3, "fast": 57}, None, id="latencies are missing"),
        pytest.param({"slow": 3, "fast": 97}, None, id="no count"),
        pytest.param({}, None, id="none at all"),
    ],
)
def test_slow_answers_are_known_for_all_or_not_at_all(
    latency: dict[str, float], slow: int | None
) -> None:
    assert counted(Scripted(values(**latency)), MEASURE) == {
        (10, "7"): Arm(requests=100, errors=0, slow=slow)
    }


def test_what_failed_has_no_latency() -> None:
    held = values(100, 40, 0, timed=60, slow=3, fast=57)
    assert counted(Scripted(held), MEASURE) == {(10, "7"): Arm(requests=100, errors=40, slow=3)}
    assert counted(Scripted(values(5, 5, 5)), MEASURE)[10, "7"].slow == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 1.5])
def test_what_is_no_count_is_an_error(value: float) -> None:
    with pytest.raises(OutsideError, match="a count of"):
        counted(Scripted(values(value)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"Messages": [{"Code": "x", "Value": "Maximum"}]}, "Maximum", id="a message"),
        pytest.param({"NextToken": "again"}, "same page", id="the same page for ever"),
        pytest.param({"MetricDataResults": []}, "missing", id="no results"),
        pytest.param(
            {"MetricDataResults": [{"Id": "zz"}]}, "no query of ours", id="others' results"
        ),
    ],
)
def test_an_answer_in_part_is_an_error(change: dict[str, Any], said: str) -> None:
    with pytest.raises(OutsideError, match=said):
        counted(Scripted({}, **change))


def test_queries_are_aligned_and_few_enough() -> None:
    scripted = Scripted({})
    source = CloudWatch(scripted, "e")  # type: ignore[arg-type]
    source.counts([str(version) for version in range(100)], 0, 3000, MEASURE)
    assert len(scripted.asked) > 1
    spans: dict[str, int] = {}
    for asked in scripted.asked:
        queries = asked["MetricDataQueries"]
        start, end = asked["StartTime"].timestamp(), asked["EndTime"].timestamp()
        assert len(queries) <= 500
        assert start % 60 == end % 60 == 0
        assert len(queries) * (end - start) / 60 <= 100_800
        for name in {q["MetricStat"]["Metric"]["Dimensions"][1]["Value"] for q in queries}:
            spans[name] = spans.get(name, 0) + int(end - start) // 60
    assert spans == {f"v{version}": 3000 for version in range(100)}


@pytest.mark.parametrize("interval", [30.0, 90.0, 1.0])
def test_only_whole_minutes_are_counted(interval: float) -> None:
    source = CloudWatch(Scripted({}), "e")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="whole minutes"):
        source.check(replace(MEASURE, interval=interval))
    with pytest.raises(ConfigError):
        source.counts(["7"], 10, 12, replace(MEASURE, interval=interval))


# --- through the stand-in -----------------------------------------------------------------------


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with serve() as found:
        for name, value in found.env.items():
            monkeypatch.setenv(name, value)
        yield found


def injected(cloud: Cloud, seed: int, minutes: int) -> tuple[int, dict[tuple[int, str], Arm]]:
    """Inject random counts up to now, with minutes that are lost; return (first, the truth)."""
    dice = random.Random(seed)
    first = int(cloud.now() // 60) - minutes
    truth = {}
    for version in ("6", "7"):
        for index in range(first, first + minutes):
            if dice.random() < 0.15:
                continue  # nobody asked
            requests = dice.randrange(1, 500)
            errors = dice.randrange(requests) if dice.random() < 0.3 else 0
            slow = dice.randrange(requests - errors + 1)
            cloud.put_counts(
                "e", f"v{version}", index * 60.0, requests, errors, [(0.5, slow)],
                status=dice.choice([500, 503, 400]),
            )  # fmt: skip
            if dice.random() < 0.1:
                cloud.drop_minutes("e", f"v{version}", [index * 60.0])
            else:
                truth[index, version] = Arm(requests=requests, errors=errors, slow=slow)
    return first, truth


@pytest.mark.real
@pytest.mark.parametrize("seed", range(6))
def test_every_minute_that_is_told_is_the_injected_one(cloud: Cloud, seed: int) -> None:
    """With a delay, lost minutes and answers in pages: the truth up to the watermark, or nothing."""
    dice = random.Random(seed)
    cloud.metrics_delay = dice.choice([0.0, 60.0, 180.0])
    first, truth = injected(cloud, seed, 30)
    source = CloudWatch(connect(), "e")
    window = Window(
        candidate="7", champion="6", since=first * 60.0, measure=MEASURE, shares=((0.0, 0.5),)
    )
    metrics = LiveMetrics(source)
    told: dict[tuple[int, str], Arm] = {}
    for step in range(8):
        cloud.partial_data(dice.randrange(3))
        if step % 3 == 2:  # the answer ends in the middle: an error, then it is asked again
            cloud.metrics.partial[:] = [False]
            with contextlib.suppress(OutsideError):  # nothing was asked when nothing is new
                metrics.read(window, cloud.now())
            cloud.metrics.partial.clear()
        series = metrics.read(window, cloud.now())
        told = {
            (minute.index, version): arm
            for minute in series.minutes
            for version, arm in (("6", minute.champion), ("7", minute.candidate))
            if arm is not None
        }
        assert told == {key: arm for key, arm in truth.items() if key[0] < series.closed}
        cloud.metrics.partial.clear()
        cloud.advance(45.0)
    assert told == truth


@pytest.mark.real
def test_an_answer_that_ends_in_the_middle_is_an_error(cloud: Cloud) -> None:
    first, _ = injected(cloud, 1, 30)
    cloud.partial_data(token=False)
    with pytest.raises(OutsideError, match="not complete: PartialData"):
        CloudWatch(connect(), "e").counts(["6", "7"], first, first + 30, MEASURE)


@pytest.mark.real
def test_intervals_of_several_minutes_are_sums(cloud: Cloud) -> None:
    first = int(cloud.now() // 300) - 3
    for minute in range(10):
        cloud.put_counts("e", "v7", first * 300 + minute * 60, 10, 1, [(0.25, 2)])
    found = CloudWatch(connect(), "e").counts(
        ["7"], first, first + 3, replace(MEASURE, interval=300.0)
    )
    arm = Arm(requests=50, errors=5, slow=10)
    assert found == {(first, "7"): arm, (first + 1, "7"): arm}


@pytest.mark.real
def test_an_answer_at_the_limit_is_not_slow(cloud: Cloud) -> None:
    first = int(cloud.now() // 60) - 3
    cloud.put_counts("e", "v7", first * 60.0, 10, 0, [(0.2, 4), (0.200001, 1)])
    found = CloudWatch(connect(), "e").counts(["7"], first, first + 2, MEASURE)
    assert found == {(first, "7"): Arm(requests=10, errors=0, slow=1)}


@pytest.mark.real
def test_a_cloudwatch_that_fails_is_an_error(cloud: Cloud) -> None:
    cloud.fail_next("GetMetricData", 1, "AccessDenied", status=403)
    with pytest.raises(OutsideError):
        CloudWatch(connect(), "e").counts(["7"], 10, 12, MEASURE)
