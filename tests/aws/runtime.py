"""The SageMaker runtime: InvokeEndpoint splits requests over the variants' model servers.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

from __future__ import annotations

import contextlib
import http.client
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.aws.capture import Exchange
from tests.aws.routing import RefusedError, Row, operation

if TYPE_CHECKING:
    from tests.aws.cloud import Cloud
    from tests.aws.fleet import ModelServer
    from tests.aws.state import Endpoint, Variant

SERVING = {"InService", "Updating", "SystemUpdating", "RollingBack", "UpdateRollbackFailed"}
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


@dataclass(frozen=True)
class Reply:
    """What a container said; status 0: nothing in time, or nothing at all."""

    status: int
    kind: str
    body: bytes
    seconds: float
    attributes: str | None = None


def choose(cloud: Cloud, endpoint: Endpoint, target: str | None) -> tuple[Variant, ModelServer]:
    """Return a variant drawn by its current weight, and the server that has its traffic."""
    names = [variant.name for variant in endpoint.variants]
    if target is not None and target not in names:
        raise RefusedError("ValidationError", f"Variant {target} not found for Request")
    weights = [variant.weight for variant in endpoint.variants]
    if target is not None:
        variant = endpoint.variants[names.index(target)]
    elif sum(weights) > 0:
        (variant,) = cloud.dice.choices(endpoint.variants, weights)
    else:
        raise RefusedError(
            "ServiceUnavailable", "No variant of the endpoint has a weight above 0.", status=503
        )
    server = variant.server
    pending = endpoint.pending
    if pending is not None and cloud.dice.random() < pending.share:
        new = next((one for one in pending.variants if one.name == variant.name), None)
        server = new.server if new is not None else server
    if server is None:
        raise RefusedError("ServiceUnavailable", "The variant has no instance.", status=503)
    return variant, server


def ask(server: ModelServer, params: Row, timeout: float) -> Reply:
    """Send one request to a container."""
    headers = {
        "Content-Type": params.get("ContentType", "application/json"),
        "Accept": params.get("Accept", "*/*"),
    }
    if "CustomAttributes" in params:
        headers[ATTRIBUTES] = params["CustomAttributes"]
    start = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=timeout)
    with contextlib.closing(connection):
        try:
            connection.request("POST", "/invocations", params.get("Body", b""), headers)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            return Reply(0, "", b"", time.perf_counter() - start)
        return Reply(
            answer.status,
            answer.headers.get("Content-Type", "application/octet-stream"),
            body,
            time.perf_counter() - start,
            answer.headers.get(ATTRIBUTES),
        )


@operation("sagemaker-runtime", "InvokeEndpoint", outside=True)
def invoke(cloud: Cloud, params: Row) -> Row:
    start = time.perf_counter()
    name = params["EndpointName"]
    with cloud.lock:
        endpoint = cloud.endpoints.get(name)
        if endpoint is None or endpoint.state not in SERVING:
            raise RefusedError(
                "ValidationError", f"Endpoint {name} of account {cloud.account} not found."
            )
        variant, server = choose(cloud, endpoint, params.get("TargetVariant"))
        server.asked += 1
    try:
        reply = ask(server, params, cloud.invocation_timeout)
    finally:
        with cloud.lock:
            server.asked -= 1
    if reply.status == 0:
        cloud.fleet.revive(server)
    with cloud.lock:
        overhead = time.perf_counter() - start - reply.seconds
        cloud.metrics.count(name, variant.name, reply.status, reply.seconds, overhead)
        good = 200 <= reply.status < 300
        if good:
            cloud.capture.take(
                endpoint,
                variant.name,
                Exchange(
                    at=cloud.now(),
                    asked=params.get("Body", b""),
                    asked_kind=params.get("ContentType", "application/json"),
                    answered=reply.body,
                    answered_kind=reply.kind,
                    inference_id=params.get("InferenceId"),
                    attributes=params.get("CustomAttributes"),
                ),
            )
    if not good:
        raise model_error(cloud, name, reply)
    result: Row = {
        "Body": reply.body,
        "ContentType": reply.kind,
        "InvokedProductionVariant": variant.name,
    }
    if reply.attributes is not None:
        result["CustomAttributes"] = reply.attributes
    return result


def model_error(cloud: Cloud, name: str, reply: Reply) -> RefusedError:
    side = "client" if 400 <= reply.status < 500 else "server"
    text = reply.body.decode(errors="replace")
    if reply.status == 0:
        text = (
            "Your invocation timed out while waiting for a response from container primary. "
            "Review the latency metrics for each container in Amazon CloudWatch, resolve the "
            "issue, and try again."
        )
    group = f"/aws/sagemaker/Endpoints/{name}"
    return RefusedError(
        "ModelError",
        f'Received {side} error ({reply.status}) from primary with message "{text}". '
        f"See {group} in account {cloud.account} for more information.",
        status=424,
        more={
            "OriginalStatusCode": reply.status,
            "OriginalMessage": text,
            "LogStreamArn": f"arn:aws:logs:{cloud.region}:{cloud.account}:log-group:{group}",
        },
    )
