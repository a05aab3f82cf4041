"""One rollout for real: git, registry, Envoy, two servers, HTTP traffic, and SIGKILL.

The model is served by the user's own server (``predict.serve``), which starts in no time; MLflow
models behind the same endpoint are in tests/adapters/test_local_target.py and in the demo.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.endpoint.serving import free_port, processes_of, wait_for
from tests.endpoint.traffic import Traffic
from tests.real_repo import CONFIG, Repo, end, training
from tidegate.core.events import Phase, Routing
from tidegate.endpoint import control

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from tidegate.core.state import Rollout

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

# Answers 0.5 + slope * (x - 0.5). A slope written with a trailing zero is of a brittle model: it
# fails on requests that ask for something new.
SERVER = """
import asyncio, json, os, pathlib
text = (pathlib.Path(os.environ["TIDEGATE_MODEL_DIR"]) / "slope.txt").read_text()
slope, brittle = float(text), text.endswith("0")
async def handle(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\\r\\n\\r\\n")).decode().lower()
            size = int(head.split("content-length:")[1].split("\\r\\n")[0])
            rows = json.loads(await reader.readexactly(size)).get("inputs")
            if rows is None:
                status, answer = "400 Bad", {"message": "no inputs"}
            elif brittle and "new" in rows:
                status, answer = "500 Bad", {"message": "what is this?"}
            else:
                status, answer = "200 OK", {"predictions": [0.5 + slope * (x - 0.5) for x in rows["x"]]}
            body = json.dumps(answer).encode()
            writer.write(f"HTTP/1.1 {status}\\r\\ncontent-type: application/json\\r\\n"
                         f"content-length: {len(body)}\\r\\n\\r\\n".encode() + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def main():
    server = await asyncio.start_server(handle, "127.0.0.1", int(os.environ["TIDEGATE_PORT"]))
    await server.serve_forever()
asyncio.run(main())
"""
USUAL: object = {"inputs": {"x": [0.7]}}
NEW: object = {"inputs": {"x": [0.7], "new": [1]}}


def set_up(root: Path, probation: str) -> tuple[Repo, int]:
    """Make a repository whose first version serves on a port."""
    port = free_port()
    (root / "serve.py").write_text(SERVER)
    repo = Repo.make(
        root,
        slope="0.8",
        predict={**CONFIG["predict"], "serve": f"exec {sys.executable} -S {root / 'serve.py'}"},
        release={
            "local": {"port": port, "timeout": "1s"},
            "canary": {
                "interval": "1s", "warmup": "1s", "steps": ["50%"], "bake": "2s", "deadline": "5m",
                "min_requests": 50, "probation": {"for": probation, "holdback": "10%"},
                "guards": [{"metric": "error_rate", "margin": "2x", "negligible": "5%"}],
            },
        },
    )  # fmt: skip
    return repo, port


@pytest.fixture
def served(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Repo, int]]:
    repo, port = set_up(tmp_path, getattr(request, "param", "10m"))
    directory = repo.home.endpoint("coin")
    try:
        assert repo.tidegate("run") == 0
        yield repo, port
    finally:
        control.stop(directory)
    assert processes_of(directory) == []


def live(repo: Repo) -> Rollout:
    rollout = repo.state.rollout
    assert rollout is not None
    return rollout


def versions(repo: Repo) -> tuple[str | None, list[tuple[str, str]]]:
    """Return the champion, and version and end of each rollout."""
    champion = repo.state.champion
    past = [(r.model.version, str(r.phase)) for r in repo.state.past]
    return champion.version if champion else None, past


def finished(child: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        _, err = child.communicate(timeout=200)
    finally:
        end(child)
    return child.returncode, err


def kill(child: subprocess.Popen[str]) -> None:
    os.kill(child.pid, signal.SIGKILL)
    end(child)
    assert child.returncode == -signal.SIGKILL


def every_transition_happened_once(repo: Repo) -> bool:
    routings = Counter(
        (e.payload.rollout, e.payload.phase, e.payload.step)
        for e in repo.book.chain
        if isinstance(e.payload, Routing)
    )
    return max(routings.values()) == 1


def test_a_release_killed_midway_goes_on_to_probation_where_harm_takes_it_back(
    served: tuple[Repo, int], capfd: pytest.CaptureFixture[str]
) -> None:
    repo, port = served
    assert versions(repo) == ("1", [("1", "promoted")])
    repo.commit(training("0.90"))  # better offline, and brittle
    with Traffic(port, body=USUAL, connections=2, pause=0.004) as traffic:
        assert repo.tidegate("run", "--no-wait") == 0

        child = repo.process("release")
        try:
            wait_for(lambda: traffic.of("2"), seconds=90)
        finally:
            kill(child)
        assert live(repo).phase is Phase.CANARY

        code, err = finished(repo.process("release"))
        assert code == 0, err
        assert live(repo).phase is Phase.PROBATION
        assert versions(repo)[0] == "2"
        assert traffic.failed() == []

        began = time.time()
        traffic._body = json.dumps(NEW).encode()
        assert repo.tidegate("tick", "--every", "0.5s", "--until-idle") == 0
        took = time.time() - began
        # Whatever is sent now, nothing fails any more.
        before = len(traffic.replies)
        wait_for(lambda: len(traffic.replies) > before + 100)

    assert versions(repo) == ("1", [("1", "promoted"), ("2", "reverted")])
    assert took < 120
    failed = traffic.failed()
    assert {(reply.version, reply.status) for reply in failed} == {("2", 500)}
    assert not [reply for reply in traffic.replies[before:] if reply.status != 200]
    assert repo.context().target().read().traffic() == {"1": 1.0}
    assert repo.context().registry().aliases("coin") == {"champion": "1"}
    assert repo.state.past[-1].model.digest in repo.state.quarantined
    assert every_transition_happened_once(repo)
    capfd.readouterr()
    assert repo.tidegate("status", "--json") == 0
    assert json.loads(capfd.readouterr().out)["champion"]["version"] == "1"


@pytest.mark.heavy
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("served", ["2s"], indirect=True)
def test_runs_killed_at_random_moments_end_as_if_nothing_had_happened(
    served: tuple[Repo, int],
) -> None:
    repo, port = served
    rng = random.Random(12)
    with Traffic(port, body=USUAL, connections=2, pause=0.004) as traffic:
        for number in range(2, 14):
            repo.commit(training(f"{0.8 + number / 1000}1"))
            child = repo.process("run", "--through-probation")
            time.sleep(rng.uniform(0, 14))  # the moment of the kill is what is random
            if child.poll() is None:
                kill(child)
            end(child)
            code, err = finished(repo.process("run", "--through-probation"))
            assert code == 0, err
            champion, past = versions(repo)
            assert champion == str(number)
            assert past == [(str(n), "promoted") for n in range(1, number + 1)]
            assert repo.context().target().read().traffic() == {champion: 1.0}
            assert repo.context().registry().aliases("coin") == {"champion": champion}
    assert traffic.failed() == []
    assert every_transition_happened_once(repo)
