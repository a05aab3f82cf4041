"""Training jobs of Amazon SageMaker, with the user's image.

Layout of the bucket's folder: ``jobs/<job>/output/<attempt>/output/model.tar.gz``, which SageMaker packs
from what the container leaves in ``/opt/ml/model``.
"""

from __future__ import annotations

import math
import tarfile
from typing import TYPE_CHECKING, Any

from tidegate.adapters.cloud.aws import AwsError
from tidegate.adapters.compute.attempts import Attempts, Standing, State
from tidegate.adapters.compute.logs import CloudWatchLines
from tidegate.adapters.compute.parcels import MANIFEST, MOST_BYTES, OUTPUT, PROGRAM, GoneError
from tidegate.core import prices
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tidegate.adapters.cloud.aws import Aws
    from tidegate.adapters.compute.parcels import Parcel
    from tidegate.core.clouds import TrainOnSageMaker
    from tidegate.ports import Compute, ObjectStore, TrainingJob

_CHANNEL = "/opt/ml/input/data/tidegate"
_STATES = {
    "InProgress": State.RUNNING,
    "Stopping": State.STOPPING,
    "Completed": State.SUCCEEDED,
    "Failed": State.FAILED,
    "Stopped": State.STOPPED,
}
_WAITING = frozenset({"Starting", "Pending", "LaunchingMLInstances", "Interrupted"})


def train_on_sagemaker(settings: TrainOnSageMaker, aws: Aws, store: ObjectStore) -> Compute:
    """Return the service as `Compute`; ``store`` is the settings' bucket."""
    return Attempts(TrainingJobs(settings, aws, store), store, settings.bucket.rstrip("/"))


class TrainingJobs:
    """SageMaker's training jobs, known by their names, which are unique in an account and region."""

    name = "SageMaker"

    def __init__(self, settings: TrainOnSageMaker, aws: Aws, store: ObjectStore) -> None:
        self._settings = settings
        self._aws = aws
        self._store = store
        self._bucket = settings.bucket.rstrip("/")
        self.machine = settings.instance_type + (" spot" if settings.spot else "")
        known = prices.training(prices.Cloud.SAGEMAKER, settings.instance_type)
        self.price = known if settings.price is None else settings.price

    def patience(self, job: TrainingJob) -> float:
        """Return the seconds that waiting for a spot machine may add."""
        return self._most(job) - job.timeout if self._settings.spot else 0.0

    def _most(self, job: TrainingJob) -> float:
        return max(job.timeout, self._settings.max_wait or 2 * job.timeout)

    def look(self, attempt: str) -> Standing | None:
        """Return how an attempt stands.

        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeTrainingJob.html
        """
        try:
            found = self._aws.call("sagemaker", "describe_training_job", TrainingJobName=attempt)
        except AwsError as error:
            if _missing(error):
                return None
            raise
        return _standing(found)

    def start(self, attempt: str, job: TrainingJob, parcel: Parcel) -> None:
        """Start an attempt, unless there is one of this name.

        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html
        """
        try:
            self._aws.call(
                "sagemaker", "create_training_job", **self._request(attempt, job, parcel)
            )
        except AwsError as error:
            if error.code != "ResourceInUse":
                raise

    def _request(self, attempt: str, job: TrainingJob, parcel: Parcel) -> dict[str, Any]:
        settings = self._settings
        stopping = {"MaxRuntimeInSeconds": math.ceil(job.timeout)}
        if settings.spot:
            stopping["MaxWaitTimeInSeconds"] = math.ceil(self._most(job))
        output = {"S3OutputPath": f"{self._bucket}/jobs/{job.name}/output/"}
        machine = {
            "InstanceType": settings.instance_type,
            "InstanceCount": 1,
            "VolumeSizeInGB": settings.volume_gb,
        }
        if settings.kms_key is not None:
            output["KmsKeyId"] = machine["VolumeKmsKeyId"] = settings.kms_key
        return {
            "TrainingJobName": attempt,
            "AlgorithmSpecification": {
                "TrainingImage": settings.image,
                "TrainingInputMode": "File",
                "ContainerEntrypoint": ["python3", f"{_CHANNEL}/{PROGRAM}"],
            },
            "RoleArn": self._role(),
            "InputDataConfig": [
                _channel("tidegate", f"{self._bucket}/{parcel.code}"),
                _channel("train", f"{self._bucket}/{parcel.train}"),
            ],
            "OutputDataConfig": output,
            "ResourceConfig": machine,
            "StoppingCondition": stopping,
            "EnableManagedSpotTraining": settings.spot,
            "Tags": [{"Key": "tidegate:job", "Value": job.name}],
        }

    def _role(self) -> str:
        role = self._settings.role
        if role.startswith("arn:"):
            return role
        return f"arn:{self._aws.partition}:iam::{self._aws.account}:role/{role}"

    def stop(self, attempt: str) -> None:
        """Stop an attempt; SageMaker sends SIGTERM, and SIGKILL 120 seconds later.

        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_StopTrainingJob.html
        """
        try:
            self._aws.call("sagemaker", "stop_training_job", repeat=True, TrainingJobName=attempt)
        except AwsError as error:
            # It has ended meanwhile: then there is nothing to stop.
            if error.code not in {"ValidationException", "ResourceNotFound"}:
                raise

    def log(self, attempt: str) -> Callable[[], Iterable[str]]:
        """Return a reader of the attempt's lines."""
        return CloudWatchLines(self._aws, attempt).lines

    def output(self, attempt: str, into: Path) -> tuple[Path, Path, str]:
        """Copy what the container left; return output, manifest and their address.

        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeTrainingJob.html

        Raises:
            GoneError: it is not in the bucket any more.
            OutsideError: it is not what a job of ours leaves.
        """
        found = self._aws.call("sagemaker", "describe_training_job", TrainingJobName=attempt)
        where = str(found.get("ModelArtifacts", {}).get("S3ModelArtifacts", ""))
        if not where.startswith(f"{self._bucket}/"):
            raise OutsideError(f"SageMaker job {attempt} left its output elsewhere: {where!r}")
        key = where.removeprefix(f"{self._bucket}/")
        if self._store.head(key) is None:
            raise GoneError(f"{where} is not there any more")
        archive = into / "model.tar.gz"
        self._store.get(key, archive, MOST_BYTES)
        _unpack(archive, into, where)
        archive.unlink()
        return into / OUTPUT, into / MANIFEST, where


