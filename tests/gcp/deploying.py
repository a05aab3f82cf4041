"""Deployed models: deployModel, undeployModel, mutateDeployedModel.

https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/deployModel
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.gcp import behaviour
from tests.gcp.clock import stamp
from tests.gcp.containers import Container, command_line, environment, free_port
from tests.gcp.masks import masked
from tests.gcp.models import version_of
from tests.gcp.routing import method, refuse, shown
from tests.gcp.split import NEW, check_split, filled, without

if TYPE_CHECKING:
    from tests.gcp.cloud import Cloud
    from tests.gcp.routing import Request, Row

_SERVICE = "aiplatform.projects.locations.endpoints"
# https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/mutateDeployedModel
_MUTABLE = re.compile(
    r"(dedicatedResources|automaticResources)\."
    r"(minReplicaCount|maxReplicaCount|requiredReplicaCount|autoscalingMetricSpecs)"
    r"|disableContainerLogging|scalingSpec"
)


@method(f"{_SERVICE}.deployModel")
def _deploy(cloud: Cloud, request: Request) -> Any:
    name, asked = request.name, request.body["deployedModel"]
    split = request.body.get("trafficSplit") or {}
    version = version_of(cloud, asked.get("model", ""))
    deployed: Row = {
        "id": f"{cloud.random.randrange(10**9, 10**10)}",
        "displayName": version["displayName"],
        **asked,
        "model": version["name"],
        "modelVersionId": version["versionId"],
        "createTime": stamp(cloud.clock.time()),
    }
    _check_new(cloud, name, deployed)
    _check(cloud, name, deployed["id"], split)
    key = f"{name.rpartition('/')[2]}/{deployed['id']}"
    container = started(cloud, name, deployed, version)
    cloud.containers[key] = container

    def finish() -> tuple[str, Row]:
        if container.failure:
            del cloud.containers[key]
            raise refuse("FAILED_PRECONDITION", container.failure, rule="deploy-failed")
        row = cloud.state.endpoints[name]
        _check(cloud, name, deployed["id"], split)
        changed = dict(row)
        changed["deployedModels"] = [*row.get("deployedModels", []), deployed]
        behaviour.apply("split-overwrites")
        if split:
            changed["trafficSplit"] = filled(split, deployed["id"])
        cloud.state.endpoints.put(name, changed)
        return "DeployModelResponse", {"deployedModel": deployed}

    def undo() -> None:
        container.stop()
        cloud.containers.pop(key, None)

    return cloud.operations.start(
        name,
        "deployModel",
        finish,
        ready=lambda: bool(container.healthy or container.failure),
        undo=undo,
    )


def _check_new(cloud: Cloud, name: str, deployed: Row) -> None:
    if not re.fullmatch(r"[0-9]{1,10}", deployed["id"]):
        raise refuse(
            "INVALID_ARGUMENT", f"Invalid DeployedModel id {deployed['id']!r}.", rule="deployed-id"
        )
    taken = [model["id"] for model in cloud.state.endpoints[name].get("deployedModels", [])]
    if deployed["id"] in taken or f"{name.rpartition('/')[2]}/{deployed['id']}" in cloud.containers:
        raise refuse(
            "ALREADY_EXISTS",
            f"DeployedModel {deployed['id']} already exists in {name}.",
            rule="deployed-id-taken",
        )
    if not deployed.keys() & {"dedicatedResources", "automaticResources", "sharedResources"}:
        raise refuse("INVALID_ARGUMENT", "'prediction_resources' is not set.")
    resources = deployed.get("dedicatedResources") or {}
    least = resources.get("minReplicaCount", 1)
    if resources.setdefault("maxReplicaCount", least) < least or least < 1:
        raise refuse("INVALID_ARGUMENT", f"Invalid replica counts: {resources}")


def _check(cloud: Cloud, name: str, new: str, split: Row) -> None:
    there = [model["id"] for model in cloud.state.endpoints[name].get("deployedModels", [])]
    check_split(split, {*there, NEW, *([new] if new in there else [])})


def started(cloud: Cloud, endpoint: str, deployed: Row, version: Row) -> Container:
    """Start the process of a deployed model, and ask for its health from now on."""
    spec = version["containerSpec"]
    endpoint_id = endpoint.rpartition("/")[2]
    default = f"/v1/endpoints/{endpoint_id}/deployedModels/{deployed['id']}"
    if "predictRoute" not in spec:
        behaviour.apply("container-default-routes")
    own = {
        "AIP_MODE": "PREDICTION",
        "AIP_HTTP_PORT": str(free_port()),
        "AIP_HEALTH_ROUTE": spec.get("healthRoute", default),
        "AIP_PREDICT_ROUTE": spec.get("predictRoute", f"{default}:predict"),
        "AIP_STORAGE_URI": version["_storage"],
        "AIP_PROJECT_NUMBER": cloud.number,
        "AIP_ENDPOINT_ID": endpoint_id,
        "AIP_DEPLOYED_MODEL_ID": deployed["id"],
        "AIP_MODEL_NAME": version["name"].rpartition("/")[2],
        "AIP_VERSION_NAME": version["versionId"],
        "AIP_FRAMEWORK": "CUSTOM_CONTAINER",
        "AIP_MACHINE_TYPE": (deployed.get("dedicatedResources") or {})
        .get("machineSpec", {})
        .get("machineType", ""),
    }
    behaviour.apply("container-environment")
    home = cloud.folder / "served" / endpoint_id / deployed["id"]
    variables = environment(cloud.url, home, own, spec.get("env", []))
    image = cloud.images.get(spec["imageUri"], ())
    argv = command_line(spec.get("command", []), spec.get("args", []), image, variables)
    container = Container(argv, variables, home)
    patience = min(cloud.patience, float(spec.get("deploymentTimeout", "7200s")[:-1]))
    container.watch(variables["AIP_HEALTH_ROUTE"], patience)
    container.predict_route = own["AIP_PREDICT_ROUTE"]
    return container


@method(f"{_SERVICE}.undeployModel")
def _undeploy(cloud: Cloud, request: Request) -> Any:
    name, gone = request.name, request.body["deployedModelId"]
    given = request.body.get("trafficSplit") or {}

    def left() -> Row:
        row = cloud.state.endpoints[name]
        models = row.get("deployedModels", [])
        rest = [model for model in models if model["id"] != gone]
        if len(rest) == len(models):
            raise refuse("NOT_FOUND", f"The following DeployedModel ID(s) [{gone}] do not exist.")
        split = without(row.get("trafficSplit", {}), given, gone, [m["id"] for m in rest])
        changed = {k: v for k, v in row.items() if k not in {"deployedModels", "trafficSplit"}}
        changed |= {"deployedModels": rest} if rest else {}
        return changed | ({"trafficSplit": split} if split else {})

    def finish() -> tuple[str, Row]:
        cloud.state.endpoints.put(name, left())
        cloud.containers.pop(f"{name.rpartition('/')[2]}/{gone}").stop()
        return "UndeployModelResponse", {}

    left()
    return cloud.operations.start(name, "undeployModel", finish)


@method(f"{_SERVICE}.mutateDeployedModel")
def _mutate(cloud: Cloud, request: Request) -> Any:
    name, given = request.name, request.body["deployedModel"]
    mask = request.body["updateMask"]
    bad = [path for path in mask.split(",") if not _MUTABLE.fullmatch(_camel_path(path))]
    if bad:
        raise refuse(
            "INVALID_ARGUMENT", f"{', '.join(bad)} cannot be mutated.", rule="mutate-traffic"
        )
    if given.get("id") not in [
        m["id"] for m in cloud.state.endpoints[name].get("deployedModels", [])
    ]:
        raise refuse("NOT_FOUND", f"DeployedModel {given.get('id')} does not exist.")

    def finish() -> tuple[str, Row]:
        row = cloud.state.endpoints[name]
        models = [
            masked(m, given, mask) if m["id"] == given["id"] else m for m in row["deployedModels"]
        ]
        cloud.state.endpoints.put(name, {**row, "deployedModels": models})
        changed = next(model for model in models if model["id"] == given["id"])
        return "MutateDeployedModelResponse", {"deployedModel": shown(changed)}

    return cloud.operations.start(name, "mutateDeployedModel", finish)


def _camel_path(path: str) -> str:
    from tests.gcp.description import camel

    return ".".join(map(camel, path.split(".")))
