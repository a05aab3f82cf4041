"""Per-row loss and mistake of one answer whose truth became known.

The canary compares *bounded* means (facts: empirical Bernstein), so every loss is divided by its
bound B and lies in [0, 1].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, assert_never

from tidegate.core.classes import label as text_of
from tidegate.core.model import Task

if TYPE_CHECKING:
    from collections.abc import Sequence

LOSSY = frozenset({Task.BINARY, Task.MULTICLASS, Task.REGRESSION})  # the answer has a loss
Prediction: TypeAlias = float | tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """What the truth says about one answer; None where the task knows no such measure."""

    mistake: bool | None
    loss: float | None  # divided by its bound, in [0, 1]


def judge(
    task: Task,
    prediction: Prediction,
    label: float | str,
    *,
    clip: float | None,
    classes: Sequence[str] = (),
) -> Judged:
    """Compare one prediction with its truth.

    Binary: the label is 0 or 1, a mistake is being on the wrong side of 0.5, the loss is Brier's
    ``(p - y)**2`` (B = 1). Multiclass: the label is a class, a mistake is another class with the
    largest probability (the first of several), the loss is Brier's sum over the classes (B = 2; Brier,
    Monthly Weather Review 78 (1950) 1-3). Regression: no mistakes; the loss is
    ``min(|p - y|, clip) / clip``, and none without ``clip``. Ranking and generic: neither.

    Args:
        task: what the model predicts.
        prediction: the answer that was given: a number, or one of each class; a regression's point
            may come with its interval.
        label: the truth.
        clip: bound B of a regression's absolute error, in the target's units.
        classes: multiclass: in the order of the probabilities.

    Returns:
        The judged answer.

    Raises:
        ValueError: the label or the prediction cannot belong to the task (a binary label that is
            neither 0 nor 1, a class that is none of them, a probability outside [0, 1], NaN, infinity).

    >>> judge(Task.BINARY, 0.9, 0.0, clip=None)
    Judged(mistake=True, loss=0.81)
    >>> judge(Task.REGRESSION, 12.0, 7.0, clip=10.0)
    Judged(mistake=None, loss=0.5)
    >>> judge(Task.MULTICLASS, (0.5, 0.5, 0.0), "b", clip=None, classes=("a", "b", "c"))
    Judged(mistake=True, loss=0.25)
    """
    numbers = prediction if isinstance(prediction, tuple) else (prediction,)
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"not finite: prediction {prediction}")
    if task is Task.MULTICLASS:
        return _of_classes(numbers, label, classes)
    if isinstance(label, str) or not math.isfinite(label):
        raise ValueError(f"not finite, or no number: label {label}")
    if len(numbers) != 1 and task is not Task.REGRESSION:
        raise ValueError(f"{len(numbers)} numbers are no answer of task {task}")
    return _of_numbers(task, numbers[0], label, clip)


def _of_classes(numbers: Sequence[float], label: float | str, classes: Sequence[str]) -> Judged:
    name = text_of(label)
    if name not in classes or len(numbers) != len(classes):
        raise ValueError(
            f"{len(numbers)} probabilities and the label {name}, of {len(classes)} classes"
        )
    if not all(0.0 <= number <= 1.0 for number in numbers):
        raise ValueError(f"probabilities lie in [0, 1], got {numbers}")
    truth = classes.index(name)
    loss = math.fsum((p - (k == truth)) ** 2 for k, p in enumerate(numbers))
    return Judged(mistake=numbers.index(max(numbers)) != truth, loss=min(loss / 2.0, 1.0))


def _of_numbers(task: Task, prediction: float, label: float, clip: float | None) -> Judged:
    match task:
        case Task.BINARY:
            if label not in {0.0, 1.0}:
                raise ValueError(f"a binary label is 0 or 1, got {label}")
            if not 0.0 <= prediction <= 1.0:
                raise ValueError(f"a probability lies in [0, 1], got {prediction}")
            return Judged(
                mistake=(prediction >= 0.5) != (label == 1.0), loss=(prediction - label) ** 2
            )
        case Task.REGRESSION:
            if clip is None:
                return Judged(mistake=None, loss=None)
            return Judged(mistake=None, loss=min(abs(prediction - label), clip) / clip)
        case Task.GENERIC | Task.RANKING | Task.MULTICLASS:
            return Judged(mistake=None, loss=None)
        case _:
            assert_never(task)
