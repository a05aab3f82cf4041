"""The two clouds as one thing: an account on loopback, its target, its counts, and what may go wrong."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tests.adapters import sagemaker_stage as aws_side
from tests.adapters import vertex_world as google_side
from tests.aws.server import serve as serve_aws
from tests.gcp.server import serve as serve_google
from tidegate.adapters.cloud import aws, google
from tidegate.adapters.metrics.cloudwatch import CloudWatch
from tidegate.adapters.metrics.live import LiveMetrics
from tidegate.adapters.metrics.monitoring import Monitoring
from tidegate.adapters.target import vertex_bodies
from tidegate.adapters.target.sagemaker import SageMakerTarget
from tidegate.adapters.target.vertex import VertexTarget
from tidegate.adapters.target.vertex_names import deployed_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pytest

    from tests.aws.cloud import Cloud as AwsCloud
    from tests.gcp.cloud import Cloud as GoogleCloud
    from tidegate.perform import SafeTarget
    from tidegate.ports import MetricSource

NAME = "flights"
DELAY = 60.0  # seconds until a minute's counts are complete


class Place(Protocol):
    """A cloud as rollouts meet it. A new target and source is a new process: they remember nothing."""

    work: Path
    digests: dict[str, str]  # version -> digest, of what may be deployed

    def now(self) -> float: ...
    def advance(self, seconds: float) -> None: ...
    def target(self) -> SafeTarget: ...
    def metrics(self) -> MetricSource: ...
    def count(self, version: str, minute: float, requests: int, errors: int) -> None: ...
    def throttle(self, rate: float) -> None: ...
    def doom(self, folder: Path) -> None: ...
    def orphans(self) -> list[str]: ...
    def violations(self) -> list[str]: ...
    def calls(self) -> int: ...


# Answers x / 100 at once, like the other cloud's: nothing is fetched.
_QUICK = """
import http.server, json, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer({})
    def do_POST(self):
        rows = json.loads(self.rfile.read(int(self.headers["content-length"])))["instances"]
        self.answer({"predictions": [row["x"] / 100 for row in rows]})
    def answer(self, body):
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["AIP_HTTP_PORT"])), Handler).serve_forever()
"""


def _brief(seconds: float) -> None:
    time.sleep(min(seconds, 0.01))


@dataclass
class OnSageMaker:
    """An account with SageMaker, CloudWatch, S3 and EventBridge Scheduler."""

    cloud: AwsCloud
    work: Path
    digests: dict[str, str]

    def now(self) -> float:
        return self.cloud.now()

    def advance(self, seconds: float) -> None:
        self.cloud.advance(seconds)

    def target(self) -> SageMakerTarget:
        session = aws.connect(self.cloud.region, sleep=_brief)
        return SageMakerTarget(
            session, aws_side.SETTINGS, NAME, work=self.work, clock=self.cloud.now, sleep=_brief
        )

    def metrics(self) -> MetricSource:
        counts = CloudWatch(aws.connect(self.cloud.region, sleep=_brief), NAME, delay=DELAY)
        return LiveMetrics(counts, clock=self.cloud.now)

    def count(self, version: str, minute: float, requests: int, errors: int) -> None:
        self.cloud.put_counts(NAME, f"v{version}", minute, requests, errors)

    def throttle(self, rate: float) -> None:
        self.cloud.throttle(rate, services=("sagemaker", "cloudwatch", "scheduler"))

    def orphans(self) -> list[str]:
        """Return configurations and models that the endpoint does not use, and switches."""
        endpoint = self.cloud.endpoints[NAME]
        used = {variant.model for variant in endpoint.variants}
        configs = set(self.cloud.configs) - {endpoint.config}
        return sorted(configs | (set(self.cloud.models) - used) | set(self.cloud.schedules.items))

    def doom(self, folder: Path) -> None:
        """Let the container of the model in a folder never become healthy."""
        (folder / "sick").write_text("1")

    def violations(self) -> list[str]:
        return self.cloud.violations

    def calls(self) -> int:
        return len(self.cloud.calls)


@dataclass
class OnVertex:
    """A project with Vertex AI, Cloud Monitoring, Cloud Storage and Cloud Scheduler."""

    cloud: GoogleCloud
    work: Path
    digests: dict[str, str]

    def now(self) -> float:
        return self.cloud.clock.time()

    def advance(self, seconds: float) -> None:
        self.cloud.clock.advance(seconds)

    def _session(self) -> google.Google:
        return google.connect(self.cloud.project, sleep=_brief)

    def target(self) -> VertexTarget:
        settings = google_side.settings()
        return VertexTarget(self._session(), settings, NAME, clock=self.now, work=self.work)

    def metrics(self) -> MetricSource:
        counts = Monitoring(
            self._session(), project=self.cloud.project, region=self.cloud.region, endpoint=NAME,
            deployed=self._deployed, delay=DELAY,
        )  # fmt: skip
        return LiveMetrics(counts, clock=self.now)

    def _deployed(self, version: str) -> str:
        return deployed_id(version, self.digests[version])

    def count(self, version: str, minute: float, requests: int, errors: int) -> None:
        self.cloud.put_counts(NAME, self._deployed(version), minute, requests, errors)

    def throttle(self, rate: float) -> None:
        self.cloud.throttle(rate)

    def orphans(self) -> list[str]:
        """Return models that nothing serves, endpoints beside ours, and switches."""
        with self.cloud.lock:
            endpoints = {name.rpartition("/")[2] for name in self.cloud.state.endpoints.rows}
            models = {name.rpartition("/")[2] for name in self.cloud.state.models.rows}
        rows = self.cloud.endpoint(NAME).get("deployedModels", ())
        used = {row["model"].rpartition("/")[2] for row in rows}
        return sorted((endpoints - {NAME}) | (models - used) | set(self.cloud.state.schedules))

    def doom(self, folder: Path) -> None:
        """Let the next deployment come to nothing."""
        self.cloud.fail_operation("deployModel", "no quota")

    def violations(self) -> list[str]:
        return self.cloud.violations

    def calls(self) -> int:
        return len(self.cloud.calls)


@contextmanager
def sagemaker(work: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Open an account whose containers answer x / 100 and are up at once."""
    with serve_aws() as cloud:
        for key, value in cloud.env.items():
            monkeypatch.setenv(key, value)
        cloud.commands[aws_side.IMAGE] = [sys.executable, "-S", "-c", aws_side.SERVER]
        session = aws.connect(cloud.region)
        where = {"LocationConstraint": cloud.region}
        session.call("s3", "create_bucket", Bucket=aws_side.BUCKET, CreateBucketConfiguration=where)
        yield OnSageMaker(cloud, work, {})
        assert cloud.violations == []


@contextmanager
def vertex(work: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Open a project whose containers answer x / 100 and are up at once."""
    with ExitStack() as stack:
        cloud = stack.enter_context(serve_google())
        for key, value in cloud.env.items():
            monkeypatch.setenv(key, value)
        work.mkdir(parents=True, exist_ok=True)
        script = work / "quick_server.py"
        script.write_text(_QUICK)
        monkeypatch.setattr(vertex_bodies, "_BOOT", script)
        yield OnVertex(cloud, work, {})
        assert cloud.violations == []


PLACES: dict[str, Callable[..., Any]] = {"sagemaker": sagemaker, "vertex": vertex}
