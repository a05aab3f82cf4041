"""Which rows to label when labels are scarce: those on which the two models' answers differ.

The difference of two accuracies is ``mean(right_candidate - right_champion)``. On a row where both give
the same answer it is 0 whatever the truth, so such a label tells nothing (Renggli et al., MLSys 2019,
section 4.2, "active labelling"). With D of n rows differing and k of the D labelled, drawn at random, the
estimate is ``D / n * mean(x)`` over the labelled rows, x being 1, 0 or -1; each labelled row stands for D / k
rows, the others for themselves at 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from tidegate.core.power_of_holdout import POWERS

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.intp]

_NORMAL = NormalDist()
_THRESHOLD = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class ToLabel:
    """Rows to label, and what their labels can show.

    Attributes:
        rows: indices, in the order of the table.
        n: unlabelled rows; ``differ`` of them get different answers.
        smallest: the margin that labelling them shows at the first of :data:`POWERS`.
        needed: labels for the wanted margin at each of them; more than ``differ``: the rows do not do.
        rows_needed: unlabelled rows from which that many would differ.
    """

    rows: Indices
    n: int
    differ: int
    smallest: float | None
    needed: tuple[int, ...]
    rows_needed: tuple[int, ...]


def differing(candidate: Floats, champion: Floats) -> Indices:
    """Return the rows whose answers differ: sides of 0.5, or the likeliest class of (n, K)."""
    if candidate.ndim == 2:
        return np.flatnonzero(candidate.argmax(axis=1) != champion.argmax(axis=1))
    return np.flatnonzero((candidate >= _THRESHOLD) != (champion >= _THRESHOLD))


def to_label(  # noqa: PLR0913 (two models, two wishes, a promise and a seed)
    candidate: Floats,
    champion: Floats,
    *,
    budget: int | None,
    margin: float | None,
    confidence: float,
    seed: int,
) -> ToLabel:
    """Choose at most ``budget`` rows; all that differ without one.

    The variance of the estimate is ``d**2 / k`` for an equally good candidate, d = D / n: of drawing k of
    the D, and of having drawn the n, together.
    """
    found = differing(candidate, champion)
    n, differ = len(candidate), len(found)
    chosen = found
    if budget is not None and budget < differ:
        drawn = np.random.default_rng(seed).choice(differ, size=budget, replace=False)
        chosen = found[np.sort(drawn)]
    share = differ / n if n else 0.0
    errors = [_NORMAL.inv_cdf(confidence) + _NORMAL.inv_cdf(power) for power in POWERS]
    smallest = errors[0] * share / math.sqrt(len(chosen)) if len(chosen) else None
    needed = tuple(math.ceil((z * share / margin) ** 2) for z in errors) if margin else ()
    rows = tuple(math.ceil(labels / share) for labels in needed) if share else ()
    return ToLabel(
        rows=chosen, n=n, differ=differ, smallest=smallest, needed=needed, rows_needed=rows
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """The candidate's accuracy minus the champion's, by the labels of some differing rows."""

    value: float
    se: float
    labels: int

    def lower(self, confidence: float) -> float:
        """Return the one-sided lower bound."""
        return self.value - _NORMAL.inv_cdf(confidence) * self.se

    def upper(self, confidence: float) -> float:
        """Return the one-sided upper bound."""
        return self.value + _NORMAL.inv_cdf(confidence) * self.se


def difference(steps: Floats, *, differ: int, n: int) -> Difference | None:
    """Estimate from labelled rows; None without any.

    ``steps``, shape (k,): 1 where the candidate is right and the champion wrong, -1 the other way, 0 where
    both are wrong (more than two classes). As if one row more had been won and one lost (Bonett and Price,
    2012): k rows that all agree are no certainty. The two parts of the error: drawing k of the D rows, with
    the finite population's correction, and drawing the n.

    >>> found = difference(np.array([1.0, -1.0, 1.0]), differ=30, n=300)
    >>> round(found.value, 3), found.labels
    (0.02, 3)
    """
    k = len(steps)
    if k == 0:
        return None
    share = differ / n
    mean = float(steps.sum()) / (k + 2)
    square = (float(np.square(steps).sum()) + 2.0) / (k + 2)
    drawn = share * share * (square - mean * mean) / (k + 2) * max(0.0, 1.0 - k / differ)
    sampled = (share * square - (share * mean) ** 2) / n
    return Difference(value=share * mean, se=math.sqrt(drawn + sampled), labels=k)
