"""Training jobs: the user's command as a process over a folder that stands for /opt/ml.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html and
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.aws import jobbox
from tests.aws.configs import listing, store_tags
from tests.aws.machine import pause
from tests.aws.routing import RefusedError, Row, invalid, operation

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from datetime import datetime

    from tests.aws.cloud import Cloud

GRACE = 120.0  # seconds of the stand-in's clock between SIGTERM and SIGKILL
MESSAGES = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Interrupted": "Training job interrupted",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopping": "Stopping the training job",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds",
}


@dataclass
class Job:
    name: str
    arn: str
    request: Row
    created: datetime
    modified: datetime
    status: str = "InProgress"
    transitions: list[Row] = field(default_factory=list)
    started: datetime | None = None
    ended: datetime | None = None
    reason: str | None = None
    artifact: str = ""  # where the model will be, if there is one
    stop_asked: bool = False
    interrupt_asked: bool = False
    work: Iterator[None] | None = None
    box: jobbox.Box | None = None

    @property
    def secondary(self) -> str:
        return str(self.transitions[-1]["Status"])

    def move(self, cloud: Cloud, secondary: str) -> None:
        """Enter a secondary status."""
        now = cloud.time.date()
        self.modified = now
        if self.transitions:
            self.transitions[-1].setdefault("EndTime", now)
        self.transitions.append(
            {"Status": secondary, "StartTime": now, "StatusMessage": MESSAGES[secondary]}
        )

    def tick(self, cloud: Cloud) -> None:
        if self.work is not None:
            try:
                next(self.work)
            except StopIteration:
                self.work = None

    def kill(self) -> None:
        if self.box is not None:
            self.box.close()

    def seconds(self) -> int | None:
        """Return how long the instances were busy, in seconds of the stand-in's clock."""
        if self.started is None or self.ended is None:
            return None
        return max(1, math.ceil((self.ended - self.started).total_seconds()))


def running(cloud: Cloud, job: Job) -> Iterator[None]:
    """Carry a job through its statuses."""
    yield from pause(cloud.speed)
    job.started = cloud.time.date()
    job.box = jobbox.Box(cloud, job.name, job.arn, job.request)
    outcome = "Interrupted"
    while outcome == "Interrupted":
        if not job.stop_asked:
            job.move(cloud, "Downloading")
            yield from job.box.download()
        outcome = yield from _train(cloud, job)
        if outcome == "Interrupted":
            job.interrupt_asked = False
            job.move(cloud, "Interrupted")
            yield from job.box.upload(checkpoints_only=True)
            yield from pause(cloud.speed)
            job.move(cloud, "Starting")
    if outcome != "Failed" or job.box.reason is not None:
        if outcome == "Completed":
            job.move(cloud, "Uploading")
        yield from job.box.upload()
    job.ended = cloud.time.date()
    job.status = "Stopped" if outcome == "MaxRuntimeExceeded" else outcome
    job.reason = job.box.reason if outcome == "Failed" else None
    job.move(cloud, outcome)
    job.box.close()


def _train(cloud: Cloud, job: Job) -> Generator[None, None, str]:
    box = job.box
    assert box is not None
    if job.stop_asked:
        return "Stopped"
    if box.reason is not None:
        return "Failed"
    job.move(cloud, "Training")
    box.start()
    limit = job.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", 86_400)
    end = cloud.now() + limit
    while box.running():
        outcome = _cut_short(cloud, job, end)
        if outcome is not None:
            box.terminate()
            limit = time.monotonic() + cloud.time.real(GRACE)
            while box.running() and time.monotonic() < limit:
                yield
            box.kill()
            return outcome
        yield
    return "Completed" if box.succeeded() else "Failed"


def _cut_short(cloud: Cloud, job: Job, end: float) -> str | None:
    """Return what ends a job that would go on, if anything does."""
    if job.stop_asked:
        return "Stopped"
    if cloud.now() >= end:
        return "MaxRuntimeExceeded"
    return "Interrupted" if job.interrupt_asked else None


# --- operations ---------------------------------------------------------------------------------


