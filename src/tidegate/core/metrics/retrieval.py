"""Metrics of a ranking: a value for every query, of its rows in descending order of score.

Rows of equal scores count by the mean over all their orders, so that no order among them flatters a
model: McSherry and Najork, ECIR 2008, LNCS 4956, 414-421. A query without any relevant row has no
value (NaN) and is left out. Relevance is a number from 0 on; metrics that know only relevant or not
take any above 0 for relevant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tidegate.core.metrics.kinds import Queried

if TYPE_CHECKING:
    from tidegate.core.metrics.kinds import Codes, Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class _Runs:
    """The runs of equal scores within the queries; everything per row, shape (n,), in row order."""

    starts: Codes  # shape (queries,)
    run: Codes  # the run's number
    rank: Codes  # 0 for the query's first row
    within: Codes  # 0 for the run's first row
    size: Codes  # rows in the run
    first: Codes  # shape (runs,): where runs start

    def of_run(self, values: Floats) -> Floats:
        """Return the sum over the row's run, shape (n,)."""
        sums: Floats = np.add.reduceat(values, self.first)[self.run]
        return sums

    def of_query(self, values: Floats) -> Floats:
        """Return the sum over every query, shape (queries,)."""
        sums: Floats = np.add.reduceat(values, self.starts)
        return sums


def _runs(score: Floats, starts: Codes) -> _Runs:
    n = len(score)
    rows = np.arange(n)
    sizes = np.diff(starts, append=n)
    new = np.ones(n, dtype=np.bool_)
    new[1:] = score[1:] != score[:-1]
    new[starts] = True
    first = np.flatnonzero(new)
    run = np.cumsum(new) - 1
    return _Runs(
        starts=starts,
        run=run,
        rank=rows - np.repeat(starts, sizes),
        within=rows - first[run],
        size=np.diff(first, append=n)[run],
        first=first,
    )


def _over(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0.0)


def ndcg(k: int) -> Queried:
    """Return normalised discounted cumulative gain of the first ``k``: linear gains, log2 discount.

    Source: Järvelin and Kekäläinen, ACM Transactions on Information Systems 20 (2002) 422-446, in
    scikit-learn's form (``ndcg_score``).
    """

    def formula(truth: Floats, score: Floats, starts: Codes) -> Floats:
        runs = _runs(score, starts)
        discount = np.where(runs.rank < k, 1.0 / np.log2(runs.rank + 2.0), 0.0)
        gain = runs.of_run(truth) / runs.size
        query = np.cumsum(runs.rank == 0)
        best = truth[np.lexsort((-truth, query))]
        return _over(runs.of_query(gain * discount), runs.of_query(best * discount))

    return Queried(formula=formula)


def recall(k: int) -> Queried:
    """Return the share of a query's relevant rows that are among its first ``k``.

    Source: Manning, Raghavan and Schütze, Introduction to Information Retrieval (2008), chapter 8.
    """

    def formula(truth: Floats, score: Floats, starts: Codes) -> Floats:
        runs = _runs(score, starts)
        relevant = (truth > 0.0).astype(np.float64)
        found = np.where(runs.rank < k, runs.of_run(relevant) / runs.size, 0.0)
        return _over(runs.of_query(found), runs.of_query(relevant))

    return Queried(formula=formula)


def average_precision(k: int) -> Queried:
    """Return average precision of the first ``k``, over the most relevant rows that fit there.

    ``sum over relevant rows among the first k of (precision at the row) / min(relevant rows, k)``.
    Source: Manning, Raghavan and Schütze (2008), section 8.4; the cut's divisor makes 1 attainable.
    """

    def formula(truth: Floats, score: Floats, starts: Codes) -> Floats:
        runs = _runs(score, starts)
        relevant = (truth > 0.0).astype(np.float64)
        in_run = runs.of_run(relevant)
        before = _relevant_before(relevant, runs)
        # Given that a row of a tied run is relevant, this many of those before it in the run are.
        tied = runs.within * (in_run - 1.0) / np.maximum(runs.size - 1, 1)
        precision = (1.0 + before + tied) / (runs.rank + 1.0)
        got = np.where(runs.rank < k, in_run / runs.size * precision, 0.0)
        return _over(runs.of_query(got), np.minimum(runs.of_query(relevant), k))

    return Queried(formula=formula)


def _relevant_before(relevant: Floats, runs: _Runs) -> Floats:
    """Return how many relevant rows of the query stand in earlier runs, shape (n,)."""
    before = np.concatenate(([0.0], np.cumsum(relevant)))
    query = np.cumsum(runs.rank == 0) - 1
    found: Floats = before[runs.first[runs.run]] - before[runs.starts[query]]
    return found


def reciprocal_rank(truth: Floats, score: Floats, starts: Codes) -> Floats:
    """Return ``1 / rank of the first relevant row`` of every query, shape (queries,).

    Among n tied rows of which r are relevant, the first relevant one is the j-th with probability
    ``C(n - j, r - 1) / C(n, r)``.
    Source: Voorhees, TREC-8 (1999), "The TREC-8 Question Answering Track Report".

    >>> reciprocal_rank(np.array([0.0, 1.0, 0.0]), np.array([3.0, 2.0, 1.0]), np.array([0]))
    array([0.5])
    """
    runs = _runs(score, starts)
    relevant = (truth > 0.0).astype(np.float64)
    in_run = runs.of_run(relevant).astype(np.intp)
    deciding = (in_run > 0) & (_relevant_before(relevant, runs) == 0.0)
    last = np.maximum(runs.size - in_run, 0)  # the first relevant row has at most so many before it
    possible = deciding & (runs.within <= last)
    n, r, j = runs.size, np.maximum(in_run, 1), np.minimum(runs.within, last) + 1
    log_factorial = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, int(n.max()) + 1)))))

    def log_choose(a: Codes, b: Codes) -> Floats:
        values: Floats = log_factorial[a] - log_factorial[b] - log_factorial[a - b]
        return values

    chance = np.exp(
        log_choose(n - j, r - 1) - log_choose(n, r), where=possible, out=np.zeros(len(n))
    )
    return _over(runs.of_query(chance / (runs.rank + 1.0)), np.sign(runs.of_query(relevant)))


MRR = Queried(formula=reciprocal_rank)
