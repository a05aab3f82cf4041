"""The data plane's processes: one model server per model, shared by whatever serves that model."""

from __future__ import annotations

import contextlib
import functools
import http.client
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.aws.routing import invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.aws.cloud import Cloud
    from tests.aws.state import Model

SCRIPT = Path(__file__).with_name("container.py")
DRAINING = 10.0  # seconds
UNHEALTHY = (
    "The primary container for production variant {variant} did not pass the ping health check. "
    "Please check CloudWatch logs for this endpoint."
)
NO_DATA = "Failed to download model data for production variant {variant}. Please ensure that the object exists."


@functools.cache
def _session() -> Any:
    import boto3

    return boto3.session.Session()


class ModelServer:
    """One container: ``state`` is starting, ready or failed."""

    def __init__(self, key: tuple[str, str], model: Model) -> None:
        self.key = key
        self.model = model
        self.image: str = model.container["Image"]
        self.state = "starting"
        self.reason = ""
        self.port = 0
        self.users = 0
        self.asked = 0  # requests under way
        self.home = Path(tempfile.mkdtemp(prefix="aws-model-"))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What the container printed."""
        path = self.home / "log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def fail(self, reason: str) -> None:
        self.reason, self.state = reason, "failed"

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
        shutil.rmtree(self.home, ignore_errors=True)


class Fleet:
    """All model servers of the account."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._servers: dict[tuple[str, str], ModelServer] = {}
        self._lock = threading.Lock()
        self._s3: Any = None
        self._threads: list[threading.Thread] = []
        self._closing = False
        self.logs: dict[str, str] = {}  # of servers that are gone, by model

    # --- the bucket -----------------------------------------------------------------------------

    @property
    def s3(self) -> Any:
        """A client of the account's own storage, past the stand-in's faults and records."""
        with self._lock:
            if self._s3 is None:
                self._s3 = _session().client(
                    "s3",
                    endpoint_url=self._cloud.moto.url,
                    region_name=self._cloud.region,
                    aws_access_key_id="internal",
                    aws_secret_access_key="internal",
                )
            return self._s3

    def check(self, url: str) -> None:
        """Refuse model data that is not there, as CreateModel does."""
        bucket, key = split(url)
        try:
            self.s3.head_object(Bucket=bucket, Key=key)
        except self.s3.exceptions.ClientError:
            raise invalid(f"Could not find model data at {url}.") from None

    # --- the processes --------------------------------------------------------------------------

    def acquire(self, model: Model) -> ModelServer:
        """Return the model's server, started if it does not run yet."""
        key = (model.name, model.created.isoformat())
        server = self._servers.get(key)
        if server is None or server.state == "failed":
            server = ModelServer(key, model)
            self._servers[key] = server
            self._aside(self._start, server)
        server.users += 1
        return server

    def release(self, server: ModelServer) -> None:
        server.users -= 1
        if server.users <= 0 and self._servers.get(server.key) is server:
            del self._servers[server.key]
            self.logs[server.key[0]] = server.log
            self._aside(self._drained, server)

    def _drained(self, server: ModelServer) -> None:
        """Stop a server that is not used any more, once it has answered what it was asked."""
        end = time.monotonic() + DRAINING
        while server.asked and not self._closing and time.monotonic() < end:
            time.sleep(0.02)
        server.stop()

    def revive(self, server: ModelServer) -> None:
        """Start a container again that has died, as the platform does."""
        with self._lock:
            died = server.state == "ready" and server.process is not None
            if not died or server.process is None or server.process.poll() is None:
                return
            server.state = "starting"
        self._aside(self._run, server)

    def _aside(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def log(self, model: str) -> str:
        """Return what the containers of a model printed."""
        running = "".join(one.log for key, one in self._servers.items() if key[0] == model)
        return self.logs.get(model, "") + running

    def close(self) -> None:
        """End every container, also those that are about to start."""
        self._closing = True
        for server in list(self._servers.values()):
            server.state = "failed"
        for thread in self._threads:
            thread.join(10)
        for server in list(self._servers.values()):
            server.stop()

    def _start(self, server: ModelServer) -> None:
        data = server.home / "model"
        data.mkdir()
        try:
            self._fetch(server.model, data)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the archive
            (server.home / "log").write_text(f"{type(error).__name__}: {error}\n", encoding="utf-8")
            server.fail(NO_DATA)
            return
        self._run(server)

    def _run(self, server: ModelServer) -> None:
        data, port_file = server.home / "model", server.home / "port"
        port_file.unlink(missing_ok=True)
        command = self._cloud.commands.get(server.image)
        environment = self._environment(server.model, data)
        if command is not None:
            port_file.write_text(environment["SAGEMAKER_BIND_TO_PORT"], encoding="utf-8")
        elif "/byo" in server.image:
            (server.home / "log").write_text("no command for this image\n", encoding="utf-8")
            server.fail(UNHEALTHY)
            return
        else:
            command = [sys.executable, str(SCRIPT), str(data), str(port_file)]
        with (server.home / "log").open("ab") as log:
            server.process = subprocess.Popen(
                command, cwd=data, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self._wait(server, port_file)

    def _wait(self, server: ModelServer, port_file: Path) -> None:
        process = server.process
        assert process is not None
        end = time.monotonic() + self._cloud.startup_timeout
        while time.monotonic() < end and process.poll() is None and server.state == "starting":
            if port_file.exists() and ping(port := int(port_file.read_text(encoding="utf-8"))):
                server.port, server.state = port, "ready"
                return
            time.sleep(0.02)
        process.kill()
        process.wait(10)
        server.fail(UNHEALTHY)

    def _fetch(self, model: Model, into: Path) -> None:
        container = model.container
        url = container.get("ModelDataUrl")
        source = container.get("ModelDataSource", {}).get("S3DataSource")
        if source is not None and source.get("S3DataType") == "S3Prefix":
            bucket, prefix = split(source["S3Uri"])
            for row in self.s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]:
                path = into / row["Key"].removeprefix(prefix).lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                self.s3.download_file(bucket, row["Key"], str(path))
            return
        url = url or (source and source["S3Uri"])
        if url is None:
            return
        bucket, key = split(url)
        archive = into.parent / "model.tar.gz"
        self.s3.download_file(bucket, key, str(archive))
        with tarfile.open(archive) as tar:
            tar.extractall(into, filter="data")
        archive.unlink()

    def _environment(self, model: Model, data: Path) -> dict[str, str]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        kept = ("PATH", "LANG", "TMPDIR", "SYSTEMROOT")
        return {
            **{key: os.environ[key] for key in kept if key in os.environ},
            "HOME": str(data),
            "PYTHONUNBUFFERED": "1",
            "SAGEMAKER_BIND_TO_PORT": str(port),
            "SM_MODEL_DIR": str(data),
            **self._cloud.env,
            **model.container.get("Environment", {}),
        }


def split(url: str) -> tuple[str, str]:
    """Return bucket and key of s3://bucket/key."""
    parts = urlsplit(url)
    return parts.netloc, parts.path.lstrip("/")


def ping(port: int) -> bool:
    """Return whether a container answers its health check."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except OSError:
            return False
