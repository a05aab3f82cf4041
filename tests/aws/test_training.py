"""Training jobs run a real command on real data, and end as SageMaker's do."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.aws.behaviour import exercises
from tests.aws.kit import BUCKET, ROLE

if TYPE_CHECKING:
    from tests.aws.cloud import Cloud
    from tests.aws.kit import Kit

pytestmark = pytest.mark.real

GROUP = "/aws/sagemaker/TrainingJobs"
ENDED = {"Completed", "Failed", "Stopped"}
COPY = """
import os, pathlib, shutil
root = pathlib.Path(os.environ["TIDEGATE_ML_ROOT"])
assert os.environ["SM_MODEL_DIR"] == str(root / "model")
data = pathlib.Path(os.environ["SM_CHANNEL_TRAIN"])
print("rows", (data / "a.csv").read_text(), os.environ["ALPHA"], flush=True)
shutil.copy(data / "deep/b.csv", root / "model/b.csv")
print("done")
"""
FAIL = """
import os, pathlib, sys
(pathlib.Path(os.environ["TIDEGATE_ML_ROOT"]) / "output/failure").write_text("no such column")
sys.exit(3)
"""
WAIT = """
import os, pathlib, signal, sys, time
model = pathlib.Path(os.environ["SM_MODEL_DIR"])
def stop(*_):
    (model / "half").write_text("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("waiting", flush=True)
time.sleep(600)
"""
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("waiting", flush=True)
time.sleep(600)
"""
CHECKPOINTS = """
import pathlib, sys, time
place = pathlib.Path(sys.argv[1]) / "step"
if place.exists():
    sys.exit(0)
place.write_text("1")
print("waiting", flush=True)
time.sleep(600)
"""


def channel(name: str, prefix: str) -> dict[str, Any]:
    place = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{prefix}"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": place}}


def job(
    kit: Kit,
    script: str,
    name: str = "job",
    *arguments: str,
    data: tuple[dict[str, Any], ...] = (),
    **more: Any,
) -> dict[str, Any]:
    """Return a request for a job that runs a script from the bucket."""
    kit.client("s3").put_object(Bucket=BUCKET, Key=f"code/{name}/train.py", Body=script.encode())
    return {
        "TrainingJobName": name, "RoleArn": ROLE,
        "InputDataConfig": [channel("code", f"code/{name}/"), *data],
        "AlgorithmSpecification": {
            "TrainingImage": "683313688378.dkr.ecr.eu-west-1.amazonaws.com/sklearn:1.2-1",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python", "/opt/ml/input/data/code/train.py", *arguments],
        },
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/jobs"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600}, **more,
    }  # fmt: skip


def ended(kit: Kit, name: str = "job") -> dict[str, Any]:
    found: dict[str, Any] = kit.until(
        lambda: kit.sm.describe_training_job(TrainingJobName=name),
        lambda row: row["TrainingJobStatus"] in ENDED,
    )
    return found


def waiting(kit: Kit, cloud: Cloud, lines: int = 1) -> None:
    """Wait until the job has printed so many lines."""
    kit.until(lambda: sum(len(one) for one in cloud.logs.lines.values()), lambda n: n >= lines)


def unpacked(kit: Kit, uri: str) -> dict[str, str]:
    key = uri.removeprefix(f"s3://{BUCKET}/")
    data = kit.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {one.name: tar.extractfile(one).read().decode() for one in tar if one.isfile()}  # type: ignore[union-attr]


@exercises("ml-root", "training-artifact", "training-logs")
def test_a_job_reads_its_data_and_leaves_a_model(kit: Kit, cloud: Cloud) -> None:
    s3 = kit.bucket()
    s3.put_object(Bucket=BUCKET, Key="data/a.csv", Body=b"1")
    s3.put_object(Bucket=BUCKET, Key="data/deep/b.csv", Body=b"2")
    request = job(kit, COPY, data=(channel("train", "data/"),), Environment={"ALPHA": "/opt/ml/x"})
    kit.sm.create_training_job(**request)
    found = ended(kit)
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    uri = found["ModelArtifacts"]["S3ModelArtifacts"]
    assert uri == f"s3://{BUCKET}/jobs/job/output/model.tar.gz"
    assert unpacked(kit, uri) == {"b.csv": "2"}
    statuses = [row["Status"] for row in found["SecondaryStatusTransitions"]]
    assert statuses == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert found["BillableTimeInSeconds"] == found["TrainingTimeInSeconds"] >= 1
    logs = kit.client("logs")
    (stream,) = logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix="job/")[
        "logStreams"
    ]
    assert stream["logStreamName"].startswith("job/algo-1-")
    place = {"logGroupName": GROUP, "logStreamName": stream["logStreamName"]}
    page = logs.get_log_events(**place, startFromHead=True, limit=1)
    assert page["events"][0]["message"].startswith("rows 1 /")
    page = logs.get_log_events(**place, nextToken=page["nextForwardToken"])
    assert [row["message"] for row in page["events"]] == ["done"]
    again = logs.get_log_events(**place, nextToken=page["nextForwardToken"])
    assert again["events"] == []
    assert again["nextForwardToken"] == page["nextForwardToken"]
    events = logs.filter_log_events(logGroupName=GROUP, logStreamNamePrefix="job/")["events"]
    assert len(events) == 2


