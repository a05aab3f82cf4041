"""The state of one project on the loopback Google Cloud, and what a test may do to it."""

from __future__ import annotations

import random
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.gcp.captures import Captures
from tests.gcp.clock import Clock
from tests.gcp.counts import Counts
from tests.gcp.distributions import EXPONENTIAL
from tests.gcp.faults import Faults
from tests.gcp.identity import Identity
from tests.gcp.operations import Operations
from tests.gcp.routing import shown
from tests.gcp.tables import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.gcp.containers import Container
    from tests.gcp.routing import Row

PROJECT, NUMBER, REGION = "acme-ml", "123456789012", "europe-west1"


class Call(NamedTuple):
    """A request that was answered: parameters of path and query, the body, who asked."""

    method: str
    parameters: Mapping[str, str]
    body: Any
    status: int
    principal: str


@dataclass
class State:
    """Everything that stands in the project; tables hold rows by their full names."""

    endpoints: Table
    models: Table
    versions: dict[str, list[Row]] = field(default_factory=dict)  # by the model's name
    jobs: dict[str, Row] = field(default_factory=dict)  # custom jobs
    schedules: dict[str, Row] = field(default_factory=dict)  # Cloud Scheduler's jobs
    buckets: dict[str, dict[str, Any]] = field(default_factory=dict)  # bucket: name: object
    uploads: dict[str, Any] = field(default_factory=dict)  # resumable uploads under way
    entries: list[Row] = field(default_factory=list)  # Cloud Logging


