"""Rows of the holdout that training has seen: by id, and whole rows by their hashes.

Whole rows may coincide by chance where columns have few values. How many will is predicted by the training
table itself: of a fresh row of the same kind, the chance that none of N rows equals it is about the share of
those N rows that stand alone (Good, "The population frequencies of species and the estimation of population
parameters", Biometrika 1953, after Turing). Shared rows beyond what this predicts are a leak. Where nearly
every row has a twin, a leaked one looks like any other: there only ids can tell.

Only 64-bit hashes are kept. Of the training rows those below a bound that halves whenever too many are kept:
copies share their hash, so whether a row stands alone is known exactly for those that are kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from tidegate.core.checks import check
from tidegate.core.model import Cause, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate.core.model import Finding
    from tidegate.core.rowhash import Hashes

_MOST_KEPT = 4_000_000
_SURE = 4.0  # standard errors beyond the prediction: by chance once in 30,000 tables
_WORTH_TELLING = 2.0
_REPEATED = 0.01  # of the holdout's rows: worth telling


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """What holdout and training rows have in common.

    Attributes:
        ids: holdout rows whose id training has seen; None if the training rows have no ids.
        rows: holdout rows that equal a training row; None if whole rows could not be compared.
        expected: how many of them chance explains.
        likely, most: upper ends of what chance explains, at 2 and at 4 standard errors.
        repeated: holdout rows that repeat an earlier holdout row.
    """

    n: int
    ids: int | None
    rows: int | None
    expected: float = 0.0
    likely: float = 0.0
    most: float = 0.0
    repeated: int = 0


class Overlap:
    """Training rows, a part at a time, against the hashes of the holdout's."""

    def __init__(self, ids: Hashes | None, rows: Hashes | None, n: int) -> None:
        """Begin; ``None`` where there is nothing to compare. ``n``: rows of the holdout."""
        self._n = n
        self._ids = None if ids is None else _Wanted(ids)
        self._rows = None if rows is None else _Wanted(rows)
        self._kept: list[Hashes] = []
        self._count, self._total, self._halved = 0, 0, 0

    def update(self, ids: Hashes | None, rows: Hashes | None) -> None:
        """Look through a part of the training rows."""
        if self._ids is not None and ids is not None:
            self._ids.look(ids)
        if self._rows is not None and rows is not None:
            self._rows.look(rows)
            self._keep(rows)

    def finish(self) -> Shared:
        """Return what was found."""
        ids = None if self._ids is None else self._ids.found
        if self._rows is None:
            return Shared(n=self._n, ids=ids, rows=None)
        seen, error = self._predicted()
        n, clumped = self._n, self._rows.clumped
        expected = n * seen
        return Shared(
            n=n,
            ids=ids,
            rows=self._rows.found,
            expected=expected,
            likely=expected + _WORTH_TELLING * sqrt(n * seen * (1 - seen) * clumped),
            most=_upper(n, min(1.0, seen + error), clumped),
            repeated=self._rows.repeated,
        )

    def _keep(self, rows: Hashes) -> None:
        self._total += len(rows)
        self._kept.append(self._below(rows))
        self._count += len(self._kept[-1])
        while self._count > _MOST_KEPT:
            self._halved += 1
            self._kept = [self._below(np.concatenate(self._kept))]
            self._count = len(self._kept[0])

    def _below(self, rows: Hashes) -> Hashes:
        return rows[rows < np.uint64(2 ** (64 - self._halved))] if self._halved else rows

    def _predicted(self) -> tuple[float, float]:
        """Return the chance that a fresh row equals a training row, and four standard errors of it.

        The error is Good's, with three rows for what was never seen in N (the rule of three).
        """
        n = self._total
        if n == 0:
            return 0.0, 0.0
        kept = np.concatenate(self._kept)
        copies = np.unique(kept, return_counts=True)[1]
        scale = 2.0**self._halved
        once, twice = (float(scale * np.count_nonzero(copies == k)) for k in (1, 2))
        variance = (once * (1 - min(1.0, once / n)) + 2 * twice + (scale - 1) * once) / n**2
        return max(0.0, 1 - once / n), _SURE * sqrt(variance) + 3 / n


def _upper(n: int, share: float, clumped: float) -> float:
    return n * share + _SURE * sqrt(n * share * (1 - share) * clumped)


class _Wanted:
    """The holdout's hashes, and which of them were found."""

    def __init__(self, hashes: Hashes) -> None:
        self._values, counts = np.unique(hashes, return_counts=True)
        self._counts = counts.astype(np.float64)
        self._seen = np.zeros(len(counts), dtype=np.bool_)

    def look(self, hashes: Hashes) -> None:
        if len(self._values) == 0:
            return
        places = np.searchsorted(self._values, hashes)
        places[places == len(self._values)] = 0
        self._seen[places[self._values[places] == hashes]] = True

    @property
    def found(self) -> int:
        """How many rows."""
        return int(self._counts[self._seen].sum())

    @property
    def repeated(self) -> int:
        """Rows that repeat an earlier one."""
        return int(self._counts.sum()) - len(self._counts)

    @property
    def clumped(self) -> float:
        """How much more the count of found rows varies because equal rows are found together."""
        return float((self._counts**2).sum() / self._counts.sum()) if len(self._counts) else 1.0


def overlapping(shared: Shared, *, decides: bool, later: bool, id_column: str) -> Iterator[Finding]:
    """Yield what is shared and must not be.

    Args:
        shared: what was found.
        decides: whether it decides the verdict, or is only told.
        later: whether every holdout row is known to be no older than the training rows: the same id is then
            the same customer again, later, and not the same row. It is told.
        id_column: its name.
    """
    if shared.ids:
        yield _found(Cause.SHARED_IDS, shared.ids, decides=decides and not later, column=id_column)
    if shared.rows is not None and shared.rows > shared.likely:
        beyond = shared.rows > shared.most
        finding = _found(Cause.SHARED_ROWS, shared.rows, decides=decides and beyond)
        yield replace(finding, champion=shared.expected, limit=shared.most)
    if shared.repeated > _REPEATED * shared.n and shared.repeated > shared.most:
        yield _found(Cause.REPEATED_ROWS, shared.repeated, decides=False)


def _found(cause: Cause, n: int, *, decides: bool, column: str | None = None) -> Finding:
    outcome = Outcome.ERROR if decides else Outcome.INCONCLUSIVE
    return check(cause, n, column=column, outcome=outcome, decides=decides)
