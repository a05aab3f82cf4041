"""What a holdout can show before anything is trained, and which rows are worth a label."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.core.config import Exact, Gate, Rule, SliceRule
from tidegate.core.gate import judge
from tidegate.core.labelling import difference, differing, to_label
from tidegate.core.model import Margin, Outcome, Task
from tidegate.core.power_of_holdout import Counts, Supported, assumed, seen_in, supported
from tidegate.core.table import Predictions

ACCURACY = Rule(metric="accuracy", margin=Margin(value=0.01))


def _plan(gate: Gate, rows: int = 3200, disagreement: float = 0.1) -> list[Supported]:
    counts: dict[str | None, Counts] = {None: Counts(rows=rows), "a=x": Counts(rows=rows // 4)}
    spreads = {
        ("accuracy", label): spread
        for label, own in counts.items()
        if (spread := assumed("accuracy", own, disagreement)) is not None
    }
    return list(supported(gate, counts, spreads))


# Rows to show "not worse by more than the margin", power 80 % / 90 %, by disagreement.
NEEDED = [
    (0.02, 0.02, 310, 429), (0.02, 0.2, 3_092, 4_282), (0.01, 0.05, 3_092, 4_282),
    (0.01, 0.1, 6_183, 8_564), (0.005, 0.1, 24_731, 34_256), (0.002, 0.2, 309_128, 428_193),
]  # fmt: skip


@pytest.mark.parametrize(("margin", "disagreement", "eighty", "ninety"), NEEDED)
def test_rows_needed_are_those_of_the_formula(
    margin: float, disagreement: float, eighty: int, ninety: int
) -> None:
    gate = Gate(rules=(Rule(metric="accuracy", margin=Margin(value=margin)),))
    (found,) = _plan(gate, disagreement=disagreement)
    assert found.needed == (eighty, ninety)


def test_a_holdout_says_the_smallest_margin_it_can_show() -> None:
    (found,) = _plan(Gate(rules=(ACCURACY,)))
    assert found.smallest == pytest.approx(0.0139, abs=1e-4)
    assert found.enough is False
    assert _plan(Gate(rules=(ACCURACY,)), rows=6_200)[0].enough is True


def test_slices_are_planned_each_for_itself() -> None:
    part = SliceRule(by=("a",), metric="accuracy", margin=Margin(value=0.01))
    whole, sliced = _plan(Gate(rules=(ACCURACY,), slices=(part,)))
    assert (sliced.slice, sliced.counts.rows) == ("a=x", 800)
    assert whole.needed is not None
    assert sliced.needed is not None
    assert sliced.needed[0] == pytest.approx(4 * whole.needed[0], rel=0.001)


def test_a_planned_size_shows_the_margin_as_often_as_it_says() -> None:
    rng, passed = np.random.default_rng(2), 0
    for _ in range(300):
        differ = rng.random(6_183) < 0.1
        won = rng.random(6_183) < 0.5
        table = Predictions(
            y_true=np.ones(6_183),
            candidate=np.where(differ, won, 1.0).astype(np.float64),
            champion=np.where(differ, ~won, 1.0).astype(np.float64),
        )
        verdict = judge(table, Gate(rules=(ACCURACY,)), task=Task.BINARY)
        passed += verdict.findings[-1].outcome is Outcome.PASS
    assert passed / 300 == pytest.approx(0.8, abs=0.08)


def test_an_earlier_verdict_tells_the_spread_and_what_a_relative_margin_is() -> None:
    rng = np.random.default_rng(3)
    truth = rng.normal(size=2_000)
    table = Predictions(
        y_true=truth,
        candidate=truth + rng.normal(0, 1, 2_000),
        champion=truth + rng.normal(0, 1, 2_000),
    )
    gate = Gate(rules=(Rule(metric="mae", margin=Margin(value=0.05, relative=True)),))
    spreads = seen_in(judge(table, gate, task=Task.REGRESSION))
    (found,) = supported(gate, {None: Counts(rows=2_000)}, spreads)
    apart = np.abs(table.candidate - truth) - np.abs(truth - rng.normal(0, 0, 2_000))
    assert found.spread is not None
    assert found.spread.seen
    assert 0.5 < found.spread.value < 2 * apart.std()
    assert found.margin == pytest.approx(0.05 * np.abs(table.champion - truth).mean())  # type: ignore[operator]


def test_nothing_is_assumed_of_a_loss() -> None:
    assert assumed("mae", Counts(rows=100), 0.1) is None
    gate = Gate(rules=(Rule(metric="mae", margin=Margin(value=0.1)),))
    (found,) = supported(gate, {None: Counts(rows=100)}, {})
    assert (found.needed, found.enough) == (None, None)


def test_a_curve_needs_both_classes() -> None:
    assert assumed("roc_auc", Counts(rows=100, rarest=0), 0.1) is None
    few, many = (assumed("roc_auc", Counts(rows=1000, rarest=k), 0.1) for k in (20, 500))
    assert few is not None
    assert many is not None
    assert few.value > 2 * many.value


def test_under_an_exact_guarantee_the_rows_are_its_own() -> None:
    gate = Gate(rules=(ACCURACY,), exact=Exact(decisions=32, disagreement=0.1))
    (found,) = _plan(gate)
    assert found.needed is not None
    assert found.needed[0] > 50_000


# --- labels ---------------------------------------------------------------------------------


def _unlabelled(n: int = 5_000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    champion = rng.random(n)
    return np.where(rng.random(n) < 0.1, 1 - champion, champion), champion


def test_only_rows_whose_answers_differ_are_worth_a_label() -> None:
    candidate, champion = _unlabelled()
    every = to_label(candidate, champion, budget=None, margin=0.01, confidence=0.95, seed=1)
    assert ((candidate >= 0.5) != (champion >= 0.5))[every.rows].all()
    assert len(every.rows) == every.differ == len(differing(candidate, champion))
    share = every.differ / every.n
    assert every.needed[0] == pytest.approx((2.4865 * share / 0.01) ** 2, rel=0.01)
    classes = differing(np.eye(3)[[0, 1, 2]], np.eye(3)[[0, 2, 2]])
    assert classes.tolist() == [1]


def test_a_budget_draws_from_them_and_the_same_ones_again() -> None:
    candidate, champion = _unlabelled()
    some = [
        to_label(candidate, champion, budget=50, margin=None, confidence=0.95, seed=1) for _ in "ab"
    ]
    assert len(some[0].rows) == 50
    assert (some[0].rows == some[1].rows).all()
    assert some[0].smallest is not None


def test_equal_answers_need_no_label() -> None:
    one = np.linspace(0, 1, 50)
    found = to_label(one, one, budget=5, margin=0.01, confidence=0.95, seed=1)
    assert (found.differ, len(found.rows), found.smallest, found.needed) == (0, 0, None, (0, 0))
    assert difference(np.array([]), differ=0, n=50) is None


def test_the_estimate_from_a_tenth_of_the_labels_covers_the_truth() -> None:
    """True difference -0.02; 10 % of the rows differ, a fifth of those are labelled."""
    rng, below, above = np.random.default_rng(6), 0, 0
    for _ in range(1_000):
        differ = int((rng.random(4_000) < 0.1).sum())
        steps = rng.choice([1.0, -1.0], p=[0.4, 0.6], size=differ // 5)
        found = difference(steps, differ=differ, n=4_000)
        assert found is not None
        below += found.upper(0.95) < -0.02
        above += found.lower(0.95) > -0.02
    assert below <= 75
    assert above <= 75
