"""Gaps between groups: what is shown of the largest of many differences, and how often wrongly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from tidegate.core.config import GapRule, Gate, Rule
from tidegate.core.gate import judge
from tidegate.core.model import Cause, Finding, Kind, Level, Margin, Outcome, Task
from tidegate.core.table import Predictions

PASS, INCONCLUSIVE, REJECT, ERROR = Outcome
RULE = Rule(metric="accuracy", margin=Margin(value=0.9))
RUNS = 250  # `./dev heavy` has more: test_decision_simulation.py
ALLOWED = stats.binom.ppf(1 - 1e-4, RUNS, 0.05)


def table(
    rng: np.random.Generator,
    sizes: list[int],
    after: list[float],
    before: list[float],
    same: float = 0.8,
) -> Predictions:
    """Groups of given sizes; each model's accuracy in each, and how often both draw alike."""
    codes = np.repeat(np.arange(len(sizes)), sizes)
    n = len(codes)
    chance = rng.random(n)
    other = np.where(rng.random(n) < same, chance, rng.random(n))
    right = (chance < np.array(after)[codes]).astype(np.float64)
    was = (other < np.array(before)[codes]).astype(np.float64)
    truth = (rng.random(n) < 0.5).astype(np.float64)
    return Predictions(
        y_true=truth,
        candidate=np.where(right == 1, truth, 1 - truth),
        champion=np.where(was == 1, truth, 1 - truth),
        slices={"sex": (tuple("abcdefgh"[: len(sizes)]), codes)},
    )


def gaps(predictions: Predictions, **rule: float) -> list[Finding]:
    limits = {"at_most": 0.1} if not {"at_most", "margin"} & set(rule) else {}
    wanted = GapRule(by=("sex",), metric="accuracy", **limits, **rule)  # type: ignore[arg-type]
    verdict = judge(predictions, Gate(rules=(RULE,), gaps=(wanted,)), task=Task.BINARY)
    return [f for f in verdict.findings if f.level is Level.GAP]


@pytest.mark.parametrize(
    ("sizes", "after", "outcome", "pair"),
    [
        ([4000, 4000], [0.9, 0.88], PASS, "sex=a over sex=b"),
        ([4000, 4000], [0.7, 0.9], REJECT, "sex=b over sex=a"),
        ([250, 250], [0.9, 0.82], INCONCLUSIVE, "sex=a over sex=b"),
        ([4000, 4000, 4000], [0.9, 0.89, 0.6], REJECT, "sex=a over sex=c"),
    ],
    ids=["near", "far", "few rows", "one of three is far"],
)
def test_the_largest_difference_is_held_to_its_limit(
    sizes: list[int], after: list[float], outcome: Outcome, pair: str
) -> None:
    (finding,) = gaps(table(np.random.default_rng(1), sizes, after, after))
    assert (finding.outcome, finding.slice, finding.kind) == (outcome, pair, Kind.GAP)
    assert finding.candidate is not None
    assert finding.lower is not None
    assert finding.upper is not None
    assert finding.lower < finding.candidate < finding.upper
    assert (finding.rows_needed is not None) == (outcome is INCONCLUSIVE)


@pytest.mark.parametrize(
    ("after", "before", "outcome"),
    [
        ([0.9, 0.85], [0.9, 0.85], PASS),
        ([0.9, 0.85], [0.9, 0.7], PASS),
        ([0.85, 0.9], [0.9, 0.85], PASS),
        ([0.9, 0.8], [0.9, 0.89], REJECT),
    ],
    ids=["unchanged", "closer", "the other way round", "further apart"],
)
def test_a_gap_may_not_grow_by_more_than_its_margin(
    after: list[float], before: list[float], outcome: Outcome
) -> None:
    (finding,) = gaps(table(np.random.default_rng(2), [9000, 9000], after, before), margin=0.04)
    assert (finding.outcome, finding.kind) == (outcome, Kind.GAP_MARGIN)
    assert finding.candidate is not None
    assert finding.champion is not None
    assert finding.difference == finding.candidate - finding.champion


