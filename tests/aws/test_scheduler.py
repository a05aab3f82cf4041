"""Schedules call their target: the dead-man's switch of an endpoint."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.aws.behaviour import exercises

if TYPE_CHECKING:
    from tests.aws.cloud import Cloud
    from tests.aws.kit import Kit

pytestmark = pytest.mark.real

TARGET = "arn:aws:scheduler:::aws-sdk:sagemaker:updateEndpointWeightsAndCapacities"
OFF = {
    "EndpointName": "e",
    "DesiredWeightsAndCapacities": [{"VariantName": "v2", "DesiredWeight": 0}],
}


def schedule(cloud: Cloud, after: float = 300, **target: Any) -> dict[str, Any]:
    at = datetime.fromtimestamp(cloud.now() + after, UTC)
    return {
        "Name": "dead-man",
        "ScheduleExpression": f"at({at:%Y-%m-%dT%H:%M:%S})",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {"Arn": TARGET, "RoleArn": "arn:aws:iam::123456789012:role/dead-man",
                   "Input": json.dumps(OFF), **target},
    }  # fmt: skip


def weight(kit: Kit) -> float:
    return float(kit.describe()["ProductionVariants"][1]["DesiredWeight"])


@exercises("universal-target", "schedule-precision", "schedule-ends")
@pytest.mark.parametrize("action", ["NONE", "DELETE"])
def test_a_schedule_shuts_the_variant_off(kit: Kit, cloud: Cloud, action: str) -> None:
    kit.endpoint({"v1": 1, "v2": 1})
    client = kit.client("scheduler")
    client.create_schedule(**schedule(cloud), ActionAfterCompletion=action)
    cloud.advance(290)
    assert weight(kit) == 1.0
    cloud.advance(75)
    assert weight(kit) == 0.0
    kit.settle()
    assert {kit.invoke() for _ in range(20)} == {"v1/v1"}
    assert [row["error"] for row in cloud.schedules.fired] == [None]
    names = [row["Name"] for row in client.list_schedules()["Schedules"]]
    assert names == (["dead-man"] if action == "NONE" else [])
    cloud.advance(3600)
    assert len(cloud.schedules.fired) == 1


@exercises("schedule-retries")
def test_a_busy_endpoint_is_tried_again(kit: Kit, cloud: Cloud) -> None:
    kit.endpoint({"v1": 1, "v2": 1})
    cloud.schedule_lateness = 0
    kit.client("scheduler").create_schedule(**schedule(cloud))
    cloud.freeze("e", "Updating")
    cloud.advance(301)
    cloud.advance(10)
    assert cloud.schedules.fired == []
    assert cloud.schedules.items["dead-man"].attempts == 2
    cloud.thaw("e")
    cloud.advance(60)
    assert weight(kit) == 0.0
    assert cloud.schedules.fired[0]["attempts"] == 3


@exercises("schedule-retries")
def test_retries_end(kit: Kit, cloud: Cloud) -> None:
    kit.endpoint({"v1": 1, "v2": 1})
    policy = {"MaximumRetryAttempts": 1}
    kit.client("scheduler").create_schedule(**schedule(cloud, RetryPolicy=policy))
    cloud.freeze("e", "Updating")
    for _ in range(10):
        cloud.advance(60)
    assert cloud.schedules.fired[0]["attempts"] == 2
    assert "in-progress" in cloud.schedules.fired[0]["error"]


@exercises("schedule-input-late")
def test_a_misspelt_input_is_noticed_when_it_is_used(kit: Kit, cloud: Cloud) -> None:
    kit.endpoint({"v1": 1, "v2": 1})
    wrong = json.dumps({"endpointName": "e", "desiredWeightsAndCapacities": []})
    policy = {"MaximumRetryAttempts": 0}
    kit.client("scheduler").create_schedule(**schedule(cloud, Input=wrong, RetryPolicy=policy))
    cloud.advance(400)
    assert "EndpointName" in cloud.schedules.fired[0]["error"]


@exercises("schedule-update-replaces", "schedule-past")
def test_a_schedule_is_replaced_read_and_deleted(kit: Kit, cloud: Cloud) -> None:
    kit.endpoint({"v1": 1, "v2": 1})
    client = kit.client("scheduler")
    arn = client.create_schedule(**schedule(cloud), Description="first")["ScheduleArn"]
    assert arn == "arn:aws:scheduler:eu-west-1:123456789012:schedule/default/dead-man"
    with pytest.raises(client.exceptions.ConflictException):
        client.create_schedule(**schedule(cloud))
    again = schedule(cloud, after=600)
    client.update_schedule(**again)
    found = client.get_schedule(Name="dead-man")
    assert "Description" not in found
    assert found["ScheduleExpression"] == again["ScheduleExpression"]
    assert json.loads(found["Target"]["Input"]) == OFF
    cloud.advance(400)
    assert weight(kit) == 1.0
    client.delete_schedule(Name="dead-man")
    cloud.advance(400)
    assert weight(kit) == 1.0
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_schedule(Name="dead-man")
    client.create_schedule(**schedule(cloud, after=-3600))
    kit.until(lambda: weight(kit), lambda found: found == 0.0)


@exercises("universal-target")
@pytest.mark.parametrize(
    "change",
    [
        {"ScheduleExpression": "at(tomorrow)"},
        {"ScheduleExpression": "at(2026-13-01T00:00:00)"},
        {"ScheduleExpressionTimezone": "Mars/Olympus"},
        {"FlexibleTimeWindow": {"Mode": "FLEXIBLE"}},
        {"Target": {"Arn": TARGET.replace("updateE", "UpdateE")}},
        {"Target": {"Arn": TARGET.replace("updateEndpointW", "updateEndpointV")}},
        {"Target": {"Arn": TARGET.replace("sagemaker", "sagemakerr")}},
        {"Target": {"Arn": "arn:aws:scheduler:::aws-sdk:sagemaker:describeEndpoint"}},
    ],
    ids=["words", "month", "zone", "window", "capital", "action", "service", "read"],
)
def test_schedules_that_cannot_be_are_refused(
    kit: Kit, cloud: Cloud, change: dict[str, Any]
) -> None:
    wanted = schedule(cloud)
    target = {**wanted["Target"], **change.pop("Target", {})}
    client = kit.client("scheduler")
    with pytest.raises(client.exceptions.ValidationException):
        client.create_schedule(**wanted | change | {"Target": target})


def test_a_disabled_schedule_does_nothing(kit: Kit, cloud: Cloud) -> None:
    kit.endpoint({"v1": 1, "v2": 1})
    kit.client("scheduler").create_schedule(**schedule(cloud), State="DISABLED")
    cloud.advance(1000)
    assert weight(kit) == 1.0
