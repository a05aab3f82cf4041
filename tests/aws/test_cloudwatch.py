"""CloudWatch: statistics that are right, data that is late, partial or missing, alarms that go off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.aws.behaviour import exercises
from tests.aws.metrics import evaluate
from tests.aws.test_deployments import ALARM

if TYPE_CHECKING:
    from tests.aws.cloud import Cloud
    from tests.aws.kit import Kit

pytestmark = pytest.mark.real

LATENCIES = [(0.1, 5.0), (0.2, 3.0), (0.5, 2.0)]  # value, how many


@exercises("trimmed-count")
@pytest.mark.parametrize(
    ("statistic", "value"),
    [
        ("Sum", 2.1),
        ("SampleCount", 10.0),
        ("Average", 0.21),
        ("Minimum", 0.1),
        ("Maximum", 0.5),
        ("p50", 0.1),
        ("p80", 0.2),
        ("p99.9", 0.5),
        ("TC(0.1:0.2)", 3.0),
        ("TC(0.2:)", 2.0),
        ("TC(:0.2)", 8.0),
        ("PR(:0.2)", 80.0),
        ("PR(0.2:0.5)", 20.0),
    ],
)
def test_statistics_over_samples(statistic: str, value: float) -> None:
    assert evaluate(statistic, LATENCIES) == pytest.approx(value)


@exercises("no-traffic-no-point", "trimmed-count", "invocation-metrics")
def test_counts_can_be_put_and_read(kit: Kit, cloud: Cloud) -> None:
    minute = cloud.now() // 60 * 60
    cloud.put_counts("e", "v1", minute - 180, 50, errors=3, slow=[(1.5, 4)])
    cloud.put_counts("e", "v1", minute - 60, 20)
    assert kit.points("Invocations", "Sum") == [50.0, 20.0]
    assert kit.points("Invocations", "Sum", "v2") == []
    assert kit.points("Invocation5XXErrors", "Sum") == [3.0, 0.0]
    assert kit.points("Invocation4XXErrors", "Sum") == [0.0, 0.0]
    assert kit.points("InvocationModelErrors", "Average") == [0.06, 0.0]
    assert kit.points("ModelLatency", "TC(1000000:)") == [4.0, 0.0]
    assert kit.points("ModelLatency", "p50", ScanBy="TimestampDescending") == [10_000.0, 10_000.0]
    cloud.drop_minutes("e", "v1", [minute - 60])
    assert kit.points("Invocations", "Sum") == [50.0]


@exercises("metrics-late")
def test_samples_can_be_read_after_the_delay(kit: Kit, cloud: Cloud) -> None:
    cloud.metrics_delay = 120
    kit.endpoint({"v1": 1})
    kit.invoke()
    assert kit.points("Invocations", "Sum") == []
    cloud.advance(121)
    assert kit.points("Invocations", "Sum") == [1.0]


@exercises("get-metric-limits")
def test_the_limits_of_a_call(kit: Kit, cloud: Cloud) -> None:
    minute = cloud.now() // 60 * 60
    for back in range(1, 11):
        cloud.put_counts("e", "v1", minute - 60 * back, back)
    client = kit.client("cloudwatch")
    query: dict[str, Any] = {
        "Id": "q0", "MetricStat": {"Period": 60, "Stat": "Sum", "Metric": {
            "Namespace": "AWS/SageMaker", "MetricName": "Invocations",
            "Dimensions": [{"Name": "EndpointName", "Value": "e"},
                           {"Name": "VariantName", "Value": "v1"}]}},
    }  # fmt: skip
    times = {"StartTime": minute - 3600, "EndTime": minute, "ScanBy": "TimestampAscending"}
    pages = list(client.get_paginator("get_metric_data").paginate(
        MetricDataQueries=[query, query | {"Id": "q1"}], MaxDatapoints=4, **times))  # fmt: skip
    values: dict[str, list[float]] = {"q0": [], "q1": []}
    for page in pages:
        for result in page["MetricDataResults"]:
            values[result["Id"]] += result["Values"]
    assert len(pages) == 5
    assert values["q0"] == values["q1"] == [float(back) for back in range(10, 0, -1)]
    cloud.partial_data(token=False)
    part = client.get_metric_data(MetricDataQueries=[query], **times)
    assert part["MetricDataResults"][0]["StatusCode"] == "PartialData"
    assert len(part["MetricDataResults"][0]["Values"]) == 5
    assert "NextToken" not in part
    many = [query | {"Id": f"q{number}"} for number in range(501)]
    for wrong, said in (
        ({"MetricDataQueries": many}, "500"),
        ({"MetricDataQueries": [query, query]}, "unique"),
        ({"MetricDataQueries": [query], "EndTime": minute - 7200}, "less than"),
        ({"MetricDataQueries": [query], "MaxDatapoints": 100_801}, "100800"),
    ):
        with pytest.raises(ClientError, match=said):
            client.get_metric_data(**times | wrong)
    for stat, said in (("p101", "p101"), ("TC()", "Stat"), ("Median", "Median")):
        query["MetricStat"]["Stat"] = stat
        with pytest.raises(ClientError, match=said):
            client.get_metric_data(MetricDataQueries=[query], **times)


@exercises("retention")
def test_points_do_not_live_for_ever(kit: Kit, cloud: Cloud) -> None:
    cloud.put_counts("e", "v1", cloud.now(), 5)
    cloud.advance(14 * 86_400)
    assert kit.points("Invocations", "Sum", back=20 * 86_400) == [5.0]
    cloud.advance(2 * 86_400)
    assert kit.points("Invocations", "Sum", back=20 * 86_400) == []


@exercises("alarms-evaluated")
@pytest.mark.parametrize(
    ("missing", "state"),
    [("missing", "INSUFFICIENT_DATA"), ("notBreaching", "OK"), ("breaching", "ALARM")],
)
def test_alarms_follow_the_counts(kit: Kit, cloud: Cloud, missing: str, state: str) -> None:
    client = kit.client("cloudwatch")
    client.put_metric_alarm(**ALARM | {"TreatMissingData": missing})

    def now() -> str:
        (row,) = client.describe_alarms(AlarmNames=["a"])["MetricAlarms"]
        return str(row["StateValue"])

    cloud.advance(60)
    assert now() == state
    cloud.put_counts("e", "v1", cloud.now(), 10, errors=1)
    cloud.advance(60)
    assert now() == "ALARM"
    cloud.put_counts("e", "v1", cloud.now(), 10)
    cloud.advance(60)
    assert now() == "OK"
    client.set_alarm_state(AlarmName="a", StateValue="ALARM", StateReason="a test")
    assert now() == "ALARM"
    cloud.advance(60)
    assert now() == state
    client.delete_alarms(AlarmNames=["a"])
    assert client.describe_alarms()["MetricAlarms"] == []
    with pytest.raises(ClientError) as caught:
        client.set_alarm_state(AlarmName="a", StateValue="OK", StateReason="")
    assert caught.value.response["Error"]["Code"] == "ResourceNotFound"


def test_alarms_wait_for_late_data(kit: Kit, cloud: Cloud) -> None:
    cloud.metrics_delay = 120
    kit.client("cloudwatch").put_metric_alarm(**ALARM)
    cloud.put_counts("e", "v1", cloud.now(), 10, errors=1)
    cloud.advance(60)
    assert not cloud.alarms.is_on("a")
    cloud.advance(120)
    assert cloud.alarms.is_on("a")


def test_own_metrics_can_be_put(kit: Kit, cloud: Cloud) -> None:
    client = kit.client("cloudwatch")
    client.put_metric_data(
        Namespace="Own", MetricData=[{"MetricName": "x", "Values": [1.0, 2.0], "Counts": [3, 1]}]
    )
    found = cloud.metrics.points("Own", "x", {}, "Sum", period=60, start=0, end=cloud.now() + 60)
    assert [value for _, value in found] == [5.0]
    with pytest.raises(ClientError, match="AWS/"):
        client.put_metric_data(Namespace="AWS/Own", MetricData=[{"MetricName": "x", "Value": 1.0}])
