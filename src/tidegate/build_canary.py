"""The rollout policy: from schema-checked data to :class:`tidegate.core.config.Canary`.

Pure; used for the file and for the policy that a ledger recorded when a rollout began.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tidegate.core.config import Canary, Guard, GuardMetric, Labels, OnExpire, OnNewer, Probation
from tidegate.core.model import Task
from tidegate.problems import Problem, show
from tidegate.units import fraction, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

CANARY = ("release", "canary")
_NEGLIGIBLE = {GuardMetric.ERROR_RATE: 0.005, GuardMetric.SLOW_REQUESTS: 0.01}


def build_canary(data: Mapping[str, Any], task: Task) -> tuple[Canary, list[Problem]]:
    """Build the rollout policy, from the file or from what a ledger recorded."""
    fields: dict[str, Any] = {}
    for key in ("interval", "warmup", "bake", "deadline"):
        if key in data:
            fields[key] = seconds(data[key])
    for key in ("min_requests", "false_revert_rate", "false_promote_rate"):
        if key in data:
            fields[key] = data[key]
    if "steps" in data:
        fields["steps"] = tuple(fraction(step) for step in data["steps"])
    if "on_expire" in data:
        fields["on_expire"] = OnExpire(data["on_expire"])
    if "on_newer" in data:
        fields["on_newer"] = OnNewer(data["on_newer"])
    problems: list[Problem] = []
    if "guards" in data:
        fields["guards"], problems = _guards(data["guards"], task)
    if problems:
        return Canary(), problems
    canary = Canary(
        **fields,
        labels=_labels(data.get("labels", {})),
        probation=_probation(data.get("probation", {})),
    )
    return canary, _canary_problems(canary)


def _labels(data: Mapping[str, Any]) -> Labels:
    fields: dict[str, Any] = {k: seconds(data[k]) for k in ("within", "every") if k in data}
    return Labels(source=data.get("from"), required=data.get("required", False), **fields)


def _probation(data: Mapping[str, Any]) -> Probation:
    fields: dict[str, Any] = {}
    if "for" in data:
        fields["duration"] = seconds(data["for"])
    if "holdback" in data:
        fields["holdback"] = fraction(data["holdback"])
    return Probation(**fields)


def _guards(data: list[Mapping[str, Any]], task: Task) -> tuple[tuple[Guard, ...], list[Problem]]:
    guards: list[Guard] = []
    problems: list[Problem] = []
    for index, item in enumerate(data):
        path = (*CANARY, "guards", index)
        metric = GuardMetric(item["metric"])
        if any(guard.metric is metric for guard in guards):
            problems.append(
                Problem(
                    path=(*path, "metric"),
                    got=f"a second guard for {metric}",
                    expected="one guard per metric",
                )
            )
        found = _guard_problems(item, metric, task, path)
        problems += found
        if not found:
            guards.append(_guard(item, metric))
    return tuple(guards), problems


def _guard(item: Mapping[str, Any], metric: GuardMetric) -> Guard:
    text = item["margin"]
    negligible = item.get("negligible")
    return Guard(
        metric=metric,
        margin=1 + fraction(text) if text.endswith("%") else float(text.removesuffix("x")),
        negligible=fraction(negligible) if negligible else _NEGLIGIBLE.get(metric, 0.0),
        slower_than=seconds(item["slower_than"]) if "slower_than" in item else None,
        clip=item.get("clip"),
    )


def _guard_problems(
    item: Mapping[str, Any], metric: GuardMetric, task: Task, path: tuple[str | int, ...]
) -> list[Problem]:
    text = item["margin"]
    loss = metric is GuardMetric.LABEL_LOSS
    wanted: dict[str, bool | None] = {  # True: must be there, False: must not, None: may
        "negligible": None if metric in _NEGLIGIBLE else False,
        "slower_than": metric is GuardMetric.SLOW_REQUESTS,
        "clip": loss and task is Task.REGRESSION,
    }
    problems = [
        Problem(
            path=(*path, key),
            got="nothing" if must else f"{key} on {metric} (task {task})",
            expected=f"the key {key!r}" if must else "no such key here",
        )
        for key, must in wanted.items()
        if must is not None and (key in item) is not must
    ]
    if loss is not text.endswith("%"):
        problems.append(
            Problem(
                path=(*path, "margin"),
                got=show(text),
                expected="a percentage of the champion's mean loss (5%)"
                if loss
                else "a factor of odds (1.25x)",
            )
        )
    elif text.endswith("x") and float(text.removesuffix("x")) < 1:
        problems.append(
            Problem(
                path=(*path, "margin"),
                got=show(text),
                expected="1x or more: a factor below 1 would demand an improvement",
            )
        )
    tasks = {
        GuardMetric.LABEL_ERROR: (Task.BINARY, Task.MULTICLASS),
        GuardMetric.LABEL_LOSS: (Task.BINARY, Task.MULTICLASS, Task.REGRESSION),
    }
    if metric in tasks and task not in tasks[metric]:
        problems.append(
            Problem(
                path=(*path, "metric"),
                got=f"{metric} for task {task}",
                expected=f"a task of {', '.join(tasks[metric])}",
            )
        )
    if "negligible" in item and not 0 < fraction(item["negligible"]) < 1:
        problems.append(
            Problem(
                path=(*path, "negligible"),
                got=show(item["negligible"]),
                expected="more than 0% and less than 100%",
            )
        )
    if "slower_than" in item and seconds(item["slower_than"]) <= 0:
        problems.append(
            Problem(
                path=(*path, "slower_than"), got=show(item["slower_than"]), expected="more than 0s"
            )
        )
    return problems


def _canary_problems(canary: Canary) -> list[Problem]:
    problems = []

    def wrong(key: str, got: str, expected: str) -> None:
        problems.append(Problem(path=(*CANARY, key), got=got, expected=expected))

    if any(not 0 < step < 1 for step in canary.steps):
        wrong(
            "steps",
            "a share of 0% or 100%",
            "shares between 0% and 100%; promotion is the step to 100%",
        )
    if list(canary.steps) != sorted(set(canary.steps)):
        wrong("steps", "shares out of order", "shares that rise from step to step")
    if canary.interval < 1:
        wrong("interval", f"{canary.interval:g}s", "1s or more")
    if canary.bake < canary.interval:
        wrong("bake", f"{canary.bake:g}s", f"at least one interval ({canary.interval:g}s)")
    least = canary.warmup + canary.bake * len(canary.steps)
    if canary.deadline < least:
        wrong(
            "deadline", f"{canary.deadline:g}s", f"at least warm-up and bakes together ({least:g}s)"
        )
    if canary.labels.required and not any(guard.needs_labels for guard in canary.guards):
        wrong(
            "labels",
            "required: true without a label guard",
            "a label_error or label_loss guard, or required: false",
        )
    if canary.labels.every < canary.interval:
        wrong(
            "labels",
            f"every: {canary.labels.every:g}s",
            f"at least one interval ({canary.interval:g}s)",
        )
    if not 0 <= canary.probation.holdback < 0.5:
        wrong("probation", f"holdback {canary.probation.holdback:.0%}", "less than 50%")
    if canary.probation.holdback == 0 and canary.probation.duration > 0:
        wrong("probation", "holdback 0%", "more than 0%, or `for: 0s` for no probation at all")
    return problems
