"""Updates with guardrails: traffic shifts in steps, alarms take it back."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.aws.behaviour import exercises

if TYPE_CHECKING:
    from tests.aws.kit import Kit

pytestmark = pytest.mark.real

ALARM: dict[str, Any] = {
    "AlarmName": "a", "Namespace": "AWS/SageMaker", "MetricName": "Invocation5XXErrors",
    "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1, "Threshold": 1.0,
    "ComparisonOperator": "GreaterThanOrEqualToThreshold", "TreatMissingData": "notBreaching",
    "Dimensions": [{"Name": "EndpointName", "Value": "e"}, {"Name": "VariantName", "Value": "v1"}],
}  # fmt: skip


def deployment(kind: str, wait: int, **more: Any) -> dict[str, Any]:
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {"Type": kind, "WaitIntervalInSeconds": wait, **more}
        },
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "a"}]},
    }


def half() -> dict[str, Any]:
    return {"CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 50}}


def two_instances(kit: Kit) -> None:
    """An endpoint of two instances, and a second configuration with another model."""
    kit.model("v1")
    kit.model("other", ANSWER="new")
    for name, model in (("c", "v1"), ("c2", "other")):
        variant = kit.variant("v1", InitialInstanceCount=2, ModelName=model)
        kit.sm.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    kit.sm.create_endpoint(EndpointName="e", EndpointConfigName="c")
    kit.settle()


@exercises("step-sizes")
def test_a_canary_takes_half_and_then_all(kit: Kit) -> None:
    two_instances(kit)
    kit.client("cloudwatch").put_metric_alarm(**ALARM)
    kit.sm.update_endpoint(EndpointName="e", EndpointConfigName="c2",
                           DeploymentConfig=deployment("CANARY", 600, **half()))  # fmt: skip
    kit.until(kit.describe, lambda row: row["PendingDeploymentSummary"]["ProductionVariants"][0]
              ["VariantStatus"][0]["Status"] == "Baking")  # fmt: skip
    seen = Counter(kit.invoke() for _ in range(100))
    assert 25 < seen["v1/new"] < 75
    kit.cloud.advance(600)
    kit.until(lambda: {kit.invoke() for _ in range(20)}, lambda said: said == {"v1/new"})
    assert kit.describe()["EndpointConfigName"] == "c"
    kit.cloud.advance(600)
    assert kit.settle()["EndpointConfigName"] == "c2"
    assert {kit.invoke() for _ in range(10)} == {"v1/new"}


@exercises("alarm-rolls-back")
def test_an_alarm_during_the_bake_takes_the_update_back(kit: Kit) -> None:
    two_instances(kit)
    kit.client("cloudwatch").put_metric_alarm(**ALARM)
    kit.sm.update_endpoint(EndpointName="e", EndpointConfigName="c2",
                           DeploymentConfig=deployment("ALL_AT_ONCE", 3000))  # fmt: skip
    kit.until(kit.invoke, lambda said: said == "v1/new")
    kit.cloud.put_counts("e", "v1", kit.cloud.now(), requests=10, errors=5)
    kit.cloud.advance(60)
    found = kit.settle()
    assert found["EndpointStatus"] == "InService"
    assert found["EndpointConfigName"] == "c"
    assert "ALARM" in found["FailureReason"]
    assert {kit.invoke() for _ in range(10)} == {"v1/v1"}


@exercises("rollback-may-fail")
def test_a_rollback_that_fails_needs_somebody(kit: Kit) -> None:
    two_instances(kit)
    kit.client("cloudwatch").put_metric_alarm(**ALARM)
    kit.client("cloudwatch").set_alarm_state(AlarmName="a", StateValue="ALARM", StateReason="t")
    kit.cloud.rollback_fails = True
    kit.sm.update_endpoint(EndpointName="e", EndpointConfigName="c2",
                           DeploymentConfig=deployment("ALL_AT_ONCE", 3000))  # fmt: skip
    assert kit.settle()["EndpointStatus"] == "UpdateRollbackFailed"
    assert kit.invoke() == "v1/v1"
    kit.sm.update_endpoint(EndpointName="e", EndpointConfigName="c2")
    assert kit.settle()["EndpointStatus"] == "InService"


@exercises("guardrails-same-names", "rolling-single-variant", "step-sizes")
@pytest.mark.parametrize(
    ("config", "settings", "said"),
    [
        ("more", deployment("ALL_AT_ONCE", 1), "same variant names"),
        ("same", deployment("CANARY", 1), "CanarySize belongs"),
        ("same", deployment("ALL_AT_ONCE", 1, **half()), "CanarySize belongs"),
        (
            "same",
            deployment("CANARY", 1, CanarySize={"Type": "CAPACITY_PERCENT", "Value": 60}),
            "0 to 50 %",
        ),
        (
            "same",
            deployment("LINEAR", 1, LinearStepSize={"Type": "CAPACITY_PERCENT", "Value": 5}),
            "10 to 50 %",
        ),
        (
            "same",
            {
                "RollingUpdatePolicy": {
                    "MaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": 50},
                    "WaitIntervalInSeconds": 1,
                }
            },
            "multi-variant",
        ),
    ],
    ids=["names", "no-size", "size-of-another", "large", "small", "rolling"],
)
def test_guardrails_that_cannot_be_are_refused(
    kit: Kit, config: str, settings: dict[str, Any], said: str
) -> None:
    kit.endpoint({"v1": 1, "v2": 1})
    kit.model("v3")
    kit.config("same", {"v1": 1, "v2": 2})
    kit.config("more", {"v1": 1, "v2": 1, "v3": 1})
    with pytest.raises(ClientError, match=said):
        kit.sm.update_endpoint(
            EndpointName="e", EndpointConfigName=config, DeploymentConfig=settings
        )
    kit.sm.update_endpoint(EndpointName="e", EndpointConfigName="more")


def test_rolling_batches_end_on_the_new_configuration(kit: Kit) -> None:
    two_instances(kit)
    rolling = {
        "RollingUpdatePolicy": {
            "MaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 1},
            "WaitIntervalInSeconds": 0,
        }
    }
    kit.sm.update_endpoint(EndpointName="e", EndpointConfigName="c2", DeploymentConfig=rolling)
    assert kit.settle()["EndpointConfigName"] == "c2"
    assert kit.describe()["LastDeploymentConfig"] == rolling
