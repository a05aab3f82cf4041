"""How many single-row requests a second the endpoint answers: python -m tests.endpoint.throughput.

A small HistGradientBoosting pipeline, two variants at 90/10, everything (this load generator, Envoy,
both model servers, the supervisor counting it all) on this machine.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import time
from pathlib import Path

from tests.contracts.target_contract import until_ready
from tests.endpoint.serving import free_port, mlflow_model
from tidegate.adapters.target.local import LocalTarget

SECONDS = 5.0
ROW = {"amount": 0.1, "age": 40, "region": "north", "rate": 0.5}
BODY = json.dumps({"dataframe_records": [ROW]}).encode()
HEAD = "POST /invocations HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
REQUEST = f"{HEAD}content-length: {len(BODY)}\r\n\r\n".encode() + BODY


class Client(asyncio.Protocol):
    """One connection that asks again as soon as it is answered."""

    def __init__(self, until: float, times: list[float], failed: list[bytes]) -> None:
        self.until, self.times, self.failed = until, times, failed
        self.seen = b""
        self.began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.began = time.perf_counter()
        self.transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        self.seen += data
        head, found, body = self.seen.partition(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]) if found else 0
        if not found or len(body) < size:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self.failed.append(self.seen)
        self.times.append(time.perf_counter() - self.began)
        self.seen = b""
        if time.perf_counter() < self.until:
            self.ask()
        else:
            self.transport.close()


async def load(port: int, connections: int) -> tuple[list[float], list[bytes]]:
    times: list[float] = []
    failed: list[bytes] = []
    until = time.perf_counter() + SECONDS
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(lambda: Client(until, times, failed), "127.0.0.1", port)
    await asyncio.sleep(SECONDS + 0.5)
    return sorted(times), failed


def main() -> None:
    directory = Path(tempfile.mkdtemp(prefix="tidegate-throughput-"))
    port = free_port()
    target = LocalTarget(directory, port=port, timeout=5.0)
    try:
        target.deploy(mlflow_model("1"), generation=1)
        target.deploy(mlflow_model("2"), generation=2)
        until_ready(target, "1", "2")
        target.route({"1": 0.9, "2": 0.1}, generation=3)
        for connections in (1, 8, 32, 64):
            times, failed = asyncio.run(load(port, connections))
            print(
                f"{connections:3} connections: {len(times) / SECONDS:6.0f} requests/s, "
                f"p50 {times[len(times) // 2] * 1e3:5.1f} ms, "
                f"p99 {times[int(len(times) * 0.99)] * 1e3:5.1f} ms, {len(failed)} failed"
            )
    finally:
        target.stop()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
