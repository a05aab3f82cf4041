"""The dead-man's switch in Cloud Scheduler: it really fires, once, for whom it was armed."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import TYPE_CHECKING

import pytest

from tests.adapters.vertex_world import (
    ENDPOINTS,
    SCHEDULER,
    key,
    settled,
    split,
    up,
)
from tests.endpoint.serving import wait_for
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from tests.gcp.cloud import Cloud
    from tidegate.adapters.target.vertex import VertexTarget

pytestmark = pytest.mark.real

JOB = "projects/acme-ml/locations/europe-west1/jobs/flights-dead-man"


def test_the_switch_fires_and_that_is_told_until_a_route_answers_it(
    target: VertexTarget, cloud: Cloud
) -> None:
    up(target, "1", "2")
    target.route({"1": 0.9, "2": 0.1}, generation=3)
    until = cloud.clock.time() + 600
    target.arm(until, {"1": 1.0}, generation=3)
    assert target.read().tripped is None
    cloud.advance(500)
    assert split(cloud) == {key("1"): 90, key("2"): 10}
    cloud.advance(161)
    wait_for(lambda: split(cloud) == {key("1"): 100})
    wait_for(lambda: target.read().tripped is not None)
    tripped = target.read().tripped
    assert tripped is not None
    assert until <= tripped <= until + 90

    target.arm(cloud.clock.time() + 600, {"1": 1.0}, generation=4)
    assert target.read().tripped == tripped, "arming anew is no answer"
    target.route({"1": 0.9, "2": 0.1}, generation=4)
    assert target.read().tripped is None
    target.arm(cloud.clock.time() + 700, {"1": 1.0}, generation=5)
    assert target.read().tripped is None
    assert split(cloud) == {key("1"): 90, key("2"): 10}


def sent(cloud: Cloud) -> int:
    """Count the changes of endpoints that were asked for, whatever came of them."""
    return sum(call.method == f"{ENDPOINTS}.patch" for call in cloud.calls)


def attempted(cloud: Cloud, count: int) -> None:
    """Wait for the end of the attempt that makes it ``count`` changes asked for."""
    wait_for(lambda: sent(cloud) == count)
    wait_for(lambda: cloud.state.schedules[JOB].get("_running") is not True)


def test_a_switch_that_is_turned_away_tries_again(target: VertexTarget, cloud: Cloud) -> None:
    up(target, "1", "2")
    target.route({"1": 0.9, "2": 0.1}, generation=3)
    target.arm(cloud.clock.time() + 600, {"1": 1.0}, generation=3)
    cloud.fail_next(f"{ENDPOINTS}.patch", 2)
    asked = sent(cloud)
    for attempt in range(1, 4):
        cloud.advance(700)
        attempted(cloud, asked + attempt)
    wait_for(lambda: split(cloud) == {key("1"): 100})
    wait_for(lambda: target.read().tripped is not None)


def test_the_switch_is_in_terms_of_deployed_models_and_acts_as_its_own_account(
    target: VertexTarget, cloud: Cloud
) -> None:
    up(target, "1", "2")
    target.arm(cloud.clock.time() + 600, {"1": 1.0}, generation=3)
    job = cloud.state.schedules[JOB]
    http = job["httpTarget"]
    assert json.loads(b64decode(http["body"])) == {"trafficSplit": {key("1"): 100}}
    assert http["httpMethod"] == "PATCH"
    assert http["uri"].endswith("/endpoints/flights?updateMask=trafficSplit")
    assert http["oauthToken"]["serviceAccountEmail"] == SCHEDULER
    assert job["retryConfig"]["retryCount"] > 0


def test_the_switch_is_written_once_a_minute_and_by_no_older_generation(
    target: VertexTarget, cloud: Cloud
) -> None:
    up(target, "1", "2")
    begin = (cloud.clock.time() // 60 + 10) * 60 + 1
    for second in range(0, 50, 10):
        target.arm(begin + second, {"1": 1.0}, generation=5)
    writes = ("jobs.create", "jobs.patch")
    assert len([c for c in cloud.calls if c.method.endswith(writes)]) == 1
    before = dict(cloud.state.schedules[JOB])
    target.arm(begin + 600, {"2": 1.0}, generation=4)
    target.arm(None, {}, generation=4)
    assert cloud.state.schedules[JOB]["schedule"] == before["schedule"]
    target.arm(begin + 600, {"1": 1.0}, generation=5)
    assert cloud.state.schedules[JOB]["schedule"] != before["schedule"]
    target.arm(None, {}, generation=5)
    target.arm(None, {}, generation=5)
    assert cloud.state.schedules == {}


def test_a_switch_for_the_very_next_seconds_is_not_put_off_for_a_year(
    target: VertexTarget, cloud: Cloud
) -> None:
    up(target, "1", "2")
    cloud.advance(59.9 - cloud.clock.time() % 60)
    now = cloud.clock.time()
    target.arm(now + 0.05, {"1": 1.0}, generation=3)
    assert 0 < cloud.state.schedules[JOB]["_next"] - now < 180


def test_a_paused_switch_is_made_anew(target: VertexTarget, cloud: Cloud) -> None:
    up(target, "1", "2")
    target.arm(cloud.clock.time() + 600, {"1": 1.0}, generation=3)
    cloud.state.schedules[JOB]["state"] = "PAUSED"
    target.arm(cloud.clock.time() + 600, {"1": 1.0}, generation=3)
    assert cloud.state.schedules[JOB]["state"] == "ENABLED"


def test_what_the_switch_would_send_traffic_to_stays(target: VertexTarget, cloud: Cloud) -> None:
    up(target, "1", "2")
    target.arm(cloud.clock.time() + 600, {"2": 1.0}, generation=3)
    with pytest.raises(OutsideError, match="dead-man"):
        target.remove("2", generation=4)
    with pytest.raises(OutsideError, match="is not on the endpoint"):
        target.arm(cloud.clock.time() + 600, {"9": 1.0}, generation=4)
    target.arm(None, {}, generation=4)
    target.remove("2", generation=5)
    settled(target)
