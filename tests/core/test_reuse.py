"""Budgets of decisions: what each may claim, what a pull request is told, when a holdout is used up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tidegate.core.config import Gate, Rule
from tidegate.core.events import Judged, Looked
from tidegate.core.gate import judge
from tidegate.core.ledger import Event
from tidegate.core.model import Cause, Finding, Kind, Margin, Outcome, Reuse, Task, Verdict
from tidegate.core.reuse import budget_of, each, told
from tidegate.core.state import State, fold
from tidegate.core.table import Predictions

RULE = Rule(metric="accuracy", margin=Margin(value=0.02), at_least=0.6)
BUDGET = Gate(rules=(RULE,), budget=32)


def _table(seed: int = 1, n: int = 20_000) -> Predictions:
    rng = np.random.default_rng(seed)
    champion = (rng.random(n) < 0.8).astype(np.float64)
    again = (rng.random(n) < 0.8).astype(np.float64)
    candidate = np.where(rng.random(n) < 0.1, again, champion)
    return Predictions(y_true=np.ones(n), candidate=candidate, champion=champion)


def _judge(gate: Gate, use: Reuse | None = None, seed: int = 1) -> Verdict:
    return judge(_table(seed), gate, task=Task.BINARY, use=use)


def _margin(verdict: Verdict) -> Finding:
    (found,) = [f for f in verdict.findings if f.kind is Kind.MARGIN]
    return found


def test_each_decision_gets_its_share_of_alpha() -> None:
    assert each(BUDGET).confidence == pytest.approx(1 - 0.05 / 32)
    assert _judge(BUDGET).confidence == pytest.approx(1 - 0.05 / 32)
    assert (budget_of(BUDGET), budget_of(replace(BUDGET, budget=None))) == (32, None)
    wide, narrow = (
        _margin(_judge(BUDGET)).lower,
        _margin(_judge(replace(BUDGET, budget=None))).lower,
    )
    assert wide is not None
    assert narrow is not None
    assert wide < narrow


@pytest.mark.parametrize(("decision", "used_up"), [(1, False), (32, False), (33, True)])
def test_beyond_its_budget_a_holdout_decides_nothing(decision: int, used_up: bool) -> None:
    verdict = _judge(BUDGET, Reuse(decision=decision))
    causes = [f.cause for f in verdict.findings if f.outcome is Outcome.ERROR and f.minimum == 32]
    assert (causes == [Cause.NO_DECISIONS_LEFT]) is used_up
    assert (verdict.holdout_uses, verdict.holdout_budget) == (decision, 32)


def test_without_a_budget_every_decision_is_its_own() -> None:
    verdict = _judge(replace(BUDGET, budget=None), Reuse(decision=5_000))
    assert (verdict.holdout_uses, verdict.holdout_budget, verdict.confidence) == (5_000, None, 0.95)


def test_a_pull_request_is_told_whole_standard_errors_only() -> None:
    plain = _judge(BUDGET)
    coarse = told(plain, BUDGET)
    before, after = _margin(plain), _margin(coarse)
    assert coarse.rounded
    assert (after.outcome, after.cause, after.margin) == (
        before.outcome,
        before.cause,
        before.margin,
    )
    assert (after.lower, after.upper, after.rows_needed) == (None, None, None)
    assert before.lower is not None
    assert before.upper is not None
    step = (before.upper - before.lower) / 2 / 2.955
    assert after.difference is not None
    assert after.difference / step == pytest.approx(round(after.difference / step), abs=0.01)


def test_changes_smaller_than_chance_are_told_as_none() -> None:
    told_of = [_margin(told(_judge(BUDGET, seed=seed), BUDGET)).difference for seed in range(12)]
    assert sum(value == 0 for value in told_of) >= 2
    assert (
        len({f.difference for f in map(_margin, (_judge(BUDGET, seed=s) for s in range(12)))}) == 12
    )


def test_without_a_budget_nothing_is_rounded() -> None:
    free = replace(BUDGET, budget=None)
    verdict = _judge(free)
    assert told(verdict, free) is verdict


# --- the ledger's count ---------------------------------------------------------------------


def _state(*payloads: Judged | Looked) -> State:
    events = [
        Event(seq=i, at=float(i), actor="t", human=False, payload=payload, prev="0" * 64)
        for i, payload in enumerate(payloads, 1)
    ]
    return fold(events)


def _look(candidate: str, holdout: str = "h", outcome: str = "reject") -> Looked:
    return Looked(
        outcome=outcome, candidate=candidate, holdout=holdout, rules="r", commit="c", pull=1
    )


def test_decisions_are_numbered_in_order_and_the_same_one_keeps_its_number() -> None:
    state = _state(_look("a"), _look("b"), _look("a"), _look("c", holdout="other"))
    assert state.uses("h") == 2
    numbers = [state.use("h", candidate, "r").decision for candidate in ("a", "b", "new")]
    assert numbers == [1, 2, 3]
    assert state.use("h", "a", "other rules").decision == 3
    assert state.use("fresh", "a", "r").decision == 1


def test_a_pass_of_another_decision_is_known() -> None:
    state = _state(_look("a", outcome="pass"), _look("b"))
    assert state.use("h", "b", "r").passed_before
    assert not state.use("h", "a", "r").passed_before
    assert not state.use("other", "b", "r").passed_before