class Cloud:
    """One project in one region, its people's tokens, and a record of what was asked."""

    def __init__(
        self,
        *,
        project: str = PROJECT,
        number: str = NUMBER,
        region: str = REGION,
        speed: float = 0.02,
        time_scale: float = 1.0,
        buckets: Iterable[str] = ("acme-models",),
        anonymous: bool = False,
        seed: int = 0,
    ) -> None:
        self.project, self.number, self.region = project, number, region
        self.speed = speed  # real seconds that an operation takes
        self.patience = 60.0  # real seconds in which a container must come up
        self.anonymous = anonymous  # requests without a token are answered, too
        self.metric_delay = 0.0  # seconds of the clock from a minute's end until it is visible
        self.log_delay = 0.0  # seconds of the clock from a request to its row in BigQuery
        self.log_items = False  # a logged payload is one text per instance, not the whole body
        self.log_errors = False  # whether failed requests are logged, too
        self.images: dict[str, Sequence[str]] = {}  # what an image runs without a command
        self.bucket_options = EXPONENTIAL  # of prediction_latencies
        self.results: dict[str, tuple[list[str], list[Row]]] = {}  # of queries, by job
        self.url = ""  # set by the server
        self.clock = Clock(scale=time_scale)
        self.random = random.Random(seed)
        self.identity = Identity(project, number)
        self.faults = Faults()
        self.operations = Operations(self)
        self.counts = Counts(self)
        self.captures = Captures(self)
        self.calls: list[Call] = []
        self.violations: list[str] = []
        self.lock = threading.RLock()
        self.folder = Path(tempfile.mkdtemp(prefix="gcp-"))  # where containers run
        self.containers: dict[str, Container] = {}  # by "endpoint/deployed model", or the job
        self._lag = 0
        self.state = State(endpoints=Table(lambda: self._lag), models=Table(lambda: self._lag))
        for bucket in buckets:
            self.add_bucket(bucket)

    # --- what a test does ---------------------------------------------------------------------

    @property
    def env(self) -> dict[str, str]:
        """Return what a client's environment must hold to find this cloud, and be let in."""
        host = self.url.removeprefix("http://")
        return {
            "TIDEGATE_GOOGLE_URL": self.url,
            "GOOGLE_CLOUD_PROJECT": self.project,
            "GCE_METADATA_HOST": host,
            "GCE_METADATA_IP": host,
            "CLOUDSDK_CONFIG": "/dev/null",  # nobody's own login
            "STORAGE_EMULATOR_HOST": self.url,
        }

    def add_bucket(self, name: str) -> None:
        self.state.buckets.setdefault(name, {})

    def endpoint(self, endpoint_id: str) -> Row:
        """Return an endpoint as it is, past everything that lags."""
        return shown(self.state.endpoints[self.name_of("endpoints", endpoint_id)])

    def name_of(self, collection: str, last: str) -> str:
        return f"projects/{self.number}/locations/{self.region}/{collection}/{last}"

    def canonical(self, name: str) -> str:
        """Return a resource's name as Vertex AI answers it: with the project's number."""
        return name.replace(f"projects/{self.project}/", f"projects/{self.number}/", 1)

    def put_counts(
        self,
        endpoint_id: str,
        deployed_model_id: str,
        minute: float,
        requests: int,
        errors: int = 0,
        slow: Sequence[tuple[float, int]] = (),
        fast_ms: float = 5.0,
    ) -> None:
        """Add to the metrics of the minute that holds a Unix time.

        ``errors`` of ``requests`` are 5xx; ``slow`` holds (milliseconds, how many), the other
        requests take ``fast_ms``.
        """
        self.counts.put(endpoint_id, deployed_model_id, minute, requests, errors, slow, fast_ms)

    def put_capture(
        self, endpoint_id: str, deployed_model_id: str, when: float, request: Any, response: Any
    ) -> None:
        """Add a row to the endpoint's request-response log, as if ``when`` (Unix) were now."""
        endpoint = self.endpoint(endpoint_id)
        self.captures.add(endpoint, deployed_model_id, when, request, response)

    def put_log(self, job: str, message: str, *, severity: str = "INFO") -> None:
        """Add an entry to a custom job's log; ``job`` is its name or id."""
        from tests.gcp.jobs import entry

        self.state.entries.append(entry(self, job.rpartition("/")[2], message, severity))

    def fail_next(
        self,
        method: str,
        times: int = 1,
        status: int | None = 503,
        apply: bool = False,
        reason: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Fail the next calls of a method (``"*.endpoints.patch"``).

        ``apply``: only after they had their effect; ``status`` None resets the connection.
        """
        self.faults.fail_next(method, times, status, apply, reason=reason, headers=headers)

    def throttle(self, rate: float, seed: int = 0) -> None:
        """Refuse a share of all calls with 429 or 503."""
        self.faults.throttle(rate, seed)

    def lag_reads(self, times: int) -> None:
        """From now on the first reads after a write show what was there before it; 0: off."""
        self._lag = times

    def freeze(self, kind: str = "*") -> None:
        """Let no operation of a kind (``"deployModel"``) become done, until :meth:`thaw`."""
        self.operations.frozen.add(kind)

    def thaw(self) -> None:
        self.operations.frozen.clear()

    def fail_operation(self, kind: str, message: str, reason: str = "INTERNAL") -> None:
        """Let the next operation of a kind end with an error."""
        self.operations.doomed.append((kind, reason, message))

    def preempt(self, job: str) -> None:
        """Take the spot machine of a custom job away."""
        from tests.gcp.jobs import preempt

        preempt(self, job)

    def crash(self, endpoint_id: str, deployed_model_id: str) -> None:
        """End a deployed model's process; requests to it are answered with 503."""
        self.containers[f"{endpoint_id}/{deployed_model_id}"].stop()

    def advance(self, seconds: float) -> None:
        """Let time pass on the clock of metrics, logs and schedules."""
        with self.lock:
            self.clock.advance(seconds)

    # --- running ------------------------------------------------------------------------------

    def wait_idle(self, seconds: float = 30.0) -> None:
        """Wait until no operation is under way."""
        end = time.monotonic() + seconds
        while self.operations.waiting():
            assert time.monotonic() < end, self.operations.waiting()
            time.sleep(0.01)
            with self.lock:
                self.operations.settle()

    def close(self) -> None:
        """End every process, and leave nothing behind."""
        for container in list(self.containers.values()):
            container.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def snapshot(self) -> Row:
        """Return what can be written as JSON."""
        state = self.state
        return {
            "endpoints": [shown(row) for row in state.endpoints.rows.values()],
            "models": [shown(row) for row in state.models.rows.values()],
            "operations": [shown(row) for row in self.operations.rows.values()],
            "jobs": [shown(row) for row in state.jobs.values()],
            "schedules": [shown(row) for row in state.schedules.values()],
            "objects": {bucket: sorted(held) for bucket, held in state.buckets.items()},
            "calls": [[*call[:2], *call[3:]] for call in self.calls],
            "violations": self.violations,
        }
