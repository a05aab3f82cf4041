"""A first look at batches of rows: what is wrong with them, a sample, and rows that witness what occurs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from tidegate.core import checks
from tidegate.core.model import Cause
from tidegate.core.table import CANDIDATE, Predictions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.core.metrics.kinds import Codes, Floats
    from tidegate.core.model import Finding, Task

SAMPLE = 1 << 18  # rows, evenly spread over the table
_FIRST_SEEN = (Cause.NOT_A_NUMBER, Cause.OUT_OF_RANGE, Cause.NEGATIVE, Cause.NOT_NORMALISED)


@dataclass(kw_only=True, slots=True)
class Look:
    """What the batches so far held.

    A check that asks only whether something *occurs* (a second class, another score, a category, a row on which the models
    differ) gets the same answer from a few rows that witness it as from all of them.

    Attributes:
        task: None: nothing is checked yet.
        rows: how many there will be; the sample is spread over them.
        n: how many there were.
        witness: for every column its least and its largest row and one that is neither 0 nor 1, a row on which candidate and
            champion differ, and one of every category.
        sample: parts of the sample.
    """

    task: Task | None
    rows: int
    n: int = 0
    witness: Predictions | None = None
    sample: list[Predictions] = field(default_factory=list)
    _wrong: dict[tuple[str, Cause], int] = field(default_factory=dict)

    def update(self, batch: Predictions) -> None:
        """Look at rows; slice columns' codes are of categories that only grow from batch to batch."""
        every = max(self.rows // SAMPLE, 1)
        # Copies: a view would keep its whole batch alive.
        self.sample.append(
            replace(batch.take(np.arange(-self.n % every, batch.n, every)), slices={})
        )
        self.n += batch.n
        seen = batch.take(_witnesses(batch))
        if self.witness is not None:
            seen = _joined([self.witness, seen])
            seen = seen.take(_witnesses(seen))
        self.witness = seen
        for finding in checks.unusable(batch, self.task) if self.task else []:
            assert finding.column is not None
            assert finding.cause is not None
            key = finding.column, finding.cause
            self._wrong[key] = self._wrong.get(key, 0) + finding.n

    def unusable(self) -> list[Finding]:
        """Return what :func:`checks.unusable` would say of all the rows."""
        found = []
        for column in dict.fromkeys(column for column, _ in self._wrong):
            cause = next(c for c in _FIRST_SEEN if (column, c) in self._wrong)
            found.append(checks.check(cause, self._wrong[column, cause], column=column))
        order = ["y_true", *(self.witness.models() if self.witness else ())]
        return sorted(found, key=lambda finding: order.index(finding.column or CANDIDATE))

    def sampled(self) -> Predictions:
        """Return the sample as one table."""
        return _joined(self.sample)


def _witnesses(table: Predictions) -> Codes:
    rows: list[int] = []
    for _, values in table.columns():
        rows += [int(values.argmin()), int(values.argmax())]
        rows += _one((values != 0.0) & (values != 1.0))
    if table.champion is not None:
        rows += _one(table.candidate != table.champion)
    for categories, codes in table.slices.values():
        first = np.full(
            len(categories) + 1, -1, dtype=np.intp
        )  # code -1 is written to the last place
        first[codes[::-1]] = np.arange(
            table.n - 1, -1, -1
        )  # of equal codes the last one written stays
        rows += first[first >= 0].tolist()
    return np.unique(np.array(rows, dtype=np.intp))


def _one(claims: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> list[int]:
    row = int(claims.argmax())
    return [row] if claims[row] else []


def _joined(parts: Sequence[Predictions]) -> Predictions:
    """Return the rows of all parts; the last one knows every category."""

    def column(name: str) -> Floats | None:
        first = getattr(parts[0], name)
        return None if first is None else np.concatenate([getattr(part, name) for part in parts])

    return Predictions(
        candidate=np.concatenate([part.candidate for part in parts]),
        y_true=column("y_true"),
        champion=column("champion"),
        anchor=column("anchor"),
        slices={
            name: (known, np.concatenate([part.slices[name][1] for part in parts]))
            for name, (known, _) in parts[-1].slices.items()
        },
    )
