"""Rankings of many rows without argsort: 32-bit keys, one sort of values, influences from a histogram.

A key is a score rounded to 31 bits, monotonically, with the row's class in the lowest bit. Probabilities
keep 24 bits of ``min(p, 1 - p)`` (a logit-like scale, taken from the float's bits: no logarithm); other
scores keep 24 bits of themselves. Sorting such keys is several times faster than an argsort and moves no
other column. The *value* comes from the sorted keys: only pairs of one key are in doubt, they are counted,
and the metric is left to the exact path unless the doubt is small. The *influence* only goes into a standard
error, so it is looked up in a histogram of coarser bins of the same key; what that can do to the standard
error at most is computed, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from tidegate.core.metrics.joint import Joint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tidegate.core.metrics.kinds import Cell, Codes, Floats, Keys, Ranked

_HALF = np.int32(0x3F000000)  # the bits of 0.5
_LEAST = np.uint32(0x37000000)  # the bits of 2**-17: closer to 0 or 1 is one coarse bin
_MOST = np.uint32(2 * 0x3F000000 - 0x37000000)
_SHIFT = np.uint32(14)  # of a key: 2**14 coarse bins between the two
FINE = 1 << 14
DOUBT = 0.02  # of the half-width: more doubt than that about a value, and it is computed exactly
_ERROR = 0.05  # of the standard error, at the very worst
_BLOCK = 1 << 15
_COUNTED = 1 << 18  # rows: adding up a block's histogram costs as much as counting 2**15 rows
_SHARES = 1 << 10  # merged bins hold at most about this part of the rows
_STEP = 32  # coarse bins in a merged one at most
_OFF = (
    0.005  # of the influences' root mean square: a merged lookup that may be more off is not used
)
Bins: TypeAlias = npt.NDArray[np.uint16]


def keys_of(score: Floats, truth: Floats, *, probability: bool) -> Keys:
    """Return a key per row, shape (n,): ``key >> 1`` ascends with the score, ``key & 1`` is the class."""
    if probability:
        near = np.subtract(1.0, score)
        np.minimum(score, near, out=near)
        bits = near.astype(np.float32).view(np.int32)
        # Above one half: 2 * bits of 0.5 - bits. Not (x) is -x - 1, and a mask of ones is -1.
        above = (score >= 0.5).astype(np.int32)
        np.negative(above, out=above)
        bits ^= above
        above &= np.int32(2 * _HALF + 1)
        bits += above
        key = bits.view(np.uint32)
    else:
        bits = score.astype(np.float32).view(np.int32)
        key = (bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))).view(np.uint32)
        key ^= np.uint32(0x80000000)
        key >>= np.uint32(1)
    key <<= np.uint32(1)
    key |= (truth == 1.0).view(np.uint8)
    return key


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """Which part of the keys' range the coarse bins divide, and how finely."""

    low: int
    high: int
    shift: int

    def bins(self, keys: Keys) -> Bins:
        """Return ``2 * bin + class`` for every key, shape (n,)."""
        clipped = np.maximum(keys, np.uint32(2 * self.low))
        np.minimum(clipped, np.uint32(2 * self.high + 1), out=clipped)
        clipped -= np.uint32(2 * self.low)
        clipped >>= np.uint32(self.shift)
        bins = clipped.astype(np.uint16)
        bins &= np.uint16(0xFFFE)
        bins |= keys.astype(np.uint16) & np.uint16(1)
        return bins


PROBABILITIES = Scale(low=int(_LEAST), high=int(_MOST) - 1, shift=int(_SHIFT))


