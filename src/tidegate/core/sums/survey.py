"""All closed-form metrics of all models on all groups, from one pass over a large table."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from tidegate.core.sums import counts, moments, ranks
from tidegate.core.sums.accumulator import Accumulator, plan_for
from tidegate.core.sums.layout import lay_out

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tidegate.core.metrics.joint import Joint
    from tidegate.core.metrics.kinds import Codes, Floats, Ranked
    from tidegate.core.metrics.table import Metric
    from tidegate.core.sums.layout import By
    from tidegate.core.sums.ranks import Lookup
    from tidegate.core.table import Predictions

FROM_ROWS = 30_000  # below, the exact path takes milliseconds
BATCH = 1 << 17  # rows: fewer, and two threads wait for each other; more leave the cache
STRETCH = 1 << 18  # rows that one thread sums at a time
_THREADS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What was found on one group of rows.

    Attributes:
        n: its rows.
        joints: metric -> all models; a metric that is not here needs the rows themselves.
        smaller_class: rows of the rarest class; None where no metric needs it.
    """

    n: int
    joints: dict[str, Joint] = field(default_factory=dict)
    smaller_class: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """The summaries of all rows and of every group: partition -> (product code -> summary)."""

    everything: Summary
    groups: dict[By, dict[int, Summary]]


def survey(
    table: Predictions,
    metrics: Sequence[Metric],
    partitions: Sequence[By],
    *,
    threads: int = _THREADS,
) -> Survey | None:
    """Evaluate metrics on all rows and on every group of these partitions.

    The number of threads changes nothing but the time: stretches are cut by row numbers and merged in
    their order.

    Returns:
        The survey; None where it does not pay or the rows are not independent and equal (clusters,
        weights): the exact path then looks at the rows of every group.
    """
    if table.n < FROM_ROWS or table.group is not None or table.weight is not None:
        return None
    layout = lay_out(table, partitions)
    if layout is None:
        return None
    plan = plan_for(layout, metrics, table)

    def of(first: int) -> Accumulator:
        found = Accumulator(plan=plan)
        last = min(first + STRETCH, table.n)
        for start in range(first, last, BATCH):
            found.update(table.part(start, min(start + BATCH, last)))
        found.consolidate()
        return found

    total = Accumulator(plan=plan)
    with ThreadPoolExecutor(threads) as pool:
        for found in pool.map(of, range(0, table.n, STRETCH)):
            total.merge(found)
        return finish(total, metrics, pool)


def finish(total: Accumulator, metrics: Sequence[Metric], pool: ThreadPoolExecutor) -> Survey:
    """Turn sums into metrics, group by group."""
    layout = total.plan.layout
    groups = {by: layout.groups(by, total.rows) for by in layout.partitions}
    found: list[Codes] = [np.arange(layout.cells)]
    found += [cells for parts in groups.values() for _, cells in parts]
    summaries = iter(_summaries(total, metrics, found, pool))
    everything = next(summaries)
    return Survey(
        everything=everything,
        groups={by: {code: next(summaries) for code, _ in parts} for by, parts in groups.items()},
    )


def _summaries(
    total: Accumulator, metrics: Sequence[Metric], groups: Sequence[Codes], pool: ThreadPoolExecutor
) -> Iterator[Summary]:
    smaller = {metric.entry.name: metric.min_per_class > 0 for metric in metrics}
    ranked = _ranked(total, groups, pool) if total.plan.ranked else [{} for _ in groups]
    plan, models = total.plan, len(total.plan.models)
    for cells, joints in zip(groups, ranked, strict=True):
        n, rarest = int(total.rows[cells].sum()), None
        if plan.classes:
            rarest = int(total.classes.reshape(-1, plan.classes)[cells].sum(axis=0).min())
        for name, kind in plan.smooth.items():
            df = max((rarest if smaller[name] and rarest is not None else n) - 1, 1)
            sums, pivots = total.moments[name], plan.pivots[name]
            joints[name] = moments.joint(kind, sums, pivots, cells, n=n, models=models, df=df)
        for name, cell in plan.cells.items():
            df = max((rarest if smaller[name] and rarest is not None else n) - 1, 1)
            size, found = cell.size(plan.classes), total.counted[cell.cell]
            joints[name] = counts.joint(cell, found, cells, size=size, models=models, df=df)
        yield Summary(n=n, joints=joints, smaller_class=rarest)


