"""The services of the clouds that ``mlops.yaml`` names, with their settings resolved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.commands.endpoints import resolved

if TYPE_CHECKING:
    from tidegate.commands.context import Context
    from tidegate.ports import Compute


def compute_of(context: Context) -> Compute | None:
    """Return what trains; None: this machine does.

    Raises:
        ConfigError: a variable of its settings is not set.
        OutsideError: the cloud's packages are missing, or it lets us not in.
    """
    from tidegate.adapters.stores import open_store

    train = context.config.train
    if train.sagemaker is not None:
        from tidegate.adapters.compute.sagemaker import train_on_sagemaker

        settings = resolved(context, train.sagemaker, "train.sagemaker")
        aws = context.sessions.aws(settings.region)
        return train_on_sagemaker(settings, aws, open_store(settings.bucket, aws=aws))
    if train.vertex is not None:
        from tidegate.adapters.compute.vertex import train_on_vertex

        vertex = resolved(context, train.vertex, "train.vertex")
        google = context.sessions.google(vertex.project)
        return train_on_vertex(vertex, google, open_store(vertex.bucket, google=google))
    return None
