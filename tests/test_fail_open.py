"""How other tools let a bad model through, and that ours does not: one test for each.

The table stands in CONTRIBUTING.md under "Nothing fails open". Each test builds the situation in
which a public tool or reference pipeline passes, and expects a stop.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from tests.engine import POLICY, Engine
from tests.test_load import problems
from tests.test_rules import GOOD, Repository
from tidegate.cases import Scored, read_scored, save_scored
from tidegate.cli import main
from tidegate.core.anonymous import strangers
from tidegate.core.config import Canary, Gate, Rule, SliceRule
from tidegate.core.evidence import Arm, Minute
from tidegate.core.gate import judge
from tidegate.core.model import Cause, Digests, Margin, Outcome, Task, worst
from tidegate.core.replay import replay
from tidegate.core.table import Predictions
from tidegate.errors import ConfigError, NotJudgedError, OutsideError
from tidegate.load import loads

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.cases import Case
    from tidegate.core.metrics.estimate import Floats

MARGIN = Rule(metric="roc_auc", margin=Margin(value=0.01))


def scores(truth: Floats, noise: float, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    return np.asarray(1 / (1 + np.exp(-(2 * truth - 1 + noise * rng.normal(size=len(truth))))))


def table(n: int = 5000, *, candidate: float = 1.0, champion: float = 1.0) -> Predictions:
    """Predictions of two models; the noise says how bad each is."""
    truth = (np.random.default_rng(0).random(n) < 0.4).astype(np.float64)
    return Predictions(
        y_true=truth, candidate=scores(truth, candidate, 1), champion=scores(truth, champion, 2)
    )


def outcome(
    predictions: Predictions, *rules: Rule, slices: tuple[SliceRule, ...] = (), **more: Any
) -> Outcome:
    gate = Gate(rules=rules, slices=slices)
    return judge(predictions, gate, task=Task.BINARY, **more).outcome


def test_an_unknown_target_is_an_error_that_lists_the_known_ones(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, GOOD + "release: {target: sagemakr}\n")
    assert "got 'sagemakr', expected one of local" in line


def test_a_misspelt_direction_does_not_silently_mean_either(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, GOOD.replace("at_least", "atleast"))
    assert "did you mean 'at_least'?" in line


@pytest.mark.parametrize("word", ["NaN", ".nan", "inf", "high"])
def test_an_odd_word_for_a_limit_does_not_load(tmp_path: Path, word: str) -> None:
    assert problems(tmp_path, GOOD.replace("0.75", word))


def test_empty_data_do_not_pass() -> None:
    nothing = Predictions(y_true=np.empty(0), candidate=np.empty(0), champion=np.empty(0))
    assert outcome(nothing, MARGIN) is not Outcome.PASS


def test_an_error_is_never_lost_among_other_outcomes() -> None:
    assert worst([Outcome.PASS, Outcome.ERROR, Outcome.REJECT]) is Outcome.ERROR


def test_a_group_without_data_is_not_a_group_that_passed() -> None:
    predictions = replace(table(), slices={"region": (("north", "south"), np.zeros(5000, int))})
    rule = SliceRule(by=("region",), metric="roc_auc", margin=Margin(value=0.05))
    empty = replace(predictions, slices={})
    assert outcome(empty, MARGIN, slices=(rule,)) is Outcome.ERROR


def test_no_condition_at_all_is_not_success(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD.replace(", at_least: 0.75, margin: 0.005", ""))
    with pytest.raises(ConfigError, match="no limit"):
        judge(table(), Gate(rules=(Rule(metric="roc_auc"),)), task=Task.BINARY)


def test_a_gate_without_rules_passes_nobody() -> None:
    assert outcome(table()) is Outcome.ERROR


def test_a_rollout_cut_off_before_any_measurement_is_not_a_success(tmp_path: Path) -> None:
    engine = Engine.make(tmp_path)
    engine.serving()
    engine.metrics.requests = 0
    engine.request(engine.version(2), {**POLICY, "deadline": "1h"})
    engine.run(90)
    assert engine.state.champion is not None
    assert engine.state.champion.version == "1"


def test_a_variant_in_an_unknown_state_does_not_hold_the_loop_for_ever(tmp_path: Path) -> None:
    engine = Engine.make(tmp_path)
    engine.serving()
    engine.target.ready = False
    engine.request(engine.version(2))
    engine.tick()
    engine.tick(20)
    assert engine.state.rollout is None


def test_a_worse_model_in_is_a_stop_out() -> None:
    assert outcome(table(candidate=2.0), MARGIN) is Outcome.REJECT


def test_the_champions_numbers_are_never_the_challengers_own() -> None:
    same = table()
    assert outcome(replace(same, champion=same.candidate), MARGIN) is Outcome.ERROR
    one = Digests(candidate="a" * 64, champion="a" * 64)
    assert outcome(table(), MARGIN, digests=one) is Outcome.ERROR


def test_clearing_an_absolute_limit_does_not_excuse_being_worse_than_the_champion() -> None:
    floor = Rule(metric="roc_auc", at_least=0.6, margin=Margin(value=0.01))
    verdict = judge(table(candidate=2.0), Gate(rules=(floor,)), task=Task.BINARY)
    assert {f.outcome for f in verdict.findings if f.decides} == {Outcome.PASS, Outcome.REJECT}
    assert verdict.outcome is Outcome.REJECT


def test_going_back_means_the_last_healthy_version_not_the_newest_one(tmp_path: Path) -> None:
    engine = Engine.make(tmp_path)
    engine.serving()
    engine.metrics.rates = {"1": (0.01, 0.0), "2": (0.3, 0.0)}
    engine.request(engine.version(2))
    engine.run(30)
    engine.metrics.rates = {}
    third = engine.version(3)
    engine.request(third)
    engine.run(120)
    assert engine.state.champion == third
    back = engine.state.healthy_before(third.digest)
    assert back is not None
    assert back.version == "1"


def test_the_comparison_with_the_champion_is_on_unless_somebody_leaves_it_out() -> None:
    absolute = Rule(metric="roc_auc", at_least=0.6)
    verdict = judge(table(), Gate(rules=(absolute,)), task=Task.BINARY)
    assert Cause.NO_MARGIN in {finding.cause for finding in verdict.findings}


@pytest.mark.parametrize(
    ("candidate", "champion", "expected"),
    [(-0.9, -1.0, Outcome.PASS), (-1.3, -1.0, Outcome.REJECT), (1.1, 1.0, Outcome.PASS)],
    ids=["less-negative-is-better", "more-negative-is-worse", "positive"],
)
def test_relative_margins_keep_their_sense_below_zero(
    candidate: float, champion: float, expected: Outcome
) -> None:
    noise = np.random.default_rng(3).normal(size=(2, 4000)) * 0.2
    predictions = Predictions(candidate=candidate + noise[0], champion=champion + noise[1])
    rule = Rule(metric="mean", margin=Margin(value=0.05, relative=True))
    verdict = judge(predictions, Gate(rules=(rule,)), task=Task.GENERIC)
    assert verdict.outcome is expected


def test_a_relative_margin_of_a_champion_around_zero_decides_nothing() -> None:
    noise = np.random.default_rng(3).normal(size=(2, 4000))
    rule = Rule(metric="mean", margin=Margin(value=0.05, relative=True))
    predictions = Predictions(candidate=noise[0], champion=noise[1])
    verdict = judge(predictions, Gate(rules=(rule,)), task=Task.GENERIC)
    assert verdict.outcome is Outcome.INCONCLUSIVE


def test_a_wrong_file_is_told_by_path_line_value_and_reason(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, GOOD.replace("version: 1", "version: 7"))
    assert line == "1:10: version: got 7, expected 1"


def test_a_smaller_holdout_does_not_make_a_greener_gate() -> None:
    perfect = table(30, candidate=0.01, champion=3.0)
    assert outcome(perfect, MARGIN, Rule(metric="accuracy", at_least=0.5)) is Outcome.INCONCLUSIVE


def test_a_slice_that_nobody_has_is_an_error() -> None:
    rule = SliceRule(by=("regoin",), metric="roc_auc", margin=Margin(value=0.05))
    assert outcome(table(), MARGIN, slices=(rule,)) is Outcome.ERROR


@pytest.mark.parametrize("value", [np.nan, np.inf, 1.5, -0.1])
def test_a_prediction_that_is_no_probability_is_an_error(value: float) -> None:
    predictions = table()
    predictions.candidate[17] = value
    assert outcome(predictions, MARGIN) is Outcome.ERROR


def test_silence_is_not_health() -> None:
    silent = [
        Minute(index=t, champion=Arm(requests=500, errors=5), candidate=None) for t in range(90)
    ]
    decisions = replay(Canary(), silent)
    assert {str(d.action) for d in decisions} == {"hold"}


def test_a_first_release_with_nothing_to_compare_does_not_pass_by_itself() -> None:
    alone = replace(table(), champion=None)
    assert outcome(alone, MARGIN, first_release=True) is not Outcome.PASS
    floor = Rule(metric="roc_auc", at_least=0.6)
    assert outcome(alone, floor, first_release=True) is Outcome.PASS


@pytest.mark.real
def test_a_lowered_threshold_does_not_judge_the_request_that_lowers_it(tmp_path: Path) -> None:
    repository = Repository.make(tmp_path / "r")
    repository.commit(mlops_yaml=GOOD)
    repository.commit(mlops_yaml=GOOD.replace("0.75", "0.01"))
    config, changes = repository.judged("HEAD^1")
    assert config.gate.rules[0].at_least == 0.75
    assert list(changes) == ["gate.rules[roc_auc]"]


@pytest.mark.real
def test_a_base_that_was_not_fetched_is_not_a_base_without_rules(tmp_path: Path) -> None:
    repository = Repository.make(tmp_path / "r")
    repository.commit(mlops_yaml=GOOD)
    with pytest.raises(OutsideError, match="is not here"):
        repository.judged("d" * 40)


def test_a_champion_out_of_reach_is_not_a_first_release() -> None:
    alone, floor = replace(table(), champion=None), Rule(metric="roc_auc", at_least=0.6)
    assert outcome(alone, floor, first_release=True) is Outcome.PASS
    assert outcome(alone, floor, champion_out_of_reach=True) is Outcome.INCONCLUSIVE
    bad = replace(table(candidate=9.0), champion=None)
    assert outcome(bad, floor, champion_out_of_reach=True) is Outcome.REJECT


def test_answers_of_another_model_are_not_the_candidates(tmp_path: Path) -> None:
    answers = Scored(
        role="candidate", model="a" * 64, input="b" * 64, answers=np.ones(3), columns=None,
        latency_ms=None,
    )  # fmt: skip
    save_scored(tmp_path, answers)
    case = SimpleNamespace(input="b" * 64)
    for role, model, rows in (
        ("candidate", "c" * 64, 3), ("champion", "a" * 64, 3), ("candidate", "a" * 64, 2),
    ):  # fmt: skip
        with pytest.raises(NotJudgedError):
            read_scored(tmp_path, role, model, cast("Case", case), rows)


@pytest.mark.real
def test_a_filter_that_does_not_know_judges_every_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = Repository.make(tmp_path / "r")
    repository.commit(mlops_yaml=GOOD)
    monkeypatch.chdir(repository.path)
    assert main(["find", "--base", "0" * 40]) == 0
    assert capsys.readouterr().out.split() == ["churn", "mlops.yaml"]


def test_a_strangers_names_are_not_shown() -> None:
    config = loads("mlops.yaml", GOOD).config
    digests = Digests(candidate="see https://evil.example", rules=config.rules_digest)
    verdict = judge(table(), config.gate, task=Task.BINARY, digests=digests)
    assert "something else than a digest" in list(strangers(verdict, config))