def _ranked(
    total: Accumulator, groups: Sequence[Codes], pool: ThreadPoolExecutor
) -> list[dict[str, Joint]]:
    """Return every group's rankings, each of its steps spread over the threads.

    Histograms of each cell; from their sums each group's influences; each cell's products of those, for
    every group that it belongs to; the groups' values by sorting. The keys are used up.
    """
    plan = total.plan
    models = range(len(plan.models))
    cells = [cell for cell in range(plan.layout.cells) if total.rows[cell]]
    within = {cell: [g for g, group in enumerate(groups) if cell in group] for cell in cells}

    def count(cell: int) -> list[Codes]:
        total.consolidate([cell])
        return [ranks.histogram(total.bins[model][cell][0]) for model in models]

    counted = dict(zip(cells, pool.map(count, cells), strict=True))

    def values(work: tuple[int, int]) -> dict[str, tuple[float, float] | None]:
        g, model = work
        here = [total.keys[model][cell][0] for cell in groups[g].tolist() if cell in counted]
        keys = np.concatenate(here)
        keys.sort()
        return {name: ranks.value_of(kind, keys) for name, kind in plan.ranked.items()}

    looked = _influences(plan.ranked, groups, counted, len(models))
    work = [(g, model) for g in range(len(groups)) for model in models]
    sorting = pool.map(values, work)

    def products(cell: int) -> dict[str, Floats]:
        bins = [total.bins[model][cell].pop() for model in models]
        return {
            name: ranks.products([looked[g][name] for g in within[cell]], bins)
            for name in plan.ranked
        }

    grams = [dict.fromkeys(plan.ranked, np.zeros((len(models), len(models)))) for _ in groups]
    for cell, found in zip(cells, pool.map(products, cells), strict=True):
        for name, gram in found.items():
            for part, g in zip(gram, within[cell], strict=True):
                grams[g][name] = grams[g][name] + part

    valued = dict(zip(work, sorting, strict=True))
    result: list[dict[str, Joint]] = []
    for g, group in enumerate(groups):
        classes = total.classes.reshape(-1, plan.classes)[group].sum(axis=0)
        result.append({})
        for name in plan.ranked:
            each = [valued[g, model][name] for model in models]
            joint = ranks.joint(each, looked[g][name], grams[g][name], classes)
            if joint is not None:
                result[g][name] = joint
    return result


def _influences(
    kinds: dict[str, Ranked],
    groups: Sequence[Codes],
    counted: dict[int, list[Codes]],
    models: int,
) -> list[dict[str, list[Lookup | None]]]:
    """Return every group's influences, one a model, of all groups at once: they are many and small.

    Args:
        kinds: the metrics by name.
        groups: the cells that each is made of.
        counted: the cells that have rows, and the histogram of every model's scores in them.
        models: how many models there are.
    """
    there = np.fromiter(counted, dtype=np.intp)
    members = [np.flatnonzero(np.isin(there, group)) for group in groups]
    looked: list[dict[str, list[Lookup | None]]] = [{n: [] for n in kinds} for _ in groups]
    for model in range(models):
        histograms = [found[model] for found in counted.values()]

        def together(group: int, histograms: list[Codes] = histograms) -> Codes:
            return reduce(np.add, [histograms[cell] for cell in members[group].tolist()])

        begins = ranks.merged(reduce(np.add, histograms))
        of_cells = np.array([ranks.merge(counts, begins) for counts in histograms])
        few = np.array([of_cells[cells].sum(axis=0) for cells in members])
        for name, kind in kinds.items():
            for group, found in enumerate(ranks.quick_lookups(kind, few, begins, together)):
                looked[group][name].append(found)
    return looked
