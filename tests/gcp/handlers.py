"""All services, imported so that their functions stand in ``ROUTES``."""

from __future__ import annotations

from tests.gcp import (
    deploying,
    endpoints,
    identity,
    jobs,
    models,
    operations,
    predicting,
    storage,
    uploads,
)
from tests.gcp.routing import ROUTES

__all__ = (
    "ROUTES",
    "deploying",
    "endpoints",
    "identity",
    "jobs",
    "models",
    "operations",
    "predicting",
    "storage",
    "uploads",
)
