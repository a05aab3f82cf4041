"""Per-row loss and mistake."""

from __future__ import annotations

import math

import pytest

from tidegate.core.losses import Judged, judge
from tidegate.core.model import Task


@pytest.mark.parametrize(
    ("task", "prediction", "label", "clip", "expected"),
    [
        pytest.param(Task.BINARY, 0.75, 1.0, None, Judged(mistake=False, loss=0.0625), id="right"),
        pytest.param(Task.BINARY, 0.75, 0.0, None, Judged(mistake=True, loss=0.5625), id="wrong"),
        pytest.param(Task.BINARY, 0.5, 1.0, None, Judged(mistake=False, loss=0.25), id="half is 1"),
        pytest.param(Task.BINARY, 0.5, 0.0, None, Judged(mistake=True, loss=0.25), id="half, 0"),
        pytest.param(Task.REGRESSION, 3.0, 1.0, 8.0, Judged(mistake=None, loss=0.25), id="number"),
        pytest.param(Task.REGRESSION, 3.0, 99.0, 8.0, Judged(mistake=None, loss=1.0), id="clipped"),
        pytest.param(
            Task.REGRESSION, 3.0, 1.0, None, Judged(mistake=None, loss=None), id="no clip"
        ),
        pytest.param(Task.GENERIC, 3.0, 1.0, None, Judged(mistake=None, loss=None), id="generic"),
    ],
)
def test_an_answer_is_judged_by_its_task(
    task: Task, prediction: float, label: float, clip: float | None, expected: Judged
) -> None:
    assert judge(task, prediction, label, clip=clip) == expected


@pytest.mark.parametrize(
    ("prediction", "label"), [(0.5, 2.0), (1.5, 1.0), (math.nan, 1.0), (0.5, math.inf)]
)
def test_what_cannot_be_a_probability_or_its_truth_is_refused(
    prediction: float, label: float
) -> None:
    with pytest.raises(ValueError, match=r"0 or 1|\[0, 1\]|not finite"):
        judge(Task.BINARY, prediction, label, clip=None)
