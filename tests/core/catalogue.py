"""What the tests of the metrics' catalogue share: rows of every task, and each metric's plain value.

``VALUES`` holds scikit-learn's function where it has one, else the definition, row by row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
from sklearn import metrics as sk

from tidegate.core.catalog import CATALOG
from tidegate.core.metrics.estimate import estimate
from tidegate.core.metrics.table import find
from tidegate.core.model import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.core.metrics.estimate import Estimate
    from tidegate.core.metrics.kinds import Codes, Floats

NAMES = [(entry.example, task) for entry in CATALOG for task in sorted(entry.tasks)]
CLASSES = 3


@dataclass(frozen=True, kw_only=True)
class Data:
    """Rows of one task; ``weight`` has mean 1, or is None."""

    truth: Floats
    prediction: Floats
    query: Codes
    weight: Floats | None = None

    @property
    def index(self) -> Codes:
        return np.arange(len(self.truth))

    @property
    def w(self) -> Floats:
        return np.ones(len(self.truth)) if self.weight is None else self.weight


def rows(
    task: Task,
    n: int,
    seed: int,
    *,
    noise: float = 1.0,
    decimals: int | None = None,
    weights: bool = False,
) -> Data:
    """Return rows of a model whose mistakes grow with ``noise``; the truth depends on the seed only."""
    rng = np.random.default_rng(seed)
    query = np.sort(rng.integers(0, max(n // 8, 1), n))
    weight = rng.gamma(2.0, 0.5, n)
    base, blur = rng.normal(size=n), rng.normal(size=n)
    match task:
        case Task.BINARY:
            truth = (rng.random(n) < 0.35).astype(np.float64)
            prediction = 1 / (1 + np.exp(0.8 - 1.6 * truth - noise * blur))
        case Task.MULTICLASS:
            truth = rng.choice(CLASSES, n, p=[0.5, 0.3, 0.2]).astype(np.float64)
            logits = noise * rng.normal(size=(n, CLASSES))
            logits[np.arange(n), truth.astype(int)] += 1.2
            prediction = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        case Task.REGRESSION:
            truth = 20 + 3 * base
            point = truth + noise * (0.3 + blur)
            prediction = np.column_stack((point, point - 1.5 * noise, point + 1.3 * noise))
        case Task.RANKING:
            truth = np.clip(np.round(base), 0, 3)
            prediction = truth + noise * blur
        case Task.GENERIC:
            query = np.repeat(np.arange(n // 5), 5)
            hard = rng.random(n // 5)[query]
            truth = np.zeros(n)
            prediction = (rng.random(n) < hard / noise).astype(np.float64)
    if decimals is not None and task is not Task.MULTICLASS:
        prediction = np.round(prediction, decimals)
    return Data(
        truth=truth,
        prediction=prediction,
        query=query.astype(np.intp),
        weight=weight / weight.mean() if weights else None,
    )


def evaluate(name: str, task: Task, data: Data) -> Estimate | None:
    """Return value and influence; None where undefined."""
    kind = find(name, task).kind
    return estimate(
        kind, data.truth, data.prediction, weight=data.weight, query=data.query,
        classes=CLASSES if task is Task.MULTICLASS else 2,
    )  # fmt: skip


def value_of(name: str, task: Task, data: Data) -> float | None:
    """Return the value alone; None where it is undefined."""
    found = evaluate(name, task, data)
    return found.value if found else None


# --- plain values -------------------------------------------------------------------------------


def _decided(d: Data) -> Floats:
    return (d.prediction >= 0.5).astype(np.float64)


def _argmax(d: Data) -> Codes:
    decided: Codes = np.argmax(d.prediction, axis=1)
    return decided


def _point(d: Data) -> Floats:
    return d.prediction[:, 0]


def _ks(d: Data) -> float:
    gaps = [0.0]
    for threshold in np.unique(d.prediction):
        below = d.prediction <= threshold
        shares = [d.w[below & (d.truth == c)].sum() / d.w[d.truth == c].sum() for c in (0.0, 1.0)]
        gaps.append(shares[0] - shares[1])
    return max(gaps)


def _recall_at_precision(d: Data, precision: float) -> float:
    p, r, _ = sk.precision_recall_curve(d.truth, d.prediction, sample_weight=d.w)
    return float(r[p >= precision].max())


def _recall_at_top(d: Data, share: float) -> float:
    """Recall when rows are taken from the highest score on, the last run by a fraction."""
    room, hits = share * d.w.sum(), 0.0
    for score in np.unique(d.prediction)[::-1]:
        run = d.prediction == score
        taken = min(1.0, max(0.0, room / d.w[run].sum()))
        hits += taken * (d.w * d.truth)[run].sum()
        room -= d.w[run].sum()
    return float(hits / (d.w * d.truth).sum())


def _bins(d: Data) -> list[tuple[float, float]]:
    """Return every bin's share of the rows, and its mean gap of probability and truth."""
    found = []
    for m in range(15):
        low, high = m / 15, (m + 1) / 15
        inside = (d.prediction > low) & (d.prediction <= high) | ((m == 0) & (d.prediction == 0))
        if inside.any():
            weight = d.w[inside].sum()
            gap = (d.w * (d.prediction - d.truth))[inside].sum() / weight
            found.append((float(weight / d.w.sum()), float(gap)))
    return found


