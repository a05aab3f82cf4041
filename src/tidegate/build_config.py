"""From schema-checked data to :class:`tidegate.core.config.Config`, with the rules between keys.

Pure. Every function returns what it built and the problems it found, so that the reader of a bad
file sees all of them at once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tidegate.build_canary import CANARY, build_canary
from tidegate.build_cloud import release_blocks, serving_problems, train_blocks
from tidegate.build_gate import build_gate, gate_warnings
from tidegate.build_metrics import group_problems
from tidegate.core.classes import label
from tidegate.core.clouds import Source
from tidegate.core.config import (
    Check,
    Config,
    Data,
    Environment,
    Format,
    GuardMetric,
    LocalEndpoint,
    Model,
    Predict,
    Registry,
    Release,
    Train,
)
from tidegate.core.model import Task
from tidegate.problems import Problem
from tidegate.units import seconds

if TYPE_CHECKING:
    from collections.abc import Mapping


def build(data: Mapping[str, Any], digest: str, rules_digest: str) -> tuple[Config, list[Problem]]:
    """Build the configuration from data that the schema has accepted."""
    model = _model(data["model"])
    problems: list[Problem] = [*_class_problems(data, model), *_data_problems(data, model.task)]
    gate, found = build_gate(data["gate"], model.task)
    problems += found
    problems += group_problems(data, model.task)
    problems += _registry_problems(data.get("registry", {}))
    store = data.get("registry", {}).get("store")
    release, found = _release(data.get("release", {}), model, store)
    problems += found
    train, found = _train(data["train"], store)
    problems += found
    problems += serving_problems(data)
    config = Config(
        model=model,
        data=Data(**{"target": None, **data["data"]}),
        train=train,
        checks=tuple(Check(**_timed(check)) for check in data.get("checks", ())),
        predict=_predict(data.get("predict", {})),
        gate=gate,
        registry=Registry(**data.get("registry", {})),
        release=release,
        digest=digest,
        rules_digest=rules_digest,
    )
    return config, problems


def warnings_of(config: Config) -> list[Problem]:
    """Return what is allowed but will surprise its owner."""
    warnings = [
        Problem(
            path=(*CANARY, "guards", index, "margin"),
            got="1x",
            expected="a margin above 1x, because an equal model cannot be promoted on it",
            fix="1.25x (odds) or 5% (loss) are usual",
        )
        for index, guard in enumerate(config.release.canary.guards)
        if guard.margin == 1.0
    ]
    if config.predict.run and not config.predict.serve and config.release.target == "local":
        warnings.append(
            Problem(
                path=("predict", "run"),
                got="a way to predict in batches and none to serve",
                expected="predict.serve, because the local endpoint serves MLflow models only",
                fix="fine if training logs an MLflow model, or if nothing is released",
            )
        )
    metering = config.release.metrics
    if metering is not None and metering.source is Source.COMMAND:
        warnings.append(
            Problem(
                path=("release", "metrics", "from"),
                got="a command that runs in the job that moves traffic",
                expected="prometheus, or to trust that command as much as the job's role",
            )
        )
    warnings += gate_warnings(config.gate)
    return warnings


def _registry_problems(registry: Mapping[str, Any]) -> list[Problem]:
    if not {"uri", "store"} <= set(registry):
        return []
    return [
        Problem(
            path=("registry", "store"),
            at_key=True,
            got="a store beside registry.uri",
            expected="one of the two, because a version has one home",
            fix="remove the line of the registry that you do not use",
        )
    ]


def _data_problems(data: Mapping[str, Any], task: Task) -> list[Problem]:
    columns = data["data"]
    if task is not Task.GENERIC and "target" not in columns:
        return [
            Problem(
                path=("data", "target"),
                got="nothing",
                expected=f"the column that holds the truth (task {task})",
            )
        ]
    if task is Task.RANKING and "group" not in columns:
        return [
            Problem(
                path=("data", "group"),
                got="nothing",
                expected="the column that says which rows are of one query (task ranking)",
            )
        ]
    roles = ("target", "id", "time", "group", "weight")
    named = [columns[key] for key in roles if key in columns]
    if len(set(named)) < len(named):
        return [
            Problem(
                path=("data",),
                got="one column in two roles",
                expected="target, id, time, group and weight to be different columns",
            )
        ]
    return []


def _class_problems(data: Mapping[str, Any], model: Model) -> list[Problem]:
    """Return what is wrong with model.classes, or with what needs them."""
    path = ("model", "classes")
    if "classes" in data["model"] and model.task is not Task.MULTICLASS:
        return [
            Problem(
                path=path,
                at_key=True,
                got=f"classes for task {model.task}",
                expected="no such key: only a multiclass model answers with a probability of each class",
            )
        ]
    if len(set(model.classes)) < len(model.classes):
        twice = next(name for name in model.classes if model.classes.count(name) > 1)
        return [
            Problem(
                path=path,
                got=f"the class {twice} twice",
                expected='different classes (3, 3.0 and "3" are one class)',
            )
        ]
    guards = data.get("release", {}).get("canary", {}).get("guards", ())
    return [
        Problem(
            path=path,
            got=f"nothing, beside a guard of {guard['metric']}",
            expected="the classes in their order: labels that arrive later are read by it",
        )
        for guard in guards
        if model.task is Task.MULTICLASS
        and not model.classes
        and GuardMetric(guard["metric"]) in (GuardMetric.LABEL_ERROR, GuardMetric.LABEL_LOSS)
    ]


def _train(data: Mapping[str, Any], store: str | None) -> tuple[Train, list[Problem]]:
    plain = {key: data[key] for key in ("run", "timeout") if key in data}
    train = Train(**_timed(plain), paths=tuple(data.get("paths", ())))
    clouds, problems = train_blocks(data, store, train.timeout)
    return replace(train, **clouds), problems


def _model(data: Mapping[str, Any]) -> Model:
    formats = tuple(Format(name) for name in data.get("formats", Format))
    classes = tuple(label(value) for value in data.get("classes", ()))
    return Model(name=data["name"], task=Task(data["task"]), formats=formats, classes=classes)


def _predict(data: Mapping[str, Any]) -> Predict:
    environment = Environment(data.get("environment", Environment.AUTO))
    return Predict(**{**_timed(data), "environment": environment})


def _timed(data: Mapping[str, Any]) -> dict[str, Any]:
    return {k: seconds(v) if k == "timeout" else v for k, v in data.items()}


# --- release --------------------------------------------------------------------------------


def _release(
    data: Mapping[str, Any], model: Model, store: str | None
) -> tuple[Release, list[Problem]]:
    canary, problems = build_canary(data.get("canary", {}), model.task)
    clouds, found = release_blocks(data, store, canary)
    local = {**data.get("local", {})}
    if "timeout" in local:
        local["timeout"] = seconds(local["timeout"])
    release = Release(
        canary=canary,
        policy=data.get("canary", {}),
        endpoint=data.get("endpoint", model.name),
        target=data.get("target", "local"),
        local=LocalEndpoint(**local),
        **clouds,
    )
    return release, [*problems, *found]
