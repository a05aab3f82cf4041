"""moto as a second opinion: the same calls get the same answers, but for differences with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.aws.kit import IMAGE, ROLE, Kit

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.real

ARN = "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/e"
ALARM = {
    "AlarmName": "a", "Namespace": "Own", "MetricName": "x", "Statistic": "Sum", "Period": 60,
    "EvaluationPeriods": 1, "Threshold": 1.0, "ComparisonOperator": "GreaterThanThreshold",
}  # fmt: skip
SCHEDULE = {
    "Name": "s", "ScheduleExpression": "at(2099-01-01T00:00:00)",
    "FlexibleTimeWindow": {"Mode": "OFF"},
    "Target": {"Arn": "arn:aws:scheduler:::aws-sdk:sagemaker:updateEndpointWeightsAndCapacities",
               "RoleArn": ROLE, "Input": "{}"},
}  # fmt: skip
JOB = {
    "TrainingJobName": "j", "RoleArn": ROLE,
    "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
    "OutputDataConfig": {"S3OutputPath": "s3://b/jobs"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
    "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
}  # fmt: skip
VARIANTS = [
    Kit.variant("v1", 9) | {"ModelName": "m"},
    Kit.variant("v2", 1) | {"ModelName": "m"},
]
MODEL = {
    "ModelName": "m",
    "ExecutionRoleArn": ROLE,
    "PrimaryContainer": {"Image": IMAGE, "Environment": {"ANSWER": "m"}},
}
WEIGHTS = [{"VariantName": "v1", "DesiredWeight": 1.0}]
# step: (service, operation, parameters)
SCRIPT: dict[str, tuple[str, str, dict[str, Any]]] = {
    "model": ("sagemaker", "create_model", MODEL),
    "model again": ("sagemaker", "create_model", MODEL),
    "model read": ("sagemaker", "describe_model", {"ModelName": "m"}),
    "model missing": ("sagemaker", "describe_model", {"ModelName": "none"}),
    "models": ("sagemaker", "list_models", {}),
    "config": ("sagemaker", "create_endpoint_config",
               {"EndpointConfigName": "c", "ProductionVariants": VARIANTS}),
    "config without model": ("sagemaker", "create_endpoint_config", {
        "EndpointConfigName": "d", "ProductionVariants": [Kit.variant("none")]}),
    "config read": ("sagemaker", "describe_endpoint_config", {"EndpointConfigName": "c"}),
    "config missing": ("sagemaker", "describe_endpoint_config", {"EndpointConfigName": "none"}),
    "endpoint": ("sagemaker", "create_endpoint", {"EndpointName": "e", "EndpointConfigName": "c"}),
    "endpoint read": ("sagemaker", "describe_endpoint", {"EndpointName": "e"}),
    "endpoint missing": ("sagemaker", "describe_endpoint", {"EndpointName": "none"}),
    "endpoint of a missing config": ("sagemaker", "create_endpoint",
                                     {"EndpointName": "f", "EndpointConfigName": "none"}),
    "endpoints": ("sagemaker", "list_endpoints", {}),
    "weights": ("sagemaker", "update_endpoint_weights_and_capacities",
                {"EndpointName": "e", "DesiredWeightsAndCapacities": WEIGHTS}),
    "weights of a missing variant": ("sagemaker", "update_endpoint_weights_and_capacities", {
        "EndpointName": "e",
        "DesiredWeightsAndCapacities": [{"VariantName": "none", "DesiredWeight": 1.0}]}),
    "update": ("sagemaker", "update_endpoint", {"EndpointName": "e", "EndpointConfigName": "c"}),
    "tag": ("sagemaker", "add_tags", {"ResourceArn": ARN, "Tags": [{"Key": "k", "Value": "v"}]}),
    "tags": ("sagemaker", "list_tags", {"ResourceArn": ARN}),
    "untag": ("sagemaker", "delete_tags", {"ResourceArn": ARN, "TagKeys": ["k"]}),
    "endpoint deleted": ("sagemaker", "delete_endpoint", {"EndpointName": "e"}),
    "endpoint deleted again": ("sagemaker", "delete_endpoint", {"EndpointName": "e"}),
    "config deleted": ("sagemaker", "delete_endpoint_config", {"EndpointConfigName": "c"}),
    "model deleted": ("sagemaker", "delete_model", {"ModelName": "m"}),
    "model deleted again": ("sagemaker", "delete_model", {"ModelName": "m"}),
    "job": ("sagemaker", "create_training_job", JOB),
    "job again": ("sagemaker", "create_training_job", JOB),
    "job missing": ("sagemaker", "describe_training_job", {"TrainingJobName": "none"}),
    "jobs": ("sagemaker", "list_training_jobs", {}),
    "alarm": ("cloudwatch", "put_metric_alarm", ALARM),
    "alarms": ("cloudwatch", "describe_alarms", {}),
    "alarm set": ("cloudwatch", "set_alarm_state",
                  {"AlarmName": "a", "StateValue": "ALARM", "StateReason": "test"}),
    "alarm missing": ("cloudwatch", "set_alarm_state",
                      {"AlarmName": "none", "StateValue": "ALARM", "StateReason": "test"}),
    "alarm deleted": ("cloudwatch", "delete_alarms", {"AlarmNames": ["a"]}),
    "metric": ("cloudwatch", "put_metric_data", {
        "Namespace": "Own", "MetricData": [{"MetricName": "x", "Value": 2.0}]}),
    "schedule": ("scheduler", "create_schedule", SCHEDULE),
    "schedule again": ("scheduler", "create_schedule", SCHEDULE),
    "schedule read": ("scheduler", "get_schedule", {"Name": "s"}),
    "schedules": ("scheduler", "list_schedules", {}),
    "schedule changed": ("scheduler", "update_schedule", SCHEDULE),
    "schedule deleted": ("scheduler", "delete_schedule", {"Name": "s"}),
    "schedule missing": ("scheduler", "get_schedule", {"Name": "s"}),
    "who": ("sts", "get_caller_identity", {}),
    "logs missing": ("logs", "get_log_events",
                     {"logGroupName": "none", "logStreamName": "none"}),
}  # fmt: skip
# Where we differ from moto, and why.
DIFFERENCES = {
    "model again": "moto overwrites, AWS refuses (row duplicate-refused)",
    "model read": "moto answers an empty VpcConfig and Containers; AWS leaves out what was not given",
    "config read": "moto answers an empty DataCaptureConfig and no EnableNetworkIsolation",
    "endpoint read": "moto answers an empty DataCaptureConfig",
    "update": "moto has no UpdateEndpoint (NotImplementedError)",
    "job again": "moto overwrites, AWS refuses with ResourceInUse",
    "schedule again": "the model gives ConflictException the status 409, moto answers 400",
    "schedule read": "moto leaves out ActionAfterCompletion, which has a default",
}


def outcome(call: Callable[..., Any], params: dict[str, Any]) -> tuple[Any, ...]:
    """Return what an answer amounts to: its members, or its error."""
    try:
        answer = call(**params)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return ("error", error.response["Error"]["Code"], status)
    return ("answer", *sorted(answer.keys() - {"ResponseMetadata"}))


def play(url: str, settle: Callable[[], object]) -> dict[str, tuple[Any, ...]]:
    """Return the outcome of each step against a server."""
    session = boto3.session.Session(
        region_name="eu-west-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    once = Config(retries={"total_max_attempts": 1})
    clients = {
        name: session.client(name, endpoint_url=url, config=once)
        for name in {service for service, _, _ in SCRIPT.values()}
    }
    found = {}
    for step, (service, operation, params) in SCRIPT.items():
        found[step] = outcome(getattr(clients[service], operation), params)
        settle()
    return found


def test_moto_and_the_stand_in_agree(kit: Kit) -> None:
    def settle() -> None:
        def idle() -> bool:
            return all(one.work is None for one in kit.cloud.endpoints.values())

        kit.until(idle, bool)

    ours = play(kit.cloud.url, settle)
    motos = play(kit.cloud.moto.url, lambda: None)
    different = {step: (ours[step], motos[step]) for step in SCRIPT if ours[step] != motos[step]}
    assert different.keys() == DIFFERENCES.keys(), different
