"""What a report draws of two models' predictions: compact, bounded, without feature values.

A picture explains a verdict and never makes one: nothing here decides. Weights count where rows are
averaged; intervals take the rows (or, where they come in groups, the groups) as independent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tidegate.core import curves
from tidegate.core.model import Task
from tidegate.core.table import CANDIDATE, CHAMPION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.core.metrics.estimate import Floats
    from tidegate.core.table import Predictions

MOST_WORST = 20
MOST_CLASSES = 12  # more are one class "other" in the picture
OTHER = "other"
_LONGEST = 120  # characters of a name from outside


@dataclass(frozen=True, kw_only=True, slots=True)
class Bin:
    """Rows with similar probabilities: what was said, and how often it came true.

    ``lower`` and ``upper`` are the two-sided 95 % interval of ``observed``, Wilson's.
    """

    n: int
    predicted: float
    observed: float
    lower: float
    upper: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Rows with similar predictions, and the 5, 25, 50, 75 and 95 % quantiles of truth - prediction."""

    n: int
    predicted: float
    quantiles: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """One model's pictures; empty where the task has no such picture.

    Attributes:
        role: candidate or champion.
        roc: (false positive rate, true positive rate), from (0, 0) to (1, 1), at most 200 points.
        calibration: at most 10 bins of about as many rows each, by probability.
        confusion: rows are true classes, columns the classes said; counts.
        residuals: at most 10 bands of about as many rows each, by prediction.
        scores: rows per interval of :attr:`Pictures.edges`.
    """

    role: str
    roc: tuple[tuple[float, float], ...] = ()
    calibration: tuple[Bin, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    residuals: tuple[Spread, ...] = ()
    scores: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class WorstRow:
    """A row on which the candidate lost against the champion.

    Attributes:
        id: the row's id as text.
        lost: the candidate's loss minus the champion's: squared error of the probabilities
            (binary, multiclass), absolute error (regression), the score's shortfall (generic).
        truth: None for task generic; a class's number for multiclass, with its name in ``label``.
        candidate: the answer; multiclass: the probability of the true class.
        champion: the same.
        slices: the row's values in the slice columns.
    """

    id: str
    lost: float
    candidate: float
    champion: float
    truth: float | None = None
    label: str | None = None
    slices: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Pictures:
    """Everything a report draws beside its findings.

    Attributes:
        task: what the models predict.
        n: rows.
        counts: rows per class, for binary (0, 1) and for multiclass.
        groups: how many groups (users, sessions, queries) the rows come from; None without.
        weighted: whether the rows have weights.
        classes: names of the confusion matrix's classes.
        edges: of the score distribution's intervals; the outer ones also hold what lies beyond.
        models: candidate first, then the champion where there is one.
        worst: worst first.
        candidate: digest of the model that the pictures show, like ``holdout`` as in the verdict.
    """

    task: Task
    n: int
    models: tuple[Drawn, ...]
    counts: tuple[int, ...] = ()
    groups: int | None = None
    weighted: bool = False
    classes: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    worst: tuple[WorstRow, ...] = ()
    candidate: str | None = None
    holdout: str | None = None


def picture(  # noqa: PLR0913 (a table, and what the file says of it)
    table: Predictions,
    task: Task,
    *,
    names: Sequence[str] = (),
    candidate: str | None = None,
    holdout: str | None = None,
    with_rows: bool = True,
) -> Pictures | None:
    """Return what to draw of a table; None where predictions or truth are not numbers.

    Args:
        table: the predictions that were judged.
        task: what the models predict.
        names: the classes' names in the order of the probabilities, for multiclass.
        candidate: the candidate's digest.
        holdout: the holdout's digest.
        with_rows: False: no row is named; what is shown of a stranger's run.
    """
    models = [(CANDIDATE, table.candidate)]
    if table.champion is not None:
        models.append((CHAMPION, table.champion))
    truth = table.y_true
    if table.n == 0 or not all(np.isfinite(values).all() for _, values in models):
        return None
    if task is not Task.GENERIC and (truth is None or not np.isfinite(truth).all()):
        return None
    drawn, shared = _drawn(table, task, models, names)
    return Pictures(
        task=task,
        n=table.n,
        models=drawn,
        counts=_counts(table, task),
        groups=None if table.group is None else int(table.group.max()) + 1,
        weighted=table.weight is not None,
        worst=_worst(table, task, names) if with_rows else (),
        candidate=candidate,
        holdout=holdout,
        **shared,
    )


def _drawn(
    table: Predictions, task: Task, models: list[tuple[str, Floats]], names: Sequence[str]
) -> tuple[tuple[Drawn, ...], dict[str, Any]]:
    """Return every model's pictures, and what they share: the axis, or the classes' names."""
    truth, weight = table.y_true, table.weight
    match task:
        case Task.BINARY if truth is not None:
            found = tuple(
                Drawn(
                    role=role,
                    roc=curves.roc(truth, p, weight),
                    calibration=tuple(
                        Bin(**b) for b in curves.calibration(truth, p, weight, table.group)
                    ),
                )
                for role, p in models
            )
            return found, {}
        case Task.MULTICLASS if truth is not None:
            shown = curves.frequent(truth, models[0][1].shape[1], MOST_CLASSES)
            label = [_name(names, number) for number in shown]
            more = len(shown) < models[0][1].shape[1]
            found = tuple(
                Drawn(role=role, confusion=curves.confusion(truth, p, shown)) for role, p in models
            )
            return found, {"classes": (*label, *([OTHER] if more else []))}
        case Task.REGRESSION if truth is not None:
            found = tuple(
                Drawn(
                    role=role,
                    residuals=tuple(Spread(**s) for s in curves.residuals(truth, _point(p))),
                )
                for role, p in models
            )
            return found, {}
        case _:
            edges = curves.edges([p for _, p in models])
            found = tuple(Drawn(role=role, scores=curves.histogram(p, edges)) for role, p in models)
            return found, {"edges": tuple(float(edge) for edge in edges)}


def _counts(table: Predictions, task: Task) -> tuple[int, ...]:
    if table.y_true is None or task not in (Task.BINARY, Task.MULTICLASS):
        return ()
    classes = 2 if task is Task.BINARY else table.candidate.shape[1]
    if classes > 100 * MOST_CLASSES:
        return ()
    return tuple(np.bincount(table.y_true.astype(np.intp), minlength=classes).tolist())


# --- rows -----------------------------------------------------------------------------------


def _worst(table: Predictions, task: Task, names: Sequence[str]) -> tuple[WorstRow, ...]:
    """Return the rows where the candidate lost most, worst first; none where it lost nowhere."""
    if table.champion is None or table.ids is None or task is Task.RANKING:
        return ()  # a ranking has no loss of a single row
    lost = _loss(table.y_true, table.candidate, task) - _loss(table.y_true, table.champion, task)
    least = np.partition(lost, -min(MOST_WORST, table.n))[-min(MOST_WORST, table.n)]
    worst = np.flatnonzero(lost >= least)  # in the order of the rows, so that ties are settled
    worst = worst[np.argsort(-lost[worst], kind="stable")][:MOST_WORST]
    return tuple(_row(table, task, names, int(i), float(lost[i])) for i in worst if lost[i] > 0)


def _loss(truth: Floats | None, prediction: Floats, task: Task) -> Floats:
    """Return every row's loss, shape (n,)."""
    if task is Task.GENERIC or truth is None:
        return -prediction
    if task is Task.BINARY:
        return np.square(prediction - truth)
    if task is Task.MULTICLASS:
        said = _of_truth(truth, prediction)
        loss: Floats = np.square(prediction).sum(axis=1) - 2 * said + 1
        return loss
    return np.abs(_point(prediction) - truth)


def _row(table: Predictions, task: Task, names: Sequence[str], i: int, lost: float) -> WorstRow:
    assert table.champion is not None
    assert table.ids is not None
    mine, theirs = table.candidate[i : i + 1], table.champion[i : i + 1]
    truth = None if table.y_true is None else table.y_true[i : i + 1]
    if task is Task.MULTICLASS and truth is not None:
        mine, theirs = _of_truth(truth, mine), _of_truth(truth, theirs)
    else:
        mine, theirs = _point(mine), _point(theirs)
    known = truth is not None and task is not Task.GENERIC
    value = float(truth[0]) if truth is not None and known else None
    return WorstRow(
        id=str(table.ids[i])[:_LONGEST],
        lost=lost,
        truth=value,
        label=_name(names, int(value)) if task is Task.MULTICLASS and value is not None else None,
        candidate=float(mine[0]),
        champion=float(theirs[0]),
        slices=tuple(
            (name[:_LONGEST], categories[codes[i]][:_LONGEST])
            for name, (categories, codes) in table.slices.items()
            if codes[i] >= 0
        ),
    )


def _of_truth(truth: Floats, prediction: Floats) -> Floats:
    said: Floats = prediction[np.arange(len(truth)), truth.astype(np.intp)]
    return said


def _point(prediction: Floats) -> Floats:
    """Return the point predictions of a regression that may carry an interval."""
    points: npt.NDArray[np.float64] = prediction if prediction.ndim == 1 else prediction[:, 0]
    return points


def _name(names: Sequence[str], number: int) -> str:
    return names[number][:_LONGEST] if number < len(names) else f"class {number}"
