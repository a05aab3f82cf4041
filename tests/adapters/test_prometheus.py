"""Counts from a real Prometheus that scrapes real servers; refusals from one that is scripted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.endpoint.serving import free_port
from tidegate.adapters.metrics.prometheus import Prometheus
from tidegate.core.clouds import Metering, Source
from tidegate.core.evidence import Arm
from tidegate.core.model import Task
from tidegate.errors import ConfigError, OutsideError
from tidegate.ports import Measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.real

MEASURE = Measure(
    interval=2.0, slower_than=0.2, task=Task.BINARY, clip=None, label_source=None, label_every=600
)
FAST = Measure(
    interval=2.0, slower_than=None, task=Task.BINARY, clip=None, label_source=None, label_every=600
)


def metering(url: str, **changes: Any) -> Metering:
    settings = {
        "requests": "asked_total", "errors": 'failed_total{code=~"5.."}', "slow": "slow_total",
    }  # fmt: skip
    return Metering(source=Source.PROMETHEUS, url=url, **{**settings, **changes})


@contextmanager
def serving(answer: Callable[[str], tuple[int, str, str]]) -> Iterator[str]:
    """Serve answers (status, type, body) by path; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            status, kind, text = answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Exporter:
    """A server's counters, and the history of what they were when."""

    def __init__(self) -> None:
        self.counters: dict[str, int] = {}
        self.up = True
        self.scraped: list[tuple[float, dict[str, int]]] = []

    def add(self, **counters: int) -> None:
        """``asked_7=3`` adds three requests of version 7."""
        for name, number in counters.items():
            self.counters[name] = self.counters.get(name, 0) + number

    def restart(self) -> None:
        self.counters = {name: 0 for name in self.counters if name.startswith("asked")}

    def __call__(self, path: str) -> tuple[int, str, str]:
        if not self.up:
            return 500, "text/plain", ""
        held = dict(self.counters)
        self.scraped.append((time.time(), held))
        lines = []
        for name, number in held.items():
            what, _, version = name.partition("_")
            code = ',code="500"' if what == "failed" else ""
            lines.append(f'{what}_total{{version="{version}"{code}}} {number}')
        return 200, "text/plain; version=0.0.4", "\n".join(lines) + "\n"


def needed() -> bool:
    return os.environ.get("TIDEGATE_PROMETHEUS") == "required"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[str, list[Exporter]]]:
    """A Prometheus that scrapes two exporters every 0.25 s."""
    if shutil.which("prometheus") is None:
        assert not needed(), "TIDEGATE_PROMETHEUS=required, and prometheus is not on the PATH"
        pytest.skip("prometheus is not on the PATH")
    exporters = [Exporter(), Exporter()]
    with serving(exporters[0]) as one, serving(exporters[1]) as two:
        targets = [address.removeprefix("http://") for address in (one, two)]
        config = {
            "global": {"scrape_interval": "250ms", "scrape_timeout": "200ms"},
            "scrape_configs": [{"job_name": "model", "static_configs": [{"targets": targets}]}],
        }
        (tmp_path / "prometheus.yml").write_text(json.dumps(config))
        port = free_port()
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(
                [
                    "prometheus", f"--config.file={tmp_path / 'prometheus.yml'}",
                    f"--storage.tsdb.path={tmp_path / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=log, stderr=log,
            )  # fmt: skip
        try:
            wait_ready(f"http://127.0.0.1:{port}", process)
            wait_scraped(exporters)
            yield f"http://127.0.0.1:{port}", exporters
        finally:
            process.terminate()
            process.wait(20)


def wait_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None
        try:
            if requests.get(f"{url}/-/ready", timeout=1).ok:
                return
        except requests.RequestException:
            time.sleep(0.05)
    raise AssertionError("prometheus did not become ready")


def wait_scraped(exporters: list[Exporter]) -> None:
    deadline = time.monotonic() + 30
    while not all(exporter.scraped for exporter in exporters):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.time()))


def test_the_counts_are_what_the_servers_counted(world: tuple[str, list[Exporter]]) -> None:
    url, (one, two) = world
    one.add(asked_6=1000, asked_7=50, slow_7=0)
    two.add(asked_6=500, failed_6=20)
    start = int(time.time() / 2) + 2  # the first interval that is looked at
    until(start * 2 - 0.5)
    first = (dict(one.counters), dict(two.counters))
    source = Prometheus(metering(url))
    source.check(MEASURE)

    end_of_first = start * 2 + 2
    until(start * 2 + 0.1)
    while time.time() < end_of_first - 0.6:
        one.add(asked_6=7, asked_7=3)
        two.add(asked_6=5, failed_6=1)
        time.sleep(0.05)
    until(end_of_first + 0.1)
    one.add(asked_7=11, failed_7=4, slow_7=6)  # version 7's first errors ever
    until(end_of_first + 2 + 1.0)
    found = source.counts(["6", "7"], start, start + 2, MEASURE)

    before = sum(held.get("asked_6", 0) for held in first)
    after = one.counters["asked_6"] + two.counters["asked_6"]
    assert found[start, "6"] == Arm(
        requests=after - before, errors=two.counters["failed_6"] - 20, slow=0
    )
    asked = one.counters["asked_7"] - 50 - 11
    assert found[start, "7"] == Arm(requests=asked, errors=0, slow=0)
    assert found[start + 1, "7"] == Arm(requests=11, errors=4, slow=6)
    assert (start + 1, "6") not in found  # no requests

    # PromQL's own answer to the same question is an estimate.
    query = f"sum(increase(asked_total{{version='7'}}[2s] @ {end_of_first + 2}))"
    data = requests.get(f"{url}/api/v1/query", params={"query": query}, timeout=5).json()
    assert float(data["data"]["result"][0]["value"][1]) != 11


