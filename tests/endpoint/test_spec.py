"""Who may change an endpoint, and how shares become weights."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.model import Task
from tidegate.endpoint import spec, xds
from tidegate.endpoint.spec import Member, Spec
from tidegate.errors import OutsideError

TWO = Spec(
    port=1,
    bind="127.0.0.1",
    timeout=1.0,
    generation=5,
    members={
        version: Member(version=version, digest=version, model="m", task=Task.BINARY)
        for version in ("1", "2")
    },
)


def test_the_switch_stays_fired_until_a_newer_route() -> None:
    armed = spec.armed(spec.routed(TWO, {"2": 1.0}, 6), 100.0, {"1": 1.0}, 6)
    assert spec.fired(armed, 99.9) == armed
    fired = spec.fired(armed, 100.0)
    assert (fired.traffic, fired.tripped, fired.until) == ({"1": 1.0}, 100.0, None)
    assert spec.routed(fired, {"2": 1.0}, 6) == fired
    opened = spec.routed(fired, {"2": 1.0}, 7)
    assert (opened.traffic, opened.tripped) == ({"2": 1.0}, None)


def test_the_fallback_of_an_armed_switch_cannot_be_removed() -> None:
    armed = spec.armed(spec.routed(TWO, {"2": 1.0}, 6), 100.0, {"1": 1.0}, 6)
    with pytest.raises(OutsideError, match="dead-man"):
        spec.removed(armed, "1", 7)
    assert "1" not in spec.removed(spec.armed(armed, None, {}, 6), "1", 7).members


def test_a_stale_controller_is_refused() -> None:
    stale = "has seen generation 5; 4 is out of date"
    with pytest.raises(OutsideError, match=stale):
        spec.routed(TWO, {"1": 1.0}, 4)
    with pytest.raises(OutsideError, match=stale):
        spec.deployed(TWO, TWO.members["1"], 4)
    with pytest.raises(OutsideError, match=stale):
        spec.removed(TWO, "2", 4)


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=6))
def test_weights_are_the_shares_to_a_hundredth_of_a_per_cent(parts: list[float]) -> None:
    shares = {str(i): part / math.fsum(parts) for i, part in enumerate(parts)}
    weights = spec.weights(shares)
    assert sum(weights.values()) == spec.TOTAL
    assert min(weights.values()) >= 1
    assert all(abs(weights[v] / spec.TOTAL - share) <= 6e-4 for v, share in shares.items())


def test_the_shares_are_read_back_out_of_envoys_dump() -> None:
    document = xds.routes({"a/b": 0.95, "2": 0.05}, 1.0)
    dump = {"configs": [{"route_config": document["resources"][0]}]}
    assert xds.shares(dump) == {"a/b": 0.95, "2": 0.05}
    nobody = xds.routes({}, 1.0)
    assert xds.shares({"configs": [{"route_config": nobody["resources"][0]}]}) == {}
