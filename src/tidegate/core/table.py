"""The predictions table: what the gate looks at, as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tidegate.core.metrics.interval import contrast, single

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate.core.metrics.estimate import Estimate, Floats
    from tidegate.core.metrics.interval import Statistic
    from tidegate.core.metrics.kinds import Codes
    from tidegate.core.metrics.table import Metric

SliceColumn: TypeAlias = tuple[Sequence[str], npt.NDArray[np.integer[Any]]]
CANDIDATE, CHAMPION, ANCHOR = "candidate", "champion", "anchor"


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions:
    """Predictions of two or three models on the same rows.

    Attributes:
        candidate: shape (n,): probabilities of class 1, numbers, or scores, by task. Multiclass: shape
            (n, K), a probability of each class. Regression may have shape (n, 3): point, lower, upper.
        y_true: shape (n,), None for task generic. Multiclass: the class's number, 0 .. K - 1.
        champion: shape (n,), None on a first release.
        anchor: shape (n,), None when creep is not checked.
        ids: shape (n,), unique; None when whoever made the table has checked the pairing.
        slices: column name -> (categories, codes); codes index the categories, shape (n,), and -1
            means that the row has no value.
        group: codes, shape (n,): rows of one user, session or query have the same; 0 .. groups - 1.
        weight: shape (n,), finite, at least 0, not all 0.

    Raises:
        ValueError: columns of different lengths.
    """

    candidate: Floats
    y_true: Floats | None = None
    champion: Floats | None = None
    anchor: Floats | None = None
    ids: npt.NDArray[Any] | None = None
    slices: Mapping[str, SliceColumn] = field(default_factory=dict)
    group: Codes | None = None
    weight: Floats | None = None

    def __post_init__(self) -> None:
        columns = [*self.columns(), *((name, codes) for name, (_, codes) in self.slices.items())]
        for name, values in (("ids", self.ids), ("group", self.group), ("weight", self.weight)):
            if values is not None:
                columns.append((name, values))
        if len({len(values) for _, values in columns}) != 1:
            sizes = ", ".join(f"{name} {len(values)}" for name, values in columns)
            raise ValueError(f"columns of different lengths: {sizes}")

    @property
    def n(self) -> int:
        """The number of rows."""
        return len(self.candidate)

    def columns(self) -> Iterator[tuple[str, Floats]]:
        """Yield the numeric columns that are there, by name."""
        for name in ("y_true", CANDIDATE, CHAMPION, ANCHOR):
            values = getattr(self, name)
            if values is not None:
                yield name, values


class Rows:
    """Some rows of a table, with every estimate made on them at most once."""

    def __init__(self, table: Predictions, rows: npt.NDArray[np.intp] | None = None) -> None:
        self._columns = {
            name: values if rows is None else values[rows] for name, values in table.columns()
        }
        self._estimates: dict[tuple[str, str], Estimate | None] = {}
        self.n = len(self._columns[CANDIDATE])

    def has(self, model: str) -> bool:
        """Whether the table holds this model's predictions."""
        return model in self._columns

    def estimate(self, metric: Metric, model: str) -> Estimate | None:
        """Return the metric of one model's predictions; None where it is undefined."""
        key = (metric.entry.name, model)
        if key not in self._estimates:
            truth = self._columns.get("y_true", self._columns[model])
            self._estimates[key] = metric.formula(truth, self._columns[model])
        return self._estimates[key]

    def value(self, metric: Metric, model: str) -> float | None:
        """Return the metric's value for one model; None where it is undefined or not there."""
        estimate = self.estimate(metric, model) if self.has(model) else None
        return estimate.value if estimate else None

    def single(self, metric: Metric, model: str, confidence: float) -> Statistic | None:
        """Return one model's own value with its error."""
        estimate = self.estimate(metric, model)
        return single(estimate, confidence) if estimate else None

    def contrast(
        self, metric: Metric, candidate: str, reference: str, k: float = 1.0
    ) -> Statistic | None:
        """Return ``candidate - k * reference`` with its paired error."""
        mine, other = self.estimate(metric, candidate), self.estimate(metric, reference)
        return contrast(mine, other, k) if mine and other else None

    def smaller_class(self) -> int:
        """Return how many rows the smaller class of a binary truth has."""
        ones = int(self._columns["y_true"].sum())
        return min(ones, self.n - ones)


def groups(table: Predictions, by: tuple[str, ...]) -> Iterator[tuple[str, Rows]]:
    """Yield every group of rows that share the values of the ``by`` columns, with its label.

    Only combinations that occur are yielded; rows without a value belong to no group.
    """
    codes = np.zeros(table.n, dtype=np.int64)
    complete = np.ones(table.n, dtype=np.bool_)
    for name in by:
        categories, column = table.slices[name]
        codes = codes * len(categories) + column
        complete &= column >= 0
    rows = np.flatnonzero(complete)
    order = rows[np.argsort(codes[rows], kind="stable")]
    present, starts = np.unique(codes[order], return_index=True)
    for code, members in zip(present, np.split(order, starts[1:]), strict=False):
        yield _label(table, by, int(code)), Rows(table, members)


def _label(table: Predictions, by: tuple[str, ...], code: int) -> str:
    parts = []
    for name in reversed(by):
        categories = table.slices[name][0]
        code, index = divmod(code, len(categories))
        parts.append(f"{name}={categories[index]}")
    return ", ".join(reversed(parts))
