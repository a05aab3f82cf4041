"""Nine states of a SageMaker endpoint in six phases of a rollout: who may write, and who is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.clouds.engine import POLICY, CloudEngine
from tests.clouds.places import NAME, OnSageMaker, sagemaker
from tidegate.core.events import Alerted, Held, Ordered, Phase, Resumed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

BUSY = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
BROKEN = ("OutOfService", "Failed", "UpdateRollbackFailed")
PHASES = ("idle", "requested", "checked", "canary", "reverted", "probation")
# What would change the endpoint. The switch and the fence's tag are no part of it.
CHANGES = {
    "CreateEndpoint", "UpdateEndpoint", "UpdateEndpointWeightsAndCapacities", "DeleteEndpoint",
    "DeleteEndpointConfig", "DeleteModel", "CreateEndpointConfig",
}  # fmt: skip


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudEngine]:
    with sagemaker(tmp_path / "work", monkeypatch) as place:
        yield CloudEngine.begin(tmp_path, place)


def cloud(engine: CloudEngine) -> Any:
    assert isinstance(engine.place, OnSageMaker)
    return engine.place.cloud


def changes(engine: CloudEngine) -> list[str]:
    return [name for _, name, _ in cloud(engine).calls if name in CHANGES]


def alerts(engine: CloudEngine) -> int:
    chain = engine.ledger.read().chain
    return sum(isinstance(event.payload, Alerted) for event in chain)


def one_pass(engine: CloudEngine) -> str:
    """Make one pass, with what the process knew."""
    engine.now = engine.place.now()
    return str(run(engine))


def run(engine: CloudEngine) -> str:
    from tidegate.perform import run_pass

    return run_pass(engine.world).wait.cause


def at_phase(engine: CloudEngine, phase: str) -> None:
    engine.serving_first()
    engine.until_rest()
    if phase == "idle":
        return
    if phase in ("requested", "checked"):
        hold = Held(until=None, hands_off=False, reason="wait")
        engine.now = engine.place.now()
        engine.append(hold, human=True)
        engine.request(engine.version(2), POLICY)
        if phase == "checked":
            engine.settle()
        return
    engine.request(engine.version(2), {**POLICY, "bake": "30m" if phase != "probation" else "2m"})
    wanted = Phase.PROBATION if phase == "probation" else Phase.CANARY
    while engine.state.rollout is None or not (
        engine.state.rollout.phase is wanted and engine.state.rollout.applied
    ):
        engine.minutes(1)
    if phase == "reverted":
        order = Ordered(rollout=engine.state.rollout.id, verb="revert", reason="no")
        engine.append(order, human=True)


@pytest.mark.parametrize("phase", PHASES)
def test_no_state_but_in_service_is_written_to_and_every_broken_one_is_told(
    engine: CloudEngine, phase: str
) -> None:
    at_phase(engine, phase)
    for status in BUSY:
        before, told = changes(engine), alerts(engine)
        cloud(engine).freeze(NAME, status)
        engine.reborn()
        causes = {one_pass(engine) for _ in range(2)}
        assert changes(engine) == before, status
        assert alerts(engine) == told, status
        assert causes & {"idle", "promoted"} == set() or phase == "idle", (status, causes)
        cloud(engine).thaw(NAME)
    for status in BROKEN:
        if status == "Failed" and phase == "requested":
            continue  # the candidate is refused then: its own test
        before, told = changes(engine), alerts(engine)
        cloud(engine).freeze(NAME, status)
        engine.reborn()
        for _ in range(3):
            one_pass(engine)
        assert changes(engine) == before, status
        assert alerts(engine) == told + 1, status
        cloud(engine).thaw(NAME)
        engine.append(Resumed(reason="repaired"), human=True)
        if phase in ("requested", "checked"):
            hold = Held(until=None, hands_off=False, reason="wait")
            engine.append(hold, human=True)
    engine.append(Resumed(reason="go on"), human=True)
    engine.until_rest(90)
    champion = engine.state.champion
    assert champion is not None
    promoted = phase not in ("idle", "reverted")
    assert champion.version == ("2" if promoted else "1")
    end = engine.end_state()
    assert (end["traffic"], end["variants"]) == ({champion.version: 1.0}, [champion.version])
    assert end["orphans"] == []


def test_a_failed_endpoint_refuses_the_candidate_and_keeps_the_old_one(engine: CloudEngine) -> None:
    at_phase(engine, "requested")
    cloud(engine).freeze(NAME, "Failed")
    for _ in range(3):
        one_pass(engine)
    assert alerts(engine) == 1
    cloud(engine).thaw(NAME)
    engine.append(Resumed(reason="made anew"), human=True)
    engine.until_rest()
    assert engine.state.champion is not None
    assert engine.end_state()["traffic"] == {engine.state.champion.version: 1.0}