def test_one_pair_may_grow_where_the_largest_does_not() -> None:
    """The rule is about the largest gap: a pair that was near may part, below it."""
    after, before = [0.9, 0.86, 0.8], [0.9, 0.9, 0.7]
    (finding,) = gaps(table(np.random.default_rng(3), [9000] * 3, after, before), margin=0.02)
    assert finding.outcome is PASS


def test_small_groups_are_left_out_and_told() -> None:
    found = gaps(table(np.random.default_rng(4), [4000, 4000, 30], [0.9, 0.9, 0.2], [0.9] * 3))
    assert [(f.slice, f.cause, f.decides) for f in found] == [
        ("sex=c", Cause.TOO_FEW_ROWS, False), (found[1].slice, Cause.SHOWN, True),
    ]  # fmt: skip


def test_one_group_alone_is_inconclusive() -> None:
    found = gaps(table(np.random.default_rng(4), [4000, 30], [0.9, 0.2], [0.9] * 2))
    assert (found[1].outcome, found[1].cause) == (INCONCLUSIVE, Cause.TOO_FEW_GROUPS)
    assert found[1].decides


def test_a_first_release_has_a_limit_and_no_margin() -> None:
    alone = replace(
        table(np.random.default_rng(5), [4000, 4000], [0.9, 0.9], [0.9] * 2), champion=None
    )
    gate = Gate(
        rules=(Rule(metric="accuracy", at_least=0.5),),
        gaps=(GapRule(by=("sex",), metric="accuracy", at_most=0.1, margin=0.02),),
    )
    verdict = judge(alone, gate, task=Task.BINARY, first_release=True)
    found = {f.kind: (f.outcome, f.decides) for f in verdict.findings if f.level is Level.GAP}
    assert found == {Kind.GAP: (PASS, True), Kind.GAP_MARGIN: (INCONCLUSIVE, False)}
    assert verdict.outcome is PASS


def test_clusters_that_span_groups_widen_the_bounds() -> None:
    rows = table(np.random.default_rng(6), [4000, 4000], [0.9, 0.88], [0.9, 0.88])
    together = replace(rows, group=np.arange(8000, dtype=np.intp) % 4000)
    (alone,), (clustered,) = gaps(rows), gaps(together)
    assert alone.upper is not None
    assert clustered.upper is not None
    assert clustered.upper > alone.upper


@pytest.mark.parametrize("groups", [2, 5])
@pytest.mark.parametrize("what", ["at_most", "margin"])
def test_a_gap_at_its_limit_is_shown_below_it_no_more_often_than_promised(
    what: str, groups: int
) -> None:
    """The truth exactly at the limit, and all other pairs near: the largest observed one flatters."""
    rng, shown, wrong = np.random.default_rng(7), 0, 0
    after = [0.9, *[0.85] * (groups - 2), 0.8]
    before = after if what == "at_most" else [0.9, *[0.9] * (groups - 2), 0.86]
    limit = 0.1 if what == "at_most" else 0.06
    for _ in range(RUNS):
        drawn = table(rng, [400] * groups, after, before)
        (finding,) = gaps(drawn, **{what: limit})
        shown += finding.outcome is PASS
        wrong += finding.outcome is REJECT
    assert shown <= ALLOWED
    assert wrong <= ALLOWED


def test_equal_groups_are_not_called_apart_by_chance() -> None:
    """All groups alike, the limit at 0.0001: only chance can show a gap; it does so at most in 5 %."""
    rng, wrong = np.random.default_rng(8), 0
    for _ in range(RUNS):
        (finding,) = gaps(table(rng, [300] * 6, [0.85] * 6, [0.85] * 6), at_most=1e-4)
        wrong += finding.outcome is REJECT
    assert wrong <= ALLOWED
