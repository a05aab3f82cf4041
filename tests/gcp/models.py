"""Models: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.models"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.gcp import behaviour
from tests.gcp.clock import stamp
from tests.gcp.labels import check_labels
from tests.gcp.listing import matching
from tests.gcp.masks import masked
from tests.gcp.routing import method, missing, page, refuse, shown

if TYPE_CHECKING:
    from tests.gcp.cloud import Cloud
    from tests.gcp.routing import Request, Row

_SERVICE = "aiplatform.projects.locations.models"
_ID = re.compile(r"[a-z_][a-z0-9_-]{0,62}")
_OUTPUT = frozenset({"name", "createTime", "updateTime", "etag", "versionId", "versionCreateTime",
                     "versionUpdateTime", "deployedModels"})  # fmt: skip
# https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.models/patch
_FIXED = {"artifactUri", "containerSpec", "metadata", "metadataSchemaUri", "encryptionSpec"}


@method(f"{_SERVICE}.upload")
def _upload(cloud: Cloud, request: Request) -> Any:
    model, parent = request.body["model"], request.body.get("parentModel", "")
    given = request.body.get("modelId") or str(5_000_000_000 + len(cloud.operations.rows))
    if request.body.get("modelId") and not _ID.fullmatch(given):
        raise refuse("INVALID_ARGUMENT", f"Invalid model id {given!r}.", rule="model-id")
    if "containerSpec" not in model:
        raise refuse("INVALID_ARGUMENT", "'container_spec' is not set.")
    check_labels(model)
    name = cloud.canonical(parent) if parent else f"{request.name}/{given}"
    now = stamp(cloud.clock.time())

    def finish() -> tuple[str, Row]:
        _check_name(cloud, name, new=not parent)
        versions = cloud.state.versions.setdefault(name, [])
        row = {key: value for key, value in model.items() if key not in _OUTPUT}
        number = str(len(versions) + 1)
        row |= {"name": name, "createTime": now, "updateTime": now, "versionId": number}
        row |= {"versionCreateTime": now, "versionUpdateTime": now}
        row["versionAliases"] = [
            *model.get("versionAliases", []),
            *([] if versions else ["default"]),
        ]
        row["supportedDeploymentResourcesTypes"] = ["DEDICATED_RESOURCES"]
        row["_storage"] = _copied(cloud, model.get("artifactUri", ""), f"{given}-{number}")
        versions.append(row)
        if parent:
            behaviour.apply("model-versions")
        else:
            cloud.state.models.put(name, row)
        return "UploadModelResponse", {"model": name, "modelVersionId": number}

    _check_name(cloud, name, new=not parent)
    return cloud.operations.start(name, "uploadModel", finish)


def _check_name(cloud: Cloud, name: str, *, new: bool) -> None:
    if new and name in cloud.state.models:
        raise refuse("ALREADY_EXISTS", f"{name} already exists.", rule="model-exists")
    if not new and name not in cloud.state.models:
        raise missing(name)


def _copied(cloud: Cloud, uri: str, into: str) -> str:
    """Copy what is under a gs:// folder to a bucket of Google's; return where it is now."""
    if not uri:
        return ""
    bucket, _, folder = uri.removeprefix("gs://").partition("/")
    folder = f"{folder.rstrip('/')}/"
    found = {
        name: kept
        for name, kept in cloud.state.buckets.get(bucket, {}).items()
        if name.startswith(folder)
    }
    if not found or not uri.startswith("gs://"):
        raise refuse("INVALID_ARGUMENT", f"There is nothing under {uri}.", rule="artifacts-missing")
    behaviour.apply("artifacts-copied")
    managed = cloud.state.buckets.setdefault(f"caip-tenant-{cloud.number}", {})
    for name, kept in found.items():
        managed[f"{into}/artifacts/{name.removeprefix(folder)}"] = kept
    return f"gs://caip-tenant-{cloud.number}/{into}/artifacts"


def version_of(cloud: Cloud, name: str) -> Row:
    """Return the version of a model that a name (``.../models/m``, ``m@2``, ``m@alias``) means."""
    plain, _, wanted = cloud.canonical(name).partition("@")
    for row in cloud.state.versions.get(plain, []):
        if (wanted or "default") in [row["versionId"], *row["versionAliases"]]:
            return row
    raise missing(name)


@method(f"{_SERVICE}.get")
def _get(cloud: Cloud, request: Request) -> Any:
    plain, _, wanted = request.name.partition("@")
    cloud.state.models.read(plain)
    etag = cloud.state.models[plain]["etag"]
    return shown({**version_of(cloud, request.name), "etag": etag} | _uses(cloud, plain, wanted))


def _uses(cloud: Cloud, name: str, version: str = "") -> Row:
    refs = [
        {"endpoint": endpoint["name"], "deployedModelId": deployed["id"]}
        for endpoint in cloud.state.endpoints.rows.values()
        for deployed in endpoint.get("deployedModels", [])
        if deployed["model"] == name and version in {"", deployed["modelVersionId"]}
    ]
    return {"deployedModels": refs} if refs else {}


@method(f"{_SERVICE}.list")
def _list(cloud: Cloud, request: Request) -> Any:
    rows = [
        shown(row | _uses(cloud, row["name"])) for row in cloud.state.models.under(request.name)
    ]
    return page(request, "models", matching(rows, request.one("filter")), 100, 1000)


@method(f"{_SERVICE}.listVersions")
def _versions(cloud: Cloud, request: Request) -> Any:
    etag = cloud.state.models[request.name]["etag"]
    rows = [shown({**row, "etag": etag}) for row in cloud.state.versions[request.name]]
    return page(request, "models", rows, 50, 100)


@method(f"{_SERVICE}.patch")
def _patch(cloud: Cloud, request: Request) -> Any:
    row = cloud.state.models[request.name]
    mask = request.one("updateMask")
    if _FIXED & set(mask.split(",")):
        raise refuse("INVALID_ARGUMENT", f"Not all of {mask} can be updated.")
    cloud.state.models.check(row, request.body.get("etag"))
    changed = masked(row, request.body, mask, ignored=_OUTPUT)
    check_labels(changed)
    changed["updateTime"] = stamp(cloud.clock.time())
    cloud.state.models.put(request.name, changed)
    versions = cloud.state.versions[request.name]
    versions[0] = {**changed, "versionUpdateTime": changed["updateTime"]}
    return shown(cloud.state.models[request.name])


@method(f"{_SERVICE}.delete")
def _delete(cloud: Cloud, request: Request) -> Any:
    def check() -> None:
        if cloud.state.models[request.name] and _uses(cloud, request.name):
            raise refuse(
                "FAILED_PRECONDITION",
                f"{request.name} is deployed: undeploy it first.",
                rule="model-delete-refused",
            )

    def finish() -> tuple[str, Row]:
        check()
        cloud.state.models.drop(request.name)
        del cloud.state.versions[request.name]
        return "", {}

    check()
    return cloud.operations.start(request.name, "deleteModel", finish)
