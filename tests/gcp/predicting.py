"""The data plane: predict and rawPredict, answered by the deployed models' own processes.

https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/predict
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from tests.gcp import behaviour
from tests.gcp.models import version_of
from tests.gcp.routing import Answer, RefusedError, method, refuse
from tests.gcp.split import choose

if TYPE_CHECKING:
    from tests.gcp.cloud import Cloud
    from tests.gcp.routing import Request, Row

_SERVICE = "aiplatform.projects.locations.endpoints"
_LONGEST = 1_500_000  # bytes, at a shared endpoint
_WORDS = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED",
          503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}  # fmt: skip


def _chosen(cloud: Cloud, request: Request) -> tuple[Row, Row]:
    """Return the endpoint and the deployed model that a request goes to."""
    with cloud.lock:
        endpoint = cloud.state.endpoints[request.name]
        host = endpoint.get("dedicatedEndpointDns", "")
        dedicated = request.host.endswith(".prediction.vertexai.goog")
        if (host or dedicated) and host != request.host:
            raise refuse(
                "FAILED_PRECONDITION",
                f"{request.name} is served at {host or 'the shared host'} only.",
                rule="dedicated-endpoint",
            )
        if len(request.data) > _LONGEST and not host:
            raise RefusedError(413, {"error": {"code": 413, "message": _too_long(request)}})
        split = endpoint.get("trafficSplit")
        if not split:
            raise refuse(
                "FAILED_PRECONDITION", f"Endpoint {request.name} doesn't have traffic_split.",
                rule="no-split",
            )  # fmt: skip
        chosen = choose(split, cloud.random)
        return endpoint, next(m for m in endpoint["deployedModels"] if m["id"] == chosen)


def _too_long(request: Request) -> str:
    behaviour.apply("request-too-long")
    return f"The request has {len(request.data)} bytes, over the limit of {_LONGEST}."


def _asked(
    cloud: Cloud, request: Request, endpoint: Row, deployed: Row
) -> tuple[int, bytes, str, Any]:
    """Return what the deployed model's container says, counted and logged."""
    endpoint_id = endpoint["name"].rpartition("/")[2]
    container = cloud.containers[f"{endpoint_id}/{deployed['id']}"]
    began = time.monotonic()
    try:
        status, data, kind = container.ask(container.predict_route, request.data)
    except OSError as error:
        status, data, kind = 503, f"The model server does not answer: {error}".encode(), ""
    took = (time.monotonic() - began) * 1000
    said = _decoded(data)
    asked = _decoded(request.data)
    instances = len(asked.get("instances") or []) if isinstance(asked, dict) else 1
    cloud.counts.add(endpoint_id, deployed["id"], status, took, instances)
    if status == 200 or cloud.log_errors:
        cloud.captures.sample(endpoint, deployed["id"], asked, said)
    return status, data, kind, said


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


@method(f"{_SERVICE}.predict", alone=False)
def _predict(cloud: Cloud, request: Request) -> Any:
    endpoint, deployed = _chosen(cloud, request)
    status, data, _, said = _asked(cloud, request, endpoint, deployed)
    if status != 200:
        behaviour.apply("container-error")
        text = data.decode("utf-8", "replace")[:2000]
        body = {"code": status, "message": text, "status": _WORDS.get(status, "INTERNAL")}
        raise RefusedError(status, {"error": body})
    if not isinstance(said, dict) or not isinstance(said.get("predictions"), list):
        raise refuse(
            "INTERNAL",
            f"The container's answer has no predictions: {data[:200]!r}",
            rule="predictions-needed",
        )
    with cloud.lock:
        version = version_of(cloud, f"{deployed['model']}@{deployed['modelVersionId']}")
    return {
        "predictions": said["predictions"],
        "deployedModelId": deployed["id"],
        "model": deployed["model"],
        "modelDisplayName": version["displayName"],
        "modelVersionId": deployed["modelVersionId"],
        **({"metadata": said["metadata"]} if "metadata" in said else {}),
    }


@method(f"{_SERVICE}.rawPredict", alone=False)
def _raw(cloud: Cloud, request: Request) -> Answer:
    endpoint, deployed = _chosen(cloud, request)
    status, data, kind, _ = _asked(cloud, request, endpoint, deployed)
    behaviour.apply("raw-headers")
    return Answer(
        status=status,
        data=data,
        headers={
            "Content-Type": kind or "application/json",
            "X-Vertex-AI-Endpoint-Id": endpoint["name"].rpartition("/")[2],
            "X-Vertex-AI-Deployed-Model-Id": deployed["id"],
        },
    )
