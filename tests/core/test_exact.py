"""Guarantee exact: the table of ease.ml/ci's sample sizes, and bounds against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tidegate.core.config import Adaptivity, Exact, Gate, Rule
from tidegate.core.exact import (
    bennett,
    rows_for_difference,
    rows_for_share,
    share_at_least,
    share_at_most,
    share_of_delta,
    tail,
)
from tidegate.core.exact_rules import clauses
from tidegate.core.gate import judge
from tidegate.core.model import Cause, Finding, Kind, Margin, Outcome, Reuse, Task, Verdict
from tidegate.core.table import Predictions
from tidegate.errors import ConfigError

PASS, INCONCLUSIVE, REJECT, ERROR = Outcome
NONE, FULL, FIRST = Adaptivity.NONE, Adaptivity.FULL, Adaptivity.FIRST_CHANGE

# 1 - delta, tolerance; floor none / full; difference at a disagreement of 10 % none / full; H = 32.
TABLE = [
    (0.99, 0.1, 404, 1_340, 209, 694),
    (0.99, 0.05, 1_615, 5_358, 746, 2_476),
    (0.99, 0.025, 6_457, 21_429, 2_790, 9_260),
    (0.99, 0.01, 40_355, 133_930, 16_672, 55_330),
    (0.9999, 0.05, 2_536, 6_279, 1_172, 2_902),
    (0.9999, 0.01, 63_381, 156_956, 26_184, 64_842),
]


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_sample_sizes_are_those_of_the_paper(row: tuple[float, float, int, int, int, int]) -> None:
    confidence, tolerance, *expected = row
    none, full = (
        share_of_delta(1 - confidence, clauses=1, decisions=32, adaptivity=how)
        for how in (NONE, FULL)
    )
    assert expected == [
        rows_for_share(tolerance, none),
        rows_for_share(tolerance, full),
        rows_for_difference(tolerance, 0.1, none),
        rows_for_difference(tolerance, 0.1, full),
    ]


def test_the_papers_own_split_gives_its_29k_and_67k() -> None:
    """Delta shared with the test of the disagreement, and both sides of each: four parts."""
    for how, rows in ((NONE, 29_048), (FULL, 67_706)):
        delta = share_of_delta(1e-4, clauses=4, decisions=32, adaptivity=how)
        assert rows_for_difference(0.01, 0.1, delta) == rows


def test_a_first_change_costs_what_no_adaptivity_costs() -> None:
    shares = [share_of_delta(0.01, clauses=3, decisions=32, adaptivity=a) for a in (NONE, FIRST)]
    assert shares[0] == shares[1] == 0.01 / 3 / 32


@pytest.mark.parametrize("delta", [0.05, 1e-4, 1e-12])
@pytest.mark.parametrize(
    ("k", "n"),
    [(1, 50), (25, 50), (49, 50), (300, 3_000), (99_000, 100_000), (1_000_000, 2_000_000)],
)
def test_a_share_is_bounded_by_the_beta_quantile(k: int, n: int, delta: float) -> None:
    low, high = stats.beta.ppf(delta, k, n - k + 1), stats.beta.isf(delta, k + 1, n - k)
    assert share_at_least(k, n, delta) == pytest.approx(low, rel=1e-8)
    assert share_at_most(k, n, delta) == pytest.approx(high, rel=1e-8)


def test_what_was_never_or_always_seen_has_one_bound() -> None:
    assert share_at_least(0, 40, 0.05) == 0.0
    assert share_at_most(40, 40, 0.05) == 1.0
    assert share_at_most(0, 40, 0.05) == pytest.approx(1 - 0.05 ** (1 / 40))


@pytest.mark.parametrize(
    ("k", "n", "p"), [(3, 10, 0.2), (900, 1000, 0.88), (0, 5, 0.5), (6, 5, 0.5)]
)
def test_the_binomial_tail_is_exact(k: int, n: int, p: float) -> None:
    assert tail(k, n, p) == pytest.approx(stats.binom.sf(k - 1, n, p), rel=1e-10)


def test_a_mean_is_off_by_more_than_bennetts_bound_no_more_often_than_said() -> None:
    rng, n, share = np.random.default_rng(3), 400, 0.1
    steps = rng.choice([-1.0, 0.0, 1.0], p=[0.06, 0.9, 0.04], size=(4000, n))
    off = steps.mean(axis=1) - (-0.02)
    assert np.mean(off > bennett(n, share, 0.05)) <= 0.05
    assert bennett(n, 0.0, 0.05) == 0.0


# --- judged ---------------------------------------------------------------------------------


def _table(n: int, *, differ: float, better: float = 0.5, right: float = 0.8) -> Predictions:
    """Two models whose answers differ on a share of the rows, of which ``better`` favour the candidate."""
    rng = np.random.default_rng(4)
    truth = (rng.random(n) < 0.5).astype(np.float64)
    champion = np.where(rng.random(n) < right, truth, 1 - truth)
    rows = np.flatnonzero(rng.random(n) < differ)
    wins = rng.random(len(rows)) < better
    candidate = champion.copy()
    candidate[rows] = np.where(wins, truth[rows], 1 - truth[rows])
    champion[rows] = np.where(wins, 1 - truth[rows], truth[rows])
    return Predictions(y_true=truth, candidate=candidate, champion=champion)


def _gate(*rules: Rule, decisions: int = 32, how: Adaptivity = NONE, most: float = 0.1) -> Gate:
    exact = Exact(decisions=decisions, disagreement=most, adaptivity=how)
    return Gate(rules=rules, exact=exact)


def _accuracy(margin: float = 0.01, at_least: float | None = None) -> Rule:
    return Rule(metric="accuracy", margin=Margin(value=margin), at_least=at_least)


def _of(verdict: Verdict, kind: Kind) -> Finding:
    (finding,) = [f for f in verdict.findings if f.kind is kind]
    return finding


@pytest.mark.parametrize(
    ("n", "differ", "better", "outcome"),
    [
        (30_000, 0.05, 0.5, PASS),
        (3_000, 0.05, 0.5, INCONCLUSIVE),
        (30_000, 0.05, 0.1, REJECT),
        (30_000, 0.2, 0.5, REJECT),
    ],
    ids=["as good", "too few rows", "worse", "too different"],
)
def test_an_exact_verdict(n: int, differ: float, better: float, outcome: Outcome) -> None:
    table = _table(n, differ=differ, better=better)
    verdict = judge(table, _gate(_accuracy(at_least=0.75)), task=Task.BINARY)
    assert verdict.outcome is outcome
    assert verdict.adaptivity == "none"


def test_more_rows_are_named_that_settle_it() -> None:
    small = judge(_table(3_000, differ=0.05), _gate(_accuracy()), task=Task.BINARY)
    needed = _of(small, Kind.MARGIN).rows_needed
    assert needed is not None
    assert (
        judge(_table(2 * needed, differ=0.05), _gate(_accuracy()), task=Task.BINARY).outcome is PASS
    )


def test_adaptivity_widens_the_bounds() -> None:
    table = _table(20_000, differ=0.05)
    lower = [
        _of(judge(table, _gate(_accuracy(), how=how), task=Task.BINARY), Kind.MARGIN).lower
        for how in (NONE, FIRST, FULL)
    ]
    assert lower[0] == lower[1]
    assert lower[2] is not None
    assert lower[0] is not None
    assert lower[2] < lower[0]


def test_each_bound_counts_as_a_clause() -> None:
    both = _gate(_accuracy(at_least=0.7), Rule(metric="latency_p95_ms", at_most=9))
    assert clauses(both, 0) == 1
    assert clauses(both, 1) == 3  # a floor, the disagreement, the difference
    assert clauses(both, 2) == 5


@pytest.mark.parametrize(
    ("how", "use", "cause"),
    [
        (NONE, Reuse(decision=33), Cause.NO_DECISIONS_LEFT),
        (FIRST, Reuse(decision=3, passed_before=True), Cause.RETIRED),
    ],
)
def test_a_holdout_that_has_given_all_it_may_decides_no_more(
    how: Adaptivity, use: Reuse, cause: Cause
) -> None:
    verdict = judge(
        _table(30_000, differ=0.05), _gate(_accuracy(), how=how), task=Task.BINARY, use=use
    )
    assert verdict.outcome is ERROR
    assert cause in {f.cause for f in verdict.findings}
    fine = judge(
        _table(30_000, differ=0.05), _gate(_accuracy()), task=Task.BINARY,
        use=Reuse(decision=32, passed_before=True),
    )  # fmt: skip
    assert (fine.outcome, fine.holdout_uses, fine.holdout_budget) == (PASS, 32, 32)


def test_a_first_release_is_judged_by_its_floor() -> None:
    table = Predictions(y_true=np.ones(4000), candidate=np.tile([1.0, 1.0, 1.0, 0.0], 1000))
    verdict = judge(table, _gate(_accuracy(at_least=0.7)), task=Task.BINARY, first_release=True)
    assert [f.outcome for f in verdict.findings if f.decides and f.kind is Kind.FLOOR] == [PASS]
    alone = judge(table, _gate(_accuracy()), task=Task.BINARY, first_release=True)
    assert _of(alone, Kind.MARGIN).decides is True


def test_scores_must_be_marks() -> None:
    scores = np.array([0.0, 0.5] * 40)
    gate = _gate(Rule(metric="mean", at_least=0.1))
    marks = Predictions(candidate=np.tile([0.0, 1.0], 400))
    assert judge(marks, gate, task=Task.GENERIC, first_release=True).outcome is PASS
    verdict = judge(Predictions(candidate=scores), gate, task=Task.GENERIC, first_release=True)
    assert (verdict.outcome, verdict.findings[-1].cause) == (ERROR, Cause.NOT_PROPORTION)


@pytest.mark.parametrize(
    "rule",
    [
        Rule(metric="roc_auc", margin=Margin(value=0.01)),
        Rule(metric="accuracy", margin=Margin(value=0.01, relative=True)),
        Rule(metric="accuracy", at_least=0.5, on="point"),
    ],
    ids=["another metric", "relative", "on point"],
)
def test_what_has_no_exact_bound_is_refused(rule: Rule) -> None:
    with pytest.raises(ConfigError, match="guarantee: exact"):
        judge(_table(100, differ=0.1), _gate(rule), task=Task.BINARY)


def test_rows_that_belong_together_are_refused() -> None:
    from dataclasses import replace

    grouped = replace(_table(100, differ=0.1), group=np.arange(100, dtype=np.intp) // 2)
    with pytest.raises(ConfigError, match="independent rows"):
        judge(grouped, _gate(_accuracy()), task=Task.BINARY)


def test_a_model_at_the_margin_passes_no_more_often_than_said() -> None:
    """The truth exactly at the margin; H = 1, so that all of delta is one decision's."""
    rng, passed = np.random.default_rng(6), 0
    gate = Gate(
        rules=(_accuracy(0.02),), exact=Exact(decisions=1, disagreement=0.2), confidence=0.9
    )
    for _ in range(200):
        steps = rng.choice([-1, 0, 1], p=[0.06, 0.9, 0.04], size=2_000)
        champion = np.where(steps == 0, rng.random(2_000) < 0.8, steps < 0).astype(np.float64)
        candidate = np.where(steps == 0, champion, steps > 0).astype(np.float64)
        table = Predictions(y_true=np.ones(2_000), candidate=candidate, champion=champion)
        found = judge(table, gate, task=Task.BINARY).findings
        passed += next(f for f in found if f.kind is Kind.MARGIN).outcome is PASS
    assert passed <= stats.binom.ppf(1 - 1e-4, 200, 0.1)