def _mean(d: Data, per_row: Floats) -> float:
    return float(np.average(per_row, weights=d.w))


def _by_query(d: Data, of_query: Callable[[Floats, Floats], float | None]) -> float:
    """Return the mean over the queries with a value; a query weighs what its rows do on average."""
    total = weight = 0.0
    for query in np.unique(d.query):
        mine = d.query == query
        found = of_query(d.truth[mine], d.prediction[mine])
        if found is not None:
            total += found * d.w[mine].mean()
            weight += d.w[mine].mean()
    return total / weight


def _ndcg(k: int) -> Callable[[Floats, Floats], float | None]:
    def of_query(truth: Floats, score: Floats) -> float | None:
        if not truth.any():
            return None
        return 1.0 if len(truth) == 1 else float(sk.ndcg_score([truth], [score], k=k))

    return of_query


def over_orders(
    truth: Floats, score: Floats, of_order: Callable[[list[float]], float]
) -> float | None:
    """Return the mean over every order of tied rows: what the closed forms must equal."""
    if not (truth > 0).any():
        return None
    runs = [list(truth[score == s] > 0) for s in np.unique(score)[::-1]]
    orders: list[list[float]] = [[]]
    for run in runs:
        orders = [[*head, *tail] for head in orders for tail in permutations(run)]
    return float(np.mean([of_order(order) for order in orders]))


def plain_ap(order: list[float], k: int) -> float:
    hits = precisions = 0.0
    for rank, relevant in enumerate(order[:k], start=1):
        hits += relevant
        precisions += relevant * hits / rank
    return precisions / min(sum(order), k)


def plain_rr(order: list[float]) -> float:
    return 1.0 / (1 + order.index(True))


def plain_recall(order: list[float], k: int) -> float:
    return sum(order[:k]) / sum(order)


def _items(d: Data, k: int, *, every: bool) -> float:
    def of_item(_truth: Floats, marks: Floats) -> float:
        n, c = len(marks), int(marks.sum())
        if every:
            return math.comb(c, k) / math.comb(n, k)
        return 1 - math.comb(n - c, k) / math.comb(n, k)

    return _by_query(d, of_item)


def _f(average: str) -> Callable[[Data], float]:
    return lambda d: float(
        sk.f1_score(d.truth, _argmax(d), average=average, sample_weight=d.w, zero_division=0)
    )


