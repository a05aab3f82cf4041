"""Rankings of more rows than memory holds: values and influences from a histogram of the scores.

A bin is a stretch of scores between two quantiles of a sample of the whole table, so that bins hold about
equally many rows. A score that occurs often has a bin of its own, in which ties are ties and nothing is in doubt.
In every other bin the order of the two classes is unknown: the metric lies between its value with class 0 above class 1
in all of them and the other way round, and the larger distance is the value's *doubt*. With B bins that is
about ``1 / (2 B)`` for the area under the ROC curve: 8e-6 at the most of bins.

Memory: a histogram takes 16 B a bin (two classes, 64-bit counts), one per cell of the layout and model; the influences take
as much per group of rows, model and metric that ranks. With 65,536 bins (1 MiB each), two models, a column of 20 slices (21 cells, 21
groups) and one such metric that makes 42 MiB and 42 MiB. :func:`fitting` halves the bins until both together stay below 256 MiB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tidegate.core.sums.ranks import woven

if TYPE_CHECKING:
    from tidegate.core.metrics.kinds import Codes, Floats, Ranked

    Claims = npt.NDArray[np.bool_]

MOST_BINS = 1 << 16
LEAST_BINS = 1 << 10
_MEMORY = 256 << 20  # bytes of histograms and influences together
_BIN = 16  # bytes: two classes


def fitting(tables: int) -> int | None:
    """Return how many bins each of so many tables may have; None: too few to be of use.

    >>> fitting(84), fitting(1000), fitting(100_000)
    (65536, 16384, None)
    """
    bins = MOST_BINS
    while bins * _BIN * tables > _MEMORY:
        bins //= 2
    return bins if bins >= LEAST_BINS else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Edges:
    """The bins of one model's scores: bin i holds the scores s with ``at[i - 1] <= s < at[i]``.

    Attributes:
        at: ascending, shape (bins - 1,).
        single: whether a bin holds one score only, shape (bins,).
    """

    at: Floats
    single: Claims
    guide: Guide | None

    @property
    def bins(self) -> int:
        """How many bins there are."""
        return len(self.single)

    def of(self, score: Floats, truth: Floats) -> Codes:
        """Return ``2 * bin + class`` of every row, shape (n,)."""
        if self.guide is None:
            found = np.searchsorted(self.at, score, side="right")
        else:
            found = self.guide.find(self.at, score)
        found <<= 1
        found |= truth == 1.0
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Guide:
    """Where to begin looking for a score's bin: several times as fast as a binary search.

    Scores are put into equal steps by a function that never falls, rounding included: edges of lower steps are
    at or below the score, edges of higher ones above it, and only those of its own step are compared.

    Attributes:
        low: the least edge.
        scale: steps per unit of score.
        before: how many edges lie in lower steps, shape (steps,).
        crowded: whether more than two edges lie in the step, shape (steps,).
    """

    low: float
    scale: float
    before: npt.NDArray[np.int32]
    crowded: Claims

    def find(self, at: Floats, score: Floats) -> Codes:
        """Return how many edges are at or below each score, as ``searchsorted(..., side="right")`` does."""
        step = _steps(score, self.low, self.scale)
        found = np.take(self.before, step).astype(np.intp)
        for _ in range(2):
            found += np.take(at, found, mode="clip") <= score
        # Past the last edge the comparison was with the last one once more.
        np.minimum(found, len(at), out=found)
        hard = np.flatnonzero(np.take(self.crowded, step))
        if len(hard):
            found[hard] = np.searchsorted(at, score[hard], side="right")
        return found


_STEPS = 1 << 20


def _steps(score: Floats, low: float, scale: float) -> npt.NDArray[np.int32]:
    places = np.subtract(score, low)
    with np.errstate(over="ignore"):  # a score far outside: the first or the last step
        places *= scale
    np.clip(places, 0, _STEPS - 1, out=places)
    return places.astype(np.int32)


def _guide(at: Floats) -> Guide | None:
    """Return a guide to these edges; None where their range is too wide or narrow for equal steps."""
    with np.errstate(over="ignore", divide="ignore"):
        scale = float(np.float64(_STEPS) / (at[-1] - at[0]))
    if not 0.0 < scale < np.inf:
        return None
    within = np.bincount(_steps(at, float(at[0]), scale), minlength=_STEPS)
    before = (np.cumsum(within) - within).astype(np.int32)
    return Guide(low=float(at[0]), scale=scale, before=before, crowded=within > 2)


def edges_of(sample: Floats, bins: int) -> Edges:
    """Return at most ``bins`` bins, about equally full of a sample's scores, shape (m,).

    >>> edges_of(np.array([0.5, 0.25, 0.5]), 8).single.tolist()
    [False, True, False, True, False]
    """
    values = np.unique(sample)
    if 2 * len(values) < bins:
        alone = chosen = values
    else:
        chosen = np.sort(sample)[np.arange(1, bins) * len(sample) // bins]
        alone = np.unique(chosen[1:][chosen[1:] == chosen[:-1]])
    at = np.unique(np.concatenate([chosen, np.nextafter(alone, np.inf)]))
    single = np.zeros(len(at) + 1, dtype=np.bool_)
    single[1:-1] = at[1:] == np.nextafter(at[:-1], np.inf)
    return Edges(at=at, single=single, guide=_guide(at))


def value_of(kind: Ranked, counts: Codes, single: Claims) -> tuple[float, float] | None:
    """Return the metric's value and its doubt; None: undefined.

    Args:
        kind: the metric; ``binned``, so that the two extreme orders bound it.
        counts: rows of every ``2 * bin + class``, shape (2 * bins,).
        single: whether a bin holds one score only, shape (bins,).
    """
    both = counts.reshape(-1, 2)
    some = np.flatnonzero(both.any(axis=1))
    negatives, positives = both[some].T.astype(np.float64)
    found = kind.formula(positives, negatives)
    if found is None:
        return None
    sure = single[some] | (positives * negatives == 0.0)
    if sure.all():
        return found[0], 0.0
    # Every bin becomes two runs; of a bin without doubt the second is empty.
    late_negatives, late_positives = np.where(sure, 0.0, negatives), np.where(sure, 0.0, positives)
    worst = kind.formula(
        woven(positives, np.zeros_like(positives)),
        woven(negatives - late_negatives, late_negatives),
    )
    best = kind.formula(
        woven(positives - late_positives, late_positives),
        woven(negatives, np.zeros_like(negatives)),
    )
    doubt = max(abs(other[0] - found[0]) for other in (worst, best) if other is not None)
    return found[0], doubt