def _missing(error: AwsError) -> bool:
    # SageMaker says that nothing is there as it says that a request is wrong.
    return error.code == "ResourceNotFound" or (
        error.code == "ValidationException" and "not found" in str(error).lower()
    )


def _standing(found: dict[str, Any]) -> Standing | None:
    status, secondary = found["TrainingJobStatus"], found.get("SecondaryStatus", "")
    reason = str(found.get("FailureReason") or "")
    if status == "Deleting":
        return None
    if status not in _STATES:
        raise OutsideError(f"SageMaker says {status!r} of a training job, which is not known here")
    state = _STATES[status]
    if state is State.RUNNING and secondary in _WAITING:
        state = State.WAITING
    if state is State.STOPPED and secondary == "MaxRuntimeExceeded":
        state = State.TIMED_OUT
    if state is State.STOPPED and secondary == "MaxWaitTimeExceeded":
        state, reason = State.FAILED, "no spot machine was free for long enough"
    billed = found.get("BillableTimeInSeconds", found.get("TrainingTimeInSeconds"))
    return Standing(
        state=state,
        detail=_detail(found, secondary),
        reason=reason,
        by_code=reason.startswith("AlgorithmError"),
        billed=None if billed is None else float(billed),
    )


def _detail(found: dict[str, Any], secondary: str) -> str:
    told = found.get("SecondaryStatusTransitions") or [{}]
    message = str(told[-1].get("StatusMessage") or "")
    return f"{secondary}: {message}" if message else secondary


def _channel(name: str, address: str) -> dict[str, Any]:
    """Return an input channel: all objects under a prefix, as files.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_Channel.html
    """
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": address,
        "S3DataDistributionType": "FullyReplicated",
    }
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, "InputMode": "File"}


def _unpack(archive: Path, into: Path, where: str) -> None:
    """Take our two files out of SageMaker's archive, and nothing else.

    Raises:
        OutsideError: they are not in it, or too large.
    """
    wanted = {OUTPUT, MANIFEST}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = member.name.removeprefix("./")
                if name not in wanted or not member.isfile() or member.size > MOST_BYTES:
                    continue
                source = tar.extractfile(member)
                assert source is not None
                with (into / name).open("wb") as file:
                    while block := source.read(1 << 20):
                        file.write(block)
                wanted.discard(name)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise OutsideError(f"{where} cannot be unpacked: {error}") from None
    if wanted:
        raise OutsideError(
            f"{where} holds no {' and no '.join(sorted(wanted))}",
            remedy="The image did not run Tidegate's script; does it have python3?",
        )
