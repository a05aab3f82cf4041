"""One job through its attempts: joined while it runs, fetched where it succeeded, tried anew where not.

The same for every service. A job's name says what is trained, so that a runner that died, or a
workflow that runs again, finds its job and goes on with it. Attempts are ``name``, ``name-2``, ...
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from tidegate.adapters.compute.parcels import GoneError, receive, send
from tidegate.container.training import END
from tidegate.core.prices import cost
from tidegate.errors import NotJudgedError, OutsideError
from tidegate.ports import Trained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from tidegate.adapters.compute.parcels import Parcel
    from tidegate.ports import ObjectStore, TrainingJob

ATTEMPTS = 5
_FIRST, _SLOWER, _LONGEST = 1.0, 1.3, 10.0  # seconds between two looks, growing
_DRAIN = 15.0  # seconds for the log's last lines after the end
_STARTING = 7200.0  # seconds beyond that: waiting for a machine, image, upload
_MISSES = 5  # looks in a row that may fail
_LAG = 60.0  # seconds until a new job is seen by everybody
_LINES = 12  # of the log, in an error


class State(StrEnum):
    """Where an attempt stands."""

    WAITING = "waiting"
    RUNNING = "running"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    TIMED_OUT = "timed out"


_LIVE = frozenset({State.WAITING, State.RUNNING, State.STOPPING})


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """An attempt as the service sees it."""

    state: State
    detail: str  # the service's own word for it
    reason: str = ""  # why it failed
    by_code: bool = False  # the user's code failed, not the service
    billed: float | None = None  # seconds


class Service(Protocol):
    """What a service that trains can do. Attempts are known by their names alone."""

    name: str  # for people
    machine: str
    price: float | None  # US dollars an hour

    def patience(self, job: TrainingJob) -> float:
        """Return the seconds that waiting for a machine may add to the job's timeout."""

    def look(self, attempt: str) -> Standing | None:
        """Return how an attempt stands; None where there is none."""

    def start(self, attempt: str, job: TrainingJob, parcel: Parcel) -> None:
        """Start an attempt, once; one that is there already is left alone."""

    def stop(self, attempt: str) -> None:
        """End an attempt if it runs."""

    def log(self, attempt: str) -> Callable[[], Iterable[str]]:
        """Return a reader: each call gives the log's lines since the last."""

    def output(self, attempt: str, into: Path) -> tuple[Path, Path, str]:
        """Copy output.tar and manifest.json into a folder; return both and their address."""


