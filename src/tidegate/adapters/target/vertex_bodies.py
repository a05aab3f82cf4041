"""What is asked of Vertex AI, as the bodies of its requests. No IO but reading our own text.

https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.models#ModelContainerSpec
https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tidegate.container
from tidegate.adapters.target import vertex_names as names
from tidegate.adapters.target.vertex_seen import DIGEST, PATIENCE, VERSION_ENV

if TYPE_CHECKING:
    from tidegate.adapters.target.vertex_calls import Row
    from tidegate.core.clouds import Vertex

PORT, HEALTH, PREDICT = 8080, "/ping", "/invocations"
_BOOT = Path(tidegate.container.__file__).with_name("vertex_boot.py")


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """A version's archive, as it stands in the bucket."""

    version: str
    digest: str  # of the model folder
    archive: str  # sha256 of model.tar.gz
    uri: str  # of the folder with it
    image: str
    python: str


def endpoint_body(settings: Vertex, endpoint: str, name: str, generation: int) -> Row:
    """Return a new endpoint."""
    body: Row = {
        "displayName": name[:128],
        "labels": {names.OWNER: endpoint, names.GENERATION: str(generation)},
    }
    if settings.dedicated:
        body["dedicatedEndpointEnabled"] = True
    if logging := logging_body(settings):
        body["predictRequestResponseLoggingConfig"] = logging
    return body


def logging_body(settings: Vertex) -> Row | None:
    """Return how requests and answers are captured; None: not by us.

    https://cloud.google.com/vertex-ai/docs/predictions/online-prediction-logging
    """
    if settings.log_table is None:
        return None
    return {
        "enabled": True,
        "samplingRate": settings.log_share,
        "bigqueryDestination": {"outputUri": settings.log_table},
    }


def parity_body(endpoint: str) -> Row:
    """Return a new endpoint for parity checks."""
    return {
        "displayName": names.parity_id(endpoint),
        "labels": {names.OWNER: endpoint, names.ROLE: names.PARITY},
    }


def model_body(packed: Packed, endpoint: str) -> Row:
    """Return a version's model. The environment holds the full digest; the labels are for people.

    Nothing listens before the model is loaded, so it has a startup probe: without one Vertex AI starts
    a container anew that does not take connections within 40 s.
    https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements#liveness
    """
    environment = {
        DIGEST: packed.digest,
        VERSION_ENV: packed.version,
        "TIDEGATE_ARCHIVE": packed.archive,
        "TIDEGATE_PYTHON": packed.python,
    }
    return {
        "displayName": f"{endpoint} version {packed.version}"[:128],
        "description": f"Model folder {packed.digest}, deployed by Tidegate.",
        "artifactUri": packed.uri,
        "labels": {names.OWNER: endpoint, names.VERSION: names.slug(packed.version)},
        "containerSpec": {
            "imageUri": packed.image,
            "command": ["python3", "-c", _BOOT.read_text(encoding="utf-8")],
            "env": [{"name": key, "value": value} for key, value in environment.items()],
            "ports": [{"containerPort": PORT}],
            "healthRoute": HEALTH,
            "predictRoute": PREDICT,
            "deploymentTimeout": f"{PATIENCE:.0f}s",
            "startupProbe": {
                "httpGet": {"path": HEALTH, "port": PORT},
                "periodSeconds": 10,
                "timeoutSeconds": 15,
                "failureThreshold": 180,
            },
        },
    }


def deployed_body(settings: Vertex, model: str, identity: str, title: str, *, one: bool) -> Row:
    """Return a deployed model.

    Args:
        settings: machines and accounts.
        model: the model's full name.
        identity: the deployed model's id.
        title: for people.
        one: a single replica, whatever the settings say: for the parity check.

    https://cloud.google.com/vertex-ai/docs/reference/rest/v1/DedicatedResources
    """
    least = 1 if one else settings.replicas
    most = 1 if one else max(least, settings.max_replicas or least)
    body: Row = {
        "id": identity,
        "model": model,
        "displayName": title[:128],
        "dedicatedResources": {
            "machineSpec": {"machineType": settings.machine_type},
            "minReplicaCount": least,
            "maxReplicaCount": most,
        },
    }
    if settings.service_account is not None:
        body["serviceAccount"] = settings.service_account
    return body
