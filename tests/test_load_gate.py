"""The gate's keys in ``mlops.yaml``: what they become, and what is told of a contradiction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.test_load import GOOD, problems
from tidegate.core.config import Adaptivity, Exact, GapRule, Gate
from tidegate.core.model import Margin
from tidegate.load import load

if TYPE_CHECKING:
    from pathlib import Path

RULE = "{metric: roc_auc, at_least: 0.75, margin: 0.005}"
SLICE = "  slices: [{by: [a], metric: accuracy, margin: 0.1}]\n"


def gate(tmp_path: Path, rule: str = RULE, more: str = "") -> Gate:
    path = tmp_path / "mlops.yaml"
    path.write_text(GOOD.replace(RULE, rule) + more)
    return load(path).gate


def test_an_improvement_is_in_units_or_relative(tmp_path: Path) -> None:
    for text, margin in (("0", Margin(value=0.0)), ("1%", Margin(value=0.01, relative=True))):
        (rule,) = gate(tmp_path, f"{{metric: roc_auc, improves_by: {text}}}").rules
        assert (rule.improves_by, rule.margin) == (margin, None)


def test_gaps_exact_and_budget_are_read(tmp_path: Path) -> None:
    found = gate(
        tmp_path, more="  budget: 32\n  gaps: [{by: [sex], metric: recall, at_most: 0.1}]\n"
    )
    assert (found.budget, found.columns) == (32, ("sex",))
    assert found.gaps == (GapRule(by=("sex",), metric="recall", at_most=0.1),)
    more = (
        "  guarantee: exact\n  exact: {decisions: 8, disagreement: 5%, adaptivity: first_change}\n"
    )
    exact = gate(tmp_path, "{metric: accuracy, margin: 0.01}", more).exact
    assert exact == Exact(decisions=8, disagreement=0.05, adaptivity=Adaptivity.FIRST_CHANGE)


def test_measurements_take_margins(tmp_path: Path) -> None:
    rules = gate(
        tmp_path, RULE + "\n    - {metric: latency_p99_ms, margin: 20%, negligible: 2}"
    ).rules
    assert (rules[1].negligible, rules[1].margin) == (2, Margin(value=0.2, relative=True))


EXACT = "  guarantee: exact\n  exact: {decisions: 8}\n"
ACCURACY = "{metric: accuracy, margin: 0.01}"
CASES = {
    "contradiction": (
        "{metric: roc_auc, margin: 0.01, improves_by: 0}", "",
        "7:39: gate.rules[0].improves_by: got improves_by beside margin, expected one of the two: a "
        "model cannot be allowed to be worse and have to be better",
    ),
    "an improvement of a measurement": (
        "{metric: model_size_mb, improves_by: 1}", "",
        "7:44: gate.rules[0].improves_by: got improves_by for model_size_mb",
    ),
    "a margin on what nobody keeps": (
        "{metric: training_minutes, margin: 10%}", "",
        "gate.rules[0].margin: got margin for training_minutes",
    ),
    "negligible of a metric": (
        "{metric: roc_auc, margin: 0.01, negligible: 1}", "",
        "7:39: gate.rules[0].negligible: got negligible in a rule for roc_auc, expected it beside the "
        "margin of a measurement, such as latency_p95_ms",
    ),
    "a gap without a limit": (
        RULE, "  gaps: [{by: [a], metric: accuracy}]\n",
        "8:10: gate.gaps[0]: got a rule for gaps of accuracy without a limit, expected at_most or margin",
    ),
    "a gap of a measurement": (
        RULE, "  gaps: [{by: [a], metric: model_size_mb, at_most: 1}]\n",
        "gate.gaps[0].metric: got 'model_size_mb', expected a metric of predictions",
    ),
    "a gap of nothing": (
        RULE, "  gaps: [{by: [a], metric: accuracy, at_most: 0}]\n",
        "gate.gaps[0].at_most: got 0, expected more than 0",
    ),
    "no decisions": (RULE, "  budget: 0\n", "8:11: gate.budget: got 0, expected at least 1"),
    "settings without the guarantee": (
        ACCURACY, "  exact: {decisions: 8}\n",
        "8:3: gate.exact: got settings of a guarantee that is not asked for, expected guarantee: exact "
        "beside them",
    ),
    "the guarantee without settings": (
        ACCURACY, "  guarantee: exact\n",
        "gate.exact: got nothing, expected how many decisions the holdout is to serve, such as exact: "
        "{decisions: 32}",
    ),
    "another metric, exactly": (
        RULE, EXACT,
        "7:16: gate.rules[0].metric: got roc_auc under guarantee: exact, expected accuracy (or mean, of "
        "scores 0 and 1): the only metrics with bounds that hold for every n; remove the rule, or the "
        "guarantee",
    ),
    "slices, exactly": (
        ACCURACY, SLICE + EXACT,
        "8:3: gate.slices: got slices under guarantee: exact, expected rules for accuracy over all rows "
        "only; remove them: what is shown of one slice after the other has no joint guarantee",
    ),
    "a budget, exactly": (
        ACCURACY, "  budget: 3\n" + EXACT, "8:3: gate.budget: got budget under guarantee: exact",
    ),
    "a relative margin, exactly": (
        "{metric: accuracy, margin: 1%}", EXACT,
        "gate.rules[0].margin: got 1% under guarantee: exact, expected a difference in the metric's own "
        "units, such as 0.01",
    ),
    "a point, exactly": (
        "{metric: accuracy, at_least: 0.5, on: point}", EXACT,
        "gate.rules[0].on: got point under guarantee: exact, expected bound: a plain number guarantees "
        "nothing",
    ),
    "inconclusive": (RULE, "  on_inconclusive: approve\n", "gate.on_inconclusive: got an unknown key"),
}  # fmt: skip


@pytest.mark.parametrize(("rule", "more", "expected"), CASES.values(), ids=CASES)
def test_a_bad_gate_says_where_what_and_how_to_fix(
    tmp_path: Path, rule: str, more: str, expected: str
) -> None:
    found = problems(tmp_path, GOOD.replace(RULE, rule) + more)
    assert any(expected in line for line in found), found


def test_measurements_are_allowed_beside_an_exact_guarantee(tmp_path: Path) -> None:
    rules = ACCURACY + "\n    - {metric: model_size_mb, at_most: 5}"
    assert gate(tmp_path, rules, EXACT).exact is not None
