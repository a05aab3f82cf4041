"""The metrics' names, directions and ranges: what ``validate`` must know without loading numpy.

The formulas stand in :mod:`tidegate.core.metrics`; a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass

from tidegate.core.model import Direction, Task


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A metric's public face. ``tasks`` is empty for system metrics, which need no predictions."""

    name: str
    direction: Direction
    tasks: frozenset[Task]
    low: float | None = None  # smallest possible value
    high: float | None = None  # largest possible value

    @property
    def system(self) -> bool:
        """Whether the metric measures the model as a program: latency, size."""
        return not self.tasks


_BINARY = frozenset({Task.BINARY})
_REGRESSION = frozenset({Task.REGRESSION})
_UP, _DOWN = Direction.HIGHER, Direction.LOWER

CATALOG: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(name="roc_auc", direction=_UP, tasks=_BINARY, low=0, high=1),
        Entry(name="average_precision", direction=_UP, tasks=_BINARY, low=0, high=1),
        Entry(name="log_loss", direction=_DOWN, tasks=_BINARY, low=0),
        Entry(name="brier", direction=_DOWN, tasks=_BINARY, low=0, high=1),
        Entry(name="accuracy", direction=_UP, tasks=_BINARY, low=0, high=1),
        Entry(name="f1", direction=_UP, tasks=_BINARY, low=0, high=1),
        Entry(name="mae", direction=_DOWN, tasks=_REGRESSION, low=0),
        Entry(name="rmse", direction=_DOWN, tasks=_REGRESSION, low=0),
        Entry(name="r2", direction=_UP, tasks=_REGRESSION, high=1),
        Entry(name="mean", direction=_UP, tasks=frozenset({Task.GENERIC})),
        Entry(name="latency_p95_ms", direction=_DOWN, tasks=frozenset(), low=0),
        Entry(name="model_size_mb", direction=_DOWN, tasks=frozenset(), low=0),
    )
}


def names_for(task: Task) -> tuple[str, ...]:
    """Return the metrics a rule of this task may name, system metrics last."""
    return tuple(e.name for e in CATALOG.values() if e.system or task in e.tasks)
