"""The survey of a table larger than memory: batches of rows, gone through twice after a first look.

The first time through sums features, counts cells and fills every ranking's histograms (:mod:`bins`). From those come the
rankings' values and influences; the second time through looks each row's influences up and sums their products,
which is what a paired error is made of. What is kept does not grow with the rows.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tidegate.core.metrics.joint import Joint
from tidegate.core.metrics.kinds import Cells, Ranked, Smooth
from tidegate.core.metrics.table import find, is_system
from tidegate.core.model import Task
from tidegate.core.sums import bins, ranks
from tidegate.core.sums.accumulator import Accumulator, plan_for
from tidegate.core.sums.layout import lay_out
from tidegate.core.sums.survey import Survey, finish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tidegate.core.config import Gate
    from tidegate.core.metrics.kinds import Codes, Floats
    from tidegate.core.metrics.table import Metric
    from tidegate.core.model import Finding
    from tidegate.core.sums.bins import Edges
    from tidegate.core.sums.layout import Layout
    from tidegate.core.sums.look import Look
    from tidegate.core.sums.ranks import Lookup
    from tidegate.core.sums.survey import Summary
    from tidegate.core.table import Predictions

    Batches = Callable[[], Iterable[Predictions]]
    Tables = list[Codes]  # one a model: shape (cells, 2 * bins)


@dataclass(frozen=True, kw_only=True, slots=True)
class Streamed:
    """What a gate needs of a table whose rows are not at hand.

    Attributes:
        n: its rows.
        unusable: why no metric can be computed.
        survey: all metrics on all groups; None where the table is unusable.
    """

    n: int
    unusable: tuple[Finding, ...]
    survey: Survey | None


def cannot(gate: Gate, task: Task) -> str | None:
    """Return which part of the rules needs all rows at once, in words; None: they can be streamed."""
    if gate.exact is not None:
        return "guarantee: exact"
    if task in (Task.MULTICLASS, Task.RANKING):
        return f"task {task}"
    for name in sorted(gate.metrics):
        if is_system(name):
            continue
        kind = find(name, task, gate.own).kind
        if not isinstance(kind, Smooth | Cells) and not (isinstance(kind, Ranked) and kind.of_many):
            return f"the metric {name}"
        # A gap adds errors up as independent ones; a doubt is none.
        if isinstance(kind, Ranked) and any(rule.metric == name for rule in gate.gaps):
            return f"the rule of gaps in {name}"
    return None


def stream(look: Look, gate: Gate, task: Task, batches: Batches) -> Survey | None:
    """Evaluate the rules' metrics on all rows and on every group that rules are about.

    Args:
        look: what a first look at all the rows has found.
        gate: the rules; their metrics are smooth, of cells, or ranked in bins: see :func:`cannot`.
        task: what the model predicts.
        batches: all rows, the same ones each time; about 64 thousand at a time.

    Returns:
        The survey, with every metric on every group; None where there are too many groups for it.
    """
    assert look.witness is not None
    there = look.witness.slices
    partitions = [by for by in gate.groupings if all(name in there for name in by)]
    layout = lay_out(look.witness, partitions)
    if layout is None:
        return None
    names = (name for name in sorted(gate.metrics) if not is_system(name))
    metrics = [find(name, task, gate.own) for name in names]
    plan = plan_for(layout, metrics, look.sampled())
    ranked = plan.ranked
    cells = {m.entry.name for m in metrics if isinstance(m.kind, Cells)}
    if set(plan.cells) != cells:
        return None
    total = Accumulator(plan=replace(plan, ranked={}, scales=()))
    if not ranked:
        for batch in batches():
            total.update(batch)
        with ThreadPoolExecutor(1) as pool:
            return finish(total, metrics, pool)
    return _with_rankings(look, metrics, batches, total, ranked)


def _with_rankings(
    look: Look,
    metrics: Sequence[Metric],
    batches: Batches,
    total: Accumulator,
    ranked: dict[str, Ranked],
) -> Survey | None:
    layout, models = total.plan.layout, total.plan.models
    groups = 1 + sum(int(np.prod([layout.sizes[name] for name in by])) for by in layout.partitions)
    found = bins.fitting(len(models) * (layout.cells + groups * len(ranked)))
    if found is None:
        return None
    sample = look.sampled()
    edges = [bins.edges_of(sample.of(model), found) for model in models]
    tables: Tables = [np.zeros((layout.cells, 2 * e.bins), dtype=np.int64) for e in edges]
    for batch in batches():
        total.update(batch)
        atoms = layout.of(batch).astype(np.intp)
        for table, codes in zip(tables, _codes(batch, models, edges), strict=True):
            np.add.at(table.reshape(-1), atoms * table.shape[1] + codes, 1)
    with ThreadPoolExecutor(1) as pool:
        survey = finish(total, metrics, pool)
    where = list(_groups(layout, total.rows, survey))
    looked = [_Group.of(cells, ranked, tables, edges) for _, cells in where]
    _products(batches(), looked, layout, models, edges)
    for (summary, _), group in zip(where, looked, strict=True):
        for name in ranked:
            summary.joints[name] = group.joint(name)
    return survey


def _codes(batch: Predictions, models: Sequence[str], edges: Sequence[Edges]) -> list[Codes]:
    assert batch.y_true is not None
    return [e.of(batch.of(model), batch.y_true) for model, e in zip(models, edges, strict=True)]


def _groups(layout: Layout, rows: Codes, survey: Survey) -> Iterator[tuple[Summary, Codes]]:
    """Yield all rows and every group: where its joints go, and the cells it is made of."""
    yield survey.everything, np.arange(layout.cells)
    for by, summaries in survey.groups.items():
        for code, cells in layout.groups(by, rows):
            yield summaries[code], cells


@dataclass(frozen=True, kw_only=True, slots=True)
class _Group:
    """The rankings of one group of rows: values with their doubt, influences by bin, sums of products."""

    cells: Codes
    classes: Codes
    values: dict[str, list[tuple[float, float] | None]]
    lookups: dict[str, list[Lookup | None]]
    gram: dict[str, Floats]

    @classmethod
    def of(
        cls, cells: Codes, ranked: dict[str, Ranked], tables: Tables, edges: Sequence[Edges]
    ) -> _Group:
        here = [table[cells].sum(axis=0) if len(cells) > 1 else table[cells[0]] for table in tables]
        both = list(zip(here, (e.single for e in edges), strict=True))
        return cls(
            cells=cells,
            classes=here[0].reshape(-1, 2).sum(axis=0),
            values={n: [bins.value_of(k, *one) for one in both] for n, k in ranked.items()},
            lookups={
                n: [ranks.lookups(k, table[None], single)[0] for table, single in both]
                for n, k in ranked.items()
            },
            gram={name: np.zeros((len(tables), len(tables))) for name in ranked},
        )

    def joint(self, name: str) -> Joint:
        values, lookups = self.values[name], self.lookups[name]
        n, smaller = int(self.classes.sum()), int(self.classes.min())
        return Joint(
            values=np.array([np.nan if value is None else value[0] for value in values]),
            gram=self.gram[name],
            n=n,
            units=n,
            df=max(smaller - 1, 1),
            unit=n / max(smaller, 1),
            proportions=np.zeros(len(values), dtype=np.bool_),
            doubt=np.array([0.0 if value is None else value[1] for value in values]),
            off=np.array([0.0 if found is None else found.off for found in lookups]),
        )


def _products(
    batches: Iterable[Predictions],
    groups: Sequence[_Group],
    layout: Layout,
    models: Sequence[str],
    edges: Sequence[Edges],
) -> None:
    """Add every row's products of influences to the groups that it belongs to."""
    within: list[list[_Group]] = [[] for _ in range(layout.cells)]
    for group in groups:
        for cell in group.cells.tolist():
            within[cell].append(group)
    for batch in batches:
        atoms = layout.of(batch)
        order = np.argsort(atoms, kind="stable")
        here = np.bincount(atoms, minlength=layout.cells)
        ends = np.cumsum(here)
        codes = [code[order] for code in _codes(batch, models, edges)]
        for cell in np.flatnonzero(here).tolist():
            rows = slice(int(ends[cell] - here[cell]), int(ends[cell]))
            part = [code[rows] for code in codes]
            for name in groups[0].gram:
                gram = ranks.products([group.lookups[name] for group in within[cell]], part)
                for group, found in zip(within[cell], gram, strict=True):
                    group.gram[name] += found
