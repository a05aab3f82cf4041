"""What the control plane keeps: models, endpoint configurations, endpoints and their variants."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.aws.cloud import Cloud
    from tests.aws.fleet import ModelServer
    from tests.aws.routing import Row


@dataclass
class Model:
    name: str
    arn: str
    created: datetime
    request: Row

    @property
    def container(self) -> Row:
        """The container that serves: the primary one, or the only one of a list."""
        found: Row = self.request.get("PrimaryContainer") or self.request["Containers"][0]
        return found


@dataclass
class EndpointConfig:
    name: str
    arn: str
    created: datetime
    request: Row


@dataclass
class Variant:
    """A production variant as it runs."""

    name: str
    model: str
    request: Row  # its part of the configuration
    weight: float
    desired_weight: float
    count: int
    desired_count: int
    server: ModelServer | None = None

    @classmethod
    def of(cls, request: Row) -> Variant:
        weight = request.get("InitialVariantWeight", 1.0)
        count = request.get("InitialInstanceCount", 0)
        return cls(
            request["VariantName"], request["ModelName"], request, weight, weight, count, count
        )

    @property
    def serverless(self) -> Row | None:
        return self.request.get("ServerlessConfig")

    def describe(self, image: str | None, since: datetime) -> Row:
        found: Row = {
            "VariantName": self.name,
            "CurrentWeight": float(self.weight),
            "DesiredWeight": float(self.desired_weight),
        }
        if image is not None:
            found["DeployedImages"] = [
                {"SpecifiedImage": image, "ResolvedImage": image, "ResolutionTime": since}
            ]
        if self.serverless is not None:
            found["CurrentServerlessConfig"] = dict(self.serverless)
        else:
            found["CurrentInstanceCount"] = self.count
            found["DesiredInstanceCount"] = self.desired_count
        return found


@dataclass
class Pending:
    """A deployment under way: the new fleet, and the share of traffic that it has."""

    config: str
    variants: list[Variant]
    started: datetime
    share: float = 0.0
    stage: str = "Creating"

    def describe(self) -> Row:
        variants = []
        for variant in self.variants:
            row = variant.describe(None, self.started)
            row["CurrentInstanceCount"] = 0 if self.stage == "Creating" else variant.count
            row["VariantStatus"] = [{"Status": self.stage, "StartTime": self.started}]
            if "InstanceType" in variant.request:
                row["InstanceType"] = variant.request["InstanceType"]
            variants.append(row)
        return {
            "EndpointConfigName": self.config,
            "ProductionVariants": variants,
            "StartTime": self.started,
        }


@dataclass
class Endpoint:
    name: str
    arn: str
    config: str
    created: datetime
    modified: datetime
    status: str = "Creating"
    frozen: str | None = None  # a status held by the test
    reason: str | None = None
    variants: list[Variant] = field(default_factory=list)
    pending: Pending | None = None
    capture: Row | None = None
    deployment: Row | None = None  # the last deployment configuration
    work: Iterator[None] | None = None  # what is under way, resumed by every tick
    versions: list[Row] = field(default_factory=list)  # every answer there was

    @property
    def state(self) -> str:
        return self.frozen or self.status

    def tick(self, cloud: Cloud) -> None:
        """Let what is under way go on, unless the test holds it."""
        if self.work is not None and self.frozen is None:
            before = self.status
            try:
                next(self.work)
            except StopIteration:
                self.work = None
            if self.status != before:
                self.modified = cloud.time.date()
        self.remember(cloud)

    def remember(self, cloud: Cloud) -> None:
        answer = self.describe(cloud)
        if not self.versions or self.versions[-1] != answer:
            self.versions.append(answer)

    def describe(self, cloud: Cloud) -> Row:
        """Return the answer of DescribeEndpoint."""
        found: Row = {
            "EndpointName": self.name,
            "EndpointArn": self.arn,
            "EndpointConfigName": self.config,
            "EndpointStatus": self.state,
            "CreationTime": self.created,
            "LastModifiedTime": self.modified,
        }
        if self.variants:
            found["ProductionVariants"] = [
                variant.describe(variant.server.image if variant.server else None, self.created)
                for variant in self.variants
            ]
        if self.reason:
            found["FailureReason"] = self.reason[:1024]
        if self.deployment:
            found["LastDeploymentConfig"] = self.deployment
        if self.pending is not None:
            found["PendingDeploymentSummary"] = self.pending.describe()
        if self.capture is not None:
            on = self.capture.get("EnableCapture", True)
            found["DataCaptureConfig"] = {
                "EnableCapture": on,
                "CaptureStatus": "Started" if on else "Stopped",
                "CurrentSamplingPercentage": self.capture["InitialSamplingPercentage"],
                "DestinationS3Uri": self.capture["DestinationS3Uri"],
                "KmsKeyId": self.capture.get("KmsKeyId", ""),
            }
        return found


def day(seconds: float) -> datetime:
    """Return epoch seconds as a date."""
    return datetime.fromtimestamp(seconds, UTC)
