"""Sums that merge: the same numbers as the rows themselves give, in any order and on any threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tidegate.core.catalog import CATALOG
from tidegate.core.metrics.kinds import Ranked
from tidegate.core.metrics.ranks import area_of_sorted
from tidegate.core.metrics.table import find
from tidegate.core.model import Task
from tidegate.core.rows import Rows, groups
from tidegate.core.sums import ranks
from tidegate.core.sums.accumulator import Accumulator, plan_for
from tidegate.core.sums.layout import lay_out
from tidegate.core.sums.survey import FROM_ROWS, Survey, finish, survey
from tidegate.core.table import CANDIDATE, CHAMPION, Predictions

if TYPE_CHECKING:
    from tidegate.core.metrics.estimate import Floats
    from tidegate.core.metrics.table import Metric

BY = [("region",), ("region", "tier")]
BINARY = ["roc_auc", "average_precision", "log_loss", "brier", "accuracy", "f1"]


def _table(n: int = FROM_ROWS + 4321, *, decimals: int | None = None) -> Predictions:
    rng = np.random.default_rng(3)
    truth = (rng.random(n) < 0.3).astype(np.float64)
    signal = 1.2 * truth + rng.normal(size=n) - 1

    def model() -> Floats:
        score = 1 / (1 + np.exp(-signal - 0.3 * rng.normal(size=n)))
        return score if decimals is None else score.round(decimals)

    region = rng.choice(5, n, p=[0.6, 0.3, 0.09, 0.009, 0.001]) - 1  # -1: no value
    return Predictions(
        y_true=truth,
        candidate=model(),
        champion=model(),
        anchor=model(),
        slices={
            "region": (("n", "s", "e", "w"), region),
            "tier": (("a", "b", "never"), rng.integers(0, 2, n)),
        },
    )


def _metrics(names: list[str], task: Task = Task.BINARY) -> list[Metric]:
    return [find(name, task) for name in names]


def _pairs(table: Predictions, found: Survey) -> list[tuple[str, Rows, Rows]]:
    """Return the exact rows and the surveyed ones of every group, by label."""
    pairs = [("all", Rows(table), Rows(table, summary=found.everything))]
    for by in BY:
        exact, quick = list(groups(table, by)), list(groups(table, by, found))
        assert [label for label, _ in exact] == [label for label, _ in quick]
        pairs += [(label, a, b) for (label, a), (_, b) in zip(exact, quick, strict=True)]
    return pairs


def _same(exact: Rows, quick: Rows, metric: Metric, rel: float, label: str) -> None:
    assert (exact.n, exact.smaller_class()) == (quick.n, quick.smaller_class())
    for k in (1.0, 0.99):
        one = exact.contrast(metric, CANDIDATE, CHAMPION, k)
        other = quick.contrast(metric, CANDIDATE, CHAMPION, k)
        assert (one is None) == (other is None), label
        if one is not None and other is not None:
            slack = max(rel * one.se, 1e-9) if rel > 1e-6 else 1e-9
            assert other.centre == pytest.approx(one.centre, abs=slack), label
            assert other.se == pytest.approx(one.se, rel=rel, abs=1e-12), label
            assert (other.df, other.n) == (one.df, one.n)
    own, mine = exact.single(metric, CANDIDATE, 0.95), quick.single(metric, CANDIDATE, 0.95)
    if own is not None and mine is not None:
        assert mine.se == pytest.approx(own.se, rel=rel, abs=1e-12), label


@pytest.mark.parametrize("name", BINARY)
def test_every_group_has_the_numbers_of_its_rows(name: str) -> None:
    table, metrics = _table(), _metrics(BINARY)
    found = survey(table, metrics, BY)
    assert found is not None
    rel = 0.01 if name in {"roc_auc", "average_precision"} else 1e-9
    for label, exact, quick in _pairs(table, found):
        _same(exact, quick, find(name, Task.BINARY), rel, label)


_EXAMPLES = {"fbeta": "fbeta@2", "top_k_accuracy": "top_k_accuracy@2", "pinball": "pinball@0.9"}
_EXAMPLES |= {"recall_at_precision": "recall_at_precision@0.5", "recall_at_top": "recall_at_top@5%"}


def _of_task(task: Task) -> list[str]:
    entries = [e for e in CATALOG if task in e.tasks and not e.grouped]
    return [_EXAMPLES.get(e.name, e.name) for e in entries if e.name != "medae"]  # a quantile


def _of_any_task(task: Task) -> Predictions:
    if task is Task.BINARY:
        return _table()
    rng = np.random.default_rng(6)
    n = FROM_ROWS
    slices = _table(n).slices
    if task is Task.REGRESSION:
        truth = rng.normal(3, 1, n)
        points = [truth + rng.normal(0.1, 1, n) for _ in range(2)]
        return Predictions(y_true=truth, candidate=points[0], champion=points[1], slices=slices)
    if task is Task.GENERIC:
        marks = [(rng.random(n) < 0.8).astype(np.float64) for _ in range(2)]
        return Predictions(candidate=marks[0], champion=marks[1], slices=slices)
    classes = rng.integers(0, 4, n)
    answers = [rng.gamma(1 + 2 * np.eye(4)[classes]) for _ in range(2)]
    shares = [a / a.sum(axis=1, keepdims=True) for a in answers]
    return Predictions(
        y_true=classes.astype(np.float64), candidate=shares[0], champion=shares[1], slices=slices
    )


@pytest.mark.parametrize("task", [Task.BINARY, Task.MULTICLASS, Task.REGRESSION, Task.GENERIC])
def test_the_whole_catalogue_has_the_numbers_of_its_rows(task: Task) -> None:
    table = _of_any_task(task)
    metrics = [m for m in _metrics(_of_task(task), task) if m.entry.name != "coverage"]
    found = survey(table, metrics, [("region",)])
    assert found is not None
    quick = [Rows(table, summary=found.everything)]
    quick += [rows for _, rows in groups(table, ("region",), found)]
    exact = [Rows(table), *(rows for _, rows in groups(table, ("region",)))]
    for metric in metrics:
        rel = 0.02 if isinstance(metric.kind, Ranked) else 1e-6
        for one, other in zip(exact, quick, strict=True):
            mine, theirs = (r.contrast(metric, CANDIDATE, CHAMPION) for r in (one, other))
            own, its = (r.single(metric, CANDIDATE, 0.95) for r in (one, other))
            assert (mine is None) == (theirs is None), metric.entry.name
            for a, b in ((mine, theirs), (own, its)):
                if a is not None and b is not None:
                    assert a.known == b.known, metric.entry.name
                    slack = max(0.03 * a.se, 1e-9) if isinstance(metric.kind, Ranked) else 1e-9
                    assert b.centre == pytest.approx(a.centre, abs=slack), metric.entry.name
                    assert not a.known or b.se == pytest.approx(a.se, rel=rel), metric.entry.name
                    assert (a.df, a.n) == (b.df, b.n), metric.entry.name


def test_a_regression_far_from_zero_keeps_its_digits() -> None:
    rng = np.random.default_rng(5)
    n = FROM_ROWS
    truth = 1e6 + rng.normal(0, 2, n)
    table = Predictions(
        y_true=truth,
        candidate=truth + rng.normal(0, 1, n),
        champion=truth + rng.normal(0.1, 1, n),
        slices=_table(n).slices,
    )
    metrics = _metrics(["mae", "rmse", "r2"], Task.REGRESSION)
    found = survey(table, metrics, BY)
    assert found is not None
    for label, exact, quick in _pairs(replace(table), found):
        for metric in metrics:
            one, other = exact.value(metric, CANDIDATE), quick.value(metric, CANDIDATE)
            assert other == pytest.approx(one, abs=1e-9), label


def test_the_number_of_threads_changes_no_digit() -> None:
    table, metrics = _table(), _metrics(BINARY)
    one, two = (survey(table, metrics, BY, threads=threads) for threads in (1, 2))
    assert one is not None
    assert two is not None
    for name, joint in one.everything.joints.items():
        assert joint.values.tolist() == two.everything.joints[name].values.tolist()
        assert joint.gram.tolist() == two.everything.joints[name].gram.tolist()


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 0, 1]])
@pytest.mark.parametrize("nested", [False, True], ids=["one by one", "pairs first"])
def test_accumulators_merge_in_any_order(order: list[int], *, nested: bool) -> None:
    table, metrics = _table(), _metrics(BINARY)
    layout = lay_out(table, BY)
    assert layout is not None
    plan = plan_for(layout, metrics, table)
    cuts = [0, 10, 9000, 20_000, table.n]
    parts = []
    for start, stop in pairwise(cuts):
        part = Accumulator(plan=plan)
        part.update(table.part(start, stop))
        parts.append(part)
    first, second, third, fourth = (parts[index] for index in order)
    if nested:
        third.merge(fourth)
        first.merge(second)
        first.merge(third)
    else:
        for other in (second, third, fourth):
            first.merge(other)
    with ThreadPoolExecutor(1) as pool:
        merged = finish(first, metrics, pool)
    whole = survey(table, metrics, BY)
    assert whole is not None
    for name, joint in whole.everything.joints.items():
        assert merged.everything.joints[name].values == pytest.approx(joint.values, abs=1e-9)
        assert merged.everything.joints[name].gram == pytest.approx(joint.gram, rel=1e-9)


def test_rankings_in_doubt_are_left_to_the_rows() -> None:
    """Rounded scores tie often: the keys cannot tell real ties from their own rounding."""
    found = survey(_table(decimals=2), _metrics(["roc_auc", "log_loss"]), BY)
    assert found is not None
    assert set(found.everything.joints) == {"log_loss"}


def test_a_model_that_hardly_moved_is_left_to_the_rows() -> None:
    table = _table()
    close = np.clip(table.candidate * (1 + 1e-7), 0, 1)
    found = survey(replace(table, champion=close), _metrics(["roc_auc"]), BY)
    assert found is not None
    assert found.everything.joints == {}


@pytest.mark.parametrize(
    "score", [np.log, np.exp, lambda p: 1e6 * p - 5e5], ids=["log", "exp", "far"]
)
def test_scores_of_any_range_rank(score: object) -> None:
    assert callable(score)
    table = _table()
    assert table.champion is not None
    moved = replace(
        table, candidate=score(table.candidate), champion=score(table.champion), anchor=None
    )
    metric = find("roc_auc", Task.BINARY)
    found = survey(moved, [metric], [])
    assert found is not None
    _same(Rows(moved), Rows(moved, summary=found.everything), metric, 0.01, "all")


def test_a_constant_feature_is_unknown_not_certain() -> None:
    table = _table()
    constant = replace(table, candidate=np.full(table.n, 0.7), champion=np.full(table.n, 0.69))
    metric = find("mean", Task.GENERIC)
    found = survey(replace(constant, y_true=None, anchor=None), [metric], BY)
    assert found is not None
    for label, _, quick in _pairs(replace(constant, y_true=None, anchor=None), found):
        statistic = quick.contrast(metric, CANDIDATE, CHAMPION)
        assert statistic is not None
        assert not statistic.known, label


@pytest.mark.parametrize("probability", [True, False])
def test_keys_ascend_with_the_score(probability: bool) -> None:
    rng = np.random.default_rng(1)
    score = np.sort(
        np.concatenate([rng.random(5000), 10.0 ** -rng.uniform(0, 40, 5000), [0, 0.5, 1]])
    )
    score = np.sort(np.concatenate([score, 1 - score])) if probability else score - score[::-1]
    score.sort()
    keys = ranks.keys_of(score, np.zeros(len(score)), probability=probability)
    assert (keys[1:] >= keys[:-1]).all()
    assert (keys & 1 == 0).all()


@pytest.mark.parametrize("scores", [1, 2, 5, 30, 10**6])
@pytest.mark.parametrize("n", [2, 3, 40, 300])
def test_sorted_keys_count_every_pair_and_every_tie(n: int, scores: int) -> None:
    rng = np.random.default_rng(n + scores)
    score, marks = rng.integers(0, scores, n), np.arange(n) % 2
    found = area_of_sorted(np.sort((2 * score + marks).astype(np.uint32)))
    above = score[marks == 1][:, None] - score[marks == 0][None, :]
    ties = (above == 0).mean()
    assert found == pytest.approx(((above > 0).mean() + 0.5 * ties, 0.5 * ties), abs=1e-12)


@pytest.mark.parametrize("spread", [1.0, 1e-3], ids=["good enough", "left to the coarse bins"])
def test_merged_bins_are_used_where_they_are_good_enough(spread: float) -> None:
    rng = np.random.default_rng(7)
    truth = (rng.random(20_000) < 0.3).astype(np.float64)
    score = np.clip(0.4 + spread * (0.1 * truth + rng.normal(0, 0.1, 20_000)), 0, 1)
    keys = ranks.keys_of(score, truth, probability=True)
    counts = ranks.histogram(ranks.PROBABILITIES.bins(keys))
    kind = find("roc_auc", Task.BINARY).kind
    assert isinstance(kind, Ranked)
    # Bins merged for rows that are elsewhere: all of these fall into a few.
    begins = np.arange(0, ranks.FINE, 32) if spread < 1.0 else ranks.merged(counts)
    few = ranks.merge(counts, begins)
    (full,) = ranks.lookups(kind, counts[None])
    (quick,) = ranks.quick_lookups(kind, few[None], begins, lambda _: counts)
    assert full is not None
    assert quick is not None
    assert few.sum() == counts.sum() == 20_000
    off = np.sqrt(counts @ np.square(quick.table - full.table) / counts.sum())
    size = np.sqrt(counts @ np.square(full.table) / counts.sum())
    assert off <= (0.005 * size if spread == 1.0 else 0.0)


def test_an_only_bin_promises_nothing_about_the_rows_in_it() -> None:
    truth = np.repeat([0.0, 1.0], 500)
    score = 0.4 + 1e-8 * truth
    keys = ranks.keys_of(score, truth, probability=True)
    kind = find("roc_auc", Task.BINARY).kind
    assert isinstance(kind, Ranked)
    counts = ranks.histogram(ranks.PROBABILITIES.bins(keys))
    (alone,) = ranks.lookups(kind, counts[counts > 0][None])
    assert alone is not None
    assert alone.off == np.inf
    (among,) = ranks.lookups(kind, counts[None])
    assert among is not None
    assert among.off >= among.size


def test_clusters_weights_and_small_tables_are_for_the_rows() -> None:
    table = _table()
    for other in (
        replace(table, group=np.arange(table.n)),
        replace(table, weight=np.ones(table.n)),
        table.part(0, 100),
    ):
        assert survey(other, _metrics(BINARY), BY) is None
