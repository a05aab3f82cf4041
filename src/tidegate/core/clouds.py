"""The clouds' part of ``mlops.yaml`` as frozen records. Durations in seconds, shares as fractions.

Text fields may still hold ``${VAR}``; the command that uses such a value resolves it then.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, kw_only=True, slots=True)
class SageMaker:
    """``release.sagemaker``: an endpoint of real-time variants in one AWS account and region."""

    execution_role: str  # name or ARN: what the containers run as
    scheduler_role: str  # name or ARN: what the dead-man's switch moves weights as
    bucket: str  # s3://bucket/prefix: model archives and captures
    region: str | None = None  # None: TIDEGATE_AWS_REGION, AWS_REGION or the profile's
    instance_type: str = "ml.m5.large"
    instances: int = 1  # per variant
    image: str | None = None  # None: AWS's public image that fits the model
    capture: float = 1.0  # share of requests and answers that is kept; 0: none
    alarms: tuple[str, ...] = ()  # CloudWatch alarms that roll an update back
    kms_key: str | None = None
    price: float | None = None  # US dollars an instance-hour; None: the table's


@dataclass(frozen=True, kw_only=True, slots=True)
class Vertex:
    """``release.vertex``: an endpoint of deployed models in one project and region."""

    project: str
    region: str
    bucket: str  # gs://bucket/prefix: model artifacts
    scheduler_account: str  # e-mail: what the dead-man's switch moves traffic as
    service_account: str | None = None  # e-mail: what the containers run as
    machine_type: str = "n1-standard-2"
    replicas: int = 1  # at least, per deployed model
    max_replicas: int | None = None  # None: like replicas
    image: str | None = None  # None: Google's public image that fits the model
    dedicated: bool = False  # an endpoint with its own address
    log_table: str | None = None  # bq://project.dataset.table: captured requests and answers
    log_share: float = 1.0
    price: float | None = None  # US dollars a replica-hour; None: the table's


class Source(StrEnum):
    """Where a cloud endpoint's counts come from."""

    CLOUDWATCH = "cloudwatch"
    MONITORING = "monitoring"
    PROMETHEUS = "prometheus"
    COMMAND = "command"


@dataclass(frozen=True, kw_only=True, slots=True)
class Metering:
    """``release.metrics``: the counts of live traffic. ``delay`` is how old a minute must be."""

    source: Source
    delay: float | None = None  # None: the source's own
    url: str | None = None  # prometheus
    requests: str | None = None  # prometheus: a counter selector, with the label `by`
    errors: str | None = None
    slow: str | None = None
    by: str = "version"  # prometheus: the label whose value is the version
    run: str | None = None  # command: prints JSON Lines of counts


class Where(StrEnum):
    """What trains."""

    RUNNER = "runner"
    SAGEMAKER = "sagemaker"
    VERTEX = "vertex"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainOnSageMaker:
    """``train.sagemaker``: a training job with the user's image."""

    image: str
    role: str  # name or ARN: what the user's code runs as
    bucket: str  # s3://bucket/prefix: code, data and output of jobs
    region: str | None = None
    instance_type: str = "ml.m5.large"
    volume_gb: int = 30
    spot: bool = False
    max_wait: float | None = None  # with spot: waiting included; None: twice the timeout
    kms_key: str | None = None
    price: float | None = None  # US dollars an hour; None: the table's


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainOnVertex:
    """``train.vertex``: a custom job with the user's image."""

    image: str
    project: str
    region: str
    bucket: str  # gs://bucket/prefix
    service_account: str | None = None  # e-mail: what the user's code runs as
    machine_type: str = "n1-standard-4"
    accelerator: str | None = None  # for example NVIDIA_TESLA_T4
    accelerators: int = 1
    disk_gb: int = 100
    spot: bool = False
    price: float | None = None  # US dollars an hour; None: the table's
