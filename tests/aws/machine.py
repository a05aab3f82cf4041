"""What happens to an endpoint over time. Generators: every tick resumes what is under way.

Deployments: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails.html
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from tests.aws.state import Endpoint, Pending, Variant

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tests.aws.cloud import Cloud
    from tests.aws.routing import Row


def pause(seconds: float) -> Iterator[None]:
    """Let so many real seconds pass."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield


def bake(cloud: Cloud, seconds: float, alarms: list[str]) -> Generator[None, None, str | None]:
    """Let so many seconds of the stand-in's clock pass; return the alarm that ended it, if one did."""
    end = cloud.now() + seconds
    while True:
        tripped = next((name for name in alarms if cloud.alarms.is_on(name)), None)
        if tripped or cloud.now() >= end:
            return tripped
        yield


def come_up(cloud: Cloud, name: str, variants: list[Variant]) -> Generator[None, None, str | None]:
    """Start the variants' servers; return why one does not serve, or None once all do."""
    for variant in variants:
        model = cloud.models.get(variant.model)
        if model is None:
            return f'Could not find model "{cloud.arn("model", variant.model)}".'
        variant.server = cloud.fleet.acquire(model)
    for variant in variants:
        assert variant.server is not None
        while variant.server.state == "starting":
            yield
        if variant.server.state == "failed":
            for line in variant.server.log.splitlines():
                cloud.logs.write(f"/aws/sagemaker/Endpoints/{name}", f"{variant.name}/i-1", line)
            return variant.server.reason.format(variant=variant.name)
    return None


def release(cloud: Cloud, variants: list[Variant]) -> None:
    for variant in variants:
        if variant.server is not None:
            cloud.fleet.release(variant.server)
            variant.server = None


def creating(cloud: Cloud, endpoint: Endpoint, config: Row) -> Iterator[None]:
    """Bring up a new endpoint: InService, or Failed for ever."""
    variants = [Variant.of(request) for request in config["ProductionVariants"]]
    endpoint.pending = Pending(endpoint.config, variants, cloud.time.date())
    yield from pause(cloud.speed)
    reason = yield from come_up(cloud, endpoint.name, variants)
    endpoint.pending = None
    endpoint.variants = variants
    if reason is not None:
        release(cloud, variants)
        endpoint.status, endpoint.reason = "Failed", reason
        return
    endpoint.capture = config.get("DataCaptureConfig")
    endpoint.status = "InService"


def updating(
    cloud: Cloud, endpoint: Endpoint, config: Row, variants: list[Variant], capture: Row | None
) -> Iterator[None]:
    """Deploy another configuration to a second fleet, shift the traffic, drop the first."""
    pending = Pending(config["EndpointConfigName"], variants, cloud.time.date())
    endpoint.pending = pending
    deployment = endpoint.deployment or {}
    yield from pause(cloud.speed)
    reason = yield from come_up(cloud, endpoint.name, variants)
    alarms = [
        alarm["AlarmName"]
        for alarm in deployment.get("AutoRollbackConfiguration", {}).get("Alarms", [])
    ]
    if reason is None:
        shares, wait = steps(deployment, sum(variant.count for variant in variants))
        for share in shares:
            pending.stage, pending.share = "ActivatingTraffic", share
            yield
            pending.stage = "Baking"
            tripped = yield from bake(cloud, wait, alarms)
            if tripped is not None:
                reason = f"One or more alarms are in ALARM state: {tripped}. Rolled back."
                break
    if reason is not None:
        yield from rolling_back(cloud, endpoint, reason)
        return
    policy = deployment.get("BlueGreenUpdatePolicy", {})
    yield from bake(cloud, policy.get("TerminationWaitInSeconds", 0), [])
    old, endpoint.variants = endpoint.variants, variants
    release(cloud, old)
    endpoint.config, endpoint.capture = config["EndpointConfigName"], capture
    endpoint.pending, endpoint.reason = None, None
    endpoint.status = "InService"


def steps(deployment: Row, capacity: int) -> tuple[list[float], float]:
    """Return the growing shares of traffic of the new fleet, and the seconds to wait after each."""
    rolling = deployment.get("RollingUpdatePolicy")
    if rolling is not None:
        return _linear(_share(rolling["MaximumBatchSize"], capacity)), rolling[
            "WaitIntervalInSeconds"
        ]
    routing = deployment.get("BlueGreenUpdatePolicy", {}).get("TrafficRoutingConfiguration")
    if routing is None:
        return [1.0], 0.0
    wait = routing["WaitIntervalInSeconds"]
    if routing["Type"] == "CANARY":
        return [_share(routing["CanarySize"], capacity), 1.0], wait
    if routing["Type"] == "LINEAR":
        return _linear(_share(routing["LinearStepSize"], capacity)), wait
    return [1.0], wait


def _share(size: Row, capacity: int) -> float:
    if size["Type"] == "INSTANCE_COUNT":
        return min(1.0, float(size["Value"]) / max(capacity, 1))
    # Whole instances take traffic: 10 % of two instances is one of them.
    whole: int = math.ceil(size["Value"] / 100 * max(capacity, 1))
    return min(1.0, whole / max(capacity, 1))


def _linear(step: float) -> list[float]:
    return [min(1.0, step * number) for number in range(1, math.ceil(1 / step - 1e-9) + 1)]


def rolling_back(cloud: Cloud, endpoint: Endpoint, reason: str) -> Iterator[None]:
    """Give the traffic back to the old fleet; or stay a mixture of both, if that fails too."""
    endpoint.status, endpoint.reason = "RollingBack", reason
    if endpoint.pending is not None:
        endpoint.pending.share = 0.0
    yield from pause(cloud.speed)
    pending, endpoint.pending = endpoint.pending, None
    if cloud.rollback_fails:
        cloud.rollback_fails = False
        endpoint.status = "UpdateRollbackFailed"
        return
    if pending is not None:
        release(cloud, pending.variants)
    endpoint.status = "InService"


def weighing(
    cloud: Cloud, endpoint: Endpoint, before: dict[str, tuple[float, int]]
) -> Iterator[None]:
    """Let the current weights and counts follow the desired ones."""
    yield from pause(cloud.speed / 2)
    if cloud.weights_fail:
        cloud.weights_fail = False
        endpoint.status = "RollingBack"
        yield from pause(cloud.speed / 2)
        for variant in endpoint.variants:
            variant.desired_weight, variant.desired_count = before[variant.name]
        endpoint.status = "InService"
        return
    for variant in endpoint.variants:
        variant.weight, variant.count = variant.desired_weight, variant.desired_count
    yield from pause(cloud.speed / 2)
    endpoint.status = "InService"


def deleting(cloud: Cloud, endpoint: Endpoint) -> Iterator[None]:
    yield from pause(cloud.speed)
    release(cloud, endpoint.variants)
    if endpoint.pending is not None:
        release(cloud, endpoint.pending.variants)
    cloud.endpoints.pop(endpoint.name, None)
    cloud.tags.pop(endpoint.arn, None)
