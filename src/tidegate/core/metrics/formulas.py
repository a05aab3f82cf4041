"""Which formula a metric of the catalogue has for a task, and the fewest rows that it may decide on.

Why so many: 50 rows, or queries, or items, for a mean; 20 of the smaller class where the classes'
rows are counted apart (with 10 a ranking lets 7.7 % through at 40 rows instead of 5 %); the fewest
with which the bounds of the coverage simulation held (``tests/core/test_catalogue_coverage.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from tidegate.core.metrics import (
    binary,
    calibration,
    confusion,
    curve,
    errors,
    multiclass,
    ranks,
    regression,
    repeats,
    retrieval,
)
from tidegate.core.metrics.kinds import Cells, Ranked
from tidegate.core.model import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.core.metrics.kinds import Floats, Kind

MIN_ROWS = 50
MIN_PER_CLASS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Formula:
    """A metric's formula for one task.

    Attributes:
        kind: the formula; of its parameter where it has one.
        min_rows: fewer rows (queries, items: independent units) are inconclusive, never a pass.
        min_per_class: the same for the smallest class; 0 where classes do not matter.
        ranking: only the order of the predictions matters, so a constant one says nothing.
    """

    kind: Kind | Callable[[float], Kind]
    min_rows: int = MIN_ROWS
    min_per_class: int = 0
    ranking: bool = False

    def of(self, value: float | None) -> Kind:
        """Return the formula, with its parameter's value put in.

        Raises:
            ValueError: a parameter too many, or none where there must be one.
        """
        if callable(self.kind):
            if value is None:
                raise ValueError("this formula needs its parameter")
            return self.kind(value)
        if value is not None:
            raise ValueError("this formula has no parameter")
        return self.kind


def _of_two(formula: Callable[[Floats], tuple[float, Floats] | None]) -> Formula:
    """Return a formula of the confusion matrix of two classes."""
    return Formula(kind=_confusion(formula), min_per_class=MIN_PER_CLASS)


def _confusion(formula: Callable[[Floats], tuple[float, Floats] | None]) -> Cells:
    return Cells(cell=binary.confusion, size=multiclass.cells_of, formula=formula)


def _share(part: tuple[int, ...], whole: tuple[int, ...]) -> Formula:
    """Return a share of the rows of some cells of the confusion matrix of two classes."""
    kind = replace(_confusion(confusion.ratio(part, whole)), whole=whole)
    return Formula(kind=kind, min_per_class=MIN_PER_CLASS)


def _of_order(kind: Kind | Callable[[float], Kind]) -> Formula:
    return Formula(kind=kind, min_rows=2 * MIN_PER_CLASS, min_per_class=MIN_PER_CLASS, ranking=True)


def _of_classes(kind: Kind) -> Formula:
    """Return a mean over the classes: the rarest has the largest part in its error."""
    return Formula(kind=kind, min_per_class=MIN_PER_CLASS)


_B, _M, _R, _Q, _G = Task.BINARY, Task.MULTICLASS, Task.REGRESSION, Task.RANKING, Task.GENERIC

FORMULAS: dict[tuple[str, Task], Formula] = {
    ("roc_auc", _B): _of_order(ranks.ROC_AUC),
    ("average_precision", _B): _of_order(ranks.AVERAGE_PRECISION),
    ("ks", _B): _of_order(curve.KS),
    ("recall_at_precision", _B): Formula(
        kind=lambda value: Ranked(formula=partial(curve.recall_at_precision, value)),
        min_rows=400,
        min_per_class=200,  # with 100 the lower bound holds 88 times of 100 only
        ranking=True,
    ),
    ("recall_at_top", _B): _of_order(
        lambda value: Ranked(formula=partial(curve.recall_at_top, value))
    ),
    ("log_loss", _B): Formula(kind=binary.LOG_LOSS),
    ("brier", _B): Formula(kind=binary.BRIER),
    ("ece", _B): Formula(kind=calibration.ECE),
    ("brier_reliability", _B): Formula(kind=calibration.BRIER_RELIABILITY),
    ("accuracy", _B): Formula(kind=binary.ACCURACY),
    ("balanced_accuracy", _B): _of_two(confusion.balanced),
    ("precision", _B): _share((0, 0, 0, 1), (0, 1, 0, 1)),
    ("recall", _B): _share((0, 0, 0, 1), (0, 0, 1, 1)),
    ("specificity", _B): _share((1, 0, 0, 0), (1, 1, 0, 0)),
    # F1 ignores true negatives: its evidence is the rows of class 1.
    ("f1", _B): Formula(kind=binary.F1, min_per_class=MIN_PER_CLASS),
    ("fbeta", _B): Formula(
        kind=lambda beta: _confusion(confusion.f_beta(beta)), min_per_class=MIN_PER_CLASS
    ),
    ("mcc", _B): _of_two(confusion.matthews),
    ("log_loss", _M): Formula(kind=multiclass.LOG_LOSS),
    ("brier", _M): Formula(kind=multiclass.BRIER),
    ("accuracy", _M): Formula(kind=multiclass.ACCURACY),
    ("balanced_accuracy", _M): _of_classes(multiclass.BALANCED_ACCURACY),
    ("macro_f1", _M): _of_classes(multiclass.MACRO_F1),
    ("weighted_f1", _M): Formula(kind=multiclass.WEIGHTED_F1),
    ("micro_f1", _M): Formula(kind=multiclass.ACCURACY),
    ("mcc", _M): Formula(kind=multiclass.MCC),
    ("top_k_accuracy", _M): Formula(kind=lambda k: multiclass.top(round(k))),
    ("roc_auc_ovr", _M): _of_classes(multiclass.ROC_AUC_OVR),
    ("mae", _R): Formula(kind=regression.MAE),
    ("mse", _R): Formula(kind=errors.MSE),
    ("rmse", _R): Formula(kind=regression.RMSE),
    ("medae", _R): Formula(kind=errors.MEDAE),
    ("mape", _R): Formula(kind=errors.MAPE),
    ("smape", _R): Formula(kind=errors.SMAPE),
    ("wape", _R): Formula(kind=errors.WAPE),
    ("r2", _R): Formula(kind=regression.R2),
    ("pinball", _R): Formula(kind=errors.pinball),
    ("abs_bias", _R): Formula(kind=errors.ABS_BIAS),
    ("coverage", _R): Formula(kind=errors.COVERAGE),
    ("ndcg", _Q): Formula(kind=lambda k: retrieval.ndcg(round(k)), ranking=True),
    ("map", _Q): Formula(kind=lambda k: retrieval.average_precision(round(k)), ranking=True),
    ("mrr", _Q): Formula(kind=retrieval.MRR, ranking=True),
    ("recall", _Q): Formula(kind=lambda k: retrieval.recall(round(k)), ranking=True),
    ("mean", _G): Formula(kind=regression.MEAN),
    ("pass_rate", _G): Formula(kind=repeats.PASS_RATE),
    ("pass_at", _G): Formula(kind=lambda k: repeats.pass_at(round(k))),
    ("pass_all", _G): Formula(kind=lambda k: repeats.pass_all(round(k))),
}
