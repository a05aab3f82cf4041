"""Endpoint configurations, which cannot be changed: each change of variants is a new one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidegate.adapters.cloud.aws import AwsError
from tidegate.adapters.target.sagemaker_names import GENERATION, OWNER, tags
from tidegate.adapters.target.sagemaker_reading import missing
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tidegate.adapters.cloud.aws import Aws
    from tidegate.adapters.target.sagemaker_names import Names
    from tidegate.adapters.target.sagemaker_reading import Seen
    from tidegate.core.clouds import SageMaker

MOST = 10  # variants of an endpoint
_TRIES = 8  # until a configuration that was just made is known everywhere
_PAUSE = 0.5  # seconds before the second try, twice as long before each further one
_LONGEST = 8.0  # seconds
# What an endpoint that was handed over may have beside its variants, and keeps.
_KEPT = (
    "KmsKeyId", "ExecutionRoleArn", "VpcConfig", "EnableNetworkIsolation", "MetricsConfig",
    "ExplainerConfig",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Configs:
    """Makes configurations, and has endpoints take them."""

    aws: Aws
    names: Names
    settings: SageMaker
    sleep: Callable[[float], None] = time.sleep

    def make(self, seen: Seen, variants: Sequence[Mapping[str, Any]], generation: int) -> str:
        """Return the name of a configuration with these variants, made if it is not there.

        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html
        """
        if len(variants) > MOST:
            raise OutsideError(
                f"A SageMaker endpoint has at most {MOST} variants.",
                remedy="Remove one that nobody needs.",
            )
        content: dict[str, Any] = {key: seen.config[key] for key in _KEPT if seen.config.get(key)}
        content["ProductionVariants"] = [dict(one) for one in variants]
        if self.settings.kms_key is not None:
            content["KmsKeyId"] = self.settings.kms_key
        if self.settings.capture > 0:
            content["DataCaptureConfig"] = self._capture()
        name = self.names.config(generation, content)
        marks = {OWNER: self.names.endpoint, GENERATION: str(generation)}
        try:
            self.aws.call(
                "sagemaker", "create_endpoint_config", repeat=True,
                EndpointConfigName=name, Tags=tags(marks), **content,
            )  # fmt: skip
        except AwsError as error:
            if "already exist" not in str(error):  # its name is its content: it is ours
                raise
        return name

    def added(self, seen: Seen, name: str, model: str) -> list[dict[str, Any]]:
        """Return the variants of now, as they run, and a new one: with no traffic unless alone."""
        new = {
            "VariantName": name,
            "ModelName": model,
            "InstanceType": self.settings.instance_type,
            "InitialInstanceCount": self.settings.instances,
            "InitialVariantWeight": 0.0 if seen.running else 1.0,
        }
        return [*self.kept(seen), new]

    def kept(self, seen: Seen, without: str | None = None) -> list[dict[str, Any]]:
        """Return the variants of now, with the weights and instance counts that they have."""
        found = []
        for name, request in seen.running.items():
            if name == without:
                continue
            summary = seen.weight(name)
            count = int(summary.get("DesiredInstanceCount") or summary["CurrentInstanceCount"])
            weight = float(summary["CurrentWeight"])
            now = {"InitialVariantWeight": weight, "InitialInstanceCount": max(count, 1)}
            found.append({**request, **now})
        return found

    def refuse(self, seen: Seen) -> None:
        """Refuse an endpoint on which traffic cannot be split.

        Raises:
            OutsideError: why not.
        """
        reason = None
        assert seen.row is not None
        requests = seen.running.values()
        if any("ServerlessConfig" in one for one in requests):
            reason = "it is serverless, which has one variant and no weights"
        elif seen.row.get("AsyncInferenceConfig") or seen.config.get("AsyncInferenceConfig"):
            reason = "it is asynchronous: an answer comes later, without the variant's name"
        elif seen.row.get("ShadowProductionVariants"):
            reason = "it has a shadow variant, which allows one production variant only"
        elif any("ModelName" not in one for one in requests):
            reason = "its variants hold inference components, or its configuration was deleted"
        if reason is not None:
            raise OutsideError(
                f"No canary is possible on the endpoint {self.names.endpoint}: {reason}.",
                remedy="Use a real-time endpoint with instances of its own; name another one in "
                "mlops.yaml (release.endpoint) and Tidegate makes it.",
            )

    def create(self, config: str, marks: Mapping[str, str]) -> None:
        """Make the endpoint.

        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpoint.html
        """
        self._patiently(
            "create_endpoint",
            EndpointName=self.names.endpoint,
            EndpointConfigName=config,
            Tags=tags(marks),
        )

    def update(self, config: str) -> None:
        """Have the endpoint take a configuration: a new fleet comes up beside the old one.

        Weights and instance counts stay as they are now, also where they changed after the
        configuration was made; what is captured follows the configuration. Alarms that are named
        take the update back while it is under way. AWS documents that such an update must keep the
        names of the variants (deployment-guardrails-exclusions in its developer guide), and ours
        seldom does: where AWS refuses it for that, it is asked for without them.

        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpoint.html
        """
        request: dict[str, Any] = {
            "EndpointName": self.names.endpoint,
            "EndpointConfigName": config,
            "RetainAllVariantProperties": True,
            "ExcludeRetainedVariantProperties": [{"VariantPropertyType": "DataCaptureConfig"}],
        }
        if self.settings.alarms:
            alarms = [{"AlarmName": name} for name in self.settings.alarms]
            watched = {"AutoRollbackConfiguration": {"Alarms": alarms}}
            try:
                self._patiently("update_endpoint", **request, DeploymentConfig=watched)
            except AwsError as error:
                if error.code != "ValidationException" or "variant name" not in str(error).lower():
                    raise
            else:
                return
        self._patiently("update_endpoint", **request)

    def _patiently(self, operation: str, **request: Any) -> None:
        """Call once more while AWS does not know the configuration that it made just now."""
        pause = _PAUSE
        for left in reversed(range(_TRIES)):
            try:
                self.aws.call("sagemaker", operation, **request)
            except AwsError as error:
                unknown = missing(error) and "configuration" in str(error)
                if not unknown or left == 0:
                    raise
            else:
                return
            self.sleep(pause)
            pause = min(2 * pause, _LONGEST)

    def _capture(self) -> dict[str, Any]:
        capture: dict[str, Any] = {
            "EnableCapture": True,
            "InitialSamplingPercentage": max(1, round(100 * self.settings.capture)),
            "DestinationS3Uri": captured(self.settings.bucket),
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
        }
        if self.settings.kms_key is not None:
            capture["KmsKeyId"] = self.settings.kms_key
        return capture


def captured(bucket: str) -> str:
    """Return where requests and answers are kept: below it /ENDPOINT/VARIANT/yyyy/mm/dd/hh/.

    https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
    """
    return f"{bucket.rstrip('/')}/captured"