def test_a_server_that_is_started_anew_loses_nothing_that_was_scraped(
    world: tuple[str, list[Exporter]],
) -> None:
    url, (one, _) = world
    one.add(asked_7=100, failed_7=9)
    start = int(time.time() / 2) + 2
    until(start * 2 + 0.3)
    one.add(asked_7=10)
    until(start * 2 + 1.0)  # scraped
    one.restart()
    one.add(asked_7=4, failed_7=1)
    until(start * 2 + 3.2)
    found = Prometheus(metering(url, slow=None)).counts(["7"], start, start + 1, FAST)
    assert found == {(start, "7"): Arm(requests=14, errors=1)}


def test_an_interval_in_which_a_server_could_not_be_scraped_is_no_data(
    world: tuple[str, list[Exporter]],
) -> None:
    url, (one, two) = world
    one.add(asked_7=100)
    two.add(asked_6=100, asked_7=100)
    start = int(time.time() / 2) + 2
    until(start * 2 - 0.5)
    one.up = False
    while time.time() < start * 2 + 4.0:
        one.add(asked_7=1)
        two.add(asked_6=1, asked_7=1)
        time.sleep(0.05)
    one.up = True
    while time.time() < start * 2 + 8.6:
        one.add(asked_7=1)
        two.add(asked_6=1, asked_7=1)
        time.sleep(0.05)
    found = Prometheus(metering(url, slow=None)).counts(["6", "7"], start, start + 4, FAST)
    assert {index - start for index, version in found if version == "6"} == {0, 1, 2, 3}
    assert {index - start for index, version in found if version == "7"} == {3}


def test_a_counter_that_is_not_there_is_told(world: tuple[str, list[Exporter]]) -> None:
    url, (one, two) = world
    one.add(asked_7=1)
    two.add(asked_7=1)
    deadline = time.monotonic() + 20
    while True:  # the first scrape
        try:
            Prometheus(metering(url, errors="asked_total", slow=None)).check(FAST)
            break
        except OutsideError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    with pytest.raises(OutsideError, match="no counter faild_total"):
        Prometheus(metering(url, errors='faild_total{code="500"}', slow=None)).check(FAST)
    wrong = Prometheus(metering(url, errors="asked_total", slow=None, by="revision"))
    with pytest.raises(OutsideError, match="no label revision"):
        wrong.counts(["7"], int(time.time() / 2) - 2, int(time.time() / 2) + 1, FAST)


# --- what must be refused -----------------------------------------------------------------------


def scripted(document: object, status: int = 200) -> Callable[[str], tuple[int, str, str]]:
    return lambda _: (status, "application/json", json.dumps(document))


MATRIX = {"resultType": "matrix", "result": []}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(
            scripted({"status": "error", "error": "parse error"}, 400), "parse", id="error"
        ),
        pytest.param(scripted([]), "status 200", id="a list"),
        pytest.param(lambda _: (200, "text/html", "<html>"), "status 200", id="a page"),
        pytest.param(
            scripted({"status": "success", "data": MATRIX, "warnings": ["store away"]}),
            "incomplete: store away",
            id="partial",
        ),
        pytest.param(
            scripted({"status": "success", "data": {"resultType": "vector", "result": []}}),
            "no matrix",
            id="a vector",
        ),
        pytest.param(
            scripted(
                {"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}}]}}
            ),
            "KeyError",
            id="no values",
        ),
    ],
)
def test_an_answer_that_is_not_whole_is_an_error(
    answer: Callable[[str], tuple[int, str, str]], said: str
) -> None:
    with serving(answer) as url, pytest.raises(OutsideError, match=said):
        Prometheus(metering(url)).counts(["7"], 10, 12, MEASURE)


def test_a_prometheus_that_is_away_is_an_error_without_its_password() -> None:
    url = f"http://me:secret@127.0.0.1:{free_port()}"
    with pytest.raises(OutsideError) as caught:
        Prometheus(metering(url)).counts(["7"], 10, 12, MEASURE)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"requests": None}, "needs", id="no requests"),
        pytest.param({"errors": None}, "needs", id="no errors"),
        pytest.param({"url": "prometheus:9090"}, "http", id="no address"),
        pytest.param({"requests": "sum(asked_total)"}, "name of a counter", id="an expression"),
        pytest.param({"errors": "failed_total[5m]"}, "name of a counter", id="a range"),
        pytest.param({"slow": 'slow_total{le="1"} or x'}, "name of a counter", id="an operator"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Prometheus(metering(changes.pop("url", "http://localhost:9090"), **changes))


def test_slow_answers_need_their_counter() -> None:
    source = Prometheus(metering("http://localhost:9090", slow=None))
    with pytest.raises(ConfigError, match="slow"):
        source.check(MEASURE)
    with pytest.raises(ConfigError, match="slow"):
        source.counts(["7"], 10, 12, MEASURE)


def test_the_delay_is_the_settings_or_a_minute() -> None:
    assert Prometheus(metering("http://h")).delay == 60.0
    assert Prometheus(metering("http://h", delay=30.0)).delay == 30.0
    assert Prometheus(metering("http://h", delay=30.0), delay=0.0).delay == 0.0
