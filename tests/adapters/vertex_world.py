"""A Vertex AI target on the loopback Google Cloud, with models that are up in no time."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tests.endpoint.serving import workshop
from tests.gcp.cloud import PROJECT, REGION
from tidegate.adapters.cloud.google import connect
from tidegate.adapters.target import vertex_bodies
from tidegate.adapters.target import vertex_names as names
from tidegate.adapters.target.vertex import VertexTarget
from tidegate.core.clouds import Vertex
from tidegate.core.model import Task
from tidegate.digests import folder_digest
from tidegate.ports import Deployment

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.gcp.cloud import Cloud
    from tidegate.core.endpoint import Endpoint

ENDPOINTS = "aiplatform.projects.locations.endpoints"
MODELS = "aiplatform.projects.locations.models"
SCHEDULER = f"dead-man@{PROJECT}.iam.gserviceaccount.com"

# Answers x at once, without fetching anything; dies where its version says "dead".
_QUICK = """
import http.server, json, os, sys
if os.environ["TIDEGATE_VERSION"] == "dead":
    sys.exit("the model cannot be loaded")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer({})
    def do_POST(self):
        rows = json.loads(self.rfile.read(int(self.headers["content-length"])))["instances"]
        self.answer({"predictions": [row["x"] for row in rows]})
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


def settings(**changes: Any) -> Vertex:
    given = {
        "project": PROJECT,
        "region": REGION,
        "bucket": "gs://acme-models/tidegate",
        "scheduler_account": SCHEDULER,
        **changes,
    }
    return Vertex(**given)


def connected(
    cloud: Cloud,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str = "flights",
    **changes: Any,
) -> VertexTarget:
    """Return a target that reaches the stand-in as its runner's own account."""
    for key, value in cloud.env.items():
        monkeypatch.setenv(key, value)
    google = connect(PROJECT, sleep=lambda seconds: time.sleep(min(seconds, 0.01)))
    return VertexTarget(
        google, settings(**changes), name, clock=cloud.clock.time, work=tmp_path / "work"
    )


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let containers run a server of a few lines."""
    script = workshop() / "quick_server.py"
    script.write_text(_QUICK)
    monkeypatch.setattr(vertex_bodies, "_BOOT", script)


@functools.cache
def _folder(version: str) -> Path:
    folder = workshop() / f"vertex-{version}"
    folder.mkdir()
    (folder / "MLmodel").write_text(f"# version {version}\n")
    return folder


def small(version: str, *, digest: str | None = None) -> Deployment:
    """Return a version whose folder holds next to nothing."""
    folder = _folder(version)
    return Deployment(
        version=version,
        digest=digest or folder_digest(folder),
        model_dir=folder,
        task=Task.BINARY,
    )


def settled(target: VertexTarget, seconds: float = 30.0) -> Endpoint:
    """Return the endpoint when nothing is under way and everything is ready or has failed."""
    end = time.monotonic() + seconds
    while True:
        endpoint = target.read()
        done = all(v.ready or v.failed for v in endpoint.variants)
        if done and endpoint.busy is None:
            return endpoint
        assert time.monotonic() < end, endpoint
        time.sleep(0.01)


def did(cloud: Cloud, method: str) -> list[Any]:
    """Return what was asked of a method, those refused left out."""
    return [call for call in cloud.calls if call.method == method and call.status < 300]


def split(cloud: Cloud) -> dict[str, int]:
    return dict(cloud.endpoint("flights").get("trafficSplit", {}))


def key(version: str) -> str:
    return names.deployed_id(version, small(version).digest)


def up(target: VertexTarget, *versions: str, generation: int = 1) -> None:
    """Have versions up, the first one with all traffic."""
    for version in versions:
        target.deploy(small(version), generation=generation)
        settled(target)
    target.route({versions[0]: 1.0}, generation=generation + 1)


def rows(*values: float) -> pa.Table:
    return pa.table({"x": list(values)})
