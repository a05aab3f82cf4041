"""The user's own metrics in ``mlops.yaml``: ``gate.metrics``. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tidegate.core.catalog import CATALOG
from tidegate.core.config import OwnMetric
from tidegate.core.model import Direction
from tidegate.problems import Problem, show

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tidegate.core.catalog import Entry
    from tidegate.core.model import Task


def own_metric(data: Mapping[str, Any]) -> OwnMetric:
    """Build one of the user's own metrics."""
    return OwnMetric(**{**data, "direction": Direction(data["direction"])})


def own_metrics(
    data: Sequence[Mapping[str, Any]], task: Task
) -> tuple[dict[str, Entry], list[Problem]]:
    """Return the user's own metrics by name, and what is wrong with them."""
    found: dict[str, Entry] = {}
    problems: list[Problem] = []
    taken = {entry.base for entry in CATALOG}
    for index, metric in enumerate(data):
        name, path = metric["name"], ("gate", "metrics", index)
        if name in taken or name in found:
            got = f"a second metric {name}" if name in found else f"{name}, which is there already"
            problems.append(Problem(path=(*path, "name"), got=got, expected="a name of its own"))
        low, high = metric.get("low"), metric.get("high")
        if low is not None and high is not None and not low < high:
            problems.append(
                Problem(path=(*path, "high"), got=show(high), expected=f"more than low ({low})")
            )
        found[name] = own_metric(metric).entry(task)
    return found, problems
