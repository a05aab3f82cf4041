"""Every metric of the catalogue: its value, its influence, its range and its direction."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.core.catalogue import (
    CLASSES,
    NAMES,
    VALUES,
    Data,
    evaluate,
    over_orders,
    plain_ap,
    plain_recall,
    plain_rr,
    rows,
    value_of,
)
from tests.core.metrics_page import PAGE, page
from tidegate.core.catalog import CATALOG, PERCENT, Entry, Misnamed, read
from tidegate.core.metrics.formulas import FORMULAS
from tidegate.core.metrics.kinds import Cells, Queried, Ranked, Smooth
from tidegate.core.metrics.table import Metric, find
from tidegate.core.model import Direction, Task
from tidegate.core.rows import Rows
from tidegate.core.sums.survey import survey
from tidegate.core.table import CANDIDATE, CHAMPION, Predictions

if TYPE_CHECKING:
    from tidegate.core.metrics.kinds import Codes, Floats

ids = [f"{task}-{name}" for name, task in VALUES]


def test_the_catalogue_and_the_formulas_are_the_same_metrics() -> None:
    assert {(entry.base, task) for entry in CATALOG for task in entry.tasks} == set(FORMULAS)
    assert {(name.partition("@")[0], task) for name, task in VALUES} == set(FORMULAS)


@pytest.mark.parametrize(("name", "task"), VALUES, ids=ids)
@pytest.mark.parametrize("weights", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("decimals", [None, 1], ids=["continuous", "ties"])
def test_every_value_is_the_definitions(
    name: str, task: Task, decimals: int | None, weights: bool
) -> None:
    small = task is Task.RANKING and decimals is not None  # every order of tied rows is tried
    data = rows(task, 120 if small else 400, 3, decimals=decimals, weights=weights)
    found = value_of(name, task, data)
    assert found == pytest.approx(VALUES[name, task](data), abs=1e-9)


SIMPLE = [
    (name, task) for name, task in VALUES if "recall_at" not in name and name not in {"ks", "medae"}
]


@pytest.mark.parametrize(("name", "task"), SIMPLE, ids=[f"{t}-{n}" for n, t in SIMPLE])
@pytest.mark.parametrize("weights", [False, True], ids=["plain", "weighted"])
def test_influence_is_the_derivative_by_the_rows_weight(
    name: str, task: Task, weights: bool
) -> None:
    data = rows(task, 300, 5, weights=weights)
    found = evaluate(name, task, data)
    assert found is not None
    assert found.influence.mean() == pytest.approx(0, abs=1e-9)
    _is_derivative(name, task, data, np.random.default_rng(0).choice(300, 15, replace=False))


def _is_derivative(name: str, task: Task, data: Data, chosen: Codes) -> None:
    found = evaluate(name, task, data)
    assert found is not None
    kind = find(name, task).kind
    influence = found.influence
    if isinstance(kind, Queried):  # a query's influence stands in its first row
        chosen = np.flatnonzero(np.diff(data.query, prepend=-1))[:15]
        influence = np.array([influence[data.query == q].sum() for q in data.query])
    # DeLong divides by m - 1 and n - 1 within the classes: a little more than the derivative.
    tolerance = 0.02 if isinstance(kind, Ranked) else 1e-5
    n, step = len(data.truth), 1e-4
    for row in chosen:
        mine = data.query == data.query[row] if isinstance(kind, Queried) else np.arange(n) == row
        values = []
        for sign in (1, -1):
            weight = data.w * np.where(mine, 1 + sign * step, 1.0)
            moved = value_of(name, task, replace(data, weight=weight))
            assert moved is not None
            values.append(moved)
        slope = n * (values[0] - values[1]) / (2 * step)
        assert influence[row] == pytest.approx(
            slope, abs=tolerance * float(np.std(influence)) + 1e-7
        )


def test_the_influence_of_a_median_has_the_bootstraps_error() -> None:
    data = rows(Task.REGRESSION, 5000, 5, weights=True)
    found = evaluate("medae", Task.REGRESSION, data)
    assert found is not None
    assert found.influence.mean() == pytest.approx(0, abs=1e-9)
    rng, draws = np.random.default_rng(1), []
    for _ in range(400):
        drawn = np.bincount(rng.integers(0, 5000, 5000), minlength=5000)
        draws.append(value_of("medae", Task.REGRESSION, replace(data, weight=data.w * drawn)))
    error = float(np.std(found.influence)) / 5000**0.5
    assert error == pytest.approx(float(np.std(np.array(draws, dtype=np.float64))), rel=0.12)


def test_the_influence_of_the_largest_gap_is_the_derivative_widened_for_its_optimism() -> None:
    data = rows(Task.BINARY, 300, 5, weights=True)
    found = evaluate("ks", Task.BINARY, data)
    assert found is not None
    assert found.influence.mean() == pytest.approx(0, abs=1e-9)
    factors = []
    for row in range(10):
        moved = [
            value_of(
                "ks", Task.BINARY, replace(data, weight=data.w * (1 + step * (data.index == row)))
            )
            for step in (1e-5, -1e-5)
        ]
        assert moved[0] is not None
        assert moved[1] is not None
        factors.append(found.influence[row] / (300 * (moved[0] - moved[1]) / 2e-5))
    assert factors == pytest.approx([factors[0]] * 10, rel=1e-3)
    assert 1.05 < factors[0] < 2


@pytest.mark.parametrize("share", ["20%", "50%"])
def test_the_influence_of_the_top_is_the_derivative_where_runs_are_long(share: str) -> None:
    data = rows(Task.BINARY, 3000, 5, decimals=1)
    found = evaluate(f"recall_at_top@{share}", Task.BINARY, data)
    assert found is not None
    assert found.influence.mean() == pytest.approx(0, abs=1e-9)
    _is_derivative(f"recall_at_top@{share}", Task.BINARY, data, np.arange(20))


@pytest.mark.parametrize("decimals", [None, 1], ids=["continuous", "ties"])
def test_the_influence_at_a_precision_has_mean_zero(decimals: int | None) -> None:
    data = rows(Task.BINARY, 2000, 5, decimals=decimals, weights=True)
    found = evaluate("recall_at_precision@0.8", Task.BINARY, data)
    assert found is not None
    assert found.influence.mean() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("name", "task"), VALUES, ids=ids)
def test_a_better_model_is_better_in_the_metrics_direction(name: str, task: Task) -> None:
    entry = find(name, task).entry
    if entry.target:  # neither way is better
        return
    good, bad = (value_of(name, task, rows(task, 3000, 7, noise=noise)) for noise in (1.0, 2.5))
    assert good is not None
    assert bad is not None
    assert (good > bad) == (entry.direction is Direction.HIGHER)


@pytest.mark.parametrize(("name", "task"), VALUES, ids=ids)
def test_values_stay_in_their_range(name: str, task: Task) -> None:
    entry = find(name, task).entry
    for seed in range(20):
        value = value_of(name, task, rows(task, 40, seed, noise=3.0, decimals=seed % 3))
        if value is not None:
            assert entry.low is None or value >= entry.low - 1e-12
            assert entry.high is None or value <= entry.high + 1e-12


def _degenerate(task: Task) -> dict[str, Data]:
    data = rows(task, 60, 1)
    truth, n = data.truth, 60
    constant = np.full_like(data.prediction, 1 / CLASSES if task is Task.MULTICLASS else 0.5)
    if task is Task.MULTICLASS:
        perfect = np.eye(CLASSES)[truth.astype(int)]
    elif task is Task.REGRESSION:
        perfect = np.column_stack((truth, truth, truth))
    elif task is Task.GENERIC:
        perfect = np.ones(n)
    else:
        perfect = truth.copy()
    one = Data(truth=truth[:1], prediction=data.prediction[:1], query=data.query[:1])
    return {
        "constant": replace(data, prediction=constant),
        "perfect": replace(data, prediction=perfect),
        "one class": replace(data, truth=np.zeros(n)),
        "other class": replace(data, truth=np.ones(n)),
        "one row": one,
        "one query": replace(data, query=np.zeros(n, dtype=np.intp)),
        "almost no weight": replace(data, weight=np.where(np.arange(n) == 7, 1.0, 0.0)),
    }


@pytest.mark.parametrize(("name", "task"), VALUES, ids=ids)
@pytest.mark.filterwarnings("error")
def test_degenerate_rows_give_a_value_of_the_range_or_none(name: str, task: Task) -> None:
    entry = find(name, task).entry
    for label, data in _degenerate(task).items():
        value = value_of(name, task, data)
        if value is not None:
            assert np.isfinite(value), label
            assert entry.low is None or value >= entry.low - 1e-12, label
            assert entry.high is None or value <= entry.high + 1e-12, label


UNDEFINED = {
    ("roc_auc", Task.BINARY): "one class",
    ("ks", Task.BINARY): "one class",
    ("recall", Task.BINARY): "one class",
    ("specificity", Task.BINARY): "other class",
    ("recall_at_top@5%", Task.BINARY): "one class",
    ("recall_at_precision@0.9", Task.BINARY): "one class",
    ("mcc", Task.BINARY): "one class",
    ("mcc", Task.MULTICLASS): "constant",
    ("top_k_accuracy@3", Task.MULTICLASS): "constant",  # of 3 classes
    ("roc_auc_ovr", Task.MULTICLASS): "one class",
    ("mape", Task.REGRESSION): "one class",  # a truth of 0
    ("wape", Task.REGRESSION): "one class",
    ("r2", Task.REGRESSION): "other class",
    ("ndcg@10", Task.RANKING): "one class",  # nothing relevant
    ("mrr", Task.RANKING): "one class",
    ("map@10", Task.RANKING): "one class",
    ("recall@10", Task.RANKING): "one class",
    ("pass_at@3", Task.GENERIC): "one row",  # fewer repeats than 3
    ("pass_rate", Task.GENERIC): "constant",  # 0.5 is no mark
}


@pytest.mark.parametrize(("name", "task"), UNDEFINED, ids=[f"{t}-{n}" for n, t in UNDEFINED])
def test_an_undefined_value_is_none(name: str, task: Task) -> None:
    assert value_of(name, task, _degenerate(task)[UNDEFINED[name, task]]) is None


@pytest.mark.parametrize("task", [Task.BINARY, Task.MULTICLASS, Task.REGRESSION, Task.GENERIC])
def test_large_tables_have_the_same_numbers_from_sums(task: Task) -> None:
    n = 40_000
    one, other = rows(task, n, 2), rows(task, n, 2, noise=1.3)
    slices = {"s": (("a", "b", "c"), np.arange(n) % 3)}
    table = Predictions(
        y_true=one.truth, candidate=one.prediction, champion=other.prediction, slices=slices
    )
    metrics = [find(name, t) for name, t in VALUES if t is task]
    found = survey(table, [m for m in metrics if not isinstance(m.kind, Queried)], [("s",)])
    assert found is not None
    closed = {m.entry.name for m in metrics if isinstance(m.kind, Smooth | Cells)}
    assert closed <= set(found.everything.joints)
    parts = [(Rows(table), found.everything)]
    for code in range(3):
        members = np.flatnonzero(np.arange(n) % 3 == code)
        parts.append((Rows(table, partial(np.asarray, members)), found.groups["s",][code]))
    for exact, summary in parts:
        summed = Rows(table, summary=summary)
        for metric in metrics:
            if metric.entry.name in summary.joints:
                _same(metric, exact, summed)


def _same(metric: Metric, exact: Rows, summed: Rows) -> None:
    # Scores of a ranking are summed in fine bins, whose error is bounded and negligible.
    within, width = (1e-7, 1e-2) if isinstance(metric.kind, Ranked) else (1e-9, 1e-6)
    pairs = [
        (rows.single(metric, CANDIDATE, 0.95), rows.contrast(metric, CANDIDATE, CHAMPION))
        for rows in (exact, summed)
    ]
    for one, other in zip(*pairs, strict=True):
        assert one is not None
        assert other is not None
        assert other.centre == pytest.approx(one.centre, abs=within), metric.entry.name
        assert other.se == pytest.approx(one.se, rel=width), metric.entry.name


def test_the_page_has_the_catalogues_table() -> None:
    text = PAGE.read_text()
    assert text == page(text), "run python -m tests.core.metrics_page"


def test_coverage_without_limits_is_undefined() -> None:
    data = rows(Task.REGRESSION, 60, 1)
    assert value_of("coverage", Task.REGRESSION, replace(data, prediction=data.truth)) is None


def test_an_item_with_too_few_repeats_makes_the_metric_undefined() -> None:
    data = rows(Task.GENERIC, 60, 1)
    query = data.query.copy()
    query[0] = 999
    assert value_of("pass_at@5", Task.GENERIC, data) is not None
    assert value_of("pass_at@5", Task.GENERIC, replace(data, query=query)) is None


@pytest.mark.parametrize(
    ("name", "score"),
    [
        pytest.param("precision", np.where(np.arange(400) < 5, 0.9, 0.1), id="five decided for"),
        pytest.param("recall_at_precision@0.9", np.full(400, 0.5), id="precision never reached"),
    ],
)
def test_a_value_that_stands_on_too_little_has_no_bound(name: str, score: Floats) -> None:
    data = replace(rows(Task.BINARY, 400, 1), prediction=score)
    found = evaluate(name, Task.BINARY, data)
    assert found is not None
    assert np.isnan(found.influence).all()


@pytest.mark.parametrize("seed", range(30))
def test_ties_in_a_ranking_count_by_the_mean_over_all_orders(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 7))
    truth = (rng.random(n) < 0.5).astype(np.float64)
    score = rng.integers(0, 3, n).astype(np.float64)
    data = Data(truth=truth, prediction=score, query=np.zeros(n, dtype=np.intp))
    for name, plain in (
        ("map@2", lambda order: plain_ap(order, 2)),
        ("map@9", lambda order: plain_ap(order, 9)),
        ("recall@2", lambda order: plain_recall(order, 2)),
        ("mrr", plain_rr),
    ):
        expected = over_orders(truth, score, plain)
        found = value_of(name, Task.RANKING, data)
        assert found == (None if expected is None else pytest.approx(expected, abs=1e-12))


@pytest.mark.parametrize(
    ("name", "task", "value"),
    [
        ("fbeta@0.5", Task.BINARY, 0.5),
        ("recall_at_top@2.5%", Task.BINARY, 0.025),
        ("ndcg@10", Task.RANKING, 10.0),
        ("pinball@0.95", Task.REGRESSION, 0.95),
    ],
)
def test_a_parameter_is_read(name: str, task: Task, value: float) -> None:
    found = read(name, task)
    assert isinstance(found, Entry)
    assert (found.name, found.value) == (name, value)


@pytest.mark.parametrize(
    "name",
    ["fbeta", "fbeta@", "fbeta@0", "fbeta@-1", "fbeta@1e3", "fbeta@²", "fbeta@2@2", "fbeta@2%",
     "recall_at_top@0%", "recall_at_top@100%", "recall_at_top@0.05", "recall_at_precision@1",
     "recall_at_precision@90%", "f1@2", "@2", "", "ndcg@10", "accuracy@", "fbeta@2 ", "fbeta@2\n"],
)  # fmt: skip
def test_a_bad_name_is_no_metric(name: str) -> None:
    assert isinstance(read(name, Task.BINARY), Misnamed)


@pytest.mark.parametrize("name", ["ndcg@0", "ndcg@2.5", "ndcg@-1", "ndcg", "recall"])
def test_a_cut_is_a_whole_number_from_one_on(name: str) -> None:
    assert isinstance(read(name, Task.RANKING), Misnamed)


def test_one_name_has_a_range_and_a_formula_for_each_task() -> None:
    highs = [read("brier", task) for task in (Task.BINARY, Task.MULTICLASS)]
    assert [entry.high for entry in highs if isinstance(entry, Entry)] == [1, 2]
    assert find("accuracy", Task.BINARY).kind != find("accuracy", Task.MULTICLASS).kind


def test_a_metric_is_one_object_however_often_it_is_found() -> None:
    assert find("pinball@0.9", Task.REGRESSION) is find("pinball@0.9", Task.REGRESSION)
    assert PERCENT.read("5%") == 0.05
    assert len(NAMES) == len(set(NAMES))
