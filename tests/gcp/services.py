"""Which methods of which services the stand-in serves, and at which hosts."""

from __future__ import annotations

import re

_ENDPOINTS = "aiplatform.projects.locations.endpoints"
_MODELS = "aiplatform.projects.locations.models"
_JOBS = "aiplatform.projects.locations.customJobs"

METHODS: dict[str, tuple[str, ...]] = {
    "aiplatform.v1": (
        f"{_ENDPOINTS}.create", f"{_ENDPOINTS}.delete", f"{_ENDPOINTS}.deployModel",
        f"{_ENDPOINTS}.get", f"{_ENDPOINTS}.list", f"{_ENDPOINTS}.mutateDeployedModel",
        f"{_ENDPOINTS}.patch", f"{_ENDPOINTS}.predict", f"{_ENDPOINTS}.rawPredict",
        f"{_ENDPOINTS}.undeployModel", f"{_ENDPOINTS}.operations.get",
        f"{_ENDPOINTS}.operations.cancel", f"{_ENDPOINTS}.operations.list",
        f"{_MODELS}.delete", f"{_MODELS}.get", f"{_MODELS}.list", f"{_MODELS}.listVersions",
        f"{_MODELS}.patch", f"{_MODELS}.upload", f"{_MODELS}.operations.get",
        f"{_MODELS}.operations.cancel",
        "aiplatform.projects.locations.operations.cancel",
        "aiplatform.projects.locations.operations.get",
        "aiplatform.projects.locations.operations.list",
        f"{_JOBS}.cancel", f"{_JOBS}.create", f"{_JOBS}.delete", f"{_JOBS}.get", f"{_JOBS}.list",
        f"{_JOBS}.operations.get",
    ),
    "storage.v1": (
        "storage.buckets.get", "storage.objects.delete", "storage.objects.get",
        "storage.objects.insert", "storage.objects.list",
    ),
    "monitoring.v3": ("monitoring.projects.timeSeries.list",),
    "cloudscheduler.v1": tuple(
        f"cloudscheduler.projects.locations.jobs.{verb}"
        for verb in ("create", "delete", "get", "list", "patch", "pause", "resume", "run")
    ),
    "bigquery.v2": (
        "bigquery.jobs.getQueryResults", "bigquery.jobs.query", "bigquery.tabledata.list",
        "bigquery.tables.get",
    ),
    "logging.v2": ("logging.entries.list",),
    "sts.v1": ("sts.token",),
    "iamcredentials.v1": ("iamcredentials.projects.serviceAccounts.generateAccessToken",),
}  # fmt: skip

# What operations answer in the end: no method names these.
RESPONSES = {
    "aiplatform.v1": tuple(
        f"GoogleCloudAiplatformV1{name}Response"
        for name in ("DeployModel", "MutateDeployedModel", "UndeployModel", "UploadModel")
    )
}

# Which document describes what is asked of a host.
_HOSTS = (
    (re.compile(r"[a-z0-9-]+-aiplatform\.googleapis\.com"), "aiplatform.v1"),
    (re.compile(r"[a-z0-9-]+\.[a-z0-9-]+\.prediction\.vertexai\.goog"), "aiplatform.v1"),
    (re.compile(r"storage\.googleapis\.com"), "storage.v1"),
    (re.compile(r"monitoring\.googleapis\.com"), "monitoring.v3"),
    (re.compile(r"cloudscheduler\.googleapis\.com"), "cloudscheduler.v1"),
    (re.compile(r"bigquery\.googleapis\.com"), "bigquery.v2"),
    (re.compile(r"logging\.googleapis\.com"), "logging.v2"),
    (re.compile(r"sts\.googleapis\.com"), "sts.v1"),
    (re.compile(r"iamcredentials\.googleapis\.com"), "iamcredentials.v1"),
)


def service_at(host: str) -> str | None:
    """Return the name of the document for a host; None: nobody is served there."""
    return next((name for pattern, name in _HOSTS if pattern.fullmatch(host)), None)
