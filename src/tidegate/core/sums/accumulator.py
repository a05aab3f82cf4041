"""The sums of batches of rows: update, merge, and nothing else; any order gives the same to 1e-9."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tidegate.core.metrics.estimate import typical
from tidegate.core.metrics.kinds import Cells, Ranked, Smooth
from tidegate.core.sums import counts, moments, ranks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tidegate.core.metrics.kinds import Cell, Codes, Floats, Keys
    from tidegate.core.metrics.table import Metric
    from tidegate.core.sums.layout import Layout
    from tidegate.core.sums.ranks import Bins, Scale
    from tidegate.core.table import Predictions

_FIRST = 1 << 14  # rows that pivots and scales are taken from


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is summed. Accumulators of one plan merge; the numbers in it change digits, not results.

    Attributes:
        layout: which rows belong together.
        models: the models' names, in order.
        classes: how many classes the truth may have; 0 where it has none.
        smooth, cells: the metrics by name.
        ranked: whether any metric ranks.
        pivots: per smooth metric, about the features' means, shape (m * k,).
        centre: a typical truth.
        scales: per model; None: the scores are not probabilities but keys of any number.
        probabilities: whether every score lies in [0, 1]; asserted of every batch.
    """

    layout: Layout
    models: tuple[str, ...]
    classes: int
    smooth: dict[str, Smooth]
    cells: dict[str, Cells]
    ranked: dict[str, Ranked]
    pivots: dict[str, Floats]
    centre: float
    scales: tuple[Scale, ...]
    probabilities: bool


def plan_for(layout: Layout, metrics: Sequence[Metric], sample: Predictions) -> Plan:
    """Return the plan for these metrics, its pivots and scales from the first rows of a table.

    A metric that is drawn again or needs queries is left out, and so are cells too many to count.
    """
    first = sample.part(0, min(sample.n, _FIRST))
    models = first.models()
    truth, predictions = _columns(first, models)
    of_classes = any(m.min_per_class or isinstance(m.kind, Cells | Ranked) for m in metrics)
    classes = sample.classes() if of_classes and sample.y_true is not None else 0
    smooth = {m.entry.name: m.kind for m in metrics if isinstance(m.kind, Smooth)}
    cells = {
        m.entry.name: m.kind
        for m in metrics
        if isinstance(m.kind, Cells) and layout.cells * m.kind.size(classes) ** 2 <= counts.MOST
    }
    ranked = {
        m.entry.name: m.kind for m in metrics if isinstance(m.kind, Ranked) and m.kind.of_many
    }
    probabilities = all(float(p.min()) >= 0.0 and float(p.max()) <= 1.0 for p in predictions)
    if not ranked:
        scales: tuple[Scale, ...] = ()
    elif probabilities:
        scales = (ranks.PROBABILITIES,) * len(models)
    else:
        scales = tuple(
            ranks.scale_of(ranks.keys_of(p, truth, probability=False)) for p in predictions
        )
    centre = typical(truth)
    return Plan(
        layout=layout,
        models=models,
        classes=classes,
        smooth=smooth,
        cells=cells,
        ranked=ranked,
        pivots={
            name: np.mean(moments.features(kind, truth, predictions, centre), axis=1)
            for name, kind in smooth.items()
        },
        centre=centre,
        scales=scales,
        probabilities=probabilities,
    )


