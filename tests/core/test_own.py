"""A user's own metric: paired draws of whole units, wherever the rules need them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tidegate.core.config import Gate, OwnMetric, Rule, SliceRule
from tidegate.core.gate import judge
from tidegate.core.metrics.resampling import Replicates
from tidegate.core.model import Cause, Direction, Margin, Outcome, Task
from tidegate.core.own import bootstrap, wanted
from tidegate.core.table import Predictions

if TYPE_CHECKING:
    import numpy.typing as npt

    from tidegate.core.metrics.kinds import Floats

OWN = OwnMetric(name="profit", run="m.py:profit", direction=Direction.HIGHER)
RULE = Rule(metric="profit", margin=Margin(value=0.05))
RNG = np.random.default_rng(1)
N = 400
TRUTH = RNG.normal(size=N)
GOOD, BAD = TRUTH + RNG.normal(size=N) * 0.1, TRUTH + RNG.normal(size=N)


def closeness(truth: Floats | None, prediction: Floats, weight: Floats) -> float:
    assert truth is not None
    return -float(np.average(np.abs(truth - prediction), weights=weight))


def found(**options: object) -> Floats:
    settings = {"weight": None, "cluster": None, "seed": 3, "resamples": 500, **options}
    return bootstrap(closeness, TRUTH, [GOOD, BAD], **settings)  # type: ignore[arg-type]


def test_the_first_line_is_the_value_and_the_rest_spread_as_theory_says() -> None:
    numbers = found()
    errors = -np.abs(TRUTH - BAD)
    assert numbers[0, 1] == pytest.approx(errors.mean())
    assert numbers[1:, 1].std() == pytest.approx(errors.std() / np.sqrt(N), rel=0.1)


def test_draws_are_the_same_for_every_model_and_for_every_run() -> None:
    twice = bootstrap(
        closeness, TRUTH, [GOOD, GOOD], weight=None, cluster=None, seed=3, resamples=50
    )
    assert (twice[:, 0] == twice[:, 1]).all()
    assert (found() == found()).all()
    assert not (found() == found(seed=4)).all()


def test_groups_are_drawn_whole() -> None:
    cluster = np.repeat(np.arange(40), 10)
    RNG.shuffle(cluster)
    seen: list[npt.NDArray[np.intp]] = []

    def look(truth: Floats | None, prediction: Floats, weight: Floats) -> float:
        seen.append(np.bincount(prediction.astype(np.intp), minlength=40))
        return 0.0

    bootstrap(
        look, None, [cluster.astype(float)], weight=None, cluster=cluster, seed=1, resamples=20
    )
    assert all((counts % 10 == 0).all() and counts.sum() == 400 for counts in seen)
    assert any(counts.max() >= 30 for counts in seen[1:])


def test_weights_come_with_their_rows() -> None:
    weight = np.where(np.arange(N) < 100, 1.0, 0.0)
    assert found(weight=weight)[0, 0] == pytest.approx(-np.abs(TRUTH - GOOD)[:100].mean())


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_what_is_not_finite_is_undefined(value: float | None) -> None:
    numbers = bootstrap(
        lambda *_: value, None, [GOOD], weight=None, cluster=None, seed=1, resamples=3  # type: ignore[arg-type]
    )  # fmt: skip
    assert np.isnan(numbers).all()


@pytest.mark.parametrize("value", ["3", True, [1.0], np.ones(2)])
def test_what_is_no_number_is_an_error(value: object) -> None:
    with pytest.raises(TypeError, match="expected a number"):
        bootstrap(
            lambda *_: value, None, [GOOD], weight=None, cluster=None, seed=1, resamples=3  # type: ignore[arg-type]
        )  # fmt: skip


def table(**more: object) -> Predictions:
    regions = (("n", "s"), np.arange(N) % 2)
    return Predictions(
        candidate=GOOD,
        champion=BAD,
        y_true=TRUTH,
        slices={"region": regions},
        **more,  # type: ignore[arg-type]
    )


def replicates(candidate: float, champion: float, n: int = N) -> Replicates:
    rng = np.random.default_rng(0)
    draws = np.array([candidate, champion]) + rng.normal(size=(1000, 2)) * 0.001
    return Replicates(values=np.array([candidate, champion]), draws=draws, n=n)


def test_it_is_wanted_where_rules_name_it_and_nowhere_else() -> None:
    sliced = SliceRule(by=("region",), metric="profit", margin=Margin(value=0.1))
    gate = Gate(rules=(RULE,), slices=(sliced,), own=(OWN,))
    items = list(wanted(table(), gate))
    assert [item.slice for item in items] == [None, "region=n", "region=s"]
    assert items[1].rows is not None
    assert items[1].rows.tolist() == list(range(0, N, 2))
    other = Gate(rules=(Rule(metric="mae", at_most=1.0),), own=(OWN,))
    assert not list(wanted(table(), other))


@pytest.mark.parametrize(
    ("candidate", "outcome"), [(1.0, Outcome.PASS), (0.9, Outcome.REJECT), (0.95, Outcome.INCONCLUSIVE)]
)  # fmt: skip
def test_the_gate_takes_what_was_measured(candidate: float, outcome: Outcome) -> None:
    gate = Gate(rules=(RULE,), own=(OWN,))
    measured = {("profit", None): replicates(candidate, 1.0)}
    (finding,) = [
        f
        for f in judge(table(measured=measured), gate, task=Task.REGRESSION).findings
        if f.metric == "profit"
    ]
    assert finding.outcome is outcome
    assert finding.candidate == candidate


def test_a_metric_that_nobody_measured_is_never_a_pass() -> None:
    verdict = judge(table(), Gate(rules=(RULE,), own=(OWN,)), task=Task.REGRESSION)
    (finding,) = [f for f in verdict.findings if f.metric == "profit"]
    assert (finding.outcome, finding.cause) == (Outcome.ERROR, Cause.UNDEFINED)
    assert verdict.outcome is Outcome.ERROR


def test_a_function_that_does_not_vary_shows_nothing() -> None:
    same = Replicates(values=np.ones(2), draws=np.ones((1000, 2)), n=N)
    verdict = judge(
        table(measured={("profit", None): same}),
        Gate(rules=(RULE,), own=(OWN,)),
        task=Task.REGRESSION,
    )
    assert verdict.outcome is Outcome.INCONCLUSIVE