def scale_of(keys: Keys) -> Scale:
    """Return the scale that suits scores of any range, from some of their keys."""
    score = np.sort(keys >> np.uint32(1))
    low, high = int(score[len(score) // 1000]), int(score[-1 - len(score) // 1000])
    shift = max((high - low).bit_length() + 1 - FINE.bit_length(), 0)
    return Scale(low=low, high=max(high, low), shift=shift)


def histogram(bins: Bins) -> Codes:
    """Return how many rows have each ``2 * bin + class``, shape (2 * FINE,)."""
    counts = np.bincount(bins[:_COUNTED], minlength=2 * FINE)
    for start in range(_COUNTED, len(bins), _COUNTED):
        counts += np.bincount(bins[start : start + _COUNTED], minlength=2 * FINE)
    return counts


@dataclass(frozen=True, kw_only=True, slots=True)
class Lookup:
    """The influence of every ``2 * bin + class`` of one model, and how much it may be off.

    ``off`` is the root of the mean over rows of the squared step to the next bin: rows of one bin differ
    by less, so by the triangle inequality a contrast's standard deviation is off by at most the models' sum.
    ``size`` is the root mean square of the influence itself.
    """

    table: Floats
    off: float
    size: float


def lookups(
    kind: Ranked, counts: Codes, single: npt.NDArray[np.bool_] | None = None
) -> list[Lookup | None]:
    """Return the influences of groups of rows from their histograms; None where the metric is undefined.

    Args:
        kind: the metric; one that takes many.
        counts: rows of every ``2 * bin + class``, shape (groups, 2 * bins).
        single: which bins hold one score only, so that nothing in them is off, shape (bins,).
    """
    assert kind.of_many is not None
    mass = counts.astype(np.float64).reshape(len(counts), -1, 2)
    values, up, down = kind.of_many(mass[..., 1], mass[..., 0])
    influence = np.stack([down, up], axis=-1)
    if mass.shape[1] == 1:
        widest = np.full_like(influence, np.inf)  # no neighbour tells how much its rows differ
    else:
        widest = np.zeros_like(influence)
        step = np.abs(influence[:, 1:] - influence[:, :-1])
        widest[:, :-1] = step
        np.maximum(widest[:, 1:], step, out=widest[:, 1:])
    if single is not None:
        widest[:, single] = 0.0
    n = mass.sum(axis=(1, 2))
    off = np.sqrt(np.einsum("gbc,gbc,gbc->g", mass, widest, widest) / n)
    size = np.sqrt(np.einsum("gbc,gbc,gbc->g", mass, influence, influence) / n)
    return [
        None if np.isnan(value) else Lookup(table=table.ravel(), off=float(o), size=float(s))
        for value, table, o, s in zip(values, influence, off, size, strict=True)
    ]


def merged(counts: Codes) -> Codes:
    """Return where bins begin that are merged of coarse ones, shape (k,): fewer where few rows are.

    Args:
        counts: of all rows, as :func:`histogram` returns them.
    """
    reached = np.cumsum(counts.reshape(-1, 2).sum(axis=1))
    begins = np.diff(reached * _SHARES // max(int(reached[-1]), 1), prepend=-1) > 0
    begins[::_STEP] = True
    return np.flatnonzero(begins)


def merge(counts: Codes, begins: Codes) -> Codes:
    """Return the histogram of merged bins, shape (2 * k,)."""
    few: Codes = np.add.reduceat(counts.reshape(-1, 2), begins, axis=0).ravel()
    return few


def quick_lookups(
    kind: Ranked, few: Codes, begins: Codes, counts: Callable[[int], Codes]
) -> list[Lookup | None]:
    """Return the influences of every coarse bin, from merged ones where those are good enough.

    Args:
        kind: the metric.
        few: the groups' histograms of merged bins, shape (groups, 2 * k).
        begins: where those begin, shape (k,).
        counts: makes the histogram of a group's coarse bins, shape (2 * FINE,).
    """
    sizes = np.diff(begins, append=FINE)
    result: list[Lookup | None] = []
    for group, found in enumerate(lookups(kind, few)):
        if found is None:
            result.append(None)
        elif found.off <= _OFF * found.size:
            table = np.repeat(found.table.reshape(-1, 2), sizes, axis=0).ravel()
            result.append(replace(found, table=table))
        else:
            result += lookups(kind, counts(group)[None])
    return result


def products(lookups: Sequence[Sequence[Lookup | None]], bins: Sequence[Cell]) -> Floats:
    """Return, for every group that these rows belong to, the models' Gram matrix, (groups, m, m).

    Args:
        lookups: one a group, in it one a model.
        bins: one a model, shape (n,) each, of the same rows in the same order.
    """
    models = range(len(bins))
    gram = np.zeros((len(lookups), len(bins), len(bins)))
    for start in range(0, len(bins[0]), _BLOCK):
        here = [one[start : start + _BLOCK].astype(np.intp) for one in bins]
        for group, tables in enumerate(lookups):
            rows = [
                np.zeros(len(where)) if found is None else np.take(found.table, where, mode="clip")
                for found, where in zip(tables, here, strict=True)
            ]
            for a in models:
                for b in models[a:]:
                    gram[group, a, b] += np.einsum("i,i->", rows[a], rows[b])
                    gram[group, b, a] = gram[group, a, b]
    return gram


def value_of(kind: Ranked, keys: Keys) -> tuple[float, float] | None:
    """Return the metric's value from sorted keys, and how far it may be off; None: undefined.

    Rows of one key are in doubt; the metric is no less than with class 0 above class 1 in all of them, and no
    more than the other way round.
    """
    if kind.of_sorted is not None:
        return kind.of_sorted(keys)
    score = keys >> np.uint32(1)
    starts = np.flatnonzero(np.concatenate(([True], score[1:] != score[:-1])))
    size = np.diff(starts, append=len(keys))
    positives = np.add.reduceat((keys & np.uint32(1)).astype(np.float64), starts)
    negatives = size - positives
    found = kind.formula(positives, negatives)
    if found is None:
        return None
    if not (positives * negatives).any():
        return found[0], 0.0
    zero = np.zeros_like(positives)
    worst = kind.formula(woven(positives, zero), woven(zero, negatives))
    best = kind.formula(woven(zero, positives), woven(negatives, zero))
    doubt = max(abs(other[0] - found[0]) for other in (worst, best) if other is not None)
    return found[0], doubt


def woven(first: Floats, second: Floats) -> Floats:
    """Return the runs of two classes in turns: first[0], second[0], first[1], ..."""
    both = np.empty(2 * len(first))
    both[0::2], both[1::2] = first, second
    return both


def joint(
    values: Sequence[tuple[float, float] | None],
    lookups: Sequence[Lookup | None],
    gram: Floats,
    classes: Codes,
) -> Joint | None:
    """Return the metric of all models, or None where only the exact path is good enough.

    Good enough: of every model, and of every pair's difference, the value is in doubt by less than 2 % of
    the 95 % half-width, and the standard error could be off by 5 % if all of it added up.
    """
    n, smaller = int(classes.sum()), int(classes.min())
    for a, first in enumerate(values):
        for b, second in enumerate(values):
            if first is None or second is None:
                continue
            offs = [found.off for found in (lookups[a], lookups[b] if a != b else None) if found]
            doubt = first[1] + (second[1] if a != b else 0.0)
            square = gram[a, a] - (2.0 * gram[a, b] - gram[b, b] if a != b else 0.0)
            spread = math.sqrt(max(float(square), 0.0) / n)
            if doubt > DOUBT * 1.645 * spread / math.sqrt(n) or sum(offs) > _ERROR * spread:
                return None
    return Joint(
        values=np.array([np.nan if value is None else value[0] for value in values]),
        gram=gram,
        n=n,
        units=n,
        df=max(smaller - 1, 1),
        unit=n / max(smaller, 1),
        proportions=np.zeros(len(values), dtype=np.bool_),
    )
