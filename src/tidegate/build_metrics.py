"""Which metrics a rule of ``mlops.yaml`` may name, and by which limits. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tidegate.core.catalog import AT_LEAST, AT_MOST, IMPROVES_BY, MARGIN, Misnamed, read
from tidegate.problems import Problem, near, show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tidegate.core.catalog import Entry
    from tidegate.core.model import Task
    from tidegate.yaml12 import Path

_LIMITS = (AT_LEAST, AT_MOST, MARGIN, IMPROVES_BY)
_COMPARING = frozenset({MARGIN, IMPROVES_BY})


def metric_of(
    name: str, task: Task, path: Path, own: Mapping[str, Entry]
) -> tuple[Entry | None, list[Problem]]:
    """Return the metric that ``name`` is for this task, or what is wrong with the name."""
    if name in own:
        return own[name], []
    found = read(name, task)
    if isinstance(found, Misnamed):
        names = [*(known.partition("@")[0] for known in found.known), *own]
        fix = near(name.partition("@")[0], names)
        return None, [Problem(path=path, got=found.got, expected=found.expected, fix=fix)]
    return found, []


def group_problems(data: Mapping[str, Any], task: Task) -> Iterator[Problem]:
    """Yield every metric of groups of rows in a file whose data have no groups."""
    if "group" in data["data"]:
        return
    for kind in ("rules", "slices", "gaps"):
        for index, rule in enumerate(data["gate"].get(kind, ())):
            entry = read(rule["metric"], task)
            if not isinstance(entry, Misnamed) and entry.grouped:
                yield Problem(
                    path=("gate", kind, index, "metric"),
                    got=f"{entry.name} without data.group",
                    expected="data.group: the column that says which rows are of one query or item",
                )


def limit_problems(rule: Mapping[str, Any], entry: Entry, path: Path) -> list[Problem]:
    """Return what is wrong with a rule's limits for its metric."""
    problems = [
        Problem(path=(*path, key), got=_wrong(key, entry), expected=_right(key, entry))
        for key in _LIMITS
        if key in rule and key not in entry.limits
    ]
    for key in (AT_LEAST, AT_MOST):
        limit = rule.get(key)
        if key in entry.limits and limit is not None and not _possible(limit, entry):
            problems.append(
                Problem(
                    path=(*path, key),
                    got=show(limit),
                    expected=f"a value {entry.name} can take ({entry.low} to {entry.high})",
                )
            )
    return problems


def _wrong(key: str, entry: Entry) -> str:
    if key in _COMPARING:
        return f"{key} for {entry.name}"
    return f"{key} for {entry.name}, which is better {entry.direction}"


def _right(key: str, entry: Entry) -> str:
    allowed = " and ".join(limit for limit in _LIMITS if limit in entry.limits - _COMPARING)
    if key not in _COMPARING:
        return allowed
    if entry.system and MARGIN in entry.limits:
        return f"{allowed} or margin: a measurement is held to what is allowed"
    if entry.system:
        return f"{allowed}: nobody keeps what the champion's took"
    if entry.target:
        return f"{allowed}: neither more nor less of it is better"
    return f"{allowed}: near 0 the difference of two models' {entry.name} has no reliable bound"


def _possible(limit: float, entry: Entry) -> bool:
    return (entry.low is None or limit >= entry.low) and (entry.high is None or limit <= entry.high)
