"""Training jobs of SageMaker against the stand-in, which runs them for real."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.adapters.training import NAME, SAVES, Heard, job, quick
from tests.endpoint.serving import wait_for
from tidegate.adapters.compute import attempts
from tidegate.adapters.compute.sagemaker import train_on_sagemaker
from tidegate.core.clouds import TrainOnSageMaker
from tidegate.errors import NotJudgedError, OutsideError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.aws.cloud import Cloud
    from tidegate.ports import Compute

pytestmark = pytest.mark.real

SETTINGS = TrainOnSageMaker(
    image="123456789012.dkr.ecr.eu-west-1.amazonaws.com/train:1",
    role="trainer",
    bucket="s3://acme-train/tidegate",
    region="eu-west-1",
)


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    from tests.aws import serve

    with serve(speed=0.02) as served:
        for name, value in served.env.items():
            monkeypatch.setenv(name, value)
        _aws().call("s3", "create_bucket", Bucket="acme-train",
                    CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})  # fmt: skip
        quick(monkeypatch)
        yield served


def _aws() -> Any:
    from tidegate.adapters.cloud.aws import connect

    return connect("eu-west-1")


def compute(settings: TrainOnSageMaker = SETTINGS) -> Compute:
    from tidegate.adapters.stores import open_store

    aws = _aws()
    return train_on_sagemaker(settings, aws, open_store(settings.bucket, aws=aws))


def test_a_job_trains_and_its_model_log_and_bill_come_back(cloud: Cloud, tmp_path: Path) -> None:
    heard = Heard()
    found = compute().train(job(tmp_path), tmp_path / "left", heard)
    assert (found.folder / "model/model.csv").read_text() == "x,y\n1,2\n"
    assert found.job == NAME
    assert found.machine == "ml.m5.large"
    assert found.billed_seconds >= 1
    assert found.cost == pytest.approx(found.billed_seconds / 3600 * 0.115)
    assert "training on /" in heard
    assert f"{NAME}: Completed: Training job completed" in heard
    assert "tidegate: the job ends with exit code 0" in heard
    (asked,) = cloud.called("CreateTrainingJob")
    assert asked["RoleArn"] == "arn:aws:iam::123456789012:role/trainer"
    assert asked["StoppingCondition"] == {"MaxRuntimeInSeconds": 60}
    assert asked["EnableManagedSpotTraining"] is False
    assert asked["Tags"] == [{"Key": "tidegate:job", "Value": NAME}]
    assert not cloud.violations


def test_a_job_that_succeeded_is_fetched_and_not_run_again(cloud: Cloud, tmp_path: Path) -> None:
    one = compute().train(job(tmp_path), tmp_path / "one", Heard())
    heard = Heard()
    two = compute().train(job(tmp_path), tmp_path / "two", heard)
    assert "succeeded before" in heard
    assert len(cloud.called("CreateTrainingJob")) == 1
    assert replace(two, folder=one.folder) == one


def test_a_job_that_runs_is_joined_with_its_whole_log(cloud: Cloud, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = f"echo early; while [ ! -e {gate} ]; do sleep 0.05; done; {SAVES}"
    first, second = Heard(), Heard()
    other = threading.Thread(
        target=lambda: compute().train(job(tmp_path, run), tmp_path / "one", first), daemon=True
    )
    other.start()
    wait_for(lambda: "early" in first)
    joined = threading.Thread(
        target=lambda: compute().train(job(tmp_path, run), tmp_path / "two", second), daemon=True
    )
    joined.start()
    wait_for(lambda: "early" in second)
    gate.touch()
    other.join(30)
    joined.join(30)
    assert "runs already; joining it" in second
    assert len(cloud.called("CreateTrainingJob")) == 1
    assert (tmp_path / "two/model/model.csv").exists()


def test_a_failing_command_is_the_user_s_and_its_last_lines_are_told(
    cloud: Cloud, tmp_path: Path
) -> None:
    run = "seq 1 30; echo boom >&2; exit 3"
    with pytest.raises(NotJudgedError) as error:
        compute().train(job(tmp_path, run), tmp_path / "left", Heard())
    assert error.value.exit_code == 6
    assert "training failed with exit code 3" in str(error.value)
    assert "\n30\nboom" in str(error.value)
    assert not (tmp_path / "left").exists()


def test_a_failed_job_is_tried_anew_only_when_called_anew_and_five_times_at_most(
    cloud: Cloud, tmp_path: Path
) -> None:
    for number in range(1, 6):
        with pytest.raises(NotJudgedError, match="a check failed with exit code 1"):
            compute().train(job(tmp_path, checks=("exit 1",)), tmp_path / "left", Heard())
        assert len(cloud.called("CreateTrainingJob")) == number
    with pytest.raises(NotJudgedError, match="failed in 5 attempts"):
        compute().train(job(tmp_path, checks=("exit 1",)), tmp_path / "left", Heard())
    names = [asked["TrainingJobName"] for asked in cloud.called("CreateTrainingJob")]
    assert names == [NAME, *(f"{NAME}-{n}" for n in range(2, 6))]


def test_the_service_ends_what_takes_too_long(cloud: Cloud, tmp_path: Path) -> None:
    with pytest.raises(NotJudgedError, match="took longer than 1 s and was ended: sleep 60"):
        compute().train(job(tmp_path, "sleep 60", timeout=1.0), tmp_path / "left", Heard())


def test_cancelling_stops_the_job_and_the_next_call_is_a_new_attempt(
    cloud: Cloud, tmp_path: Path
) -> None:
    sleeping, heard = job(tmp_path, checks=("echo begun; sleep 60",)), Heard()
    failures: list[Exception] = []

    def train() -> None:
        try:
            compute().train(sleeping, tmp_path / "one", heard)
        except OutsideError as error:
            failures.append(error)

    thread = threading.Thread(target=train, daemon=True)
    thread.start()
    wait_for(lambda: "begun" in heard)
    compute().cancel(sleeping)
    compute().cancel(sleeping)  # twice is as good as once
    thread.join(30)
    assert "was stopped" in str(failures[0])
    found = compute().train(job(tmp_path), tmp_path / "two", Heard())
    assert found.job == f"{NAME}-2"
    compute().cancel(sleeping)  # nothing runs: nothing happens
    assert cloud.jobs[f"{NAME}-2"].status == "Completed"


def test_a_spot_job_that_is_interrupted_starts_again_and_costs_what_was_billed(
    cloud: Cloud, tmp_path: Path
) -> None:
    spot = replace(SETTINGS, spot=True, price=3.6)
    heard, gate = Heard(), tmp_path / "gate"
    run = f"echo begun; while [ ! -e {gate} ]; do sleep 0.05; done; {SAVES}"
    found: list[Any] = []
    thread = threading.Thread(
        target=lambda: found.append(compute(spot).train(job(tmp_path, run), tmp_path / "left", heard)),
        daemon=True,
    )  # fmt: skip
    thread.start()
    wait_for(lambda: "begun" in heard)
    with cloud.lock:
        cloud.jobs[NAME].interrupt_asked = True
    wait_for(lambda: sum(line == "begun" for line in heard.lines) == 2)
    gate.touch()
    thread.join(60)
    (trained,) = found
    assert trained.machine == "ml.m5.large spot"
    billed = cloud.jobs[NAME].seconds() or 0
    assert 1 <= trained.billed_seconds <= max(1, billed)
    assert trained.cost == pytest.approx(trained.billed_seconds / 1000)
    (asked,) = cloud.called("CreateTrainingJob")
    assert asked["EnableManagedSpotTraining"] is True
    assert asked["StoppingCondition"] == {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 120}


def test_an_answer_that_is_lost_starts_no_second_job(cloud: Cloud, tmp_path: Path) -> None:
    cloud.fail_next("CreateTrainingJob", 1, None, apply=True)
    found = compute().train(job(tmp_path), tmp_path / "left", Heard())
    assert found.job == NAME
    assert list(cloud.jobs) == [NAME]


def test_output_that_is_gone_is_made_again(cloud: Cloud, tmp_path: Path) -> None:
    compute().train(job(tmp_path), tmp_path / "one", Heard())
    key = f"tidegate/jobs/{NAME}/output/{NAME}/output/model.tar.gz"
    _aws().call("s3", "delete_object", Bucket="acme-train", Key=key)
    found = compute().train(job(tmp_path), tmp_path / "two", Heard())
    assert found.job == f"{NAME}-2"


def test_an_image_that_cannot_be_run_is_no_fault_of_the_code(cloud: Cloud, tmp_path: Path) -> None:
    elsewhere = replace(SETTINGS, bucket="s3://acme-train/other")
    done = compute(elsewhere)
    cloud.fail_next("CreateTrainingJob", 1, "ResourceLimitExceeded", status=400)
    with pytest.raises(OutsideError, match="ResourceLimitExceeded"):
        done.train(job(tmp_path), tmp_path / "left", Heard())
    assert not cloud.jobs


def test_a_log_that_cannot_be_read_does_not_stop_the_training(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "_DRAIN", 0.1)
    cloud.fail_next("DescribeLogStreams", 1000, "AccessDeniedException", status=400)
    heard = Heard()
    found = compute().train(job(tmp_path), tmp_path / "left", heard)
    assert found.seconds >= 0
    assert sum("log cannot be read" in line for line in heard.lines) == 1


def test_throttled_calls_are_made_again(cloud: Cloud, tmp_path: Path) -> None:
    began = time.monotonic()
    cloud.throttle(0.2, seed=4)
    found = compute().train(job(tmp_path), tmp_path / "left", Heard())
    assert found.job == NAME
    assert list(cloud.jobs) == [NAME]
    assert time.monotonic() - began < 60
