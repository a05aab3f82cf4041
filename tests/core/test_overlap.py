"""Training rows in the holdout: leaks are found, and chance among rows of few values is none."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from tidegate.core import overlap
from tidegate.core.overlap import Overlap, Shared, overlapping
from tidegate.core.rowhash import mixed
from tidegate.render.verdict import reason


def hashed(values: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    return mixed(values.astype(np.uint64))


def looked(holdout: npt.NDArray[np.int64], train: npt.NDArray[np.int64], parts: int = 3) -> Shared:
    search = Overlap(None, hashed(holdout), len(holdout))
    for part in np.array_split(train, parts):
        search.update(None, hashed(part))
    return search.finish()


def decides(shared: Shared) -> list[bool]:
    found = overlapping(shared, decides=True, later=False, id_column="id")
    return [finding.decides for finding in found if finding.cause != "repeated_rows"]


def test_ids_and_rows_are_counted_exactly() -> None:
    ids, rows = np.arange(10), np.array([0, 1, 2, 3, 4, 5, 6, 6, 6, 7])
    search = Overlap(hashed(ids), hashed(rows), 10)
    search.update(hashed(np.array([3, 4, 3, 99])), hashed(np.array([6, 50])))
    search.update(hashed(np.array([9])), hashed(np.array([7, 7])))
    found = search.finish()
    assert (found.ids, found.rows, found.repeated) == (3, 4, 2)


def test_without_training_rows_nothing_is_shared() -> None:
    found = looked(np.arange(10), np.zeros(0, dtype=np.int64))
    assert (found.ids, found.rows, found.expected) == (None, 0, 0.0)
    assert decides(found) == []


@pytest.mark.parametrize("values", [3, 50, 2000, 50_000, 2**40])
def test_rows_of_few_values_coincide_by_chance_and_are_no_leak(values: int) -> None:
    """Twenty honest pairs of tables, uniform and skewed: none is blocked."""
    rng = np.random.default_rng(values)
    for skew in (1.0, 4.0):
        for _ in range(10):
            draw = (values * rng.random(24_000) ** skew).astype(np.int64)
            assert True not in decides(looked(draw[:4000], draw[4000:]))


@pytest.mark.parametrize("values", [20_000, 50_000, 2**40])
def test_a_leak_of_a_fifth_is_found_also_where_rows_coincide_by_chance(values: int) -> None:
    rng = np.random.default_rng(values)
    holdout = (values * rng.random(4000)).astype(np.int64)
    honest = (values * rng.random(10_000)).astype(np.int64)
    shared = looked(holdout, np.concatenate([honest, holdout[:800]]))
    assert decides(shared) == [True]
    assert shared.rows is not None
    assert shared.rows > shared.most > shared.expected


def test_one_row_in_both_of_two_tables_without_repeats_is_told_and_does_not_block() -> None:
    assert decides(looked(np.arange(4000), np.arange(3999, 20_000))) == [False]


def test_memory_is_bounded_and_the_prediction_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    draw = rng.integers(0, 30_000, 60_000)
    whole = looked(draw[:5000], draw[5000:])
    monkeypatch.setattr(overlap, "_MOST_KEPT", 5000)
    search = Overlap(None, hashed(draw[:5000]), 5000)
    for part in np.array_split(draw[5000:], 9):
        search.update(None, hashed(part))
        assert sum(len(kept) for kept in search._kept) <= 5000
    sampled = search.finish()
    assert sampled.rows == whole.rows
    assert sampled.expected == pytest.approx(whole.expected, rel=0.05)


@pytest.mark.parametrize(
    ("wanted", "later", "expected"),
    [(True, False, True), (True, True, False), (False, False, False)],
)
def test_a_shared_id_decides_unless_the_rows_are_later_or_it_is_only_told(
    wanted: bool, later: bool, expected: bool
) -> None:
    shared = Shared(n=100, ids=1, rows=None)
    (finding,) = overlapping(shared, decides=wanted, later=later, id_column="customer")
    assert finding.decides is expected
    assert reason(finding, 0.95) == (
        "column customer: 1 holdout rows have an id of the training rows; take those out of one of the two"
    )


def test_the_sentences() -> None:
    shared = Shared(n=1000, ids=0, rows=500, expected=20.3, likely=30.0, most=44.8, repeated=90)
    rows, repeated = overlapping(shared, decides=True, later=True, id_column="id")
    assert reason(rows, 0.95) == (
        "500 holdout rows equal a training row in every column, and chance explains 20.3, at most 44.8; "
        "take those out of one of the two"
    )
    assert reason(repeated, 0.95) == (
        "90 holdout rows repeat an earlier one in every column: they count twice"
    )
    assert (rows.decides, repeated.decides) == (True, False)
