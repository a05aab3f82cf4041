"""All services, imported so that their functions stand in ``ROUTES``."""

from __future__ import annotations

from tests.gcp import (
    bigquery,
    deploying,
    endpoints,
    identity,
    jobs,
    logs,
    models,
    monitoring,
    operations,
    predicting,
    scheduler,
    storage,
    uploads,
)
from tests.gcp.routing import ROUTES

__all__ = (
    "ROUTES",
    "bigquery",
    "deploying",
    "endpoints",
    "identity",
    "jobs",
    "logs",
    "models",
    "monitoring",
    "operations",
    "predicting",
    "scheduler",
    "storage",
    "uploads",
)
