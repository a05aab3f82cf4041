"""The gate's rules: literal tables in, outcomes out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.core.config import Gate, Rule, SliceRule
from tidegate.core.gate import beats_anchor, judge
from tidegate.core.model import (
    Cause,
    Digests,
    Finding,
    Kind,
    Level,
    Margin,
    Outcome,
    Task,
    Verdict,
    worst,
)
from tidegate.core.system import Measurements
from tidegate.core.table import Predictions
from tidegate.errors import ConfigError

if TYPE_CHECKING:
    from tidegate.core.metrics.estimate import Floats

PASS, INCONCLUSIVE, REJECT, ERROR = Outcome


def _scores(truth: Floats, noise: float, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    return 1 / (1 + np.exp(-(2 * truth - 1 + noise * rng.normal(size=len(truth)))))


def _table(n: int = 4000, *, candidate: float = 1.0, champion: float = 1.0) -> Predictions:
    """Two models of given noise on the same rows; region and tier to slice by."""
    rng = np.random.default_rng(8)
    truth = (rng.random(n) < 0.4).astype(np.float64)
    return Predictions(
        y_true=truth,
        candidate=_scores(truth, candidate, 1),
        champion=_scores(truth, champion, 2),
        slices={
            "region": (("north", "south"), rng.integers(0, 2, n)),
            "tier": (("a", "b", "c"), rng.integers(0, 3, n)),
        },
    )


def _gate(*rules: Rule, slices: tuple[SliceRule, ...] = ()) -> Gate:
    return Gate(rules=rules, slices=slices)


def _margin(metric: str, value: float, *, relative: bool = False) -> Rule:
    return Rule(metric=metric, margin=Margin(value=value, relative=relative))


AUC = _margin("roc_auc", 0.03)


def _find(verdict: Verdict, **wanted: object) -> list[Finding]:
    return [f for f in verdict.findings if all(getattr(f, k) == v for k, v in wanted.items())]


def _one(verdict: Verdict, **wanted: object) -> Finding:
    (finding,) = _find(verdict, **wanted)
    return finding


# --- margins --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("candidate", "n", "outcome", "cause"),
    [
        pytest.param(1.0, 4000, PASS, Cause.SHOWN, id="as good"),
        pytest.param(3.0, 4000, REJECT, Cause.VIOLATED, id="much worse"),
        pytest.param(1.0, 100, INCONCLUSIVE, Cause.NOT_SHOWN, id="as good on few rows"),
    ],
)
@pytest.mark.parametrize("metric", ["roc_auc", "log_loss", "accuracy", "brier", "f1"])
def test_the_side_of_the_margin_decides(
    metric: str, candidate: float, n: int, outcome: Outcome, cause: Cause
) -> None:
    verdict = judge(_table(n, candidate=candidate), _gate(_margin(metric, 0.02)), task=Task.BINARY)
    finding = _one(verdict, kind=Kind.MARGIN)
    assert (verdict.outcome, finding.cause) == (outcome, cause)
    assert (finding.rows_needed is not None) == (cause is Cause.NOT_SHOWN)


def test_a_finding_holds_all_its_numbers() -> None:
    verdict = judge(_table(), _gate(AUC), task=Task.BINARY)
    finding = _one(verdict, kind=Kind.MARGIN)
    assert finding.candidate is not None
    assert finding.champion is not None
    assert finding.lower is not None
    assert finding.upper is not None
    assert finding.difference == finding.candidate - finding.champion
    assert finding.lower < finding.difference < finding.upper
    assert (finding.n, finding.margin) == (4000, Margin(value=0.03))


def test_all_headline_rules_must_be_shown() -> None:
    both = _gate(AUC, _margin("log_loss", 0.0))
    verdict = judge(_table(), both, task=Task.BINARY)
    assert [f.outcome for f in _find(verdict, kind=Kind.MARGIN)] == [PASS, INCONCLUSIVE]
    assert verdict.outcome is INCONCLUSIVE


def test_about_as_many_rows_as_needed_settle_it() -> None:
    """Power 80 % at the stated size, if what the small table shows is the truth."""
    small = _table(300, candidate=1.02)
    gate = _gate(_margin("brier", 0.006))
    needed = _one(judge(small, gate, task=Task.BINARY), kind=Kind.MARGIN).rows_needed
    assert needed is not None
    assert needed > 300
    assert small.y_true is not None
    assert small.champion is not None
    rng, settled = np.random.default_rng(2), 0
    for _ in range(200):
        rows = rng.integers(0, 300, needed)
        bigger = Predictions(
            y_true=small.y_true[rows],
            candidate=small.candidate[rows],
            champion=small.champion[rows],
        )
        settled += judge(bigger, gate, task=Task.BINARY).outcome is not INCONCLUSIVE
    assert 0.7 < settled / 200 < 0.9


@pytest.mark.parametrize(
    ("champion", "candidate", "outcome"),
    [
        pytest.param(-10.0, -10.05, PASS, id="negative, worse within 1 %"),
        pytest.param(-10.0, -10.3, REJECT, id="negative, worse by 3 %"),
        pytest.param(10.0, 9.95, PASS, id="positive, worse within 1 %"),
        pytest.param(10.0, 9.7, REJECT, id="positive, worse by 3 %"),
        pytest.param(0.0, 1.0, INCONCLUSIVE, id="champion at 0: a fraction of nothing"),
    ],
)
def test_a_relative_margin_is_of_the_champions_size_whatever_its_sign(
    champion: float, candidate: float, outcome: Outcome
) -> None:
    noise = np.random.default_rng(3).normal(0, 0.2, (3, 2000))
    table = Predictions(
        candidate=candidate + noise[0] + noise[1], champion=champion + noise[0] + noise[2]
    )
    gate = _gate(_margin("mean", 0.01, relative=True))
    assert judge(table, gate, task=Task.GENERIC).outcome is outcome


def test_a_relative_margin_uses_the_contrasts_own_variance() -> None:
    table = _table(2000)
    assert table.champion is not None
    half = judge(table, _gate(_margin("log_loss", 0.5, relative=True)), task=Task.BINARY)
    none = judge(table, _gate(_margin("log_loss", 0.0, relative=True)), task=Task.BINARY)
    plain = judge(table, _gate(_margin("log_loss", 0.0)), task=Task.BINARY)
    assert half.outcome is PASS
    assert none.outcome is plain.outcome


def test_identical_answers_of_two_models_pass_only_on_enough_rows() -> None:
    digests = Digests(candidate="a", champion="b")
    for n, outcome in ((100, INCONCLUSIVE), (4000, PASS)):
        table = _table(n)
        table = replace(table, champion=table.candidate.copy())
        verdict = judge(table, _gate(_margin("roc_auc", 0.005)), task=Task.BINARY, digests=digests)
        assert verdict.outcome is outcome


def test_fifty_equal_perfect_marks_are_not_shown_within_one_percent() -> None:
    table = Predictions(candidate=np.ones(50), champion=np.ones(50))
    verdict = judge(table, _gate(_margin("mean", 0.01)), task=Task.GENERIC)
    assert verdict.outcome is INCONCLUSIVE


# --- floors and ceilings --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "outcome"),
    [
        (Rule(metric="roc_auc", at_least=0.8), PASS),
        (Rule(metric="roc_auc", at_least=0.99), REJECT),
        (Rule(metric="roc_auc", at_least=0.92), INCONCLUSIVE),
        (Rule(metric="roc_auc", at_least=0.92, on="point"), PASS),
        (Rule(metric="log_loss", at_most=0.9), PASS),
        (Rule(metric="log_loss", at_most=0.1), REJECT),
        (Rule(metric="accuracy", at_least=0.5), PASS),
    ],
    ids=str,
)
def test_absolute_limits_are_held_by_the_bound(rule: Rule, outcome: Outcome) -> None:
    verdict = judge(_table(600), _gate(rule), task=Task.BINARY)
    assert verdict.outcome is outcome


def test_absolute_limits_alone_pass_but_say_that_nothing_was_compared() -> None:
    verdict = judge(
        _table(candidate=3.0), _gate(Rule(metric="roc_auc", at_least=0.6)), task=Task.BINARY
    )
    assert verdict.outcome is PASS
    assert _one(verdict, cause=Cause.NO_MARGIN).decides is False
    floor = _one(verdict, kind=Kind.FLOOR)
    assert floor.champion is not None
    assert floor.difference is not None
    assert floor.difference < 0


# --- nothing fails open ---------------------------------------------------------------------


def _with(**columns: Floats) -> Predictions:
    return replace(_table(), **columns)  # type: ignore[arg-type]


def _spoiled(values: Floats, value: float) -> Floats:
    spoiled = values.copy()
    spoiled[7] = value
    return spoiled


_GOOD = _table()
_BAD_TABLES = {
    "NaN among the predictions": (
        _with(candidate=_spoiled(_GOOD.candidate, np.nan)),
        "not_a_number",
    ),
    "infinity in the truth": (_with(y_true=_spoiled(_GOOD.candidate, np.inf)), "not_a_number"),
    "a probability of 1.2": (_with(candidate=_spoiled(_GOOD.candidate, 1.2)), "out_of_range"),
    "a label of 2": (_with(y_true=_spoiled(np.round(_GOOD.candidate), 2.0)), "out_of_range"),
    "a constant candidate": (_with(candidate=np.full(4000, 0.5)), "constant"),
    "one class": (_with(y_true=np.ones(4000)), "one_class"),
    "one array for both": (_with(champion=_GOOD.candidate), "same_model"),
    "a copy of the candidate": (_with(champion=_GOOD.candidate.copy()), "same_model"),
    "no rows": (Predictions(candidate=np.empty(0), y_true=np.empty(0)), "too_few_rows"),
    "no champion though one serves": (replace(_GOOD, champion=None), "no_champion"),
}


@pytest.mark.parametrize("case", _BAD_TABLES)
def test_bad_contents_are_an_error_and_never_a_pass(case: str) -> None:
    table, cause = _BAD_TABLES[case]
    verdict = judge(table, _gate(AUC, Rule(metric="accuracy", at_least=0.1)), task=Task.BINARY)
    assert verdict.outcome is ERROR
    assert cause in {f.cause for f in verdict.findings if f.decides}


def test_equal_digests_are_one_model() -> None:
    digests = Digests(candidate="sha", champion="sha")
    verdict = judge(_table(), _gate(AUC), task=Task.BINARY, digests=digests)
    assert verdict.outcome is ERROR
    assert _one(verdict, cause=Cause.SAME_MODEL).decides


@pytest.mark.parametrize("n", [10, 39])
@pytest.mark.parametrize("metric", ["roc_auc", "average_precision", "log_loss", "accuracy", "f1"])
def test_few_rows_are_inconclusive_however_good(metric: str, n: int) -> None:
    verdict = judge(
        _table(n, candidate=0.1, champion=9.0), _gate(_margin(metric, 0.5)), task=Task.BINARY
    )
    assert verdict.outcome is INCONCLUSIVE
    assert _one(verdict, kind=Kind.MARGIN).minimum is not None


def test_few_positives_are_inconclusive_on_many_rows() -> None:
    truth = np.zeros(5000)
    truth[:19] = 1
    table = Predictions(
        y_true=truth, candidate=_scores(truth, 0.1, 1), champion=_scores(truth, 5, 2)
    )
    finding = _one(judge(table, _gate(AUC), task=Task.BINARY), kind=Kind.MARGIN)
    assert (finding.outcome, finding.cause) == (INCONCLUSIVE, Cause.TOO_FEW_OF_A_CLASS)
    assert (finding.minimum, finding.rows_needed) == (20, 5264)


def test_no_rules_are_an_error() -> None:
    assert judge(_table(), _gate(), task=Task.BINARY).outcome is ERROR


def test_slices_alone_never_make_a_pass() -> None:
    rule = SliceRule(by=("region",), metric="roc_auc", margin=Margin(value=0.2))
    assert judge(_table(), _gate(slices=(rule,)), task=Task.BINARY).outcome is ERROR


@pytest.mark.parametrize(
    "rule",
    [
        Rule(metric="roc_aux", at_least=0.5),
        Rule(metric="rmse", at_most=0.5),
        Rule(metric="roc_auc"),
        Rule(metric="latency_p95_ms", at_least=3.0),
        Rule(metric="training_minutes", margin=Margin(value=0.1)),
        Rule(metric="roc_auc", margin=Margin(value=0.1), improves_by=Margin(value=0.0)),
    ],
    ids=["misspelt", "other task", "no limit", "system floor", "system margin", "contradiction"],
)
def test_a_rule_that_cannot_be_applied_raises(rule: Rule) -> None:
    with pytest.raises(ConfigError):
        judge(_table(), _gate(AUC, rule), task=Task.BINARY)


def test_a_task_without_its_truth_raises() -> None:
    with pytest.raises(ConfigError, match="y_true"):
        judge(Predictions(candidate=np.ones(60)), _gate(AUC), task=Task.BINARY)


def test_columns_of_different_lengths_raise() -> None:
    with pytest.raises(ValueError, match="candidate 3, champion 2"):
        Predictions(candidate=np.ones(3), champion=np.ones(2))


# --- first release and anchor ---------------------------------------------------------------

_FIRST = replace(_table(), champion=None)


def test_a_first_release_with_margins_only_is_inconclusive() -> None:
    gate = _gate(AUC, Rule(metric="latency_p95_ms", at_most=20))
    verdict = judge(
        _FIRST,
        gate,
        task=Task.BINARY,
        first_release=True,
        measured=Measurements(candidate={"latency_p95_ms": 3}),
    )
    assert verdict.outcome is INCONCLUSIVE
    assert _one(verdict, cause=Cause.NO_CHAMPION).decides is True


@pytest.mark.parametrize(("limit", "outcome"), [(0.8, PASS), (0.99, REJECT)])
def test_a_first_release_is_judged_by_its_absolute_rules(limit: float, outcome: Outcome) -> None:
    gate = _gate(AUC, Rule(metric="accuracy", at_least=limit - 0.1))
    verdict = judge(_FIRST, gate, task=Task.BINARY, first_release=True)
    assert verdict.outcome is outcome
    assert _one(verdict, cause=Cause.NO_CHAMPION).decides is False


def test_a_champion_on_a_first_release_raises() -> None:
    with pytest.raises(ValueError, match="first release"):
        judge(_table(), _gate(AUC), task=Task.BINARY, first_release=True)


def test_a_candidate_that_crept_too_far_from_the_anchor_is_rejected() -> None:
    table = _table(20_000, candidate=1.25, champion=1.2)
    assert table.y_true is not None
    table = replace(table, anchor=_scores(table.y_true, 0.7, 3))
    verdict = judge(table, _gate(AUC), task=Task.BINARY)
    assert _one(verdict, kind=Kind.MARGIN).outcome is PASS
    assert _one(verdict, kind=Kind.ANCHOR).outcome is REJECT
    assert verdict.outcome is REJECT


def test_without_an_anchor_the_verdict_says_that_creep_is_not_checked() -> None:
    finding = _one(judge(_table(), _gate(AUC), task=Task.BINARY), cause=Cause.NO_ANCHOR)
    assert finding.decides is False


# --- slices ---------------------------------------------------------------------------------

_REGION = SliceRule(by=("region",), metric="roc_auc", margin=Margin(value=0.05))


def _harmed_in_the_south(n: int = 8000) -> Predictions:
    table = _table(n)
    assert table.y_true is not None
    south = table.slices["region"][1] == 1
    return replace(
        table, candidate=np.where(south, _scores(table.y_true, 4, 5), _scores(table.y_true, 0.3, 6))
    )


def test_a_harmed_slice_rejects_a_candidate_that_is_fine_on_the_whole() -> None:
    verdict = judge(
        _harmed_in_the_south(), _gate(_margin("roc_auc", 0.2), slices=(_REGION,)), task=Task.BINARY
    )
    south = _one(verdict, slice="region=south")
    assert (south.outcome, south.cause, south.decides) == (REJECT, Cause.HARMED, True)
    assert _one(verdict, slice="region=north").decides is False
    assert verdict.outcome is REJECT


@pytest.mark.parametrize(("critical", "outcome"), [(False, PASS), (True, INCONCLUSIVE)])
def test_a_slice_that_cannot_exclude_harm_blocks_only_when_critical(
    critical: bool, outcome: Outcome
) -> None:
    rule = replace(_REGION, margin=Margin(value=0.001), critical=critical)
    verdict = judge(_table(), _gate(AUC, slices=(rule,)), task=Task.BINARY)
    assert verdict.outcome is outcome
    level = Level.CRITICAL if critical else Level.SLICE
    assert {f.level for f in verdict.findings if f.slice} == {level}


@pytest.mark.parametrize(("critical", "outcome"), [(False, PASS), (True, INCONCLUSIVE)])
def test_a_slice_under_its_minimum_is_reported(critical: bool, outcome: Outcome) -> None:
    rule = replace(_REGION, min_rows=3000, critical=critical)
    verdict = judge(_table(), _gate(AUC, slices=(rule,)), task=Task.BINARY)
    assert verdict.outcome is outcome
    assert {f.cause for f in verdict.findings if f.slice} == {Cause.TOO_FEW_ROWS}


def test_chance_among_many_slices_does_not_block() -> None:
    rng = np.random.default_rng(1)
    rejected = 0
    for seed in range(60):
        table = _table(4000)
        assert table.y_true is not None
        table = replace(
            table,
            candidate=_scores(table.y_true, 1, 100 + seed),
            slices={"group": (tuple("abcdefghijklmnop"), rng.integers(0, 16, 4000))},
        )
        rule = SliceRule(by=("group",), metric="accuracy", margin=Margin(value=0.0), min_rows=50)
        verdict = judge(table, _gate(_margin("accuracy", 0.2), slices=(rule,)), task=Task.BINARY)
        rejected += verdict.outcome is REJECT
    assert rejected <= 10  # 5 % of 60 is 3; the binomial's 1 - 1e-4 quantile is 10


def test_groups_are_combinations_of_the_columns() -> None:
    rule = replace(_REGION, by=("region", "tier"))
    verdict = judge(_table(), _gate(AUC, slices=(rule,)), task=Task.BINARY)
    labels = [f.slice for f in verdict.findings if f.slice]
    assert labels == [f"region={r}, tier={t}" for r in ("north", "south") for t in "abc"]
    assert sum(f.n for f in verdict.findings if f.slice) == 4000


@pytest.mark.parametrize(
    ("slices", "cause"),
    [
        ({}, Cause.MISSING_COLUMN),
        ({"region": ((), np.full(4000, -1))}, Cause.EMPTY_SLICE),
        ({"region": (("north", "south"), np.zeros(4000, dtype=np.int64))}, Cause.EMPTY_SLICE),
    ],
    ids=["no such column", "no values at all", "a declared category without rows"],
)
def test_a_slice_without_rows_is_an_error(slices: dict[str, object], cause: Cause) -> None:
    table = replace(_table(), slices=slices)  # type: ignore[arg-type]
    verdict = judge(table, _gate(AUC, slices=(_REGION,)), task=Task.BINARY)
    assert verdict.outcome is ERROR
    assert _one(verdict, cause=cause).decides is True


# --- system measurements --------------------------------------------------------------------

_LATENCY = Rule(metric="latency_p95_ms", at_most=20)


@pytest.mark.parametrize(
    ("measurements", "outcome", "cause"),
    [
        ({}, ERROR, Cause.MISSING_MEASUREMENT),
        ({"latency_p95_ms": []}, ERROR, Cause.NOT_A_NUMBER),
        ({"latency_p95_ms": float("nan")}, ERROR, Cause.NOT_A_NUMBER),
        ({"latency_p95_ms": 20.0}, PASS, Cause.SHOWN),
        ({"latency_p95_ms": 20.1}, REJECT, Cause.VIOLATED),
        ({"latency_p95_ms": [5.0] * 58}, INCONCLUSIVE, Cause.TOO_FEW_ROWS),
        ({"latency_p95_ms": [5.0] * 59}, PASS, Cause.SHOWN),
        ({"latency_p95_ms": [50.0] * 59}, REJECT, Cause.VIOLATED),
        ({"latency_p95_ms": [5.0] * 55 + [50.0] * 4}, INCONCLUSIVE, Cause.NOT_SHOWN),
    ],
    ids=str,
)
def test_a_measurement_is_held_to_its_ceiling(
    measurements: dict[str, float], outcome: Outcome, cause: Cause
) -> None:
    verdict = judge(
        _table(),
        _gate(AUC, _LATENCY),
        task=Task.BINARY,
        measured=Measurements(candidate=measurements),
    )
    finding = _one(verdict, level=Level.SYSTEM)
    assert (verdict.outcome, finding.cause) == (outcome, cause)


def test_the_champions_measurement_is_shown_beside() -> None:
    verdict = judge(
        _table(),
        _gate(AUC, _LATENCY),
        task=Task.BINARY,
        measured=Measurements(
            candidate={"latency_p95_ms": 12.0}, champion={"latency_p95_ms": 10.0}
        ),
    )
    finding = _one(verdict, level=Level.SYSTEM)
    assert (finding.champion, finding.difference) == (10.0, 2.0)


# --- properties -----------------------------------------------------------------------------

_ALL = _gate(
    *(_margin(m, 0.01) for m in ("roc_auc", "average_precision", "log_loss", "accuracy", "f1")),
    slices=(replace(_REGION, min_rows=50),),
)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(20, 400))
def test_the_order_of_rows_does_not_matter(seed: int, n: int) -> None:
    table = _table(n)
    order = np.random.default_rng(seed).permutation(n)
    assert table.y_true is not None
    assert table.champion is not None
    shuffled = Predictions(
        y_true=table.y_true[order],
        candidate=table.candidate[order],
        champion=table.champion[order],
        slices={name: (c, codes[order]) for name, (c, codes) in table.slices.items()},
    )
    one, other = (judge(t, _ALL, task=Task.BINARY) for t in (table, shuffled))
    assert one.outcome is other.outcome
    for a, b in zip(one.findings, other.findings, strict=True):
        assert (a.metric, a.slice, a.outcome, a.cause) == (b.metric, b.slice, b.outcome, b.cause)
        assert a.lower == pytest.approx(b.lower, abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(noise=st.floats(0.3, 3), n=st.integers(60, 400))
def test_swapping_the_models_mirrors_the_difference(noise: float, n: int) -> None:
    table = _table(n, candidate=noise)
    assert table.champion is not None
    swapped = replace(table, candidate=table.champion, champion=table.candidate)
    one, other = (judge(t, _ALL, task=Task.BINARY) for t in (table, swapped))
    for a, b in zip(_find(one, kind=Kind.MARGIN), _find(other, kind=Kind.MARGIN), strict=True):
        if a.difference is None or b.difference is None or a.lower is None or b.upper is None:
            assert (a.difference is None, a.lower) == (b.difference is None, b.upper)
            continue
        assert a.difference == pytest.approx(-b.difference, abs=1e-12)
        assert a.lower == pytest.approx(-b.upper, abs=1e-12)


def test_the_verdict_is_the_worst_of_what_decides() -> None:
    verdict = judge(_table(), _ALL, task=Task.BINARY)
    assert verdict.outcome is worst(f.outcome for f in verdict.findings if f.decides)


@pytest.mark.parametrize(
    ("candidate", "champion", "anchor", "better"),
    [(0.7, 1.5, 1.5, True), (1.0, 1.0, 1.0, False), (1.5, 1.0, 1.0, False)],
    ids=["better", "equal", "worse"],
)
def test_a_candidate_beats_the_anchor_only_when_it_is_shown_better(
    candidate: float, champion: float, anchor: float, *, better: bool
) -> None:
    table = _table(candidate=candidate, champion=champion)
    assert table.y_true is not None
    own_anchor = replace(table, anchor=_scores(table.y_true, anchor, 3))
    for judged, digests in (
        (own_anchor, Digests(candidate="c", champion="b", anchor="a")),
        (table, Digests(candidate="c", champion="a", anchor="a")),
    ):
        verdict = judge(judged, _gate(AUC), task=Task.BINARY, digests=digests)
        assert beats_anchor(verdict) is better
        assert not _find(verdict, cause=Cause.NO_ANCHOR)
