"""Two shares of the same rows: how often a bound is wrong, enumerated; and that it is what it says."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import optimize, stats

from tidegate.core.metrics.paired import Paired, paired

Floats = npt.NDArray[np.float64]

# Truths: the share of rows that differ, and which part of them the candidate wins.
TRUTHS = tuple(product((0.005, 0.01, 0.03, 0.08, 0.2, 0.3), (0.0, 0.1, 0.3, 0.5)))


def of(won: int, lost: int, n: int) -> Paired:
    return paired(candidate=won, reference=lost, both=0, n=n, k=1.0)


def likeliest(shares: Floats, scores: Floats, mean: float) -> float:
    """Return the log-likelihood's largest value under a mean, by a general optimiser."""
    sums: Any = [
        {"type": "eq", "fun": lambda p: p.sum() - 1.0},
        {"type": "eq", "fun": lambda p: p @ scores - mean},
    ]
    minimize: Any = optimize.minimize  # its overloads know no such constraints
    found = minimize(
        lambda p: -float(shares @ np.log(p)),
        shares,
        method="SLSQP",
        bounds=[(1e-9, 1.0)] * len(shares),
        constraints=sums,
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert found.success
    return -float(found.fun)


@pytest.mark.parametrize("k", [1.0, 0.97, 1.05])
@pytest.mark.parametrize("confidence", [0.95, 0.999])
def test_a_bound_is_where_the_likelihood_ratio_is(confidence: float, k: float) -> None:
    found = paired(candidate=150, reference=158, both=140, n=200, k=k)
    scores = np.array([1.0 - k, 1.0, -k, 0.0])
    rows = np.array([140.0, 11.0, 19.0, 32.0])
    shares = rows / rows.sum()
    wanted = stats.norm.ppf(confidence) ** 2 / 2.0 / rows.sum()
    for bound in (found.lower(confidence), found.upper(confidence)):
        gained = float(shares @ np.log(shares)) - likeliest(shares, scores, bound)
        assert gained == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("won", [0, 3, 40])
@pytest.mark.parametrize("lost", [0, 2, 60])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_bounds_and_p_value_agree(won: int, lost: int, sign: float) -> None:
    for shift in (-0.05, 0.0, 0.013, 0.2):
        found = of(won, lost, 500).affine(sign, shift)
        assert found.lower(0.99) < found.lower(0.9) < found.centre < found.upper(0.9)
        p = found.p_negative()
        if 1e-9 < p < 0.499:
            assert found.upper(1.0 - p) == pytest.approx(0.0, abs=1e-9)
        if 0.501 < p < 1 - 1e-9:
            assert found.lower(p) == pytest.approx(0.0, abs=1e-9)
        assert (found.p_negative() < 0.05) == (found.upper(0.95) < 0.0)


def test_many_rows_have_the_normal_bounds_and_keep_their_digits() -> None:
    found = paired(candidate=9_000_000, reference=9_004_000, both=8_900_000, n=10_000_000, k=1.0)
    width = stats.norm.ppf(0.95) * found.se
    assert found.centre - found.lower(0.95) == pytest.approx(width, rel=1e-3)
    assert found.upper(0.95) - found.centre == pytest.approx(width, rel=1e-3)


@pytest.mark.parametrize("n", [50, 1000, 1_000_000])
@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_without_a_row_that_differs_the_bound_is_about_the_exact_one(n: int, alpha: float) -> None:
    exact = -math.expm1(math.log(alpha) / n)  # as many lost rows as could have been overlooked
    assert -of(0, 0, n).lower(1.0 - alpha) == pytest.approx(exact, rel=0.07)
    assert of(0, 0, n).upper(1.0 - alpha) == pytest.approx(exact, rel=0.07)


@pytest.mark.parametrize(("shift", "p"), [(1.5, 1.0), (-1.5, 0.0)])
def test_a_truth_that_cannot_be_is_as_good_as_certain(shift: float, p: float) -> None:
    found = of(3, 4, 200).affine(1.0, shift)
    assert found.p_negative() == pytest.approx(p, abs=1e-9)
    scaled = paired(candidate=150, reference=158, both=140, n=200, k=-0.5)
    assert scaled.p_negative() == pytest.approx(1.0, abs=1e-9)
    assert 0.0 < scaled.lower(1 - 1e-15) < scaled.centre


@pytest.mark.parametrize(("won", "lost"), [(0, 20), (20, 0)])
def test_a_candidate_that_differs_everywhere_has_bounds_inside_what_is_possible(
    won: int, lost: int
) -> None:
    found = paired(candidate=won, reference=lost, both=0, n=20, k=1.0)
    assert -1.0 < found.lower(0.9999) < found.upper(0.9999) < 1.0


def rates(n: int, alpha: float) -> tuple[Floats, Floats]:
    """Return how often "better than the truth" is claimed at every truth: by ours, and by Bonett and Price's interval."""
    most = min(n, int(0.3 * n + 6 * math.sqrt(0.3 * n)) + 10)
    pairs = [(won, lost) for won in range(most) for lost in range(most) if won + lost <= n]
    won, lost = np.array(pairs).T
    centre = (won - lost) / (n + 2)
    error = np.sqrt(((won + lost + 2) / (n + 2) - centre**2) / (n + 2))
    bounds = (
        np.array([of(*pair, n).lower(1.0 - alpha) for pair in pairs]),
        centre - stats.norm.isf(alpha) * error,
    )
    found: tuple[list[float], list[float]] = ([], [])
    for share, part in TRUTHS:
        win, lose = share * part, share * (1 - part)
        rows = np.stack([won, lost, n - won - lost], axis=1)
        chance = stats.multinomial.pmf(rows, n, [win, lose, 1 - share])
        assert chance.sum() > 1 - 1e-6
        for rate, bound in zip(found, bounds, strict=True):
            rate.append(float(chance[bound > win - lose].sum()) / alpha)
    return np.array(found[0]), np.array(found[1])


@pytest.mark.parametrize(
    ("n", "alpha", "most", "normal"),
    [
        (100, 0.05, 1.12, 1.8),
        (100, 0.00625, 1.45, 1.9),
        (200, 0.05, 1.3, 1.3),
        (200, 0.00625, 1.3, 2.0),
        (400, 0.00625, 1.2, 2.5),
    ],
)
def test_a_margin_that_is_just_broken_is_seldom_missed(
    n: int, alpha: float, most: float, normal: float
) -> None:
    """Every outcome and its chance: no simulation. Counts are whole, so no bound has the rate itself."""
    ours, theirs = rates(n, alpha)
    assert ours.max() <= most
    assert ours.mean() <= 0.8
    assert theirs.max() >= normal