@dataclass(kw_only=True, slots=True)
class Accumulator:
    """The sums so far.

    Attributes:
        plan: what is summed.
        rows: rows per cell of the layout, shape (cells,).
        classes: rows per cell and class, shape (cells * classes,).
        moments: per smooth metric.
        counted: per function that names cells: shape (pairs of models, cells * size * size).
        keys, bins: per model and cell, pieces; the models' pieces are of the same rows.
    """

    plan: Plan
    rows: Codes = field(init=False)
    classes: Codes = field(init=False)
    moments: dict[str, moments.Moments] = field(init=False)
    counted: dict[Callable[[Floats, Floats, int], Cell], Codes] = field(init=False)
    keys: list[list[list[Keys]]] = field(init=False)
    bins: list[list[list[Bins]]] = field(init=False)

    def __post_init__(self) -> None:
        plan, cells = self.plan, self.plan.layout.cells
        self.rows = np.zeros(cells, dtype=np.intp)
        self.classes = np.zeros(cells * plan.classes, dtype=np.intp)
        self.moments = {name: moments.empty(len(p), cells) for name, p in plan.pivots.items()}
        self.counted = {}
        self.keys = [[[] for _ in range(cells)] for _ in plan.scales]
        self.bins = [[[] for _ in range(cells)] for _ in plan.scales]

    def update(self, batch: Predictions) -> None:
        """Add rows. About 64 thousand at a time stay in a processor's cache.

        Raises:
            ValueError: scores outside [0, 1] where the plan was made for probabilities.
        """
        plan, cells = self.plan, self.plan.layout.cells
        truth, predictions = _columns(batch, plan.models)
        atoms = plan.layout.of(batch)
        here = self._count(truth, predictions, atoms) if plan.cells else None
        present, starts = np.array([0]), np.array([0])
        if cells == 1:
            here = np.array([batch.n])
        else:
            if here is None:
                here = np.bincount(atoms, minlength=cells)
            present = np.flatnonzero(here)
            starts = (np.cumsum(here) - here)[present]
            order = np.argsort(atoms, kind="stable")  # of small integers: a radix sort
            truth = np.take(truth, order, axis=0, mode="clip")
            predictions = [np.take(p, order, axis=0, mode="clip") for p in predictions]
        self.rows += here
        if plan.classes:
            self._classes(truth, present, starts)
        for name, kind in plan.smooth.items():
            columns = moments.features(kind, truth, predictions, plan.centre)
            found = moments.gather(
                kind, columns, plan.pivots[name], present=present, starts=starts, cells=cells
            )
            self.moments[name].add(found)
        for model in range(len(plan.scales)):
            score = predictions[model]
            if plan.probabilities and not (score.min() >= 0.0 and score.max() <= 1.0):
                raise ValueError("a score outside [0, 1] after a first batch of probabilities")
            keys = ranks.keys_of(score, truth, probability=plan.probabilities)
            bins = plan.scales[model].bins(keys)
            for cell, start in zip(present.tolist(), starts.tolist(), strict=True):
                rows = slice(start, start + int(here[cell]))
                self.keys[model][cell].append(keys[rows])
                self.bins[model][cell].append(bins[rows])

    def _classes(self, truth: Floats, present: Codes, starts: Codes) -> None:
        table = self.classes.reshape(-1, self.plan.classes)
        table[present, 0] += np.diff(starts, append=len(truth))
        for number in range(1, self.plan.classes):
            found = np.add.reduceat((truth == number).view(np.uint8), starts, dtype=np.intp)
            table[present, number] += found
            table[present, 0] -= found

    def _count(self, truth: Floats, predictions: Sequence[Floats], atoms: Cell) -> Codes:
        """Count, and return how many rows each cell of the layout has."""
        plan = self.plan
        for kind in {kind.cell: kind for kind in plan.cells.values()}.values():
            size = kind.size(plan.classes)
            cell = [kind.cell(truth, prediction, plan.classes) for prediction in predictions]
            found = counts.gather(cell, size, atoms, plan.layout.cells)
            before = self.counted.get(kind.cell)
            self.counted[kind.cell] = found if before is None else before + found
        here: Codes = found[0].reshape(plan.layout.cells, -1).sum(axis=1)
        return here

    def merge(self, other: Accumulator) -> None:
        """Add what another accumulator of the same plan has seen."""
        self.rows += other.rows
        self.classes += other.classes
        for name, sums in other.moments.items():
            self.moments[name].add(sums)
        for function, found in other.counted.items():
            before = self.counted.get(function)
            self.counted[function] = found if before is None else before + found
        for model in range(len(self.keys)):
            for cell in range(len(self.rows)):
                self.keys[model][cell] += other.keys[model][cell]
                self.bins[model][cell] += other.bins[model][cell]

    def consolidate(self, cells: Sequence[int] | None = None) -> None:
        """Make one piece of the keys of these cells, or of all: small pieces keep whole batches alive."""
        for cell in range(len(self.rows)) if cells is None else cells:
            for keys in self.keys:
                keys[cell] = [np.concatenate(keys[cell])] if keys[cell] else []
            for bins in self.bins:
                bins[cell] = [np.concatenate(bins[cell])] if bins[cell] else []


def _columns(batch: Predictions, models: Sequence[str]) -> tuple[Floats, list[Floats]]:
    predictions = [batch.of(model) for model in models]
    return predictions[0] if batch.y_true is None else batch.y_true, predictions
