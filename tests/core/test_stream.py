"""The survey of batches of rows: what the rows themselves give, within the doubt that it tells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tidegate.core.config import GapRule, Gate, Rule, SliceRule
from tidegate.core.metrics.interval import contrast
from tidegate.core.metrics.joint import Joint
from tidegate.core.metrics.statistic import Statistic
from tidegate.core.metrics.table import find
from tidegate.core.model import Cause, Margin, Task
from tidegate.core.rows import Rows
from tidegate.core.sums import bins
from tidegate.core.sums.look import SAMPLE, Look
from tidegate.core.sums.stream import cannot, stream
from tidegate.core.table import CANDIDATE, CHAMPION, Predictions

N, PART = 40_000, 7000
MARGIN = Margin(value=0.01)
RANKED = ("roc_auc", "average_precision")
GATE = Gate(rules=tuple(Rule(metric=m, margin=MARGIN) for m in (*RANKED, "log_loss", "f1")))


def _table(decimals: int | None = None) -> Predictions:
    rng = np.random.default_rng(8)
    truth = (rng.random(N) < 0.3).astype(np.float64)
    signal = 1.2 * truth + rng.normal(size=N) - 1
    models = [1 / (1 + np.exp(-signal - 0.3 * rng.normal(size=N))) for _ in range(2)]
    mine, other = (m if decimals is None else m.round(decimals) for m in models)
    return Predictions(y_true=truth, candidate=mine, champion=other)


def _parts(table: Predictions) -> list[Predictions]:
    return [table.part(start, start + PART) for start in range(0, table.n, PART)]


def _look(table: Predictions, task: Task = Task.BINARY) -> Look:
    look = Look(task=task, rows=table.n)
    for part in _parts(table):
        look.update(part)
    return look


def _streamed(table: Predictions, gate: Gate = GATE) -> Rows:
    survey = stream(_look(table), gate, Task.BINARY, lambda: _parts(table))
    assert survey is not None
    return Rows(table.part(0, 0), summary=survey.everything)


@pytest.mark.parametrize("most", [8192, bins.LEAST_BINS], ids=["fine", "coarse"])
@pytest.mark.parametrize("name", RANKED)
def test_a_ranking_is_within_its_doubt(
    name: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bins, "MOST_BINS", most)
    table, metric = _table(), find(name, Task.BINARY)
    exact = Rows(table).contrast(metric, CANDIDATE, CHAMPION)
    found = _streamed(table).contrast(metric, CANDIDATE, CHAMPION)
    assert exact is not None
    assert found is not None
    assert 0.0 < found.doubt < 8.0 / most
    assert abs(found.centre - exact.centre) <= found.doubt
    # Wider on both sides, and by no more than the two doubts.
    for mine, theirs in ((found.lower(0.95), exact.lower(0.95)), (-found.upper(0.95), -exact.upper(0.95))):  # fmt: skip
        assert theirs - 2.0 * found.doubt - 0.05 * exact.se <= mine <= theirs


@pytest.mark.parametrize("name", [*RANKED, "log_loss", "f1"])
def test_scores_of_two_decimals_are_in_no_doubt(name: str) -> None:
    """Every score has a bin of its own: ties are ties."""
    table, metric = _table(decimals=2), find(name, Task.BINARY)
    exact = Rows(table).contrast(metric, CANDIDATE, CHAMPION)
    found = _streamed(table).contrast(metric, CANDIDATE, CHAMPION)
    assert exact is not None
    assert found is not None
    assert found.doubt == 0.0
    assert found.centre == pytest.approx(exact.centre, abs=1e-12)
    assert found.se == pytest.approx(exact.se, rel=1e-9)


@pytest.mark.parametrize(
    "scores",
    [
        lambda rng: rng.random(50_000),
        lambda rng: rng.random(50_000) ** 8,
        lambda rng: np.exp(rng.normal(0, 5, 50_000)),
        lambda rng: rng.random(50_000).round(2),
        lambda rng: rng.normal(1e9, 1, 50_000),
        lambda rng: np.full(10, 0.5),
        lambda rng: np.array([-1.7e308, 0.0, 1.7e308]),
    ],
    ids=["even", "skew", "wide", "rounded", "far", "one", "whole range"],
)
def test_a_bin_is_the_one_that_a_search_finds(scores: object) -> None:
    assert callable(scores)
    sample = scores(np.random.default_rng(2))
    edges = bins.edges_of(sample, 4096)
    assert len(edges.at) < 4096
    near = [edges.at, np.nextafter(edges.at, -np.inf), np.array([-1e300, -1.0, 0.0, 1e300])]
    for score in (sample, *near):
        expected = np.searchsorted(edges.at, score, side="right")
        for kind in (0, 1):
            truth = np.full(len(score), float(kind))
            assert edges.of(score, truth).tolist() == (2 * expected + kind).tolist()


def test_a_doubt_widens_both_bounds_and_the_p_value() -> None:
    sure = Statistic(centre=-0.01, se=0.004, df=np.inf, n=100)
    unsure = replace(sure, doubt=0.003)
    assert unsure.lower(0.95) == pytest.approx(sure.lower(0.95) - 0.003)
    assert unsure.upper(0.95) == pytest.approx(sure.upper(0.95) + 0.003)
    assert unsure.p_negative() > sure.p_negative()
    assert unsure.affine(-1.0, 0.5).doubt == 0.003


def test_both_models_are_in_doubt_about_their_difference() -> None:
    joint = Joint(
        values=np.array([0.8, 0.7]),
        gram=np.eye(2) * 50.0,
        n=101,
        units=101,
        df=50,
        unit=1.0,
        proportions=np.zeros(2, dtype=np.bool_),
        doubt=np.array([0.01, 0.02]),
        off=np.array([0.1, 0.3]),
    )
    found = contrast(joint, 0, 1, 0.5)
    assert found.doubt == pytest.approx(0.02)
    plain = contrast(replace(joint, doubt=None, off=None), 0, 1, 0.5)
    assert found.se - plain.se == pytest.approx((0.1 + 0.5 * 0.3) / 10.0)
    assert plain.doubt == 0.0


def test_a_look_says_what_the_checks_say_of_all_rows() -> None:
    from tidegate.core import checks

    table = _table()
    mine, other = table.candidate.copy(), table.candidate.copy()
    mine[-3:] = np.nan
    mine[:2] = 1.5  # told is the worse of a column's two
    other[[5, -1]] = -0.1
    bad = replace(table, candidate=mine, champion=other)
    found = _look(bad).unusable()
    assert found == checks.unusable(bad, Task.BINARY)
    assert [(f.column, f.cause, f.n) for f in found] == [
        ("candidate", Cause.NOT_A_NUMBER, 3),
        ("champion", Cause.OUT_OF_RANGE, 2),
    ]


def test_rows_that_witness_say_whether_models_differ_and_which_values_occur() -> None:
    table = _table()
    other = table.candidate.copy()
    other[N - 2] = 0.123
    region = np.zeros(N, dtype=np.int16)
    region[N - 1] = 2
    seen = _look(replace(table, champion=other, slices={"r": (("a", "b", "c"), region)})).witness
    assert seen is not None
    assert seen.n < 20
    assert (seen.candidate != seen.champion).sum() == 1
    assert sorted(set(seen.slices["r"][1].tolist())) == [0, 2]
    assert (seen.candidate.min(), seen.candidate.max()) == (table.candidate.min(), table.candidate.max())  # fmt: skip


def test_a_sample_is_spread_over_all_rows() -> None:
    look = Look(task=None, rows=8 * SAMPLE)
    part = Predictions(candidate=np.arange(SAMPLE, dtype=np.float64))
    for number in range(8):
        look.update(replace(part, candidate=part.candidate + number * SAMPLE))
    assert look.sampled().candidate.tolist() == list(range(0, 8 * SAMPLE, 8))


@pytest.mark.parametrize(
    ("gate", "task", "expected"),
    [
        (GATE, Task.BINARY, None),
        (Gate(rules=(Rule(metric="ks", margin=MARGIN),)), Task.BINARY, "the metric ks"),
        (Gate(rules=(Rule(metric="medae", margin=MARGIN),)), Task.REGRESSION, "the metric medae"),
        (Gate(rules=(Rule(metric="accuracy", margin=MARGIN),)), Task.MULTICLASS, "task multiclass"),
        (
            Gate(rules=(), gaps=(GapRule(by=("r",), metric="roc_auc", at_most=0.1),)),
            Task.BINARY,
            "the rule of gaps in roc_auc",
        ),
    ],
    ids=["ok", "ks", "medae", "multiclass", "gap"],
)
def test_what_needs_all_rows_is_named(gate: Gate, task: Task, expected: str | None) -> None:
    assert cannot(gate, task) == expected


def test_too_many_groups_are_not_summed() -> None:
    table = _table()
    names = tuple(str(i) for i in range(5000))
    many = replace(table, slices={"r": (names, np.arange(N) % 5000)})
    gate = replace(GATE, slices=(SliceRule(by=("r",), metric="log_loss", margin=MARGIN),))
    assert stream(_look(many), gate, Task.BINARY, lambda: _parts(many)) is None
