"""Following a job of a service that lags, fails, says nonsense or never ends: no service at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.adapters.training import NAME, Heard, job
from tidegate.adapters.compute import sagemaker, vertex
from tidegate.adapters.compute.attempts import Attempts, Standing, State
from tidegate.errors import NotJudgedError, OutsideError, TidegateError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tidegate.adapters.compute.parcels import Parcel
    from tidegate.ports import ObjectInfo, TrainingJob

RUNS = Standing(state=State.RUNNING, detail="Training")
DOWN = OutsideError("no answer")


@dataclass
class Script:
    """A service that answers looks at the running attempt one after another, the last for ever."""

    answers: list[Standing | OutsideError | None]
    lines: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    name: str = "Nowhere"
    machine: str = "none"
    price: float | None = None

    def patience(self, job: TrainingJob) -> float:
        return 0.0

    def look(self, attempt: str) -> Standing | None:
        if attempt not in self.started:
            return None
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(found, OutsideError):
            raise found
        return found

    def start(self, attempt: str, job: TrainingJob, parcel: Parcel) -> None:
        self.started.append(attempt)

    def stop(self, attempt: str) -> None:
        self.stopped.append(attempt)

    def log(self, attempt: str) -> Any:
        def read() -> Iterable[str]:
            lines, self.lines = self.lines, []
            return lines

        return read

    def output(self, attempt: str, into: Path) -> tuple[Path, Path, str]:
        raise AssertionError


class Bucket:
    """Takes everything."""

    def head(self, key: str) -> ObjectInfo | None:
        return None

    def put(self, key: str, source: Path | bytes, **_: Any) -> Any:
        return None


@dataclass
class Clock:
    now: float = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def __call__(self) -> float:
        return self.now


def outcome(tmp_path: Path, service: Script, clock: Clock | None = None) -> TidegateError:
    """Return how training ends."""
    clock = clock or Clock()
    store: Any = Bucket()
    done = Attempts(service, store, "s3://bucket", sleep=clock.sleep, clock=clock)
    with pytest.raises((OutsideError, NotJudgedError)) as error:
        done.train(job(tmp_path), tmp_path / "left", Heard())
    return error.value


def failed(reason: str = "it broke", **more: Any) -> Standing:
    return Standing(state=State.FAILED, detail="Failed", reason=reason, **more)


def test_a_few_looks_may_fail(tmp_path: Path) -> None:
    error = outcome(tmp_path, Script([RUNS, DOWN, DOWN, DOWN, DOWN, DOWN, RUNS, failed()]))
    assert "could not be run: it broke" in str(error)


def test_a_service_that_is_out_of_reach_is_not_asked_for_ever(tmp_path: Path) -> None:
    error = outcome(tmp_path, Script([RUNS, *[DOWN] * 6, failed()]))
    assert str(error) == "no answer"


def test_a_job_that_is_not_seen_at_once_is_waited_for_and_one_that_is_gone_is_told(
    tmp_path: Path,
) -> None:
    assert "it broke" in str(outcome(tmp_path, Script([None, None, RUNS, failed()])))
    clock = Clock()
    assert "is not there any more" in str(outcome(tmp_path, Script([None]), clock))
    assert 60 < clock.now < 90


def test_a_job_that_never_ends_is_left_alone_after_a_while(tmp_path: Path) -> None:
    clock, service = Clock(), Script([RUNS])
    error = outcome(tmp_path, service, clock)
    assert "has not ended: Training" in str(error)
    assert error.exit_code == 3
    assert 7260 < clock.now < 7300  # the timeout, and two hours for all that is around it
    assert service.stopped == []


def test_whose_fault_it_is_decides_the_exit_code(tmp_path: Path) -> None:
    service = Script([failed("exit code 137", by_code=True)], lines=["a", "the last words"])
    error = outcome(tmp_path, service)
    assert error.exit_code == 6
    assert str(error).endswith("exit code 137\n  a\n  the last words")
    assert outcome(tmp_path, Script([failed("no capacity")])).exit_code == 3
    assert outcome(tmp_path, Script([Standing(state=State.STOPPED, detail="x")])).exit_code == 3
    assert outcome(tmp_path, Script([Standing(state=State.TIMED_OUT, detail="x")])).exit_code == 6


def test_a_state_that_nobody_knows_is_an_error_and_never_success() -> None:
    with pytest.raises(OutsideError, match="'Finished'"):
        sagemaker._standing({"TrainingJobStatus": "Finished"})
    for state in ("JOB_STATE_FINE", "JOB_STATE_UNSPECIFIED", ""):
        with pytest.raises(OutsideError, match="not known here"):
            vertex._standing({"state": state, "name": "x"})


@pytest.mark.parametrize(
    ("told", "state", "by_code"),
    [
        ({"TrainingJobStatus": "InProgress", "SecondaryStatus": "Pending"}, State.WAITING, False),
        ({"TrainingJobStatus": "InProgress", "SecondaryStatus": "Interrupted"}, State.WAITING, False),
        ({"TrainingJobStatus": "InProgress", "SecondaryStatus": "Uploading"}, State.RUNNING, False),
        ({"TrainingJobStatus": "Stopping", "SecondaryStatus": "Stopping"}, State.STOPPING, False),
        ({"TrainingJobStatus": "Stopped", "SecondaryStatus": "Stopped"}, State.STOPPED, False),
        ({"TrainingJobStatus": "Stopped", "SecondaryStatus": "MaxRuntimeExceeded"}, State.TIMED_OUT, False),
        ({"TrainingJobStatus": "Stopped", "SecondaryStatus": "MaxWaitTimeExceeded"}, State.FAILED, False),
        ({"TrainingJobStatus": "Failed", "FailureReason": "CapacityError: none"}, State.FAILED, False),
        ({"TrainingJobStatus": "Failed", "FailureReason": "AlgorithmError: x"}, State.FAILED, True),
    ],
)  # fmt: skip
def test_what_sagemaker_says_of_a_job(told: dict[str, Any], state: State, by_code: bool) -> None:
    standing = sagemaker._standing(told)
    assert standing is not None
    assert (standing.state, standing.by_code) == (state, by_code)


def test_vertex_bills_by_when_machines_ran_and_tells_a_timeout_by_the_time() -> None:
    found = {
        "name": "projects/1/locations/x/customJobs/1",
        "state": "JOB_STATE_CANCELLED",
        "startTime": "2026-11-23T07:00:00.123456789Z",
        "endTime": "2026-11-23T07:01:00.123Z",
        "jobSpec": {"scheduling": {"timeout": "60s"}},
        "error": {"code": 1, "message": "cancelled"},
    }
    early = {**found, "endTime": "2026-11-23T07:00:59Z"}
    assert vertex._standing({**found, "endTime": "2026-11-23T07:01:01Z"}).state is State.TIMED_OUT
    assert vertex._standing(early).state is State.STOPPED
    assert vertex._standing(early).billed == pytest.approx(58.876544)
    assert vertex._standing({"name": "x", "state": "JOB_STATE_RUNNING"}).billed is None


def test_a_name_cannot_be_cancelled_when_nothing_runs(tmp_path: Path) -> None:
    service = Script([failed()], started=[NAME])
    store: Any = Bucket()
    Attempts(service, store, "s3://bucket").cancel(job(tmp_path))
    assert service.stopped == []
    service = Script([RUNS], started=[NAME])
    Attempts(service, store, "s3://bucket").cancel(job(tmp_path))
    assert service.stopped == [NAME]
