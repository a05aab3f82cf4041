"""Some rows of a table, and what every metric comes to on them: what rules ask."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tidegate.core.metrics.estimate import estimate
from tidegate.core.metrics.interval import contrast, single
from tidegate.core.metrics.joint import joint_of
from tidegate.core.metrics.kinds import Measured
from tidegate.core.metrics.resampling import Replicates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tidegate.core.metrics.joint import Joint
    from tidegate.core.metrics.kinds import Codes
    from tidegate.core.metrics.statistic import Statistic
    from tidegate.core.metrics.table import Metric
    from tidegate.core.sums.survey import Summary, Survey
    from tidegate.core.table import Predictions


class Rows:
    """Some rows of a table, with every metric computed on them at most once.

    The independent unit is the row, or the group of rows where the table has groups
    (``data.group``): ``units`` counts them, and it is units that a rule's least number is about,
    because a user's thousandth row says next to nothing about the next user.

    Where the table was surveyed, the summary answers; the rows themselves are only taken out of the
    table for a metric that it does not know.
    """

    def __init__(
        self,
        table: Predictions,
        members: Callable[[], Codes] | None = None,
        summary: Summary | None = None,
        label: str | None = None,
    ) -> None:
        self._whole = table
        self._members = members
        self._summary = summary
        self._label = label
        self.models = table.models()
        self._found: dict[str, Joint | Replicates] = dict(summary.joints) if summary else {}
        self._found |= {
            name: found for (name, where), found in table.measured.items() if where == label
        }

    @cached_property
    def _table(self) -> Predictions:
        return self._whole if self._members is None else self._whole.take(self._members())

    @cached_property
    def n(self) -> int:
        """The number of rows."""
        return self._summary.n if self._summary else self._table.n

    @cached_property
    def _clusters(self) -> tuple[Codes | None, int]:
        if self._whole.group is None:
            return None, self.n
        assert self._table.group is not None
        present, cluster = np.unique(self._table.group, return_inverse=True)
        return cluster, len(present)

    @property
    def units(self) -> int:
        """The number of independent units."""
        return self._clusters[1]

    def has(self, model: str) -> bool:
        """Whether the table holds this model's predictions."""
        return model in self.models

    def value(self, metric: Metric, model: str) -> float | None:
        """Return the metric's value for one model; None where it is undefined or not there."""
        if not self.has(model):
            return None
        value = float(self._of_models(metric).values[self.models.index(model)])
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
        if self._summary and self._summary.smaller_class is not None:
            return self._summary.smaller_class
        assert self._table.y_true is not None
        truth, classes = self._table.y_true.astype(np.intp), self._whole.classes()
        cluster, _ = self._clusters
        if cluster is None:
            return int(np.bincount(truth, minlength=classes).min())
        seen = np.unique(cluster * classes + truth) % classes
        return int(np.bincount(seen, minlength=classes).min())

    def _of_models(self, metric: Metric) -> Joint | Replicates:
        name = metric.entry.name
        if name not in self._found:
            if isinstance(
                metric.kind, Measured
            ):  # nobody has measured it here: undefined, never a pass
                values = np.full(len(self.models), math.nan)
                return Replicates(values=values, draws=np.empty((0, len(values))), n=self.n)
            self._found[name] = self._join(metric)
        return self._found[name]

    def _join(self, metric: Metric) -> Joint:
        truth, table = self._table.y_true, self._table
        cluster, units = self._clusters
        estimates = [
            estimate(
                metric.kind,
                table.of(model) if truth is None else truth,
                table.of(model),
                weight=table.weight,
                query=cluster,
                classes=self._whole.classes(),
            )
            for model in self.models
        ]
        evidence = self.smaller_class() if metric.min_per_class else units
        return joint_of(
            estimates, n=self.n, cluster=cluster, clusters=units, df=max(evidence - 1, 1)
        )


class _Partition:
    """The rows of every group of a partition, found when first asked for."""

    def __init__(self, table: Predictions, by: tuple[str, ...]) -> None:
        self._table, self._by = table, by

    @cached_property
    def _split(self) -> tuple[npt.NDArray[np.int64], list[Codes]]:
        codes = np.zeros(self._table.n, dtype=np.int64)
        complete = np.ones(self._table.n, dtype=np.bool_)
        for name in self._by:
            categories, column = self._table.slices[name]
            codes = codes * len(categories) + column
            complete &= column >= 0
        rows = np.flatnonzero(complete)
        order = rows[np.argsort(codes[rows], kind="stable")]
        present, starts = np.unique(codes[order], return_index=True)
        return present, np.split(order, starts[1:])

    @property
    def codes(self) -> list[int]:
        """The groups that occur, as the number that their values' positions make."""
        return [int(code) for code in self._split[0]]

    def members(self, code: int) -> Codes:
        """Return a group's rows."""
        present, members = self._split
        return members[int(np.searchsorted(present, code))]


def groups(
    table: Predictions, by: tuple[str, ...], survey: Survey | None = None
) -> Iterator[tuple[str, Rows]]:
    """Yield every group of rows that share the values of the ``by`` columns, with its label.

    Only combinations that occur are yielded; rows without a value belong to no group.
    """
    partition = _Partition(table, by)
    known = survey.groups.get(by) if survey else None
    for code in partition.codes if known is None else known:
        members = _members(partition, code)
        label = _label(table, by, code)
        yield label, Rows(table, members, known[code] if known else None, label)


def labelled(table: Predictions, by: tuple[str, ...]) -> Iterator[tuple[str, Codes]]:
    """Yield the rows of every group, as :func:`groups` does, with its label."""
    partition = _Partition(table, by)
    for code in partition.codes:
        yield _label(table, by, code), partition.members(code)


def _members(partition: _Partition, code: int) -> Callable[[], Codes]:
    return lambda: partition.members(code)


def _label(table: Predictions, by: tuple[str, ...], code: int) -> str:
    parts = []
    for name in reversed(by):
        categories = table.slices[name][0]
        code, index = divmod(code, len(categories))
        parts.append(f"{name}={categories[index]}")
    return ", ".join(reversed(parts))
