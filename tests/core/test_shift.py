"""Effect sizes of drift: exact values, bounds that cover, limits that decide."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from tidegate.core.model import Outcome
from tidegate.core.profile import Column, ColumnKind, Profile
from tidegate.core.shift import drift, drifted, label_shift, shifted
from tidegate.render.verdict import reason


def binned(*counts: int, nulls: int = 0) -> Column:
    edges = tuple(float(i) for i in range(len(counts) - 1))
    rows = sum(counts) + nulls
    return Column(kind=ColumnKind.NUMBER, rows=rows, nulls=nulls, edges=edges, bins=counts)


def classes(**counts: int) -> Column:
    return Column(
        kind=ColumnKind.TEXT, rows=sum(counts.values()), nulls=0, categories=tuple(counts.items())
    )


def test_the_index_is_its_formula_less_what_chance_adds() -> None:
    n = 2_000_000
    effect = drift(binned(n // 2, n // 2), binned(n // 4, 3 * n // 4), 0.95)
    assert effect is not None
    exact = 0.25 * log(0.5 / 0.25) - 0.25 * log(0.5 / 0.75)
    assert effect.value == pytest.approx(exact, abs=2e-6)
    assert effect.distance == pytest.approx(0.25, abs=1e-6)


def test_the_label_shift_of_two_classes_is_the_difference_of_their_prevalence() -> None:
    effect = label_shift(classes(no=8000, yes=2000), classes(no=700, yes=300), 0.95)
    assert effect is not None
    error = (0.2 * 0.8 / 10_000 + 0.3 * 0.7 / 1000) ** 0.5
    assert effect.value == pytest.approx(0.1, abs=2e-3)
    assert effect.upper - effect.value == pytest.approx(1.645 * error, rel=0.01)
    assert effect.lower == pytest.approx(effect.value - 1.645 * error, rel=0.01)


@pytest.mark.parametrize("cells", [2, 20])
@pytest.mark.parametrize("tilt", [0.0, 0.3, 0.6])
def test_bounds_are_beyond_the_truth_as_rarely_as_promised(cells: int, tilt: float) -> None:
    """200 pairs of tables each: at most 5 % promised, twelve of a hundred seen once in 2,000 times."""
    rng = np.random.default_rng(11)
    p = np.full(cells, 1 / cells)
    q = np.exp(tilt * np.linspace(-1, 1, cells))
    q /= q.sum()
    index, distance = float(((p - q) * np.log(p / q)).sum()), float(abs(p - q).sum() / 2)
    wrong = np.zeros(4)
    for _ in range(200):
        a, b = rng.multinomial(50_000, p).tolist(), rng.multinomial(3000, q).tolist()
        one, two = drift(binned(*a), binned(*b), 0.95), label_shift(binned(*a), binned(*b), 0.95)
        assert one is not None
        assert two is not None
        low = two.lower > distance if tilt else two.lower > distance + 0.02
        wrong += [one.lower > index, one.upper < index, low, two.upper < distance]
    assert (wrong <= 22).all(), wrong


def test_more_nulls_are_drift_too() -> None:
    effect = drift(binned(500, 500), binned(250, 250, nulls=500), 0.95)
    assert effect is not None
    assert effect.lower > 0.25


@pytest.mark.parametrize(
    ("then", "now"),
    [
        (binned(5, 5), classes(a=5, b=5)),
        (binned(5, 5), Column(kind=ColumnKind.NUMBER, rows=9, nulls=0, edges=(7.0,), bins=(4, 5))),
        (binned(5, 5), binned(0, 0)),
        (classes(a=9), Column(kind=ColumnKind.TEXT, rows=2000, nulls=0)),
        (binned(9, 0), binned(9, 0)),
    ],
    ids=["kinds", "edges", "empty", "too many texts", "one bin"],
)
def test_what_has_no_bins_in_common_has_no_drift(then: Column, now: Column) -> None:
    assert drift(then, now, 0.95) is None


def test_categories_that_are_not_listed_are_one_bin() -> None:
    then = Column(
        kind=ColumnKind.TEXT, rows=1000, nulls=0, categories=(("a", 500), ("b", 300)), other=200
    )
    assert (effect := drift(then, classes(a=500, b=300, c=100, d=100), 0.95)) is not None
    assert effect.value == 0.0
    assert (effect := drift(then, classes(a=100, b=100, c=800), 0.95)) is not None
    assert effect.lower > 0.5


THEN, SAME, MOVED, FAR = (
    binned(5000, 5000), binned(5000, 5000), binned(3200, 6800), binned(1000, 9000),
)  # fmt: skip


@pytest.mark.parametrize(
    ("now", "limit", "expected"),
    [
        (SAME, None, None),
        (SAME, 0.25, None),
        (MOVED, None, ("inconclusive", False)),
        (MOVED, 0.25, ("inconclusive", False)),
        (MOVED, 0.13, ("inconclusive", True)),  # the limit is within the bounds
        (FAR, None, ("inconclusive", False)),
        (FAR, 0.25, ("error", True)),
    ],
)
def test_drift_is_told_and_decides_beyond_a_limit(
    now: Column, limit: float | None, expected: tuple[str, bool] | None
) -> None:
    known, today = (
        Profile(rows=10_000, columns={"x": THEN}),
        Profile(rows=10_000, columns={"x": now}),
    )
    found = drifted(known, today, 0.95, limit, skip=())
    assert [(str(f.outcome), f.decides) for f in found] == ([expected] if expected else [])
    assert drifted(known, today, 0.95, limit, skip=["x"]) == []


def test_the_sentences() -> None:
    known, today = (
        Profile(rows=10_000, columns={"x": THEN}),
        Profile(rows=10_000, columns={"x": FAR}),
    )
    (finding,) = drifted(known, today, 0.95, 0.25, skip=())
    assert reason(finding, 0.95) == (
        "column x: has drifted, stability index 0.8784 (bounds 0.8332 to 0.9237, limit 0.25), "
        "distance 0.4"
    )
    (finding,) = shifted("y", classes(a=5000, b=5000), classes(a=400, b=600), 0.95, None)
    assert reason(finding, 0.95) == (
        "column y: the truth's distribution has shifted by 0.0999 (bounds 0.07312 to 0.1267)"
    )
    assert (finding.outcome, finding.decides) == (Outcome.INCONCLUSIVE, False)
    (finding,) = shifted("y", classes(a=5000, b=5000), classes(a=100, b=900), 0.95, 0.2)
    assert (finding.outcome, finding.decides) == (Outcome.ERROR, True)
