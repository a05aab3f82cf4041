"""Endpoints change over time, as SageMaker's do, and refuse what SageMaker refuses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.aws.behaviour import exercises
from tests.aws.kit import IMAGE, ROLE, Kit

if TYPE_CHECKING:
    from tests.aws.cloud import Cloud

pytestmark = pytest.mark.real


def refused(call: Any, **params: Any) -> str:
    """Return what a call is refused with."""
    with pytest.raises(ClientError) as caught:
        call(**params)
    error = caught.value.response["Error"]
    return f"{error['Code']}: {error['Message']}"


@exercises("weight-zero")
def test_a_canary_from_creation_to_promotion(kit: Kit) -> None:
    first = kit.endpoint({"v1": 1})
    assert first["EndpointStatus"] == "InService"
    kit.model("v2")
    kit.config("c2", {"v1": 1, "v2": 0})
    kit.sm.update_endpoint(EndpointName="e", EndpointConfigName="c2")
    variants = kit.settle()["ProductionVariants"]
    assert [row["CurrentWeight"] for row in variants] == [1.0, 0.0]
    assert {kit.invoke() for _ in range(20)} == {"v1/v1"}
    kit.weights(v1=0, v2=1)
    kit.settle()
    assert {kit.invoke() for _ in range(20)} == {"v2/v2"}
    kit.config("c3", {"v2": 1})
    kit.sm.update_endpoint(EndpointName="e", EndpointConfigName="c3")
    assert [row["VariantName"] for row in kit.settle()["ProductionVariants"]] == ["v2"]
    kit.sm.delete_endpoint(EndpointName="e")
    kit.until(lambda: kit.sm.list_endpoints()["Endpoints"], lambda rows: not rows)


@exercises("duplicate-refused", "missing-is-validation")
def test_names_are_taken_once_and_missing_things_are_not_found(kit: Kit) -> None:
    kit.endpoint({"v1": 1})
    container = {"Image": IMAGE}
    said = refused(kit.sm.create_model, ModelName="v1", PrimaryContainer=container,
                   ExecutionRoleArn=ROLE)  # fmt: skip
    assert said.startswith("ValidationException: Cannot create already existing model")
    said = refused(kit.sm.create_endpoint, EndpointName="e", EndpointConfigName="c")
    assert said.startswith("ValidationException: Cannot create already existing endpoint ")
    said = refused(kit.sm.create_endpoint_config, EndpointConfigName="c",
                   ProductionVariants=[kit.variant("v1")])  # fmt: skip
    assert "Cannot create already existing endpoint configuration" in said
    arn = "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/none"
    for call in (kit.sm.describe_endpoint, kit.sm.delete_endpoint):
        said = refused(call, EndpointName="none")
        assert said == f'ValidationException: Could not find endpoint "{arn}".'
    assert "Could not find model" in refused(kit.sm.describe_model, ModelName="none")
    said = refused(kit.sm.describe_endpoint_config, EndpointConfigName="none")
    assert "Could not find endpoint configuration" in said
    said = refused(kit.sm.create_endpoint_config, EndpointConfigName="new",
                   ProductionVariants=[kit.variant("none")])  # fmt: skip
    assert "Could not find model" in said


@exercises("names", "instance-types-by-form")
@pytest.mark.parametrize(
    "wrong",
    [
        {"VariantName": "under_score"},
        {"VariantName": "-dash"},
        {"VariantName": "x" * 64},
        {"InitialVariantWeight": -1.0},
        {"InitialInstanceCount": 0},
        {"InstanceType": "m5.large"},
    ],
    ids=str,
)  # fmt: skip
def test_a_configuration_that_breaks_a_constraint_is_refused(
    kit: Kit, wrong: dict[str, object]
) -> None:
    kit.model("v1")
    loose = kit.client("sagemaker", config=Config(parameter_validation=False))
    said = refused(loose.create_endpoint_config, EndpointConfigName="c",
                   ProductionVariants=[kit.variant("v1") | wrong])  # fmt: skip
    assert re.match(r"ValidationException: \d validation errors? detected", said)
    new = kit.variant("v1") | {"InstanceType": "ml.m99.huge"}
    kit.sm.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[new])


@exercises("busy-refused", "failed-only-delete")
@pytest.mark.parametrize(
    ("status", "said", "deletable"),
    [
        ("Creating", "in-progress", False),
        ("Updating", "in-progress", False),
        ("SystemUpdating", "in-progress", False),
        ("RollingBack", "in-progress", False),
        ("Deleting", "in-progress", False),
        ("Failed", "failed", True),
        ("InService", None, True),
        ("OutOfService", None, True),
        ("UpdateRollbackFailed", None, True),
    ],
)
def test_what_each_state_refuses(kit: Kit, status: str, said: str | None, deletable: bool) -> None:
    kit.endpoint({"v1": 1})
    kit.cloud.freeze("e", status)
    assert kit.describe()["EndpointStatus"] == status
    if said is None:
        kit.weights(v1=2)
    else:
        message = refused(kit.sm.update_endpoint, EndpointName="e", EndpointConfigName="c")
        assert message.startswith(f"ValidationException: Cannot update {said} endpoint")
        with pytest.raises(ClientError, match=said):
            kit.weights(v1=2)
    if said is None:
        kit.settle()
        kit.cloud.freeze("e", status)
    if deletable:
        kit.sm.delete_endpoint(EndpointName="e")
    else:
        assert "in-progress" in refused(kit.sm.delete_endpoint, EndpointName="e")
        kit.cloud.thaw("e")
        assert kit.describe()["EndpointStatus"] == "InService"


@exercises("creating-fails")
def test_an_endpoint_whose_container_is_not_healthy_fails(kit: Kit) -> None:
    kit.cloud.startup_timeout = 0.3
    kit.model("v1", PING=500)
    found = kit.endpoint({"v1": 1})
    assert found["EndpointStatus"] == "Failed"
    assert "did not pass the ping health check" in found["FailureReason"]
    with pytest.raises(ClientError, match="not found"):
        kit.invoke()


@exercises("update-rolls-back", "reason-after-rollback", "pending-summary")
def test_an_update_that_does_not_come_up_is_rolled_back(kit: Kit) -> None:
    kit.endpoint({"v1": 1})
    kit.cloud.startup_timeout = 0.3
    kit.model("v2", PING=500)
    kit.config("c2", {"v1": 5, "v2": 5})
    kit.sm.update_endpoint(EndpointName="e", EndpointConfigName="c2")
    during = kit.describe()
    assert during["EndpointStatus"] == "Updating"
    assert during["EndpointConfigName"] == "c"
    pending = during["PendingDeploymentSummary"]
    assert pending["EndpointConfigName"] == "c2"
    assert [row["VariantName"] for row in pending["ProductionVariants"]] == ["v1", "v2"]
    assert kit.invoke() == "v1/v1"
    after = kit.settle()
    states = [row["EndpointStatus"] for row in kit.cloud.endpoints["e"].versions]
    assert "RollingBack" in states
    assert after["EndpointStatus"] == "InService"
    assert after["EndpointConfigName"] == "c"
    assert "PendingDeploymentSummary" not in after
    assert "ping" in after["FailureReason"]
    kit.config("c3", {"v1": 2})
    kit.sm.update_endpoint(EndpointName="e", EndpointConfigName="c3")
    assert "FailureReason" not in kit.settle()


@exercises("weights-lag")
def test_current_weights_lag_behind_desired_ones(kit: Kit) -> None:
    kit.endpoint({"v1": 9, "v2": 0})
    kit.cloud.speed = 0.4
    kit.weights(v2=3)
    during = kit.describe()
    assert during["EndpointStatus"] == "Updating"
    row = during["ProductionVariants"][1]
    assert (row["CurrentWeight"], row["DesiredWeight"]) == (0.0, 3.0)
    assert kit.settle()["ProductionVariants"][1]["CurrentWeight"] == 3.0


@exercises("weights-rollback")
def test_weights_that_cannot_be_set_go_back(kit: Kit) -> None:
    kit.endpoint({"v1": 9, "v2": 0})
    kit.cloud.weights_fail = True
    kit.weights(v2=3)
    assert kit.settle()["ProductionVariants"][1]["DesiredWeight"] == 0.0
    assert "RollingBack" in [row["EndpointStatus"] for row in kit.cloud.endpoints["e"].versions]


@exercises("update-resets")
@pytest.mark.parametrize(
    ("asked", "weights"),
    [
        ({}, [5.0, 1.0]),
        ({"RetainAllVariantProperties": True}, [2.0, 1.0]),
        (
            {
                "RetainAllVariantProperties": True,
                "ExcludeRetainedVariantProperties": [{"VariantPropertyType": "DesiredWeight"}],
            },
            [5.0, 1.0],
        ),
    ],
    ids=["reset", "retained", "excluded"],
)
def test_an_update_resets_weights_unless_told_otherwise(
    kit: Kit, asked: dict[str, Any], weights: list[float]
) -> None:
    kit.endpoint({"v1": 1})
    kit.weights(v1=2)
    kit.settle()
    kit.model("v2")
    kit.config("c2", {"v1": 5, "v2": 1})
    kit.sm.update_endpoint(EndpointName="e", EndpointConfigName="c2", **asked)
    assert [row["CurrentWeight"] for row in kit.settle()["ProductionVariants"]] == weights


@exercises("one-capacity-per-call")
def test_the_count_of_one_variant_changes_per_call(kit: Kit) -> None:
    kit.endpoint({"v1": 1, "v2": 1})
    change = kit.sm.update_endpoint_weights_and_capacities
    both = [{"VariantName": name, "DesiredInstanceCount": 3} for name in ("v1", "v2")]
    said = refused(change, EndpointName="e", DesiredWeightsAndCapacities=both)
    assert "capacity of one variant" in said
    change(EndpointName="e", DesiredWeightsAndCapacities=both[:1])
    rows = kit.settle()["ProductionVariants"]
    assert [row["CurrentInstanceCount"] for row in rows] == [3, 1]
    unknown = [{"VariantName": "v9", "DesiredWeight": 1.0}]
    assert "v9" in refused(change, EndpointName="e", DesiredWeightsAndCapacities=unknown)


@exercises("serverless")
def test_serverless_variants_stand_alone_and_have_no_weights(kit: Kit) -> None:
    kit.model("v1")
    less = {"VariantName": "v1", "ModelName": "v1",
            "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 5}}  # fmt: skip
    create = kit.sm.create_endpoint_config
    said = refused(create, EndpointConfigName="two",
                   ProductionVariants=[less, kit.variant("v1") | {"VariantName": "v2"}])  # fmt: skip
    assert "multiple production variants" in said
    create(EndpointConfigName="c", ProductionVariants=[less])
    kit.sm.create_endpoint(EndpointName="e", EndpointConfigName="c")
    row = kit.settle()["ProductionVariants"][0]
    assert row["CurrentServerlessConfig"]["MaxConcurrency"] == 5
    assert "CurrentInstanceCount" not in row
    with pytest.raises(ClientError, match="not supported for serverless"):
        kit.weights(v1=1)


@exercises("delete-in-use", "deleted-config-blocks-update")
def test_what_is_deleted_in_use_is_missed_later(kit: Kit) -> None:
    kit.endpoint({"v1": 1})
    kit.config("c2", {"v1": 2})
    kit.sm.delete_endpoint_config(EndpointConfigName="c")
    assert kit.invoke() == "v1/v1"
    said = refused(kit.sm.update_endpoint, EndpointName="e", EndpointConfigName="c2")
    assert said.endswith('Could not find endpoint configuration '
                         '"arn:aws:sagemaker:eu-west-1:123456789012:endpoint-config/c".')  # fmt: skip
    kit.config("c", {"v1": 1})
    kit.sm.delete_model(ModelName="v1")
    assert kit.invoke() == "v1/v1"
    said = refused(kit.sm.update_endpoint, EndpointName="e", EndpointConfigName="c2")
    assert "Could not find model" in said


@exercises("new-config-not-seen")
def test_a_new_configuration_may_not_be_found_at_first(kit: Kit) -> None:
    kit.model("v1")
    kit.config("c", {"v1": 1})
    kit.cloud.stale_configs = 1
    said = refused(kit.sm.create_endpoint, EndpointName="e", EndpointConfigName="c")
    assert "Could not find endpoint configuration" in said
    kit.sm.create_endpoint(EndpointName="e", EndpointConfigName="c")


@exercises("lagging-reads")
def test_reads_may_lag(kit: Kit) -> None:
    kit.endpoint({"v1": 1})
    kit.weights(v1=7)
    kit.settle()
    kit.cloud.lag_reads(100, times=1)
    assert kit.describe()["EndpointStatus"] == "Creating"
    assert kit.describe()["ProductionVariants"][0]["CurrentWeight"] == 7.0


def test_tags_are_kept_with_what_they_are_on(kit: Kit) -> None:
    kit.endpoint({"v1": 1}, Tags=[{"Key": "a", "Value": "1"}])
    config = kit.sm.describe_endpoint_config(EndpointConfigName="c")["EndpointConfigArn"]
    arn = kit.describe()["EndpointArn"]
    kit.sm.add_tags(ResourceArn=arn, Tags=[{"Key": "tidegate:generation", "Value": "7"}])
    kit.sm.add_tags(ResourceArn=arn, Tags=[{"Key": "b", "Value": "2"}])
    kit.sm.delete_tags(ResourceArn=arn, TagKeys=["b"])
    tags = {row["Key"]: row["Value"] for row in kit.sm.list_tags(ResourceArn=arn)["Tags"]}
    assert tags == {"tidegate:generation": "7"}
    assert kit.sm.list_tags(ResourceArn=config)["Tags"] == [{"Key": "a", "Value": "1"}]
    assert refused(kit.sm.add_tags, ResourceArn=f"{arn}x", Tags=[]).startswith("Validation")


def test_lists_have_pages(kit: Kit, cloud: Cloud) -> None:
    for number in range(12):
        kit.model(f"m{number}")
    pages = list(kit.sm.get_paginator("list_models").paginate(NameContains="m"))
    assert [len(page["Models"]) for page in pages] == [10, 2]
    assert cloud.called("ListModels")[1]["NextToken"] == "10"
