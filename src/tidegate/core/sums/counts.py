"""How many rows fall into each pair of two models' cells: what a confusion matrix's metric needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tidegate.core.metrics.estimate import most_of_one
from tidegate.core.metrics.joint import Joint, without_rounding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.core.metrics.kinds import Cell, Cells, Codes, Floats

MOST = 1 << 21  # counters of one pair of models


def pairs_of(models: int) -> list[tuple[int, int]]:
    """Return the pairs of models that are counted together; one model is paired with itself."""
    return [(a, b) for a in range(models) for b in range(a + 1, models)] or [(0, 0)]


def gather(cell: Sequence[Cell], size: int, atoms: Cell, cells: int) -> Codes:
    """Count a batch: shape (pairs, cells * size * size).

    Args:
        cell: one a model, shape (n,): 0 .. size - 1.
        size: how many cells the metric has.
        atoms: every row's cell of the layout, shape (n,).
        cells: how many of those there are.
    """
    total = cells * size * size
    narrow = np.dtype(np.uint16 if total <= 1 << 16 else np.uint32)
    where: Cell = atoms.astype(narrow) * narrow.type(size * size)
    own: list[Cell] = [one.astype(narrow) for one in cell]
    found = []
    for a, b in pairs_of(len(cell)):
        code = where + own[a] * narrow.type(size) + own[b]
        found.append(np.bincount(code.astype(np.intp), minlength=total))
    return np.array(found)


def joint(  # noqa: PLR0913 (the counts, and what they are counts of)
    kind: Cells, counted: Codes, cells: Codes, *, size: int, models: int, df: int
) -> Joint:
    """Return the metric of all models on the rows of some cells of the layout."""
    tables = counted.reshape(len(counted), -1, size, size)[:, cells].sum(axis=1)
    together = dict(zip(pairs_of(models), tables, strict=True))
    alone: list[Floats] = [np.empty(0)] * models
    for (a, b), table in together.items():
        alone[a], alone[b] = table.sum(axis=1).astype(float), table.sum(axis=0).astype(float)
    n = int(tables[0].sum())
    values, influence, unit = np.full(models, np.nan), np.zeros((models, size)), 0.0
    for model, counts in enumerate(alone):
        found = kind.formula(counts)
        if found is not None and np.isfinite(found[0]):
            values[model], influence[model] = found
            if not float(counts @ np.square(influence[model])) > 0.0:
                unit = max(
                    unit, most_of_one(kind, counts, found[0])
                )  # needed without a spread only
    gram = np.diag([float(c @ (i * i)) for c, i in zip(alone, influence, strict=True)])
    for (a, b), table in together.items():
        if a != b:
            gram[a, b] = gram[b, a] = float(influence[a] @ table @ influence[b])
    return Joint(
        values=values,
        gram=without_rounding(gram, values, n),
        n=n,
        units=n,
        df=df,
        unit=unit,
        proportions=np.isfinite(values) & kind.marks,
        bases=None if kind.whole is None else np.array([np.dot(kind.whole, c) for c in alone]),
    )
