"""The release engine over a Vertex AI endpoint: promoted, reverted, refused, left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.adapters.vertex_world import (
    connected,
    quick,
)
from tests.endpoint.serving import wait_for
from tests.engine import Engine
from tests.gcp.server import serve
from tidegate.core.events import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.gcp.cloud import Cloud
    from tidegate.adapters.target.vertex import VertexTarget
    from tidegate.core.state import State

pytestmark = pytest.mark.real

JOB = "projects/acme-ml/locations/europe-west1/jobs/flights-dead-man"


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    quick(monkeypatch)
    with serve() as cloud:
        yield cloud


@pytest.fixture
def connect(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., VertexTarget]:
    return lambda **changes: connected(cloud, monkeypatch, tmp_path, **changes)


@pytest.fixture
def target(connect: Callable[..., VertexTarget]) -> VertexTarget:
    return connect()


class Release:
    """The release engine over this target, with a minute for every pass."""

    def __init__(self, target: VertexTarget, cloud: Cloud, root: Path) -> None:
        self.cloud, self.target = cloud, target
        self.engine = Engine.make(root)
        self.engine.target = target  # type: ignore[assignment]
        self.engine.now = cloud.clock.time()

    def passes(self, until: Callable[[State], bool], *, minutes: int = 120) -> State:
        for _ in range(minutes):
            self.cloud.advance(60)
            self.engine.now = self.cloud.clock.time()
            self.engine.tick()
            self.cloud.wait_idle()
            if until(self.engine.state):
                return self.engine.state
        pytest.fail(f"it does not get there: {self.engine.state.rollout}")

    def at_rest(self) -> None:
        """Pass until nothing is left to do."""
        for _ in range(20):
            self.cloud.advance(60)
            self.engine.now = self.cloud.clock.time()
            done = self.engine.tick()
            self.cloud.wait_idle()
            if done.wait.settled:
                return
        pytest.fail(f"it does not come to rest: {done.wait}")

    def live(self) -> None:
        """Have version 1 serve, and version 2 on its way."""
        self.engine.serving(1)
        self.at_rest()
        self.engine.request(self.engine.version(2))

    def phase(self, phase: Phase) -> Callable[[State], bool]:
        return lambda state: state.rollout is not None and state.rollout.phase is phase


@pytest.fixture
def release(target: VertexTarget, cloud: Cloud, tmp_path: Path) -> Release:
    return Release(target, cloud, tmp_path)


def test_a_good_candidate_is_promoted_and_the_old_one_gone(release: Release) -> None:
    release.live()
    release.passes(release.phase(Phase.CANARY))
    release.passes(lambda state: state.champion is not None and state.champion.version == "2")
    release.passes(lambda state: state.rollout is None)
    release.at_rest()
    end = release.target.read()
    assert end.traffic() == {"2": 1.0}
    assert [v.version for v in end.variants] == ["2"]
    assert end.leftovers == ()
    assert len(release.cloud.containers) == 1
    assert release.cloud.state.schedules == {}


def test_a_bad_candidate_is_reverted_and_gone(release: Release) -> None:
    release.engine.metrics.rates = {"1": (0.01, 0.0), "2": (0.4, 0.0)}
    release.live()
    end = release.passes(lambda state: state.rollout is None and bool(state.past))
    assert end.past[-1].phase is Phase.REVERTED
    release.at_rest()
    after = release.target.read()
    assert after.traffic() == {"1": 1.0}
    assert [v.version for v in after.variants] == ["1"]
    assert after.leftovers == ()


def test_a_candidate_that_does_not_come_up_is_refused_and_forgotten(release: Release) -> None:
    release.live()
    release.cloud.fail_operation("deployModel", "no quota")
    release.passes(lambda state: state.rollout is None)
    release.at_rest()
    assert [v.version for v in release.target.read().variants] == ["1"]
    assert release.target.read().leftovers == ()


def test_a_gap_in_the_passes_shuts_the_gate_and_the_next_one_opens_it(release: Release) -> None:
    release.live()
    release.passes(lambda _: release.target.read().traffic().get("2") == 0.05)
    release.passes(lambda _: True)
    release.cloud.advance(25 * 60)
    wait_for(lambda: release.target.read().tripped is not None)
    assert release.target.read().traffic() == {"1": 1.0}
    state = release.passes(lambda _: True)
    assert release.target.read().tripped is None
    assert release.target.read().traffic() == pytest.approx({"1": 0.95, "2": 0.05})
    assert state.rollout is not None
    assert state.rollout.phase is Phase.CANARY
