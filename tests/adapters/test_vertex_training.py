"""Custom jobs of Vertex AI against the stand-in, which runs them for real."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.adapters.training import NAME, SAVES, Heard, job, quick
from tests.endpoint.serving import wait_for
from tidegate.adapters.compute.vertex import CustomJobs, train_on_vertex
from tidegate.core.clouds import TrainOnVertex
from tidegate.errors import NotJudgedError, OutsideError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.gcp.cloud import Cloud
    from tidegate.ports import Compute

pytestmark = pytest.mark.real

SETTINGS = TrainOnVertex(
    image="europe-west1-docker.pkg.dev/acme-ml/images/train:1",
    project="acme-ml",
    region="europe-west1",
    bucket="gs://acme-models/tidegate",
)


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    from tests.gcp.server import serve

    with serve(speed=0.02) as served:
        for name, value in served.env.items():
            monkeypatch.setenv(name, value)
        quick(monkeypatch)
        yield served


def google() -> Any:
    from tidegate.adapters.cloud.google import connect

    return connect("acme-ml")


def compute(settings: TrainOnVertex = SETTINGS) -> Compute:
    from tidegate.adapters.stores import open_store

    session = google()
    return train_on_vertex(settings, session, open_store(settings.bucket, google=session))


def jobs(cloud: Cloud) -> list[dict[str, Any]]:
    return list(cloud.state.jobs.values())


def test_a_job_trains_and_its_model_log_and_bill_come_back(cloud: Cloud, tmp_path: Path) -> None:
    heard = Heard()
    found = compute().train(job(tmp_path), tmp_path / "left", heard)
    assert (found.folder / "model/model.csv").read_text() == "x,y\n1,2\n"
    assert found.job == NAME
    assert found.machine == "n1-standard-4"
    assert found.billed_seconds > 0
    assert found.cost == pytest.approx(found.billed_seconds / 3600 * 0.21849885)
    assert "training on /" in heard
    assert f"{NAME}: succeeded" in heard
    assert "tidegate: the job ends with exit code 0" in heard
    (made,) = jobs(cloud)
    assert made["labels"] == {"tidegate-job": NAME}
    assert made["jobSpec"]["scheduling"] == {"timeout": "60s"}
    assert not cloud.violations


def test_a_job_that_succeeded_is_fetched_and_not_run_again(cloud: Cloud, tmp_path: Path) -> None:
    one = compute().train(job(tmp_path), tmp_path / "one", Heard())
    two = compute().train(job(tmp_path), tmp_path / "two", Heard())
    assert len(jobs(cloud)) == 1
    assert replace(two, folder=one.folder) == one


def test_two_that_start_at_once_share_one_job(cloud: Cloud, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = f"while [ ! -e {gate} ]; do sleep 0.05; done; {SAVES}"
    both = threading.Barrier(2)
    find, waited = CustomJobs._find, set()

    def blind(self: CustomJobs, attempt: str) -> Any:
        """See nothing at first, as the other one does."""
        found = find(self, attempt)
        if threading.get_ident() not in waited:
            waited.add(threading.get_ident())
            both.wait(30)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CustomJobs, "_find", blind)
        threads = [
            threading.Thread(
                target=lambda n=n: compute().train(job(tmp_path / n, run), tmp_path / f"{n}-left", Heard()),
                daemon=True,
            )
            for n in ("one", "two")
        ]  # fmt: skip
        for thread in threads:
            thread.start()
        wait_for(lambda: "JOB_STATE_CANCELLED" in {row["state"] for row in jobs(cloud)})
        gate.touch()
        for thread in threads:
            thread.join(60)
    assert sorted(row["state"] for row in jobs(cloud)) == [
        "JOB_STATE_CANCELLED", "JOB_STATE_SUCCEEDED",
    ]  # fmt: skip
    for name in ("one", "two"):
        assert (tmp_path / f"{name}-left/model/model.csv").exists()


def test_a_failing_command_is_the_user_s_and_its_last_lines_are_told(
    cloud: Cloud, tmp_path: Path
) -> None:
    with pytest.raises(NotJudgedError) as error:
        compute().train(
            job(tmp_path, checks=("seq 1 30; echo boom >&2; exit 3",)), tmp_path / "left", Heard()
        )
    assert error.value.exit_code == 6
    assert "a check failed with exit code 3" in str(error.value)
    assert "\n30\nboom" in str(error.value)


def test_a_failed_job_is_tried_anew_only_when_called_anew_and_five_times_at_most(
    cloud: Cloud, tmp_path: Path
) -> None:
    failing = job(tmp_path, checks=("exit 1",))
    for number in range(1, 6):
        with pytest.raises(NotJudgedError, match="a check failed with exit code 1"):
            compute().train(failing, tmp_path / "left", Heard())
        assert len(jobs(cloud)) == number
    with pytest.raises(NotJudgedError, match="failed in 5 attempts"):
        compute().train(failing, tmp_path / "left", Heard())
    names = [row["displayName"] for row in jobs(cloud)]
    assert names == [NAME, *(f"{NAME}-{n}" for n in range(2, 6))]


def test_the_service_ends_what_takes_too_long(cloud: Cloud, tmp_path: Path) -> None:
    with pytest.raises(NotJudgedError, match="took longer than 1 s and was ended"):
        compute().train(job(tmp_path, checks=("sleep 9",), timeout=1.0), tmp_path / "left", Heard())


def test_a_killed_container_is_told_with_the_log_s_last_lines(cloud: Cloud, tmp_path: Path) -> None:
    with pytest.raises(NotJudgedError, match=r"(?s)non-zero status.*the last words"):
        compute().train(
            job(tmp_path, checks=("echo the last words; sleep 0.5; kill -9 $PPID; sleep 1",)),
            tmp_path / "left",
            Heard(),
        )


def test_cancelling_stops_the_job_and_the_next_call_is_a_new_attempt(
    cloud: Cloud, tmp_path: Path
) -> None:
    sleeping, heard = job(tmp_path, checks=("echo begun; sleep 9",)), Heard()
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
    assert jobs(cloud)[-1]["state"] == "JOB_STATE_SUCCEEDED"


def test_a_spot_job_that_is_preempted_starts_again_and_its_price_is_not_made_up(
    cloud: Cloud, tmp_path: Path
) -> None:
    heard, gate, starts, found = Heard(), tmp_path / "gate", tmp_path / "starts", []
    spot = replace(SETTINGS, spot=True, accelerator="NVIDIA_TESLA_T4")
    begin = f"echo begun; echo once >> {starts}"
    waits = job(tmp_path, checks=(f"{begin}; while [ ! -e {gate} ]; do sleep 0.05; done",))
    thread = threading.Thread(
        target=lambda: found.append(compute(spot).train(waits, tmp_path / "left", heard)), daemon=True
    )  # fmt: skip
    thread.start()
    wait_for(lambda: "begun" in heard)
    cloud.preempt(jobs(cloud)[0]["name"])
    wait_for(lambda: starts.read_text() == "once\n" * 2)  # the log may tell of it late
    gate.touch()
    thread.join(60)
    (trained,) = found
    assert trained.machine == "n1-standard-4 + 1 NVIDIA_TESLA_T4 spot"
    assert trained.cost is None
    (made,) = jobs(cloud)
    assert made["jobSpec"]["scheduling"] == {"timeout": "60s", "strategy": "SPOT"}


def test_an_answer_that_is_lost_starts_no_second_job(cloud: Cloud, tmp_path: Path) -> None:
    cloud.fail_next("*.customJobs.create", 1, None, apply=True)
    found = compute().train(job(tmp_path), tmp_path / "left", Heard())
    assert found.job == NAME
    assert len(jobs(cloud)) == 1


def test_output_that_is_gone_is_made_again(cloud: Cloud, tmp_path: Path) -> None:
    from tidegate.adapters.stores import open_store

    compute().train(job(tmp_path), tmp_path / "one", Heard())
    store = open_store(SETTINGS.bucket, google=google())
    store.delete(f"jobs/{NAME}/output/{NAME}/model/output.tar")
    found = compute().train(job(tmp_path), tmp_path / "two", Heard())
    assert found.job == f"{NAME}-2"


def test_what_was_sent_is_not_sent_again(cloud: Cloud, tmp_path: Path) -> None:
    from tidegate.adapters.stores import open_store

    store = open_store(SETTINGS.bucket, google=google())
    seen = []
    for _ in range(2):
        with pytest.raises(NotJudgedError):
            compute().train(job(tmp_path, checks=("exit 1",)), tmp_path / "left", Heard())
        keys = [*store.list(f"jobs/{NAME}/input/"), *store.list("data/")]
        seen.append({key: store.head(key) for key in keys})
    first, again = seen
    assert len(first) == 4  # program, job, code and rows; each write would be a new generation
    assert again == first
