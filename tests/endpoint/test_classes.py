"""A multiclass model answers in one order, offline, live and in the log its labels are joined to."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.core.test_joining import as_the_endpoint_does, row
from tidegate import bundles
from tidegate.core.joining import join
from tidegate.core.losses import judge
from tidegate.core.model import Task
from tidegate.endpoint import lines, measuring
from tidegate.endpoint.asking import predictions_of
from tidegate.endpoint.forward import predictions
from tidegate.endpoint.joining import Answer
from tidegate.endpoint.layout import Folder
from tidegate.endpoint.scorer import Scorer, _own_classes
from tidegate.errors import NotJudgedError
from tidegate.ports import Measure, Truth

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = ("cat", "dog", "007")
ROWS = pa.table({"x": [1.0, 2.0]})
ANSWER = [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]
MEASURE = Measure(
    interval=60.0, slower_than=None, task=Task.MULTICLASS, clip=None, label_source=None,
    label_every=600, classes=CLASSES,
)  # fmt: skip


def scored(answer: object, own: tuple[str, ...] | None = None) -> list[list[float]]:
    scorer = Scorer(
        lambda _: answer, columns=None, types={}, matrix=None, task=Task.MULTICLASS,
        classes=CLASSES, own=own,
    )  # fmt: skip
    found: list[list[float]] = scorer.score(ROWS).tolist()
    return found


def test_probabilities_stand_in_the_agreed_order_whatever_the_models_own_is() -> None:
    assert scored(np.array(ANSWER)) == ANSWER
    assert scored(np.array(ANSWER), ("dog", "007", "cat")) == [[0.1, 0.7, 0.2], [0.6, 0.1, 0.3]]


def test_a_class_that_the_model_has_never_seen_has_no_probability() -> None:
    assert scored([[0.7, 0.3], [0.4, 0.6]], ("dog", "cat")) == [[0.3, 0.7, 0.0], [0.6, 0.4, 0.0]]


def test_a_data_frame_that_names_the_classes_is_read_by_its_names() -> None:
    frame = pd.DataFrame(ANSWER, columns=["007", "cat", "dog"])
    assert scored(frame) == [[0.2, 0.1, 0.7], [0.3, 0.6, 0.1]]
    assert scored(pd.DataFrame(ANSWER)) == ANSWER  # numbered columns name nothing


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (["cat", "dog"], "not numeric"),
        ([0, 1], r"shape \(2,\), expected \(2, 3\)"),
        ([[0.5, 0.5], [0.5, 0.5]], r"shape \(2, 2\), expected \(2, 3\)"),
    ],
)
def test_labels_or_too_few_probabilities_are_no_answer(answer: object, says: str) -> None:
    with pytest.raises(NotJudgedError, match=says):
        scored(answer)


def test_a_model_of_other_classes_is_not_judged() -> None:
    model = SimpleNamespace(classes_=np.array(["cat", "emu"]))
    with pytest.raises(NotJudgedError, match="The model's classes are cat, emu; 'emu' is none of"):
        _own_classes(model, CLASSES)
    assert _own_classes(SimpleNamespace(classes_=np.array([7.0, 3])), ("3", "7")) == ("7", "3")
    assert _own_classes(SimpleNamespace(), CLASSES) is None


def test_a_regression_answers_with_a_number_or_a_point_and_its_interval() -> None:
    def answered(answer: object) -> Any:
        scorer = Scorer(lambda _: answer, columns=None, types={}, matrix=None, task=Task.REGRESSION)
        return scorer.score(ROWS).tolist()

    assert answered([[1.0, 0.0, 2.0], [2.0, 1.0, 3.0]]) == [[1.0, 0.0, 2.0], [2.0, 1.0, 3.0]]
    with pytest.raises(NotJudgedError, match=r"shape \(2, 2\)"):
        answered([[1.0, 0.0], [2.0, 1.0]])


def test_what_was_asked_past_the_traffic_may_be_lists() -> None:
    assert predictions_of({"predictions": ANSWER}, 2, "Version 3").tolist() == ANSWER
    for wrong in (
        {"predictions": [[0.1], [0.1, 0.2]]},
        {"predictions": 3},
        [1, 2],
        {"predictions": ANSWER[:1]},
    ):
        with pytest.raises(NotJudgedError, match="Version 3 answered"):
            predictions_of(wrong, 2, "Version 3")


def test_a_users_server_may_answer_with_lists() -> None:
    found = predictions(json.dumps({"predictions": ANSWER}).encode())
    assert found is not None
    assert found.tolist() == ANSWER
    assert predictions(b'{"predictions": [[[1.0]]]}') is None
    assert predictions(b'{"predictions": [[1.0], [2.0, 3.0]]}') is None


def test_the_parity_sample_keeps_lists_and_the_classes_order(tmp_path: Path) -> None:
    answers = np.array(ANSWER)
    bundles.save_parity(tmp_path, ROWS, answers, CLASSES)
    rows, offline = bundles.load_parity(tmp_path)
    assert rows.column_names == ["x"]
    assert offline.tolist() == ANSWER
    assert bundles.classes(tmp_path) == CLASSES
    assert bundles.differs(offline, answers) == 0.0
    assert bundles.differs(offline, answers[:, [1, 0, 2]]) == pytest.approx(0.5)
    assert bundles.differs(offline, answers[:, 0]) == np.inf  # another number of classes
    bundles.save_parity(tmp_path, ROWS, answers[:, 0])
    assert bundles.classes(tmp_path) == ()
    assert bundles.classes(tmp_path / "elsewhere") == ()


JUDGED = {
    "right": ((0.7, 0.2, 0.1), "cat", False, (0.09 + 0.04 + 0.01) / 2),
    "wrong": ((0.7, 0.2, 0.1), "007", True, (0.49 + 0.04 + 0.81) / 2),
    "surely wrong": ((1.0, 0.0, 0.0), "dog", True, 1.0),
    "the first of two": ((0.5, 0.5, 0.0), "cat", False, 0.25),
}


@pytest.mark.parametrize(("answer", "label", "mistake", "loss"), JUDGED.values(), ids=JUDGED)
def test_a_mistake_is_another_likeliest_class_and_the_loss_is_briers(
    answer: tuple[float, ...],
    label: str,
    mistake: bool,
    loss: float,
) -> None:
    found = judge(Task.MULTICLASS, answer, label, clip=None, classes=CLASSES)
    assert found.mistake is mistake
    assert found.loss == pytest.approx(loss, abs=1e-12)


@pytest.mark.parametrize(
    ("task", "answer", "label"),
    [
        (Task.MULTICLASS, (0.5, 0.5, 0.0), "emu"),
        (Task.MULTICLASS, (0.5, 0.5, 0.0), 7.0),  # 007 is not 7
        (Task.MULTICLASS, (0.5, 0.5), "cat"),
        (Task.MULTICLASS, (1.5, -0.5, 0.0), "cat"),
        (Task.MULTICLASS, (float("nan"), 0.5, 0.5), "cat"),
        (Task.MULTICLASS, 0.5, "cat"),
        (Task.BINARY, 0.5, "1"),
        (Task.BINARY, (0.5, 0.5), 1.0),
        (Task.REGRESSION, 0.5, "high"),
    ],
)  # fmt: skip
def test_what_cannot_belong_together_is_refused(
    task: Task, answer: float | tuple[float, ...], label: float | str
) -> None:
    with pytest.raises(ValueError, match=r"label|answer|lie in|not finite|probabilities"):
        judge(task, answer, label, clip=1.0, classes=CLASSES)


def test_a_ranking_has_neither_mistakes_nor_losses() -> None:
    found = judge(Task.RANKING, 0.5, 1.0, clip=None)
    assert (found.mistake, found.loss) == (None, None)


def test_a_logged_list_is_read_as_it_was_written() -> None:
    line = json.dumps({"id": "a", "t": 3.0, "p": ANSWER[0]}).encode()
    assert lines.answer(line, "1") == Answer("a", 3.0, "1", (0.7, 0.2, 0.1))
    assert lines.answer(b'{"id": "a", "t": 3.0, "p": [0.5, "x"]}', "1") is None


@pytest.mark.parametrize("label_first", [False, True])
def test_both_ways_of_joining_count_the_same(tmp_path: Path, label_first: bool) -> None:
    answers = [
        replace(row("a", 61), prediction=(0.7, 0.2, 0.1)),
        replace(row("b", 62), prediction=(0.7, 0.2, 0.1)),
        replace(row("c", 63), prediction=(0.1, 0.2, 0.7)),
    ]
    at = 10.0 if label_first else 100.0
    labels = [
        Truth(id="a", value="cat", at=at), Truth(id="b", value="dog", at=at),
        Truth(id="c", value="007", at=at), Truth(id="d", value="cat", at=at),
    ]  # fmt: skip
    joined = join(
        answers, labels, MEASURE, first=0, closed=100, closed_bucket=100, versions=("1", "2")
    )
    (stratum,) = joined.strata
    assert stratum.champion is not None
    arm = stratum.champion
    assert (arm.labelled, arm.mistakes) == (3, 1)
    losses = [0.07, (0.49 + 0.64 + 0.01) / 2, 0.07]
    assert arm.loss_sum == pytest.approx(sum(losses))
    live = as_the_endpoint_does(tmp_path / "s.sqlite", answers, labels, MEASURE)
    ((labelled, mistakes, total, _),) = live.values()
    assert (labelled, mistakes) == (3, 1)
    assert total == pytest.approx(sum(losses))


def test_how_labels_are_counted_is_written_and_read_with_the_classes(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "endpoint")
    measuring.write(folder, MEASURE)
    assert measuring.read(folder) == MEASURE
    other = replace(MEASURE, classes=("dog", "cat", "007"))
    assert measuring.label_key(MEASURE) != measuring.label_key(other)
    assert "classes" not in measuring.label_key(replace(MEASURE, classes=()))
