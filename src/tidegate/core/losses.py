"""Per-row loss and mistake of one answer whose truth became known.

The canary compares *bounded* means (facts: empirical Bernstein), so every loss is divided by its
bound B and lies in [0, 1].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import assert_never

from tidegate.core.model import Task


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """What the truth says about one answer; None where the task knows no such measure."""

    mistake: bool | None
    loss: float | None  # divided by its bound, in [0, 1]


def judge(task: Task, prediction: float, label: float, *, clip: float | None) -> Judged:
    """Compare one prediction with its truth.

    Binary: the label is 0 or 1, a mistake is being on the wrong side of 0.5, the loss is Brier's
    ``(p - y)**2`` (B = 1). Regression: no mistakes; the loss is ``min(|p - y|, clip) / clip``,
    and none without ``clip``. Generic: neither.

    Args:
        task: what the model predicts.
        prediction: the answer that was given.
        label: the truth.
        clip: bound B of a regression's absolute error, in the target's units.

    Returns:
        The judged answer.

    Raises:
        ValueError: the label or the prediction cannot belong to the task (a binary label that is
            neither 0 nor 1, a probability outside [0, 1], NaN, infinity).

    >>> judge(Task.BINARY, 0.9, 0.0, clip=None)
    Judged(mistake=True, loss=0.81)
    >>> judge(Task.REGRESSION, 12.0, 7.0, clip=10.0)
    Judged(mistake=None, loss=0.5)
    """
    if not (math.isfinite(prediction) and math.isfinite(label)):
        raise ValueError(f"not finite: prediction {prediction}, label {label}")
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
