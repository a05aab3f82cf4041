"""The metrics by name: formula, and the fewest rows on which it may decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.core.catalog import CATALOG, Entry, Misnamed, is_system, read
from tidegate.core.metrics import binary, ranks, regression
from tidegate.core.model import Direction
from tidegate.errors import ConfigError

if TYPE_CHECKING:
    from tidegate.core.metrics.kinds import Kind, Ranked
    from tidegate.core.model import Task

__all__ = ["METRICS", "Metric", "find", "is_system"]

_ENTRIES = {entry.name: entry for entry in CATALOG}
MIN_ROWS = 50
MIN_PER_CLASS = 20  # with 10 a rank metric lets 7.7 % through at n = 40 instead of 5 %


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


def _ranking(name: str, kind: Ranked) -> Metric:
    return Metric(
        entry=_ENTRIES[name],
        kind=kind,
        min_rows=2 * MIN_PER_CLASS,
        min_per_class=MIN_PER_CLASS,
        ranking=True,
    )


METRICS: dict[str, Metric] = {
    metric.entry.name: metric
    for metric in (
        _ranking("roc_auc", ranks.ROC_AUC),
        _ranking("average_precision", ranks.AVERAGE_PRECISION),
        Metric(entry=_ENTRIES["log_loss"], kind=binary.LOG_LOSS),
        Metric(entry=_ENTRIES["brier"], kind=binary.BRIER),
        Metric(entry=_ENTRIES["accuracy"], kind=binary.ACCURACY),
        # F1 ignores true negatives: its evidence is the rows of class 1.
        Metric(entry=_ENTRIES["f1"], kind=binary.F1, min_per_class=MIN_PER_CLASS),
        Metric(entry=_ENTRIES["mae"], kind=regression.MAE),
        Metric(entry=_ENTRIES["rmse"], kind=regression.RMSE),
        Metric(entry=_ENTRIES["r2"], kind=regression.R2),
        Metric(entry=_ENTRIES["mean"], kind=regression.MEAN),
    )
}


def find(name: str, task: Task) -> Metric:
    """Return the metric of that name.

    Raises:
        ConfigError: no such metric of predictions, or not for this task.
    """
    entry = read(name, task)
    if isinstance(entry, Misnamed) or entry.system:
        expected = entry.expected if isinstance(entry, Misnamed) else "a metric of predictions"
        raise ConfigError(
            f"no metric {name!r} for predictions of task {task}", remedy=f"Expected {expected}."
        )
    return METRICS[entry.base]
