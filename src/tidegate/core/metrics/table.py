"""The metrics by name, with what a rule needs to know of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from tidegate.core.catalog import Entry, Misnamed, is_system, read
from tidegate.core.metrics.formulas import FORMULAS, MIN_ROWS
from tidegate.core.metrics.kinds import Measured
from tidegate.core.model import Direction
from tidegate.errors import ConfigError

if TYPE_CHECKING:
    from tidegate.core.config import OwnMetric
    from tidegate.core.metrics.kinds import Kind
    from tidegate.core.model import Task

__all__ = ["Metric", "find", "is_system"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A metric of predictions.

    Attributes:
        entry: its name, direction, tasks and range.
        kind: its formula, and what the formula is a function of.
        min_rows: fewer rows are inconclusive, never a pass.
        min_per_class: the same for the smaller class; 0 where classes do not matter.
        ranking: only the order of the predictions matters, so a constant one says nothing.
    """

    entry: Entry
    kind: Kind
    min_rows: int = MIN_ROWS
    min_per_class: int = 0
    ranking: bool = False

    @property
    def sign(self) -> float:
        """Return 1 when larger is better, -1 when smaller is."""
        return 1.0 if self.entry.direction is Direction.HIGHER else -1.0


@cache
def find(name: str, task: Task, own: tuple[OwnMetric, ...] = ()) -> Metric:
    """Return the metric of that name, its parameter put in; the same object every time.

    ``own`` are the user's own metrics, whose values come from elsewhere.

    Raises:
        ConfigError: no such metric of predictions, or not for this task.
    """
    for mine in own:
        if mine.name == name:
            return Metric(entry=mine.entry(task), kind=Measured())
    entry = read(name, task)
    if isinstance(entry, Misnamed) or entry.system:
        expected = entry.expected if isinstance(entry, Misnamed) else "a metric of predictions"
        raise ConfigError(
            f"no metric {name!r} for predictions of task {task}", remedy=f"Expected {expected}."
        )
    formula = FORMULAS[entry.base, task]
    return Metric(
        entry=entry,
        kind=formula.of(entry.value),
        min_rows=formula.min_rows,
        min_per_class=formula.min_per_class,
        ranking=formula.ranking,
    )
