"""Vertex AI when answers are lost, processes die, calls are refused and reads lag."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from tests.adapters.vertex_world import (
    ENDPOINTS,
    MODELS,
    did,
    key,
    settled,
    small,
    split,
    up,
)
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.gcp.cloud import Cloud
    from tidegate.adapters.target.vertex import VertexTarget

pytestmark = pytest.mark.real


@pytest.mark.parametrize("lost", [None, 503], ids=["reset", "503"])
@pytest.mark.parametrize(
    "method",
    [
        f"{ENDPOINTS}.create",
        f"{ENDPOINTS}.patch",
        f"{ENDPOINTS}.deployModel",
        f"{ENDPOINTS}.undeployModel",
        f"{ENDPOINTS}.delete",
        f"{MODELS}.upload",
        f"{MODELS}.patch",
        f"{MODELS}.delete",
        "storage.objects.insert",
        "storage.objects.delete",
        "cloudscheduler.projects.locations.jobs.create",
        "cloudscheduler.projects.locations.jobs.patch",
        "cloudscheduler.projects.locations.jobs.delete",
    ],
)
def test_an_answer_that_is_lost_costs_a_repeat_at_most(
    target: VertexTarget, cloud: Cloud, method: str, lost: int | None
) -> None:
    cloud.fail_next(method, status=lost, apply=True)
    repeats = 0
    for act in STORY:
        for _ in range(3):
            try:
                act(target, cloud)
                break
            except OutsideError:
                repeats += 1
                settled(target)
        else:
            pytest.fail("it does not come to an end")
    assert repeats <= 1
    _told_to_its_end(target, cloud)


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.heavy
@pytest.mark.parametrize("number", range(32))
def test_a_kill_after_any_change_is_repaired_by_the_next_pass(
    connect: Callable[..., VertexTarget], cloud: Cloud, number: int
) -> None:
    changes = itertools.count()

    def mortal() -> VertexTarget:
        target = connect()
        google: Any = target._google
        for name in ("post", "patch", "delete", "upload"):
            setattr(google, name, functools.partial(call, getattr(google, name)))
        return target

    def call(inner: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        answer = inner(*arguments, **named)
        if next(changes) == number:
            raise Killed
        return answer

    target = mortal()
    for act in STORY:
        for _ in range(5):
            try:
                act(target, cloud)
                break
            except Killed:
                target = connect()
            except OutsideError:
                settled(target)
        else:
            pytest.fail("it does not come to an end")
    assert next(changes) > number, "there are fewer changes than this"
    _told_to_its_end(target, cloud)


STORY: list[Callable[[VertexTarget, Cloud], object]] = [
    lambda target, cloud: target.deploy(small("1"), generation=1),
    lambda target, cloud: _ready(target, "1"),
    lambda target, cloud: target.route({"1": 1.0}, generation=2),
    lambda target, cloud: target.deploy(small("2"), generation=3),
    lambda target, cloud: _ready(target, "2"),
    lambda target, cloud: target.arm(cloud.clock.time() + 600, {"1": 1.0}, generation=4),
    lambda target, cloud: target.route({"1": 0.9, "2": 0.1}, generation=4),
    lambda target, cloud: target.arm(cloud.clock.time() + 900, {"1": 1.0}, generation=4),
    lambda target, cloud: target.route({"1": 1.0}, generation=5),
    lambda target, cloud: target.arm(None, {}, generation=5),
    lambda target, cloud: target.remove("2", generation=6),
    lambda target, cloud: settled(target),
    lambda target, cloud: target.tidy(generation=7),
]


def _ready(target: VertexTarget, version: str) -> None:
    """As the engine does: deploy what is not there, and wait for what is."""
    generation = target.read().generation
    while (found := settled(target).variant(version)) is None or not found.ready:
        assert found is None or found.failed is None
        target.deploy(small(version), generation=generation)


def _told_to_its_end(target: VertexTarget, cloud: Cloud) -> None:
    end = settled(target)
    assert end.traffic() == {"1": 1.0}
    assert [v.version for v in end.variants] == ["1"]
    assert end.leftovers == ()
    assert (end.generation, cloud.state.schedules) == (7, {})
    assert len(cloud.state.models.rows) == 1
    assert len(cloud.containers) == 1


def test_a_process_that_died_after_deploying_began_is_followed_by_one_that_finds_it(
    target: VertexTarget, connect: Callable[..., VertexTarget], cloud: Cloud
) -> None:
    """Killed between deployModel and the label that would have named its operation."""
    cloud.freeze("deployModel")
    cloud.fail_next(f"{MODELS}.patch", 9, status=403)
    with pytest.raises(OutsideError):
        target.deploy(small("1"), generation=1)
    cloud.faults._planned.clear()
    later = connect()
    later.deploy(small("1"), generation=1)
    assert later.read().variant("1") is not None
    cloud.thaw()
    assert [v.ready for v in settled(later).variants] == [True]
    assert len(did(cloud, f"{ENDPOINTS}.deployModel")) == 2, "one beside, one for traffic"


def test_a_third_of_all_calls_refused_costs_less_than_three_times_the_calls(
    target: VertexTarget, cloud: Cloud
) -> None:
    def story(first: str, second: str, generation: int) -> int:
        before = len(cloud.calls)
        for version in (first, second):
            target.deploy(small(version), generation=generation)
            cloud.wait_idle()
        target.route({first: 0.95, second: 0.05}, generation=generation + 1)
        cloud.wait_idle()
        return len(cloud.calls) - before

    smooth = story("1", "2", 1)
    cloud.throttle(0.3, seed=5)
    rough = story("3", "4", 3)
    cloud.throttle(0.0)
    assert target.read().traffic() == pytest.approx({"3": 0.95, "4": 0.05})
    assert rough < 3 * smooth


def test_reads_that_lag_behind_end_the_same(target: VertexTarget, cloud: Cloud) -> None:
    up(target, "1", "2")
    cloud.lag_reads(2)
    target.route({"1": 0.8, "2": 0.2}, generation=3)
    target.route({"1": 0.9, "2": 0.1}, generation=4)
    assert split(cloud) == {key("1"): 90, key("2"): 10}
    cloud.lag_reads(0)
    with pytest.raises(OutsideError):
        target.route({"1": 1.0}, generation=3)
