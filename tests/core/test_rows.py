"""Groups and weights: every interval counts independent units, and what a row weighs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tidegate.core.metrics.table import find
from tidegate.core.model import Task
from tidegate.core.rows import Rows, groups
from tidegate.core.table import CANDIDATE, CHAMPION, Predictions

NAMES = ["roc_auc", "average_precision", "log_loss", "brier", "accuracy", "f1"]


def _table(n: int = 400, seed: int = 1) -> Predictions:
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < 0.4).astype(np.float64)
    models = [1 / (1 + np.exp(1 - 2 * truth - rng.normal(size=n))) for _ in range(2)]
    return Predictions(y_true=truth, candidate=models[0], champion=models[1])


def _twice(table: Predictions) -> Predictions:
    """Return every row two times, as a group of its own."""
    rows = np.repeat(np.arange(table.n), 2)
    return replace(table.take(rows), group=rows)


@pytest.mark.parametrize("name", NAMES)
def test_equal_weights_are_no_weights(name: str) -> None:
    metric, table = find(name, Task.BINARY), _table()
    plain = Rows(table).contrast(metric, CANDIDATE, CHAMPION, 0.99)
    weighted = Rows(replace(table, weight=np.full(table.n, 3.0)))
    found = weighted.contrast(metric, CANDIDATE, CHAMPION, 0.99)
    assert plain is not None
    assert found is not None
    assert found.se == pytest.approx(plain.se, rel=0.02)  # proportions are shrunk without weights
    assert weighted.value(metric, CANDIDATE) == pytest.approx(Rows(table).value(metric, CANDIDATE))


@pytest.mark.parametrize("name", NAMES)
def test_a_weight_of_two_is_a_row_that_occurs_twice(name: str) -> None:
    metric, table = find(name, Task.BINARY), _table()
    weight = np.random.default_rng(2).integers(0, 4, table.n).astype(np.float64)
    repeated = Rows(table.take(np.repeat(np.arange(table.n), weight.astype(np.intp))))
    weighted = Rows(replace(table, weight=weight))
    assert weighted.value(metric, CANDIDATE) == pytest.approx(
        repeated.value(metric, CANDIDATE), abs=1e-9
    )


@pytest.mark.parametrize("name", NAMES)
def test_rows_that_repeat_within_their_group_say_nothing_new(name: str) -> None:
    metric, table = find(name, Task.BINARY), _table()
    singles = replace(table, group=np.arange(table.n))
    one = Rows(singles).contrast(metric, CANDIDATE, CHAMPION)
    two = Rows(_twice(table)).contrast(metric, CANDIDATE, CHAMPION)
    ignored = Rows(replace(_twice(table), group=None)).contrast(metric, CANDIDATE, CHAMPION)
    assert one is not None
    assert two is not None
    assert ignored is not None
    assert two.se == pytest.approx(one.se, rel=0.003)  # the placements' own small-sample factor
    assert two.df == one.df
    assert ignored.se < 0.75 * two.se  # what taking them for independent would claim
    assert (Rows(_twice(table)).n, Rows(_twice(table)).units) == (2 * table.n, table.n)


def test_the_cluster_robust_error_is_liangs_and_zegers() -> None:
    rng = np.random.default_rng(4)
    group = rng.integers(0, 40, 400)
    scores = rng.normal(size=40)[group] + rng.normal(size=400)
    metric = find("mean", Task.GENERIC)
    found = Rows(Predictions(candidate=scores, group=group)).single(metric, CANDIDATE, 0.95)
    sums = np.array([(scores[group == g] - scores.mean()).sum() for g in np.unique(group)])
    clusters = len(sums)
    assert found is not None
    assert found.se == pytest.approx(
        np.sqrt(clusters / (clusters - 1) * (sums @ sums)) / 400, rel=1e-12
    )
    assert found.df == clusters - 1


def test_bounds_over_groups_hold_as_often_as_they_say() -> None:
    """Users with ten rows each and a taste of their own: 95 % one-sided, and far less by rows."""
    metric, missed, by_rows = find("mean", Task.GENERIC), 0, 0
    rng = np.random.default_rng(9)
    runs = 400
    for _ in range(runs):
        group = np.repeat(np.arange(60), 10)
        scores = rng.normal(size=60)[group] + rng.normal(size=600)
        table = Predictions(candidate=scores, group=group)
        clustered = Rows(table).single(metric, CANDIDATE, 0.95)
        plain = Rows(replace(table, group=None)).single(metric, CANDIDATE, 0.95)
        assert clustered is not None
        assert plain is not None
        missed += clustered.lower(0.95) > 0.0
        by_rows += plain.lower(0.95) > 0.0
    assert missed <= 0.08 * runs
    assert by_rows > 0.15 * runs


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("clustered", [False, True])
def test_a_group_of_one_row_is_never_certain(name: str, weighted: bool, clustered: bool) -> None:
    table = replace(_table(30), slices={"who": (("one", "rest"), np.minimum(np.arange(30), 1))})
    table = replace(
        table,
        weight=np.ones(30) if weighted else None,
        group=np.arange(30) // 2 if clustered else None,
    )
    metric = find(name, Task.BINARY)
    parts = dict(groups(table, ("who",)))
    found = parts["who=one"].contrast(metric, CANDIDATE, CHAMPION)
    assert found is None or not found.known or found.se > 0.1
