"""What every serving target must do, whoever runs it. Subclass it and give the two fixtures."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tidegate.errors import OutsideError
from tidegate.ports import Deployment, Target

if TYPE_CHECKING:
    from tidegate.core.endpoint import Endpoint

Deploy = Callable[..., Deployment]


def settled(target: Target, *, seconds: float = 60.0) -> Endpoint:
    """Return the endpoint once nothing is under way on it."""
    deadline = time.monotonic() + seconds
    while True:
        endpoint = target.read()
        if endpoint.busy is None:
            return endpoint
        assert time.monotonic() < deadline, f"still busy: {endpoint}"
        time.sleep(0.05)


def until_ready(target: Target, *versions: str, seconds: float = 60.0) -> None:
    """Return once these versions answer their health checks."""
    deadline = time.monotonic() + seconds
    while True:
        endpoint = target.read()
        found = [endpoint.variant(version) for version in versions]
        if endpoint.busy is None and all(one is not None and one.ready for one in found):
            return
        assert time.monotonic() < deadline, f"not ready: {endpoint}"
        time.sleep(0.05)


class TargetContract:
    """Needs the fixtures ``target`` (empty and new) and ``model`` (version -> Deployment)."""

    def test_where_nothing_was_deployed_there_are_no_variants(self, target: Target) -> None:
        endpoint = target.read()
        assert endpoint.variants == ()
        assert endpoint.traffic() == {}
        assert endpoint.generation == 0
        assert endpoint.busy is None
        assert endpoint.broken is None
        target.remove("1", generation=1)
        target.tidy(generation=1)

    def test_from_the_first_version_to_the_second_and_back(
        self, target: Target, model: Deploy
    ) -> None:
        target.deploy(model("1"), generation=1)
        until_ready(target, "1")
        target.deploy(model("1"), generation=1)  # again, after a lost answer
        until_ready(target, "1")
        assert target.read().traffic() == {}, "a new variant has no traffic"

        target.route({"1": 1.0}, generation=2)
        settled(target)
        target.deploy(model("2"), generation=3)
        until_ready(target, "2")
        assert target.read().traffic() == {"1": 1.0}

        target.route({"1": 0.95, "2": 0.05}, generation=4)
        settled(target)
        target.route({"1": 0.95, "2": 0.05}, generation=4)
        endpoint = settled(target)
        assert endpoint.traffic() == pytest.approx({"1": 0.95, "2": 0.05})
        assert endpoint.generation == 4
        two = endpoint.variant("2")
        assert two is not None
        assert two.digest == model("2").digest
        assert two.restarts == 0
        assert two.failed is None

        self._refusals(target, model)

        target.route({"1": 1.0, "2": 0.0}, generation=5)
        assert settled(target).traffic() == {"1": 1.0}
        target.remove("2", generation=6)
        settled(target)
        target.remove("2", generation=6)
        endpoint = settled(target)
        assert endpoint.variant("2") is None
        assert endpoint.generation == 6

        target.tidy(generation=7)
        target.tidy(generation=7)
        endpoint = settled(target)
        assert endpoint.leftovers == ()
        assert endpoint.traffic() == {"1": 1.0}, "tidying touches nothing that serves"

    def _refusals(self, target: Target, model: Deploy) -> None:
        before = target.read()
        with pytest.raises(OutsideError):
            target.route({"1": 1.0}, generation=3)
        with pytest.raises(OutsideError):
            target.deploy(model("3"), generation=3)
        with pytest.raises(OutsideError):
            target.remove("2", generation=3)
        with pytest.raises(OutsideError):
            target.route({"1": 0.5, "2": 0.5}, generation=4)
        with pytest.raises(OutsideError):
            target.route({"1": 0.5, "nobody": 0.5}, generation=5)
        with pytest.raises(OutsideError):
            target.route({"1": 0.5, "2": 0.4}, generation=5)
        with pytest.raises(OutsideError):
            target.remove("2", generation=5)
        with pytest.raises(OutsideError):
            target.deploy(model("1", digest="sha256:other"), generation=5)
        assert target.read() == before, "what was refused changed nothing"
