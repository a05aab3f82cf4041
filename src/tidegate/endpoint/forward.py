"""The user's own model server behind ours: started, watched and asked over loopback HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from typing import TYPE_CHECKING

import httptools
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class ForwardError(Exception):
    """The user's server gave no answer (502)."""


class Response:
    """One parsed HTTP response."""

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.kind = "application/json"
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the content type (called by httptools)."""
        if name.lower() == b"content-type":
            self.kind = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """Collect the body (called by httptools)."""
        self.body += body

    def on_message_complete(self) -> None:
        """Note the end (called by httptools)."""
        self.complete = True


class UserServer:
    """The user's command listening on 127.0.0.1:``port``, in this process's own group.

    It stays in the group so that whoever ends the group ends it too.
    """

    def __init__(self, command: str, *, cwd: str | None, model_dir: Path) -> None:
        self._command = command
        self._cwd = cwd
        self._model_dir = model_dir
        self.port = _free_port()
        self._process: asyncio.subprocess.Process | None = None
        self._idle: list[Connection] = []

    async def start(self) -> None:
        """Start the command and wait until it accepts connections.

        Raises:
            ForwardError: the command ended first.
        """
        environment = {"TIDEGATE_PORT": str(self.port), "TIDEGATE_MODEL_DIR": str(self._model_dir)}
        self._process = await asyncio.create_subprocess_shell(
            self._command, cwd=self._cwd, env={**os.environ, **environment}
        )
        while not await self.accepts():
            if self._process.returncode is not None:
                raise ForwardError(f"{self._command!r} ended with {self._process.returncode}")
            await asyncio.sleep(0.05)

    @property
    def died(self) -> bool:
        """Whether the command has ended."""
        return self._process is not None and self._process.returncode is not None

    async def ended(self) -> int:
        """Wait until the command ends; return its exit code."""
        assert self._process is not None
        return await self._process.wait()

    async def accepts(self) -> bool:
        """Whether the user's server takes a connection."""
        try:
            _, writer = await asyncio.wait_for(self._connect(), 1.0)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    async def invoke(self, body: bytes, headers: Mapping[str, str]) -> Response:
        """Send one request and return the answer; connections are kept and used again.

        Raises:
            ForwardError: no answer.
        """
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = (
            f"POST /invocations HTTP/1.1\r\nhost: 127.0.0.1:{self.port}\r\n{head}"
            f"content-length: {len(body)}\r\n\r\n"
        ).encode("latin-1") + body
        while self._idle:  # a kept connection may have been closed meanwhile: then a fresh one
            with contextlib.suppress(OSError, ForwardError):
                return await self._exchange(self._idle.pop(), request)
        try:
            return await self._exchange(await self._connect(), request)
        except OSError as error:
            raise ForwardError(str(error)) from error

    async def _connect(self) -> Connection:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def _exchange(self, connection: Connection, request: bytes) -> Response:
        reader, writer = connection
        response = Response()
        parser = httptools.HttpResponseParser(response)
        reusable = False
        try:
            writer.write(request)
            while not response.complete:
                data = await reader.read(1 << 16)
                if not data:
                    raise ForwardError("the server closed the connection")
                parser.feed_data(data)
            response.status = parser.get_status_code()
            reusable = parser.should_keep_alive()
        except httptools.HttpParserError as error:
            raise ForwardError(f"not HTTP: {error}") from error
        finally:
            if reusable:
                self._idle.append(connection)
            else:
                writer.close()
        return response


def predictions(body: bytes) -> npt.NDArray[np.float64] | None:
    """Return the predictions of an answer in MLflow's form; None when it has another one."""
    try:
        document = json.loads(body)
        values = document["predictions"] if isinstance(document, dict) else document
        array = np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError, KeyError):
        return None
    if array.ndim <= 1 or (array.ndim == 2 and array.shape[1] == 1):
        return array.reshape(-1)
    return array if array.ndim == 2 else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
