"""The predictions table: what the gate looks at, as columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tidegate.core.metrics.estimate import estimate
from tidegate.core.metrics.interval import contrast, single
from tidegate.core.metrics.joint import joint_of
from tidegate.core.metrics.kinds import Resampled
from tidegate.core.metrics.resampling import Replicates, resample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate.core.metrics.interval import Statistic
    from tidegate.core.metrics.joint import Joint
    from tidegate.core.metrics.kinds import Codes, Floats
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
    """Some rows of a table, with every metric computed on them at most once.

    The independent unit is the row, or the group of rows where the table has groups
    (``data.group``): ``units`` counts them, and it is units that a rule's least number is about,
    because a user's thousandth row says next to nothing about the next user.
    """

    def __init__(self, table: Predictions, rows: npt.NDArray[np.intp] | None = None) -> None:
        self._columns = {
            name: values if rows is None else values[rows] for name, values in table.columns()
        }
        self.models = [name for name in (CANDIDATE, CHAMPION, ANCHOR) if name in self._columns]
        self.n = len(self._columns[CANDIDATE])
        self._weight = _of(table.weight, rows)
        self._cluster: Codes | None = None
        self.units = self.n
        if table.group is not None:
            present, cluster = np.unique(_of(table.group, rows), return_inverse=True)
            self._cluster, self.units = cluster, len(present)
        self._found: dict[str, Joint | Replicates] = {}

    def has(self, model: str) -> bool:
        """Whether the table holds this model's predictions."""
        return model in self._columns

    def value(self, metric: Metric, model: str) -> float | None:
        """Return the metric's value for one model; None where it is undefined or not there."""
        if not self.has(model):
            return None
        values = self._of_models(metric).values
        value = float(values[self.models.index(model)])
        return value if math.isfinite(value) else None

    def single(self, metric: Metric, model: str, confidence: float) -> Statistic | None:
        """Return one model's own value with its error; None where it is undefined or not there."""
        if self.value(metric, model) is None:
            return None
        found, index = self._of_models(metric), self.models.index(model)
        if isinstance(found, Replicates):
            return found.single(index)
        return single(found, index, confidence)

    def contrast(
        self, metric: Metric, candidate: str, reference: str, k: float = 1.0
    ) -> Statistic | None:
        """Return ``candidate - k * reference`` with its paired error."""
        if self.value(metric, candidate) is None or self.value(metric, reference) is None:
            return None
        found = self._of_models(metric)
        mine, other = self.models.index(candidate), self.models.index(reference)
        if isinstance(found, Replicates):
            return found.contrast(mine, other, k)
        return contrast(found, mine, other, k)

    def smaller_class(self) -> int:
        """Return how many units have a row of the rarest class, of those that may occur."""
        truth = self._columns["y_true"].astype(np.intp)
        if self._cluster is None:
            return int(np.bincount(truth, minlength=self._classes).min())
        seen = np.unique(self._cluster * self._classes + truth) % self._classes
        return int(np.bincount(seen, minlength=self._classes).min())

    @property
    def _classes(self) -> int:
        candidate = self._columns[CANDIDATE]
        return candidate.shape[1] if candidate.ndim == 2 else 2

    def _of_models(self, metric: Metric) -> Joint | Replicates:
        name = metric.entry.name
        if name not in self._found:
            kind = metric.kind
            self._found[name] = (
                self._resample(kind) if isinstance(kind, Resampled) else self._join(metric)
            )
        return self._found[name]

    def _join(self, metric: Metric) -> Joint:
        truth = self._columns.get("y_true")
        estimates = [
            estimate(
                metric.kind,
                self._columns[model] if truth is None else truth,
                self._columns[model],
                weight=self._weight,
                query=self._cluster,
                classes=self._classes,
            )
            for model in self.models
        ]
        units = self.smaller_class() if metric.min_per_class else self.units
        return joint_of(
            estimates,
            n=self.n,
            cluster=self._cluster,
            clusters=self.units,
            df=max(units - 1, 1),
        )

    def _resample(self, kind: Resampled) -> Replicates:
        truth = self._columns.get("y_true")
        return resample(
            kind,
            truth,
            [self._columns[model] for model in self.models],
            weight=self._weight,
            cluster=self._cluster,
        )


def _of(values: npt.NDArray[Any] | None, rows: npt.NDArray[np.intp] | None) -> Any:
    return values if values is None or rows is None else values[rows]


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
