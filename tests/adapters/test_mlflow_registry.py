"""The registry on real MLflow: an embedded SQLite store, and a server whose answers get lost."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
import requests

from tests.contracts.registry_contract import RegistryContract, registration
from tidegate.adapters.registry.mlflow import MlflowRegistry
from tidegate.digests import folder_digest
from tidegate.home import MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty, migrated SQLite store, copied by every test."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowRegistry(f"sqlite:///{file}")._client.search_experiments(max_results=1)
    return file


@pytest.fixture
def registry(store: Path, tmp_path: Path) -> MlflowRegistry:
    shutil.copyfile(store, tmp_path / "mlflow.db")
    return MlflowRegistry(f"sqlite:///{tmp_path / 'mlflow.db'}", artifacts=tmp_path / "artifacts")


class TestMlflowRegistry(RegistryContract):
    pass


def test_lineage_stands_in_tags_and_parameters(registry: MlflowRegistry, tmp_path: Path) -> None:
    version = registry.register(registration(tmp_path / "one"))
    found = registry._client.get_model_version("m", version)
    assert found.tags["tidegate.commit"] == "c" * 40
    run = registry._client.get_run(found.run_id)
    assert run.data.params == {"depth": "3"}
    assert run.data.metrics == {"auc": 0.9}


# --- a server, and answers that get lost ------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copyfile(store, folder / "mlflow.db")
    port = free_port()
    process = subprocess.Popen(
        [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
            "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}",
            "--artifacts-destination", str(folder / "artifacts"), "--workers", "1",
        ],
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                if requests.get(f"{url}/health", timeout=2).ok:
                    break
            except requests.RequestException:
                time.sleep(0.2)
        yield url
    finally:
        os.killpg(process.pid, 9)
        process.wait()


class LosingProxy(ThreadingHTTPServer):
    """Passes everything on, and loses the answers of the first ``losses`` create calls."""

    def __init__(self, upstream: str, losses: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.left = losses
        self.created = 0


class _Handler(BaseHTTPRequestHandler):
    server: LosingProxy

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {
            k: v for k, v in self.headers.items() if k.lower() not in {"host", "content-length"}
        }
        answer = requests.request(
            self.command, self.server.upstream + self.path, data=body, headers=headers, timeout=30
        )
        status = answer.status_code
        if self.path.endswith("/model-versions/create"):
            self.server.created += 1
            if self.server.left > 0:
                self.server.left -= 1
                status = 502
        self.send_response(status)
        self.send_header("content-type", answer.headers.get("content-type", "text/plain"))
        self.send_header("content-length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on  # noqa: N815

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def proxy(server: str, request: pytest.FixtureRequest) -> Iterator[LosingProxy]:
    with LosingProxy(server, request.param) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@pytest.mark.parametrize("proxy", [0, 1, 3], indirect=True)
def test_however_many_answers_are_lost_there_is_one_version(
    proxy: LosingProxy, tmp_path: Path
) -> None:
    losses = proxy.left
    registry = MlflowRegistry(f"http://127.0.0.1:{proxy.server_port}")
    given = registration(tmp_path / "one", f"lost {losses}")
    version = registry.register(given)
    found = registry._client.search_model_versions("name = 'm'")
    same = [v for v in found if v.tags["tidegate.digest"] == given.digest]
    assert [str(v.version) for v in same] == [version]
    assert proxy.created == 1
    registry.fetch("m", version, tmp_path / "fetched")
    assert folder_digest(tmp_path / "fetched" / MODEL) == given.digest
