"""Where the counts, the answers and the labels of the endpoint in ``mlops.yaml`` come from."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

from tidegate.commands.endpoints import resolved
from tidegate.core.clouds import Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.commands.context import Context
    from tidegate.core.clouds import Metering
    from tidegate.ports import Answers, Counts, Labels, MetricSource


def metrics_of(context: Context) -> MetricSource:
    """Return where the endpoint's counts come from.

    Raises:
        ConfigError: a variable of its settings is not set.
        OutsideError: the cloud's packages are missing, or it lets us not in.
    """
    release = context.config.release
    if release.metrics is None:
        from tidegate.adapters.metrics.local import LocalMetrics

        return LocalMetrics(context.home.endpoint(release.endpoint))
    from tidegate.adapters.metrics.live import LiveMetrics

    return LiveMetrics(
        _counts(context, resolved(context, release.metrics, "release.metrics")),
        _answers(context),
        _labels(context),
        serving=lambda: _serving(context),
    )


def _serving(context: Context) -> list[str]:
    """Return the versions that may have traffic now."""
    state = context.ledger().read().state
    live = [state.rollout.model] if state.rollout else []
    return [model.version for model in (*([state.champion] if state.champion else []), *live)]


def _counts(context: Context, metering: Metering) -> Counts:
    release = context.config.release
    later = {} if metering.delay is None else {"delay": metering.delay}
    match metering.source:
        case Source.CLOUDWATCH:
            from tidegate.adapters.metrics.cloudwatch import CloudWatch

            assert release.sagemaker is not None
            settings = resolved(context, release.sagemaker, "release.sagemaker")
            return CloudWatch(context.sessions.aws(settings.region), release.endpoint, **later)
        case Source.MONITORING:
            from tidegate.adapters.metrics.monitoring import Monitoring
            from tidegate.adapters.target.vertex_names import endpoint_id

            assert release.vertex is not None
            vertex = resolved(context, release.vertex, "release.vertex")
            return Monitoring(
                context.sessions.google(vertex.project), project=vertex.project, region=vertex.region,
                endpoint=endpoint_id(release.endpoint), deployed=_deployed(context), **later,
            )  # fmt: skip
        case Source.PROMETHEUS:
            from tidegate.adapters.metrics.prometheus import Prometheus

            token = os.environ.get("TIDEGATE_PROMETHEUS_TOKEN")
            return Prometheus(metering, delay=metering.delay, token=token)
        case Source.COMMAND:
            from tidegate.adapters.metrics.command import CommandCounts

            assert metering.run is not None
            return CommandCounts(metering.run, context.folder, **later)


def _answers(context: Context) -> Answers | None:
    """Return the captured answers, where some guard or the skew check can use them."""
    release, id_column = context.config.release, context.config.data.id
    if (aws := release.sagemaker) is not None and aws.capture > 0:
        from tidegate.adapters.answers.datacapture import DataCapture
        from tidegate.adapters.stores import open_store
        from tidegate.adapters.target.sagemaker_configs import captured

        settings = resolved(context, aws, "release.sagemaker")
        store = open_store(captured(settings.bucket), aws=context.sessions.aws(settings.region))
        return DataCapture(store, release.endpoint, id_column=id_column)
    if (google := release.vertex) is not None and google.log_table is not None:
        from tidegate.adapters.answers.requestlog import RequestLog
        from tidegate.adapters.target.vertex_names import endpoint_id

        vertex = resolved(context, google, "release.vertex")
        assert vertex.log_table is not None
        return RequestLog(
            context.sessions.google(vertex.project), vertex.log_table, endpoint_id(release.endpoint),
            deployed=_deployed(context), id_column=id_column,
        )  # fmt: skip
    return None


def _labels(context: Context) -> Labels | None:
    source = context.config.release.canary.labels.source
    if source is None:
        return None
    from tidegate.adapters.labels.files import LabelFile, LabelFolder

    if "://" in source:
        return LabelFolder(context.store(context.value(source, "release.canary.labels.from")))
    return LabelFile(context.path(source, "release.canary.labels.from"))


def _deployed(context: Context) -> Callable[[str], str]:
    """Return version -> the id of its deployed model, which is made of its digest, too."""
    from tidegate.adapters.target.vertex_names import deployed_id

    def found(version: str) -> str:
        versions = context.ledger().read().state.versions
        return deployed_id(version, next(v.digest for v in versions if v.version == version))

    return cache(found)