@dataclass
class Attempts:
    """A service as `Compute`. ``store`` is the bucket's folder, ``bucket`` its address."""

    service: Service
    store: ObjectStore
    bucket: str
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    _last: deque[str] = field(default_factory=lambda: deque(maxlen=_LINES))

    def train(self, job: TrainingJob, into: Path, tell: Callable[[str], None]) -> Trained:
        """Start the job, or go on with the one of this name; fetch what it made into ``into``.

        Raises:
            NotJudgedError: the user's commands failed or took too long, in five attempts at most.
            OutsideError: the service, the bucket or the network failed; called again, it goes on.
        """
        number, standing = self._newest(job.name)
        if standing is not None and standing.state is State.STOPPING:
            tell(f"{self._known(job, number)} is being stopped; waiting for its end")
            standing = self._followed(job, number, tell)
        if standing is not None and standing.state is State.SUCCEEDED:
            tell(f"{self._known(job, number)} succeeded before; fetching what it made")
            try:
                return self._fetched(job, number, standing, into)
            except GoneError as error:
                tell(f"{error}; training again")
                standing = None
        if standing is not None and standing.state in _LIVE:
            tell(f"{self._known(job, number)} runs already; joining it")
        else:
            number += 1
            self._start(job, number, tell)
        ended = self._followed(job, number, tell)
        self._check(job, number, ended)
        return self._fetched(job, number, ended, into)

    def cancel(self, job: TrainingJob) -> None:
        """Stop the job if it runs."""
        number, standing = self._newest(job.name)
        if standing is not None and standing.state in _LIVE:
            self.service.stop(_attempt(job.name, number))

    def _known(self, job: TrainingJob, number: int) -> str:
        return f"{self.service.name} job {_attempt(job.name, number)}"

    # --- finding and starting ---------------------------------------------------------------

    def _newest(self, name: str) -> tuple[int, Standing | None]:
        """Return the number of the newest attempt (0: there is none) and how it stands."""
        newest: tuple[int, Standing | None] = (0, None)
        for number in range(1, ATTEMPTS + 1):
            standing = self.service.look(_attempt(name, number))
            if standing is None:
                break
            newest = (number, standing)
        return newest

    def _start(self, job: TrainingJob, number: int, tell: Callable[[str], None]) -> None:
        if number > ATTEMPTS:
            raise NotJudgedError(
                f"{self.service.name} job {job.name} failed in {ATTEMPTS} attempts",
                remedy="The same code, data and settings are not tried again: change what fails.",
            )
        attempt = _attempt(job.name, number)
        tell(f"sending code and rows for {self._known(job, number)}")
        parcel = send(self.store, self.bucket, job)
        for last in (False, False, True):
            try:
                self.service.start(attempt, job, parcel)
            except OutsideError as error:
                # An answer that got lost may hide a job that runs: look before asking again.
                if not getattr(error, "unknown", False):
                    raise
                self.sleep(_FIRST)
                if self.service.look(attempt) is not None:
                    break
                if last:
                    raise
            else:
                break
        tell(f"started {self._known(job, number)} on {self.service.machine}")

    # --- following --------------------------------------------------------------------------

    def _followed(self, job: TrainingJob, number: int, tell: Callable[[str], None]) -> Standing:
        """Return how the attempt ended; its log and its progress are told meanwhile."""
        attempt = _attempt(job.name, number)
        log = _Log(self.service.log(attempt), tell, self._last)
        most = job.timeout + self.service.patience(job) + _STARTING
        began, detail, pause = self.clock(), "", _FIRST
        for standing in self._looks(attempt):
            log.pump()
            if standing is not None and standing.detail != detail:
                detail = standing.detail
                tell(f"{attempt}: {detail}")
            if standing is not None and standing.state not in _LIVE:
                self._drain(log)
                return standing
            passed = self.clock() - began
            if standing is None and passed > _LAG:
                raise OutsideError(f"{self._known(job, number)} is not there any more")
            if passed > most:
                raise OutsideError(
                    f"{self._known(job, number)} has not ended: {detail}",
                    remedy="It is left alone; run the same command again to go on with it.",
                )
            self.sleep(pause)
            pause = min(pause * _SLOWER, _LONGEST)
        raise AssertionError

    def _looks(self, attempt: str) -> Iterator[Standing | None]:
        """Yield how it stands, for ever; a look that fails is tried again a few times."""
        misses = 0
        while True:
            try:
                standing = self.service.look(attempt)
            except OutsideError:
                misses += 1
                if misses > _MISSES:
                    raise
                self.sleep(_LONGEST)
                continue
            misses = 0
            yield standing

    def _drain(self, log: _Log) -> None:
        """Wait for the last lines: a log arrives later than the end."""
        end = self.clock() + _DRAIN
        while not log.ended and self.clock() < end:
            log.pump()
            self.sleep(_FIRST)

    def _check(self, job: TrainingJob, number: int, ended: Standing) -> None:
        if ended.state is State.SUCCEEDED:
            return
        known, reason = self._known(job, number), ended.reason.strip() or ended.detail
        if ended.state is State.TIMED_OUT:
            raise NotJudgedError(
                f"training took longer than {job.timeout:g} s and was ended: {job.run}",
                remedy="Raise its timeout in mlops.yaml if it needs longer.",
            )
        if ended.state is State.STOPPED:
            raise OutsideError(
                f"{known} was stopped", remedy="Somebody stopped it. Run again for a new attempt."
            )
        if ended.by_code:
            lines = "" if "\n" in reason else "".join(f"\n  {line}" for line in self._last)
            raise NotJudgedError(
                f"{known}: {reason}{lines}",
                remedy="Its output stands above. Run the command in the same image to see more.",
            )
        raise OutsideError(
            f"{known} could not be run: {reason}", remedy="Run again for a new attempt."
        )

    # --- fetching ---------------------------------------------------------------------------

    def _fetched(self, job: TrainingJob, number: int, ended: Standing, into: Path) -> Trained:
        work = into.with_name(f"{into.name}.fetched")
        work.mkdir(parents=True, exist_ok=True)
        output, manifest, where = self.service.output(_attempt(job.name, number), work)
        seconds = receive(output, manifest, into, where)
        output.unlink()
        return Trained(
            folder=into,
            job=_attempt(job.name, number),
            seconds=seconds,
            billed_seconds=seconds if ended.billed is None else ended.billed,
            cost=cost(ended.billed, self.service.price),
            machine=self.service.machine,
        )


def _attempt(name: str, number: int) -> str:
    return name if number <= 1 else f"{name}-{number}"


class _Log:
    """Tells a log's new lines; a log that cannot be read does not stop the training."""

    def __init__(
        self, read: Callable[[], Iterable[str]], tell: Callable[[str], None], last: deque[str]
    ) -> None:
        self._read = read
        self._tell = tell
        self._last = last
        self._told = False
        self.ended = False

    def pump(self) -> None:
        """Tell what is new."""
        try:
            for line in self._read():
                self._tell(line)
                if line.startswith(END):
                    self.ended = True
                else:
                    self._last.append(line)
        except OutsideError as error:
            if not self._told:
                self._tell(f"the job's log cannot be read now: {error}")
            self._told = True
