"""Metrics against scikit-learn's values, DeLong's own formula, and the jackknife's errors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from tidegate.core.metrics import interval, statistic
from tidegate.core.metrics.estimate import Estimate, Floats, estimate
from tidegate.core.metrics.joint import Joint, joint_of
from tidegate.core.metrics.system import measure
from tidegate.core.metrics.table import find
from tidegate.core.model import Task
from tidegate.errors import ConfigError


def _binary(n: int, seed: int, *, decimals: int | None = None) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < 0.3).astype(np.float64)
    score = 1 / (1 + np.exp(1 - 1.2 * truth - rng.normal(size=n)))
    return truth, score if decimals is None else np.round(score, decimals)


def _regression(n: int, seed: int) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    truth = rng.normal(10, 3, n)
    return truth, truth + rng.normal(0.2, 1, n)


def _task(name: str) -> Task:
    if name == "mean":
        return Task.GENERIC
    return Task.REGRESSION if name in {"mae", "rmse", "r2"} else Task.BINARY


def _of(name: str, truth: Floats, prediction: Floats) -> Estimate:
    found = estimate(find(name, _task(name)).kind, truth, prediction)
    assert found is not None
    return found


def _mean(scores: Floats) -> Estimate:
    return _of("mean", scores, scores)


def _joint(*estimates: Estimate) -> Joint:
    n = len(estimates[0].influence)
    return joint_of(estimates, n=n, cluster=None, clusters=n, df=n - 1)


def _single(one: Estimate) -> statistic.Statistic:
    return interval.single(_joint(one), 0, 0.95)


def _contrast(one: Estimate, other: Estimate, k: float = 1.0) -> statistic.Statistic:
    return interval.contrast(_joint(one, other), 0, 1, k)


_SKLEARN = {
    "roc_auc": reference.roc_auc_score,
    "average_precision": reference.average_precision_score,
    "log_loss": reference.log_loss,
    "brier": reference.brier_score_loss,
    "accuracy": lambda y, p: reference.accuracy_score(y, p >= 0.5),
    "f1": lambda y, p: reference.f1_score(y, p >= 0.5),
    "mae": reference.mean_absolute_error,
    "rmse": reference.root_mean_squared_error,
    "r2": reference.r2_score,
    "mean": lambda _y, p: np.mean(p),
}


@pytest.mark.parametrize("name", _SKLEARN)
@pytest.mark.parametrize("decimals", [None, 1, 2], ids=["continuous", "many ties", "ties"])
def test_every_value_is_scikit_learns(name: str, decimals: int | None) -> None:
    if name in {"mae", "rmse", "r2"}:
        truth, prediction = _regression(501, 3)
    else:
        truth, prediction = _binary(501, 3, decimals=decimals)
    found = _of(name, truth, prediction)
    assert found.value == pytest.approx(_SKLEARN[name](truth, prediction), abs=1e-9)


@pytest.mark.parametrize("name", _SKLEARN)
def test_influence_values_have_mean_zero_and_row_order(name: str) -> None:
    truth, prediction = _regression(300, 5) if name in {"mae", "rmse", "r2"} else _binary(300, 5)
    shuffle = np.random.default_rng(0).permutation(300)
    one = _of(name, truth, prediction)
    other = _of(name, truth[shuffle], prediction[shuffle])
    assert one.influence.mean() == pytest.approx(0, abs=1e-10)
    assert other.influence == pytest.approx(one.influence[shuffle], abs=1e-10)


def _delong_variance(truth: Floats, a: Floats, b: Floats, k: float) -> float:
    """DeLong (1988), equations 4-6, by explicit placements: O(m n), no sorting."""
    v10, v01 = [], []
    for score in (a, b):
        kernel = np.subtract.outer(score[truth == 1], score[truth == 0])
        psi = (kernel > 0) + 0.5 * (kernel == 0)
        v10.append(psi.mean(axis=1))
        v01.append(psi.mean(axis=0))
    weights = np.array([1.0, -k])
    s10, s01 = np.cov(v10), np.cov(v01)
    return float(weights @ (s10 / len(v10[0]) + s01 / len(v01[0])) @ weights)


@pytest.mark.parametrize("k", [1.0, 0.99, 0.0], ids=["difference", "relative", "own"])
@pytest.mark.parametrize("decimals", [None, 1], ids=["continuous", "ties"])
def test_the_auc_contrast_is_exactly_delong(k: float, decimals: int | None) -> None:
    truth, a = _binary(173, 1, decimals=decimals)
    noisy: Floats = np.clip(a + np.random.default_rng(2).normal(0, 0.1, 173), 0, 1)
    b: Floats = noisy.round(decimals or 9)
    found = _contrast(_of("roc_auc", truth, a), _of("roc_auc", truth, b), k)
    assert found.se**2 == pytest.approx(_delong_variance(truth, a, b, k), rel=1e-10)


@pytest.mark.parametrize("name", ["average_precision", "f1", "rmse", "r2", "log_loss"])
def test_the_standard_error_is_the_jackknifes(name: str) -> None:
    truth, prediction = _regression(800, 7) if name in {"rmse", "r2"} else _binary(800, 7)
    rows = np.arange(800)
    left_out = [_of(name, truth[rows != row], prediction[rows != row]).value for row in rows]
    jackknife = np.sqrt(799 / 800 * np.sum((np.array(left_out) - np.mean(left_out)) ** 2))
    assert _single(_of(name, truth, prediction)).se == pytest.approx(jackknife, rel=0.02)


def test_average_precision_differences_cover_like_the_bootstraps() -> None:
    truth, a = _binary(600, 11)
    rng = np.random.default_rng(12)
    b = np.clip(a + rng.normal(0, 0.08, 600), 0, 1)
    one, other = _of("average_precision", truth, a), _of("average_precision", truth, b)
    differences = []
    for _ in range(400):
        rows = rng.integers(0, 600, 600)
        x, y = (_of("average_precision", truth[rows], score[rows]) for score in (a, b))
        differences.append(x.value - y.value)
    assert _contrast(one, other).se == pytest.approx(np.std(differences), rel=0.15)


@pytest.mark.parametrize("df", [19, 49, 200, 10_000])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_quantiles_and_tails_are_students(df: int, confidence: float) -> None:
    exact = float(stats.t.ppf(confidence, df))
    assert statistic.quantile(confidence, df) == pytest.approx(exact, rel=0.006)
    assert statistic.tail(-exact, df) == pytest.approx(1 - confidence, abs=0.0006)


def test_a_far_quantile_of_few_degrees_of_freedom_keeps_every_decision_open() -> None:
    assert statistic.quantile(0.999999, 4) == np.inf


def _marks(wins: int, losses: int, n: int) -> tuple[Estimate, Estimate]:
    a, b = np.ones(n), np.ones(n)
    b[:wins] = 0
    a[wins : wins + losses] = 0
    return _mean(a), _mean(b)


def test_a_difference_of_proportions_has_bonett_and_prices_centre_and_error() -> None:
    one, other = _marks(12, 4, 100)
    found = _contrast(one, other)
    p12, p21 = 13 / 102, 5 / 102
    assert found.centre == pytest.approx(p12 - p21)
    assert found.se == pytest.approx(np.sqrt((p12 + p21 - (p12 - p21) ** 2) / 102))


@pytest.mark.parametrize("k", [1.0, 0.99, 1.01])
def test_no_disagreement_is_not_certainty(k: float) -> None:
    one, other = _marks(0, 0, 50)
    assert _contrast(one, other, k).se > 0.02


@pytest.mark.parametrize(
    "perfect",
    [
        pytest.param(_mean(np.ones(50)), id="every mark is 1"),
        pytest.param(_of("roc_auc", np.repeat([0.0, 1.0], 50), np.arange(100.0)), id="perfect AUC"),
        pytest.param(_of("brier", np.ones(50), np.ones(50)), id="no Brier loss"),
    ],
)
def test_a_perfect_score_has_an_interval(perfect: Estimate) -> None:
    own = _single(perfect)
    assert own.known
    assert own.lower(0.95) < perfect.value < own.upper(0.95) or own.se > 0.01


def test_the_one_sided_bound_of_a_perfect_share_is_not_shorter_than_the_exact_one() -> None:
    exact = 0.05 ** (1 / 50)  # Clopper-Pearson, 50 of 50
    assert _single(_mean(np.ones(50))).lower(0.95) < exact


def test_constant_scores_are_unknown_whatever_rounding_leaves() -> None:
    one, other = _mean(np.full(100, 0.7)), _mean(np.full(100, 0.69))
    assert not _single(one).known
    assert not _contrast(one, one).known
    assert not _contrast(one, other).known


@pytest.mark.parametrize("name", ["mae", "rmse"])
def test_a_regression_without_any_error_is_unknown(name: str) -> None:
    truth = np.arange(100.0)
    perfect = _of(name, truth, truth)
    assert not _contrast(perfect, perfect).known


def test_identical_predictions_keep_a_typical_rows_width() -> None:
    truth, score = _binary(400, 2)
    one = _of("roc_auc", truth, score)
    assert _contrast(one, one).se > 0.0


@pytest.mark.parametrize(
    ("metric", "truth", "prediction"),
    [
        ("roc_auc", [1.0, 1.0], [0.1, 0.2]),
        ("average_precision", [0.0, 0.0], [0.1, 0.2]),
        ("f1", [0.0, 0.0], [0.1, 0.2]),
        ("r2", [0.1, 0.1, 0.1], [0.1, 0.2, 0.3]),
    ],
)
def test_an_undefined_metric_has_no_value(
    metric: str, truth: list[float], prediction: list[float]
) -> None:
    assert estimate(find(metric, _task(metric)).kind, np.array(truth), np.array(prediction)) is None


@pytest.mark.parametrize(("name", "task"), [("roc_aux", Task.BINARY), ("rmse", Task.BINARY)])
def test_a_metric_that_is_not_there_is_an_error_that_lists_the_others(
    name: str, task: Task
) -> None:
    with pytest.raises(ConfigError, match=name) as error:
        find(name, task)
    assert "roc_auc" in error.value.remedy


def test_holm_is_the_textbooks() -> None:
    assert interval.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize(
    ("n", "lower", "upper"), [(10, True, False), (58, True, False), (59, True, True)]
)
def test_a_quantile_has_bounds_only_where_the_samples_give_them(
    n: int, lower: bool, upper: bool
) -> None:
    found = measure("latency_p95_ms", np.arange(1.0, n + 1), 0.95)
    assert found is not None
    assert (found.lower is not None, found.upper is not None) == (lower, upper)


def test_the_bounds_of_a_quantile_hold_as_often_as_they_say() -> None:
    rng = np.random.default_rng(4)
    exact = float(stats.expon.ppf(0.95))
    missed = [0, 0]
    for _ in range(600):
        found = measure("latency_p95_ms", rng.exponential(size=200), 0.95)
        assert found is not None
        assert found.lower is not None
        assert found.upper is not None
        missed[0] += found.lower > exact
        missed[1] += found.upper < exact
    assert max(missed) <= stats.binom.ppf(1 - 1e-4, 600, 0.05)


@pytest.mark.parametrize("samples", [[], [float("nan")], [1.0, float("inf")]])
def test_a_measurement_that_is_no_number_is_none(samples: list[float]) -> None:
    assert measure("latency_p95_ms", samples, 0.95) is None
