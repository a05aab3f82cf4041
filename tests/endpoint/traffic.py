"""A load generator for the tests: keep-alive connections, every answer written down."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Reply:
    """One request's fate; status 0 means no answer."""

    id: str
    status: int
    version: str
    body: bytes
    sent: float


class Traffic:
    """Sends requests from a thread of its own until told to stop, or until ``count`` are sent."""

    def __init__(
        self,
        port: int,
        *,
        body: object = None,
        count: int | None = None,
        connections: int = 4,
        prefix: str = "r",
        pause: float = 0.0,
    ) -> None:
        self.replies: list[Reply] = []
        self._port = port
        self._body = json.dumps(body or {"inputs": {"x": [70]}}).encode()
        self._count = count
        self._connections = connections
        self._prefix = prefix
        self._pause = pause
        self._sent = 0
        self._stopping = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = self._count is None
        self._thread.join(60)
        assert not self._thread.is_alive()

    def failed(self) -> list[Reply]:
        return [reply for reply in self.replies if reply.status != 200]

    def of(self, version: str) -> list[Reply]:
        return [reply for reply in self.replies if reply.version == version]

    async def _run(self) -> None:
        await asyncio.gather(*(self._connection() for _ in range(self._connections)))

    async def _connection(self) -> None:
        stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while not self._stopping and (self._count is None or self._sent < self._count):
            name = f"{self._prefix}{self._sent}"
            self._sent += 1
            sent = time.time()
            try:
                stream = stream or await asyncio.open_connection("127.0.0.1", self._port)
                self.replies.append(await self._ask(*stream, name, sent))
            except (OSError, EOFError):
                self.replies.append(Reply(name, 0, "", b"", sent))
                if stream:
                    stream[1].close()
                stream = None
            if self._pause:
                await asyncio.sleep(self._pause)
        if stream:
            stream[1].close()

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str, sent: float
    ) -> Reply:
        head = (
            f"POST /invocations HTTP/1.1\r\nhost: localhost\r\nx-request-id: {name}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(self._body)}\r\n\r\n"
        )
        writer.write(head.encode() + self._body)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        assert headers["x-request-id"] == name
        version = headers.get("x-tidegate-version", "")
        return Reply(name, int(lines[0].split()[1]), version, body, sent)
