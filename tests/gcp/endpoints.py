"""Endpoints: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.gcp import behaviour
from tests.gcp.clock import stamp
from tests.gcp.labels import check_labels
from tests.gcp.listing import matching
from tests.gcp.masks import masked
from tests.gcp.routing import method, page, refuse, shown
from tests.gcp.split import check_split

if TYPE_CHECKING:
    from tests.gcp.cloud import Cloud
    from tests.gcp.routing import Request, Row

_SERVICE = "aiplatform.projects.locations.endpoints"
_ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?|[1-9][0-9]{0,8}")
_OUTPUT = frozenset(
    {"name", "deployedModels", "createTime", "updateTime", "etag", "dedicatedEndpointDns"}
)
# What a patch may not touch: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/patch
_FIXED = {"network", "encryptionSpec", "dedicatedEndpointEnabled"}


@method(f"{_SERVICE}.create")
def _create(cloud: Cloud, request: Request) -> Any:
    given = request.one("endpointId") or str(4_000_000_000 + len(cloud.operations.rows))
    if request.one("endpointId") and not _ID.fullmatch(given):
        raise refuse("INVALID_ARGUMENT", f"Invalid endpoint id {given!r}.", rule="endpoint-id")
    name = f"{request.parent}/endpoints/{given}"
    check_labels(request.body)
    if request.body.keys() & _OUTPUT:
        behaviour.apply("deployed-models-output-only")
    now = stamp(cloud.clock.time())
    row: Row = {key: value for key, value in request.body.items() if key not in _OUTPUT}
    row |= {"name": name, "createTime": now, "updateTime": now}
    check_split(row.get("trafficSplit", {}), ())
    if row.get("dedicatedEndpointEnabled"):
        host = f"{given}.{request.params['locationsId']}-{cloud.number}.prediction.vertexai.goog"
        row["dedicatedEndpointDns"] = host

    def finish() -> tuple[str, Row]:
        _new(cloud, name)
        cloud.state.endpoints.put(name, row)
        return "Endpoint", {"name": name}

    _new(cloud, name)
    return cloud.operations.start(name, "createEndpoint", finish)


def _new(cloud: Cloud, name: str) -> None:
    if name in cloud.state.endpoints:
        raise refuse("ALREADY_EXISTS", f"{name} already exists.", rule="endpoint-exists")


@method(f"{_SERVICE}.get")
def _get(cloud: Cloud, request: Request) -> Any:
    return shown(cloud.state.endpoints.read(request.name))


@method(f"{_SERVICE}.list")
def _list(cloud: Cloud, request: Request) -> Any:
    rows = [shown(row) for row in cloud.state.endpoints.under(request.name)]
    return page(request, "endpoints", matching(rows, request.one("filter")), 100, 1000)


@method(f"{_SERVICE}.patch")
def _patch(cloud: Cloud, request: Request) -> Any:
    row = cloud.state.endpoints[request.name]
    mask = request.one("updateMask")
    if _FIXED & set(mask.split(",")):
        raise refuse("INVALID_ARGUMENT", f"Not all of {mask} can be updated.")
    cloud.state.endpoints.check(row, request.body.get("etag"))
    changed = masked(row, request.body, mask, ignored=_OUTPUT)
    if "deployedModels" in request.body:
        behaviour.apply("deployed-models-output-only")
    check_labels(changed)
    known = [model["id"] for model in row.get("deployedModels", [])]
    check_split(changed.get("trafficSplit", {}), known)
    changed["updateTime"] = stamp(cloud.clock.time())
    cloud.state.endpoints.put(request.name, changed)
    behaviour.apply("patch-answers-endpoint")
    return shown(cloud.state.endpoints[request.name])


@method(f"{_SERVICE}.delete")
def _delete(cloud: Cloud, request: Request) -> Any:
    def finish() -> tuple[str, Row]:
        _empty(cloud, request.name)
        cloud.state.endpoints.drop(request.name)
        return "", {}

    _empty(cloud, request.name)
    return cloud.operations.start(request.name, "deleteEndpoint", finish)


def _empty(cloud: Cloud, name: str) -> None:
    if models := cloud.state.endpoints[name].get("deployedModels"):
        raise refuse(
            "FAILED_PRECONDITION",
            f"{name} has deployed models: {', '.join(model['id'] for model in models)}.",
            rule="endpoint-delete-refused",
        )
