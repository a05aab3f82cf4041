"""The kinds of metric: what a formula is given, and what it must return.

A formula never sees one row. It returns a value and how much each row moved it (the influence, see
:mod:`tidegate.core.metrics.estimate`), in the form in which it is cheapest for many groups of rows and
for tables larger than memory:

* :class:`Smooth`: a differentiable function of means over the rows;
* :class:`Cells`: a function of how many rows fall into each of a few cells (a confusion matrix);
* :class:`Ranked`: a function of the order of the scores, for two classes;
* :class:`Quantile`: a quantile of one number a row;
* :class:`Queried`: the mean over queries of a value per query (a ranking);
* :class:`Measured`: a user's own, bootstrapped where it runs, nowhere near us.

Weights are the rows' own (``data.weight``). All counts and means that a formula is given are weighted; weights
are divided by their mean first, so that counts sum to the number of rows, and a row counts 1 where there are
no weights.

A formula whose value stands on too little to be bounded says so by influence values (or a gradient)
of NaN: the value is shown, and nothing is decided by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Codes: TypeAlias = npt.NDArray[np.intp]
Cell: TypeAlias = npt.NDArray[np.integer[Any]]
Keys: TypeAlias = npt.NDArray[np.uint32]

Point: TypeAlias = tuple[float, Floats, Floats]
"""A ranking's value, and the influence of one row of class 1 and of class 0 in every run."""

Many: TypeAlias = Callable[[Floats, Floats], tuple[Floats, Floats, Floats]]

Feature: TypeAlias = Callable[[Floats, Floats], Floats]
"""``(truth, prediction) -> (n,)``. Features that are the same function are computed once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Smooth:
    """``formula(means) -> (value, gradient)``, both of the features' means, shape (k,).

    None where it is undefined on these rows. One feature whose values are all 0 or 1, and a formula
    that is its mean, is a proportion: ``marks`` says that such a column is one. ``unit`` is what one
    row could move the metric by at most, times the number of rows; 0 where there is no such limit.
    ``shift`` says that subtracting one number from truth and prediction changes nothing: a typical
    truth is then subtracted, so that squares of numbers far from 0 keep their digits.
    """

    features: tuple[Feature, ...]
    formula: Callable[[Floats], tuple[float, Floats] | None]
    marks: bool = False
    unit: float = 0.0
    shift: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Cells:
    """``formula(counts) -> (value, influence)``: shape (cells,) in and out; None where undefined.

    ``cell(truth, prediction, classes)`` names every row's cell, 0 .. ``size(classes)`` - 1;
    ``classes`` is how many classes there are (2 for task binary). ``influence`` is of one row in the
    cell, its mean over the rows 0. ``marks``: cells that count 1 make a proportion of the rest.
    ``whole``, shape (cells,) of 0 and 1: the value is a share of the rows in these cells only.
    """

    cell: Callable[[Floats, Floats, int], Cell]
    size: Callable[[int], int]
    formula: Callable[[Floats], tuple[float, Floats] | None]
    marks: bool = False
    whole: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranked:
    """``formula(positives, negatives) -> (value, up, down)``; None where undefined.

    Shape (runs,) each: the weight of class 1 and of class 0 in every run of equal scores, scores
    ascending. ``up`` and ``down`` are the influence of one row of class 1 and of class 0 in the run.
    ``one_vs_rest``, for predictions of shape (n, K): the metric is the plain mean, over the classes,
    of the formula on the class's column against "the truth is this class"; undefined when it is
    for any class.
    ``of_many``, for many rows: the formula for weights of shape (..., runs), NaN where undefined. Such a
    metric's influence may be looked up in fine bins of the score, and its value never falls when a row of
    class 1 changes places with one of class 0 above it, so that what scores known up to a bin can come to
    lies between the best and the worst order. ``of_sorted(keys) -> (value, doubt)`` is a short cut then,
    keys as :mod:`tidegate.core.sums.ranks` makes them: ascending, score above the lowest bit, the class in
    it.
    """

    formula: Callable[[Floats, Floats], Point | None]
    one_vs_rest: bool = False
    of_many: Many | None = None
    of_sorted: Callable[[Keys], tuple[float, float] | None] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantile:
    """The ``level`` quantile of a feature's values over the rows."""

    feature: Feature
    level: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Queried:
    """``formula(truth, score, starts) -> (queries,)``: a value per query, NaN where it has none.

    Rows come sorted by query and, within one, by descending score; ``starts`` are the first rows of
    the queries. The metric is the mean over the queries that have a value; a query is the unit.
    """

    formula: Callable[[Floats, Floats, Codes], Floats]


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """A user's own metric: computed elsewhere, with its bootstrap; the table brings what came of it."""


Kind: TypeAlias = Smooth | Cells | Ranked | Quantile | Queried | Measured
