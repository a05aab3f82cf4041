# ruff: noqa: DTZ001 (local clocks, as in the data)
"""The replay against a real HTTP server on loopback."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.endpoint.serving import wait_for
from tidegate.demo.driver import Driver, Status, read
from tidegate.demo.questions import Question, questions
from tidegate.demo.traffic import rate_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.real

LIVE = pa.table(
    {
        "flight_id": [f"UA{n}-EWR-0901" for n in range(500)],
        "scheduled": pa.array([datetime(2013, 9, 1, 6)] * 500, pa.timestamp("ms")),
        "carrier": ["UA"] * 500,
        "dep_delay": [1.0] * 500,
        "late": [n % 2 for n in range(500)],
    }
)


class Server(ThreadingHTTPServer):
    """Answers; flights whose number ends in 7 with a 500. Keeps what it was asked."""

    daemon_threads = True
    request_queue_size = 128  # a connection beyond them waits seconds for its next SYN

    def handle_error(self, *_: object) -> None: ...

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.connections = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        name = str(self.headers["x-request-id"])
        self.server.asked.append((name, body["dataframe_records"][0]))
        answer = b'{"predictions": [0.5]}'
        self.send_response(500 if name.partition("-")[0].endswith("7") else 200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.02,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def drive(
    server: Server, folder: Path, source: Iterator[Question], at_most: int, delay: float = 0.0
) -> Status:
    status = Status()
    driver = Driver(
        port=server.server_port, source=source, rate=lambda: 2000.0,
        labels=folder / "labels.jsonl", delay=delay, status=status,
    )  # fmt: skip
    asyncio.run(driver.run(asyncio.Event(), 20.0, at_most, folder / "status.json"))
    return status


def test_each_flight_is_asked_once_over_kept_connections_and_lands(
    server: Server, tmp_path: Path
) -> None:
    status = drive(server, tmp_path, questions(LIVE, ""), 300)
    asked = [name for name, _ in server.asked]
    landed = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text().splitlines()]

    assert status.sent >= 300
    assert len(asked) == len(set(asked))
    assert server.connections <= 48
    assert all(row == {"carrier": "UA"} for _, row in server.asked)
    assert {(line["id"], line["label"]) for line in landed} >= {
        ("UA0-EWR-0901", 0), ("UA1-EWR-0901", 1), ("UA7-EWR-0901", 1),
    }  # fmt: skip


def test_failures_are_counted_and_their_flights_land_too(server: Server, tmp_path: Path) -> None:
    status = drive(server, tmp_path, questions(LIVE, ""), 200)

    assert status.failed >= 15, "flights 7, 17, 27 ..."
    assert status.answered + status.failed == status.sent == status.labelled


def test_nobody_listening_is_waited_for(tmp_path: Path) -> None:
    with Server() as gone:
        pass
    status = Status()
    driver = Driver(
        port=gone.server_port, source=questions(LIVE, ""), rate=lambda: 100.0,
        labels=tmp_path / "labels.jsonl", delay=0.0, status=status,
    )  # fmt: skip
    asyncio.run(driver.run(asyncio.Event(), 0.5, 100, tmp_path / "status.json"))

    assert (status.sent, status.failed) == (0, 0)


def test_the_rate_follows_the_file(tmp_path: Path) -> None:
    file = tmp_path / "rate"
    current = rate_of(file)
    assert current() == 0.0
    file.write_text("120\n")
    wait_for(lambda: current() == 120.0)


def test_the_process_ends_at_sigterm_and_a_second_one_uses_no_id_again(
    server: Server, tmp_path: Path
) -> None:
    pq.write_table(LIVE, tmp_path / "live.parquet")
    (tmp_path / "rate").write_text("200")
    command: list[str | Path] = [
        sys.executable, "-m", "tidegate.demo.traffic", "--port", str(server.server_port),
        "--live", tmp_path / "live.parquet", "--labels", tmp_path / "labels.jsonl",
        "--status", tmp_path / "status.json", "--rate-file", tmp_path / "rate", "--delay", "0",
    ]  # fmt: skip
    for start in (1, 2):
        before = len(server.asked)
        process = subprocess.Popen(command)
        wait_for(lambda before=before: len(server.asked) > before + 20)  # type: ignore[misc]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        status = read(tmp_path / "status.json")
        assert status is not None
        assert status.started == start
    asked = [name for name, _ in server.asked]
    assert len(asked) == len(set(asked))