_B, _M, _R, _Q, _G = Task.BINARY, Task.MULTICLASS, Task.REGRESSION, Task.RANKING, Task.GENERIC
VALUES: dict[tuple[str, Task], Callable[[Data], float]] = {
    ("roc_auc", _B): lambda d: sk.roc_auc_score(d.truth, d.prediction, sample_weight=d.w),
    ("average_precision", _B): lambda d: sk.average_precision_score(
        d.truth, d.prediction, sample_weight=d.w
    ),
    ("ks", _B): _ks,
    ("recall_at_precision@0.9", _B): lambda d: _recall_at_precision(d, 0.9),
    ("recall_at_top@5%", _B): lambda d: _recall_at_top(d, 0.05),
    ("log_loss", _B): lambda d: sk.log_loss(d.truth, d.prediction, sample_weight=d.w),
    ("brier", _B): lambda d: sk.brier_score_loss(d.truth, d.prediction, sample_weight=d.w),
    ("ece", _B): lambda d: sum(share * abs(gap) for share, gap in _bins(d)),
    ("brier_reliability", _B): lambda d: sum(share * gap**2 for share, gap in _bins(d)),
    ("accuracy", _B): lambda d: sk.accuracy_score(d.truth, _decided(d), sample_weight=d.w),
    ("balanced_accuracy", _B): lambda d: sk.balanced_accuracy_score(
        d.truth, _decided(d), sample_weight=d.w
    ),
    ("precision", _B): lambda d: sk.precision_score(d.truth, _decided(d), sample_weight=d.w),
    ("recall", _B): lambda d: sk.recall_score(d.truth, _decided(d), sample_weight=d.w),
    ("specificity", _B): lambda d: sk.recall_score(
        d.truth, _decided(d), pos_label=0, sample_weight=d.w
    ),
    ("f1", _B): lambda d: sk.f1_score(d.truth, _decided(d), sample_weight=d.w),
    ("fbeta@2", _B): lambda d: sk.fbeta_score(d.truth, _decided(d), beta=2, sample_weight=d.w),
    ("mcc", _B): lambda d: sk.matthews_corrcoef(d.truth, _decided(d), sample_weight=d.w),
    ("log_loss", _M): lambda d: sk.log_loss(
        d.truth, d.prediction, labels=range(CLASSES), sample_weight=d.w
    ),
    ("brier", _M): lambda d: sk.brier_score_loss(
        d.truth, d.prediction, labels=range(CLASSES), sample_weight=d.w
    ),
    ("accuracy", _M): lambda d: sk.accuracy_score(d.truth, _argmax(d), sample_weight=d.w),
    ("balanced_accuracy", _M): lambda d: sk.balanced_accuracy_score(
        d.truth, _argmax(d), sample_weight=d.w
    ),
    ("macro_f1", _M): _f("macro"),
    ("weighted_f1", _M): _f("weighted"),
    ("micro_f1", _M): _f("micro"),
    ("mcc", _M): lambda d: sk.matthews_corrcoef(d.truth, _argmax(d), sample_weight=d.w),
    ("top_k_accuracy@2", _M): lambda d: sk.top_k_accuracy_score(
        d.truth, d.prediction, k=2, labels=range(CLASSES), sample_weight=d.w
    ),
    ("roc_auc_ovr", _M): lambda d: sk.roc_auc_score(
        d.truth, d.prediction, multi_class="ovr", average="macro", sample_weight=d.w
    ),
    ("mae", _R): lambda d: sk.mean_absolute_error(d.truth, _point(d), sample_weight=d.w),
    ("mse", _R): lambda d: sk.mean_squared_error(d.truth, _point(d), sample_weight=d.w),
    ("rmse", _R): lambda d: sk.root_mean_squared_error(d.truth, _point(d), sample_weight=d.w),
    ("medae", _R): lambda d: sk.median_absolute_error(d.truth, _point(d), sample_weight=d.weight),
    ("mape", _R): lambda d: sk.mean_absolute_percentage_error(
        d.truth, _point(d), sample_weight=d.w
    ),
    ("smape", _R): lambda d: _mean(
        d, 2 * abs(d.truth - _point(d)) / (abs(d.truth) + abs(_point(d)))
    ),
    ("wape", _R): lambda d: _mean(d, abs(d.truth - _point(d))) / _mean(d, abs(d.truth)),
    ("r2", _R): lambda d: sk.r2_score(d.truth, _point(d), sample_weight=d.w),
    ("pinball@0.9", _R): lambda d: sk.mean_pinball_loss(
        d.truth, _point(d), alpha=0.9, sample_weight=d.w
    ),
    ("abs_bias", _R): lambda d: abs(_mean(d, _point(d) - d.truth)),
    ("coverage", _R): lambda d: _mean(
        d, ((d.prediction[:, 1] <= d.truth) & (d.truth <= d.prediction[:, 2])).astype(float)
    ),
    ("ndcg@10", _Q): lambda d: _by_query(d, _ndcg(10)),
    ("ndcg@3", _Q): lambda d: _by_query(d, _ndcg(3)),
    ("map@10", _Q): lambda d: _by_query(
        d, lambda y, s: over_orders(y, s, lambda order: plain_ap(order, 10))
    ),
    ("map@3", _Q): lambda d: _by_query(
        d, lambda y, s: over_orders(y, s, lambda order: plain_ap(order, 3))
    ),
    ("mrr", _Q): lambda d: _by_query(d, lambda y, s: over_orders(y, s, plain_rr)),
    ("recall@10", _Q): lambda d: _by_query(
        d, lambda y, s: over_orders(y, s, lambda order: plain_recall(order, 10))
    ),
    ("recall@2", _Q): lambda d: _by_query(
        d, lambda y, s: over_orders(y, s, lambda order: plain_recall(order, 2))
    ),
    ("mean", _G): lambda d: _mean(d, d.prediction),
    ("pass_rate", _G): lambda d: _mean(d, d.prediction),
    ("pass_at@3", _G): lambda d: _items(d, 3, every=False),
    ("pass_all@3", _G): lambda d: _items(d, 3, every=True),
}
