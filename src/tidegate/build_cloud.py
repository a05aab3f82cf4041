"""The clouds' part of ``mlops.yaml``: from schema-checked data to records, with the rules between keys. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tidegate.core.clouds import (
    Metering,
    SageMaker,
    Source,
    TrainOnSageMaker,
    TrainOnVertex,
    Vertex,
    Where,
)
from tidegate.core.config import GuardMetric
from tidegate.problems import Problem, show
from tidegate.units import fraction, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tidegate.core.config import Canary

_SCHEME = {"sagemaker": "s3://", "vertex": "gs://"}
_OWN_SOURCE = {"sagemaker": Source.CLOUDWATCH, "vertex": Source.MONITORING}
_SOURCE_KEYS = {
    Source.CLOUDWATCH: frozenset({"delay"}),
    Source.MONITORING: frozenset({"delay"}),
    Source.PROMETHEUS: frozenset({"delay", "url", "requests", "errors", "slow", "by"}),
    Source.COMMAND: frozenset({"delay", "run"}),
}
_SOURCE_NEEDS = {Source.PROMETHEUS: ("url", "requests", "errors"), Source.COMMAND: ("run",)}
_CONVERT: dict[str, Callable[[Any], Any]] = {
    "capture": fraction, "log_share": fraction, "max_wait": seconds, "delay": seconds, "alarms": tuple,
}  # fmt: skip


def release_blocks(
    data: Mapping[str, Any], store: str | None, canary: Canary
) -> tuple[dict[str, Any], list[Problem]]:
    """Return the fields of a release that are about clouds."""
    target = data.get("target", "local")
    problems = _strays(data, ("release",), "target", target, store)
    if not problems and target in _SCHEME:
        problems = _canary_problems(data, target, canary)
    metering, found = _metering(data.get("metrics"), target, canary)
    problems += found
    if problems or target == "local":
        return {}, problems
    block = _converted(_with_bucket(data[target], target, store))
    record = SageMaker(**block) if target == "sagemaker" else Vertex(**block)
    return {target: record, "metrics": metering}, _replica_problems(block)


def train_blocks(
    data: Mapping[str, Any], store: str | None, timeout: float
) -> tuple[dict[str, Any], list[Problem]]:
    """Return the fields of the training that are about clouds."""
    compute = data.get("compute", "runner")
    problems = _strays(data, ("train",), "compute", compute, store)
    if problems or compute == "runner":
        return {"compute": Where(compute)}, problems
    block = _converted(_with_bucket(data[compute], compute, store))
    if compute == "vertex":
        return {"compute": Where.VERTEX, "vertex": TrainOnVertex(**block)}, []
    record = TrainOnSageMaker(**block)
    return {"compute": Where.SAGEMAKER, "sagemaker": record}, _spot_problems(record, timeout)


def serving_problems(data: Mapping[str, Any]) -> list[Problem]:
    """A cloud runs an image, and no command of this repository."""
    target, predict = data.get("release", {}).get("target", "local"), data.get("predict", {})
    if target not in _SCHEME or "image" in data["release"].get(target, {}):
        return []
    return [
        Problem(
            path=("predict", key), got=f"a command of your own, and an endpoint on {target}",
            expected=f"release.{target}.image: the image that answers as the command does",
        )
        for key in ("serve", "run")
        if key in predict
    ]  # fmt: skip


def _converted(block: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _CONVERT.get(key, _same)(value) for key, value in block.items()}


def _same(value: Any) -> Any:
    return value


def _with_bucket(block: Mapping[str, Any], cloud: str, store: str | None) -> dict[str, Any]:
    if "bucket" in block or store is None or not store.startswith(_SCHEME[cloud]):
        return dict(block)
    return {**block, "bucket": store}


def _strays(
    data: Mapping[str, Any], path: tuple[str, ...], key: str, chosen: str, store: str | None
) -> list[Problem]:
    """The chosen cloud's block must be there, with a bucket, and no other's."""
    problems = [
        Problem(
            path=(*path, cloud), at_key=True, got=f"settings of {cloud}",
            expected=f"{'.'.join(path)}.{key} to be {cloud}, because nothing else reads them",
            fix=f"write {key}: {cloud}, or remove the block",
        )
        for cloud in _SCHEME
        if cloud in data and cloud != chosen
    ]  # fmt: skip
    if chosen not in _SCHEME:
        return problems
    if chosen not in data:
        return [
            *problems,
            Problem(
                path=(*path, key), got=f"{chosen}, and nothing about it",
                expected=f"a block {'.'.join(path)}.{chosen} with its account's names",
                fix=f"see docs/{chosen}.md",
            ),
        ]  # fmt: skip
    if "bucket" not in _with_bucket(data[chosen], chosen, store):
        problems.append(
            Problem(
                path=(*path, chosen), got="no bucket",
                expected=f"bucket: {_SCHEME[chosen]}BUCKET/FOLDER, or registry.store there",
            )
        )  # fmt: skip
    return problems


def _canary_problems(data: Mapping[str, Any], target: str, canary: Canary) -> list[Problem]:
    problems = []
    if target == "vertex":
        problems += [
            Problem(
                path=path, got=f"{value:.6g}",
                expected="a whole per cent: Vertex AI splits traffic in whole per cents",
            )
            for path, value in _shares(canary)
            if abs(value * 100 - round(value * 100)) > 1e-9
        ]  # fmt: skip
    problems += _label_problems(data, target, canary)
    return problems


def _shares(canary: Canary) -> list[tuple[tuple[str | int, ...], float]]:
    where = ("release", "canary")
    steps = [((*where, "steps", i), step) for i, step in enumerate(canary.steps)]
    return [*steps, ((*where, "probation", "holdback"), canary.probation.holdback)]


def _label_problems(data: Mapping[str, Any], target: str, canary: Canary) -> list[Problem]:
    wanting = next((i for i, guard in enumerate(canary.guards) if guard.needs_labels), None)
    if wanting is None:
        return []
    path = ("release", "canary", "guards", wanting)
    block, problems = data[target], []
    if canary.labels.source is None:
        problems.append(
            Problem(
                path=path, got="a guard that needs labels, and no place where they arrive",
                expected="release.canary.labels.from: a file, or a folder of a bucket",
            )
        )  # fmt: skip
    captured = "log_table" in block if target == "vertex" else block.get("capture") != "0%"
    if not captured:
        key = "log_table" if target == "vertex" else "capture"
        problems.append(
            Problem(
                path=path, got="a guard that needs labels, and no answers are kept",
                expected=f"release.{target}.{key}: labels are joined to what was answered",
            )
        )  # fmt: skip
    return problems


def _metering(
    data: Mapping[str, Any] | None, target: str, canary: Canary
) -> tuple[Metering | None, list[Problem]]:
    if target not in _SCHEME:
        if data is None:
            return None, []
        got = "a source of counts for the local target"
        expected = "none: the embedded endpoint counts by itself"
        return None, [Problem(path=("release", "metrics"), at_key=True, got=got, expected=expected)]
    source = Source(data["from"]) if data else _OWN_SOURCE[target]
    problems = _source_problems(data or {}, source, target, canary)
    if problems:
        return None, problems
    block = {key: value for key, value in (data or {}).items() if key != "from"}
    return Metering(source=source, **_converted(block)), []


def _source_problems(
    data: Mapping[str, Any], source: Source, target: str, canary: Canary
) -> list[Problem]:
    path = ("release", "metrics")
    problems = []
    others = {Source.CLOUDWATCH, Source.MONITORING} - {_OWN_SOURCE[target]}
    if source in others:
        problems.append(
            Problem(
                path=(*path, "from"), got=show(source.value),
                expected=f"{_OWN_SOURCE[target]}, prometheus or command: {target} does not write there",
            )
        )  # fmt: skip
    problems += [
        Problem(
            path=(*path, key), at_key=True, got=f"{key} for {source}",
            expected=f"only {', '.join(sorted(_SOURCE_KEYS[source]))} beside from: {source}",
        )
        for key in data
        if key not in _SOURCE_KEYS[source] | {"from"}
    ]  # fmt: skip
    needed = list(_SOURCE_NEEDS.get(source, ()))
    if source is Source.PROMETHEUS and _slow(canary):
        needed.append("slow")
    problems += [
        Problem(path=path, got=f"{source} without {key}", expected=f"{key}: see docs/metrics.md")
        for key in needed
        if key not in data
    ]
    if source in _OWN_SOURCE.values() and canary.interval % 60 != 0:
        problems.append(
            Problem(
                path=("release", "canary", "interval"), got=f"{canary.interval:g}s",
                expected=f"whole minutes: {source} counts by the minute",
            )
        )  # fmt: skip
    return problems


def _slow(canary: Canary) -> bool:
    return any(guard.metric is GuardMetric.SLOW_REQUESTS for guard in canary.guards)


def _replica_problems(block: Mapping[str, Any]) -> list[Problem]:
    most = block.get("max_replicas")
    if most is None or most >= block.get("replicas", 1):
        return []
    return [
        Problem(
            path=("release", "vertex", "max_replicas"), got=str(most),
            expected="at least as many as replicas",
        )
    ]  # fmt: skip


def _spot_problems(record: TrainOnSageMaker, timeout: float) -> list[Problem]:
    if record.max_wait is None or (record.spot and record.max_wait >= timeout):
        return []
    expected = "at least train.timeout" if record.spot else "spot: true beside it"
    path = ("train", "sagemaker", "max_wait")
    return [Problem(path=path, got=f"{record.max_wait:g}s", expected=expected)]
