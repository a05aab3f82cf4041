"""The endpoint that ``mlops.yaml`` names, and what it runs on."""

from __future__ import annotations

from dataclasses import fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from tidegate.commands.context import Context
    from tidegate.core.clouds import Metering, SageMaker, TrainOnSageMaker, TrainOnVertex, Vertex
    from tidegate.core.config import Release
    from tidegate.perform import SafeTarget

_Settings = TypeVar(
    "_Settings", bound="SageMaker | Vertex | Metering | TrainOnSageMaker | TrainOnVertex"
)


def resolved(context: Context, settings: _Settings, key: str) -> _Settings:
    """Return settings with every ``${VAR}`` of theirs resolved; ``key``: where they stand.

    Raises:
        ConfigError: a variable is not set.
    """
    values = {field.name: getattr(settings, field.name) for field in fields(settings)}
    texts: dict[str, Any] = {
        name: context.value(value, f"{key}.{name}")
        for name, value in values.items()
        if isinstance(value, str) and not isinstance(value, StrEnum)
    }
    return replace(settings, **texts)


def target_of(context: Context) -> SafeTarget:
    """Return the endpoint.

    Raises:
        ConfigError: a variable of its settings is not set.
        OutsideError: the cloud's packages are missing, or it lets us not in.
    """
    release, work = context.config.release, context.home.root / "uploads"
    if release.sagemaker is not None:
        from tidegate.adapters.target.sagemaker import SageMakerTarget

        settings = resolved(context, release.sagemaker, "release.sagemaker")
        return SageMakerTarget(
            context.sessions.aws(settings.region), settings, release.endpoint, work=work
        )
    if release.vertex is not None:
        from tidegate.adapters.target.vertex import VertexTarget

        vertex = resolved(context, release.vertex, "release.vertex")
        return VertexTarget(
            context.sessions.google(vertex.project), vertex, release.endpoint, work=work
        )
    from tidegate.adapters.target.local import LocalTarget

    folder = context.home.endpoint(release.endpoint)
    return LocalTarget(
        folder,
        port=release.local.port,
        timeout=release.local.timeout,
        environment=context.config.predict.environment,
        environments=context.home.environments,
    )


def machine_of(release: Release) -> tuple[str, float | None]:
    """Return what one variant runs on, in words, and US dollars an hour of it; ("", None) if local."""
    from tidegate.core import prices

    if (aws := release.sagemaker) is not None:
        listed = prices.hosting("sagemaker", aws.instance_type)
        return _counted(aws.instances, aws.instance_type, aws.price or listed)
    if (google := release.vertex) is not None:
        listed = prices.hosting("vertex", google.machine_type)
        return _counted(google.replicas, google.machine_type, google.price or listed)
    return "", None


def _counted(number: int, machine: str, price: float | None) -> tuple[str, float | None]:
    return f"{number} x {machine}", None if price is None else number * price
