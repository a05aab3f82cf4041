"""Bounds that hold for every n: binomial tails, Clopper and Pearson, Bennett. No approximation.

The promise of Renggli et al., "Continuous Integration of Machine Learning Models with ease.ml/ci"
(MLSys 2019): with probability 1 - delta over the draw of the holdout, none of its decisions is wrong
by more than was tolerated.
"""

from __future__ import annotations

import math

from tidegate.core.config import Adaptivity

_TERMS = 1e-18  # of a tail's sum: a smaller term, and all after it, do not change a double
_HALVINGS = 200  # a bisection between doubles has ended long before


def tail(k: int, n: int, p: float) -> float:
    """Return P(Binomial(n, p) >= k), summed term by term from the larger end.

    >>> tail(2, 2, 0.5), round(tail(1, 3, 0.5), 12)
    (0.25, 0.875)
    """
    if k <= 0:
        return 1.0
    if k > n or p <= 0.0:
        return 0.0
    if p >= 1.0:
        return 1.0
    if k <= n * p:
        return max(0.0, 1.0 - tail(n - k + 1, n, 1.0 - p))
    term = _mass(k, n, p)
    total, odds = 0.0, p / (1.0 - p)
    while term > _TERMS * total and k <= n:
        total += term
        term *= (n - k) / (k + 1) * odds
        k += 1
    return min(1.0, total)


def _mass(k: int, n: int, p: float) -> float:
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(p) + (n - k) * math.log1p(-p))


def share_at_least(k: int, n: int, delta: float) -> float:
    """Return the lower bound of a share of which ``k`` of ``n`` were seen; wrong at most at ``delta``.

    The beta quantile of Clopper and Pearson, Biometrika 26 (1934) 404-413, found by bisection on the
    binomial tail: the largest share under which so many are seen with probability ``delta`` or less.

    >>> round(share_at_least(95, 100, 0.05), 6), share_at_least(0, 100, 0.05)
    (0.897722, 0.0)
    """
    if k <= 0:
        return 0.0
    low, high = 0.0, k / n
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        if not low < middle < high:
            break
        if tail(k, n, middle) <= delta:
            low = middle
        else:
            high = middle
    return low


def share_at_most(k: int, n: int, delta: float) -> float:
    """Return the upper bound of a share, as :func:`share_at_least`.

    >>> round(share_at_most(5, 100, 0.05), 6)
    0.102278
    """
    return 1.0 - share_at_least(n - k, n, delta)


def bennett(n: int, second_moment: float, delta: float) -> float:
    """Return how far a mean of ``n`` may be off on one side; more at most with probability ``delta``.

    For independent rows of at most 1 with ``E[x**2] <= second_moment``: the tolerance t for which
    ``exp(-n v h(t / v)) = delta`` with ``h(u) = (1 + u) log(1 + u) - u``. Source: Boucheron, Lugosi and
    Massart, Concentration Inequalities (2013), theorem 2.9; its v is the moment about 0.

    >>> round(bennett(16_672, 0.1, 0.01 / 32), 6)
    0.01
    """
    if second_moment <= 0.0:
        return 0.0
    wanted = -math.log(delta) / (n * second_moment)
    low, high = 0.0, 1.0
    while _h(high) < wanted:
        high *= 2.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        if not low < middle < high:
            break
        low, high = (low, middle) if _h(middle) >= wanted else (middle, high)
    return high * second_moment


def _h(u: float) -> float:
    if u < 1e-4:  # the difference would cancel
        return u * u / 2.0 - u**3 / 6.0 + u**4 / 12.0
    return (1.0 + u) * math.log1p(u) - u


def share_of_delta(delta: float, *, clauses: int, decisions: int, adaptivity: Adaptivity) -> float:
    """Return what one clause of one decision may spend, so that all of them together spend ``delta``.

    none: the candidates are ``decisions`` fixed ones. full: a candidate of its own may follow from every
    history of "passed" and "did not pass", ``2 ** decisions`` of them. first_change: while the holdout
    lives, the history is that nothing has passed yet, so there are no more candidates than with none.

    >>> share_of_delta(0.01, clauses=1, decisions=32, adaptivity=Adaptivity.NONE) == 0.01 / 32
    True
    """
    histories = 2.0**decisions if adaptivity is Adaptivity.FULL else float(decisions)
    return delta / clauses / histories


def rows_for_difference(tolerance: float, disagreement: float, delta: float) -> int:
    """Return how many rows bound a difference to within ``tolerance``, on one side.

    >>> rows_for_difference(0.01, 0.1, 0.01 / 32)
    16672
    """
    return math.ceil(-math.log(delta) / (disagreement * _h(tolerance / disagreement)))


def rows_for_share(tolerance: float, delta: float) -> int:
    """Return how many rows bound any share to within ``tolerance``, on one side (Hoeffding, 1963).

    Clopper and Pearson's bounds need fewer; how many depends on the share.

    >>> rows_for_share(0.01, 0.01 / 32)
    40355
    """
    return math.ceil(-math.log(delta) / (2.0 * tolerance * tolerance))
