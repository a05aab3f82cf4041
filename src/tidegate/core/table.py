"""The predictions table: what the gate looks at, as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate.core.metrics.kinds import Codes, Floats
    from tidegate.core.metrics.resampling import Replicates

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
        measured: (own metric, label of a group of rows or None for all) -> what was measured there,
            the models in the order candidate, champion, anchor.

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
    measured: Mapping[tuple[str, str | None], Replicates] = field(default_factory=dict)

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

    def of(self, model: str) -> Floats:
        """Return a model's predictions, which must be there."""
        values: Floats = getattr(self, model)
        return values

    def models(self) -> tuple[str, ...]:
        """Return which models there are, the candidate first."""
        return tuple(name for name, _ in self.columns() if name != "y_true")

    def classes(self) -> int:
        """Return how many classes the truth may have, if it is one of classes: K, or 2."""
        return self.candidate.shape[1] if self.candidate.ndim == 2 else 2

    def part(self, start: int, stop: int) -> Predictions:
        """Return the rows from ``start`` up to ``stop``, without copying any."""
        return self.take(slice(start, stop))

    def take(self, rows: slice | Codes) -> Predictions:
        """Return some rows."""
        return replace(
            self,
            candidate=self.candidate[rows],
            y_true=None if self.y_true is None else self.y_true[rows],
            champion=None if self.champion is None else self.champion[rows],
            anchor=None if self.anchor is None else self.anchor[rows],
            ids=None if self.ids is None else self.ids[rows],
            slices={name: (known, codes[rows]) for name, (known, codes) in self.slices.items()},
            group=None if self.group is None else self.group[rows],
            weight=None if self.weight is None else self.weight[rows],
        )