@exercises("training-failure", "artifact-named-early")
def test_a_job_that_fails_says_why(kit: Kit) -> None:
    kit.bucket()
    kit.sm.create_training_job(**job(kit, FAIL))
    found = ended(kit)
    assert found["TrainingJobStatus"] == found["SecondaryStatus"] == "Failed"
    assert found["FailureReason"] == "AlgorithmError: no such column, exit code: 3"
    kit.sm.create_training_job(**job(kit, COPY, "other", data=(channel("train", "nothing/"),)))
    found = ended(kit, "other")
    assert "No S3 objects found" in found["FailureReason"]
    assert found["ModelArtifacts"]["S3ModelArtifacts"].endswith("/other/output/model.tar.gz")
    assert "jobs" not in str(kit.client("s3").list_objects_v2(Bucket=BUCKET)["Contents"])


@exercises("training-stop", "training-artifact")
def test_a_stopped_job_may_save_its_model(kit: Kit, cloud: Cloud) -> None:
    kit.bucket()
    kit.sm.create_training_job(**job(kit, WAIT))
    waiting(kit, cloud)
    kit.sm.stop_training_job(TrainingJobName="job")
    found = kit.sm.describe_training_job(TrainingJobName="job")
    assert found["TrainingJobStatus"] in {"Stopping", "Stopped"}
    found = ended(kit)
    assert found["TrainingJobStatus"] == "Stopped"
    assert unpacked(kit, found["ModelArtifacts"]["S3ModelArtifacts"]) == {"half": "saved"}
    with pytest.raises(ClientError, match="in status Stopped"):
        kit.sm.stop_training_job(TrainingJobName="job")


@exercises("training-stop")
def test_a_job_that_does_not_listen_is_killed(kit: Kit, cloud: Cloud) -> None:
    kit.bucket()
    cloud.time.scale = 600  # the 120 seconds of grace in 0.2
    kit.sm.create_training_job(**job(kit, DEAF, StoppingCondition={"MaxRuntimeInSeconds": 86_000}))
    waiting(kit, cloud)
    kit.sm.stop_training_job(TrainingJobName="job")
    assert ended(kit)["TrainingJobStatus"] == "Stopped"


@exercises("max-runtime")
def test_a_job_that_runs_too_long_is_stopped(kit: Kit, cloud: Cloud) -> None:
    kit.bucket()
    kit.sm.create_training_job(**job(kit, WAIT))
    waiting(kit, cloud)
    cloud.advance(3601)
    found = ended(kit)
    assert (found["TrainingJobStatus"], found["SecondaryStatus"]) == (
        "Stopped",
        "MaxRuntimeExceeded",
    )
    assert found["TrainingTimeInSeconds"] >= 3600


@exercises("spot")
def test_a_spot_job_is_cheaper_and_goes_on_after_an_interruption(kit: Kit, cloud: Cloud) -> None:
    kit.bucket()
    spot: dict[str, Any] = {
        "EnableManagedSpotTraining": True,
        "CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/checkpoints"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200},
    }
    kit.sm.create_training_job(**job(kit, CHECKPOINTS, "job", "/opt/ml/checkpoints", **spot))
    waiting(kit, cloud)
    cloud.advance(100)
    cloud.interrupt("job")
    found = ended(kit)
    assert found["TrainingJobStatus"] == "Completed"
    assert "Interrupted" in [row["Status"] for row in found["SecondaryStatusTransitions"]]
    assert found["BillableTimeInSeconds"] < found["TrainingTimeInSeconds"]
    spot["StoppingCondition"] = {"MaxRuntimeInSeconds": 3600}
    with pytest.raises(ClientError, match="MaxWaitTimeInSeconds"):
        kit.sm.create_training_job(**job(kit, WAIT, "other", **spot))


def test_arguments_are_single_lines(kit: Kit) -> None:
    kit.bucket()
    request = job(kit, WAIT)
    request["AlgorithmSpecification"]["ContainerArguments"] = ["two\nlines"]
    with pytest.raises(ClientError, match="regular expression pattern"):
        kit.sm.create_training_job(**request)


def test_names_of_jobs_are_taken_once(kit: Kit) -> None:
    kit.bucket()
    kit.sm.create_training_job(**job(kit, FAIL))
    with pytest.raises(ClientError) as caught:
        kit.sm.create_training_job(**job(kit, FAIL))
    assert caught.value.response["Error"]["Code"] == "ResourceInUse"
    ended(kit)
    (row,) = kit.sm.list_training_jobs(StatusEquals="Failed")["TrainingJobSummaries"]
    assert row["TrainingJobName"] == "job"
    with pytest.raises(ClientError, match="Requested resource not found"):
        kit.sm.describe_training_job(TrainingJobName="none")