@operation("sagemaker", "CreateTrainingJob")
def create_job(cloud: Cloud, params: Row) -> Row:
    name = params["TrainingJobName"]
    arn = cloud.arn("training-job", name)
    if name in cloud.jobs:
        raise RefusedError(
            "ResourceInUse",
            "Training job names must be unique within an AWS account and region, and a training "
            f"job with this name already exists ({arn})",
        )
    for wanted in ("AlgorithmSpecification", "ResourceConfig", "StoppingCondition"):
        if wanted not in params:
            raise invalid(f"{wanted} is required.")
    if "TrainingImage" not in params["AlgorithmSpecification"]:
        raise invalid("Only jobs with a TrainingImage are in the stand-in.")
    stopping = params["StoppingCondition"]
    if params.get("EnableManagedSpotTraining"):
        longest = stopping.get("MaxWaitTimeInSeconds")
        if longest is None or longest < stopping.get("MaxRuntimeInSeconds", 86_400):
            raise invalid("MaxWaitTimeInSeconds must be at least MaxRuntimeInSeconds with spot.")
    elif "MaxWaitTimeInSeconds" in stopping:
        raise invalid("MaxWaitTimeInSeconds needs EnableManagedSpotTraining.")
    now = cloud.time.date()
    job = Job(name, arn, params, now, now)
    place = params["OutputDataConfig"]["S3OutputPath"].rstrip("/")
    job.artifact = f"{place}/{name}/output/model.tar.gz"
    job.move(cloud, "Starting")
    job.work = running(cloud, job)
    cloud.jobs[name] = job
    store_tags(cloud, arn, params)
    return {"TrainingJobArn": arn}


def the_job(cloud: Cloud, name: str) -> Job:
    if name not in cloud.jobs:
        raise invalid("Requested resource not found.")
    return cloud.jobs[name]


@operation("sagemaker", "DescribeTrainingJob")
def describe_job(cloud: Cloud, params: Row) -> Row:
    job = the_job(cloud, params["TrainingJobName"])
    request = {key: value for key, value in job.request.items() if key != "Tags"}
    found: Row = {
        "EnableNetworkIsolation": False,
        "EnableInterContainerTrafficEncryption": False,
        "EnableManagedSpotTraining": False,
        **request,
        "TrainingJobArn": job.arn,
        "ModelArtifacts": {"S3ModelArtifacts": job.artifact},
        "TrainingJobStatus": job.status,
        "SecondaryStatus": job.secondary,
        "SecondaryStatusTransitions": job.transitions,
        "CreationTime": job.created,
        "LastModifiedTime": job.modified,
    }
    if job.started is not None:
        found["TrainingStartTime"] = job.started
    if job.reason is not None:
        found["FailureReason"] = job.reason[:1024]
    seconds = job.seconds()
    if job.ended is not None and seconds is not None:
        spot = job.request.get("EnableManagedSpotTraining", False)
        found["TrainingEndTime"] = job.ended
        found["TrainingTimeInSeconds"] = seconds
        found["BillableTimeInSeconds"] = (
            max(1, math.ceil(seconds * cloud.spot_share)) if spot else seconds
        )
    return found


@operation("sagemaker", "ListTrainingJobs")
def list_jobs(cloud: Cloud, params: Row) -> Row:
    wanted = params.get("StatusEquals")
    chosen = {name: one for name, one in cloud.jobs.items() if wanted in {None, one.status}}
    return listing(
        chosen,
        params,
        "TrainingJobSummaries",
        lambda one: {
            "TrainingJobName": one.name,
            "TrainingJobArn": one.arn,
            "CreationTime": one.created,
            "LastModifiedTime": one.modified,
            "TrainingJobStatus": one.status,
            **({"TrainingEndTime": one.ended} if one.ended else {}),
        },
    )


@operation("sagemaker", "StopTrainingJob")
def stop_job(cloud: Cloud, params: Row) -> Row:
    job = the_job(cloud, params["TrainingJobName"])
    if job.status not in {"InProgress", "Stopping"}:
        raise invalid(
            f"The request was rejected because the training job is in status {job.status}."
        )
    if job.status == "InProgress":
        job.status, job.stop_asked = "Stopping", True
        job.move(cloud, "Stopping")
    return {}
