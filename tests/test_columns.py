"""Predictions with classes, groups and weights: good files become columns, bad ones say why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tidegate.core import checks
from tidegate.core.model import Cause, Task
from tidegate.core.table import Predictions
from tidegate.errors import ConfigError
from tidegate.predictions import infer_task, read

if TYPE_CHECKING:
    from pathlib import Path

_COLUMNS: dict[str, Any] = {
    "id": [1, 2, 3, 4],
    "y_true": ["cat", "dog", "eel", "dog"],
    "candidate": [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.5, 0.3, 0.2]],
    "champion": [[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.3, 0.2, 0.5], [0.4, 0.4, 0.2]],
}
_CLASSES = ("cat", "dog", "eel")


def _write(folder: Path, **changes: Any) -> Path:
    path = folder / "p.parquet"
    pq.write_table(pa.table({**_COLUMNS, **changes}), path)
    return path


def _read(path: Path, **options: Any) -> Predictions:
    return read(path, **{"task": Task.MULTICLASS, "classes": _CLASSES, **options})


def test_lists_of_probabilities_are_matrices_and_labels_are_numbers(tmp_path: Path) -> None:
    table = _read(_write(tmp_path))
    assert table.y_true is not None
    assert table.champion is not None
    assert table.y_true.tolist() == [0, 1, 2, 1]
    assert table.candidate.tolist() == _COLUMNS["candidate"]
    assert table.champion.shape == (4, 3)


def test_the_order_of_the_classes_is_the_one_that_was_agreed(tmp_path: Path) -> None:
    table = _read(_write(tmp_path), classes=("eel", "dog", "cat"))
    assert table.y_true is not None
    assert table.y_true.tolist() == [2, 1, 0, 1]


def test_without_a_file_of_rules_lists_are_of_a_multiclass_model(tmp_path: Path) -> None:
    table = read(_write(tmp_path))
    assert infer_task(table) is Task.MULTICLASS
    assert table.y_true is not None
    assert table.y_true.tolist() == [0, 1, 2, 1]


@pytest.mark.parametrize(
    "truth",
    [[9, 10, 100, 10], [9.0, 10.0, 100.0, 10.0], pa.array(["9", "10", "100", "10"]).dictionary_encode()],
    ids=["whole", "float", "text"],
)  # fmt: skip
def test_a_class_is_known_by_its_text_whatever_type_wrote_it(tmp_path: Path, truth: Any) -> None:
    table = _read(_write(tmp_path, y_true=truth), classes=("9", "10", "100"))
    assert table.y_true is not None
    assert table.y_true.tolist() == [0, 1, 2, 1]


def test_a_null_among_the_answers_is_an_answer_that_failed(tmp_path: Path) -> None:
    answers = [None, [0.1, 0.8, 0.1], [0.2, None, 0.6], [0.5, 0.3, 0.2]]
    table = _read(_write(tmp_path, candidate=answers))
    assert np.isnan(table.candidate).sum() == 4
    (finding,) = checks.unusable(table, Task.MULTICLASS)
    assert (finding.cause, finding.column, finding.n) == (Cause.NOT_A_NUMBER, "candidate", 2)


def test_lists_of_any_arrow_kind_in_several_row_groups_are_whole(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    answers = rng.dirichlet([1, 1, 1], 1000)
    for kind in (pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float64(), 3)):
        table = pa.table(
            {"id": np.arange(1000), "y_true": np.arange(1000) % 3,
             "candidate": pa.array(answers.tolist(), type=kind)}
        )  # fmt: skip
        path = tmp_path / "p.parquet"
        pq.write_table(table, path, row_group_size=300)
        found = _read(path, classes=("0", "1", "2")).candidate
        assert np.allclose(found, answers, rtol=0, atol=1e-7)


def test_a_regression_may_answer_with_an_interval(tmp_path: Path) -> None:
    answers = [[1.0, 0.5, 1.5]] * 4
    path = _write(tmp_path, y_true=[1, 2, 3, 4], candidate=answers, champion=[1.0, 2.0, 3.0, 4.0])
    table = read(path, task=Task.REGRESSION)
    assert table.champion is not None
    assert (table.candidate.shape, table.champion.shape) == ((4, 3), (4,))


def test_groups_and_weights_are_read_where_they_are_asked_for(tmp_path: Path) -> None:
    path = _write(tmp_path, group=["u", "v", "u", "w"], weight=[1, 0, 2, 0.5])
    table = _read(path, group=True, weight=True)
    assert table.group is not None
    assert table.weight is not None
    assert table.group[0] == table.group[2]
    assert sorted(set(table.group.tolist())) == [0, 1, 2]
    assert table.weight.tolist() == [1, 0, 2, 0.5]
    assert _read(path).group is None


def test_a_csv_of_a_ranking_keeps_queries_apart(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("id,y_true,candidate,group,weight\na,0,0.1,007,1\nb,2,0.4,7,2\n")
    table = read(path, task=Task.RANKING, group=True, weight=True)
    assert table.group is not None
    assert table.weight is not None
    assert (table.group.tolist(), table.weight.tolist()) == ([0, 1], [1, 2])


BAD: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "an unknown class": (
        {"y_true": ["cat", "dog", "emu", "dog"]}, {},
        "column 'y_true': got the class 'emu' (row 3), expected one of cat, dog, eel",
    ),
    "no class": (
        {"y_true": ["cat", None, "eel", "dog"]}, {},
        "column 'y_true': 1 of 4 rows have no value (the first is row 2), expected one in every row",
    ),
    "too few probabilities": (
        {"candidate": [[0.7, 0.2, 0.1], [0.1, 0.9], [0.2, 0.2, 0.6], [0.5, 0.3, 0.2]]}, {},
        "column 'candidate': row 2 has 2 numbers, expected 3: a probability of each class (cat, dog, eel)",
    ),
    "one probability": (
        {"champion": [0.1, 0.2, 0.3, 0.4]}, {},
        "column 'champion': got double, expected a list of 3 numbers per row: a probability of each class "
        "(cat, dog, eel)",
    ),
    "lists of text": (
        {"candidate": [["a", "b", "c"]] * 4}, {},
        "column 'candidate': got string (row 1: 'a'), expected numbers",
    ),
    "no group column": (
        {}, {"group": True},
        "no column 'group'; it has id, y_true, candidate, champion",
    ),
    "a group column with nulls": (
        {"group": ["u", None, None, "w"]}, {"group": True},
        "column 'group': 2 of 4 rows have no value (the first is row 2), expected one in every row",
    ),
    "a group column with NaN": (
        {"group": [1.0, 2.0, float("nan"), 1.0]}, {"group": True},
        "column 'group': 1 of 4 rows have no value (the first is row 3), expected one in every row",
    ),
    "a list for a group": (
        {"group": [["u"]] * 4}, {"group": True},
        "column 'group': got list<element: string>, expected one value per row",
    ),
    "a negative weight": (
        {"weight": [1, 2, -0.5, -1]}, {"weight": True},
        "column 'weight': got -0.5 in row 3 (and in 1 more), expected finite weights of 0 or more",
    ),
    "a weight without end": (
        {"weight": [1, np.inf, 1, 1]}, {"weight": True},
        "column 'weight': got inf in row 2 (and in 0 more), expected finite weights of 0 or more",
    ),
    "a weight that is not there": (
        {"weight": [1, None, 1, 1]}, {"weight": True},
        "column 'weight': got nan in row 2 (and in 0 more), expected finite weights of 0 or more",
    ),
    "weights of nothing": (
        {"weight": [0, 0, 0, 0]}, {"weight": True},
        "column 'weight': every weight is 0, expected one above it",
    ),
    "one class only": (
        {"y_true": ["cat"] * 4}, {"classes": ()},
        "column 'y_true' has 1 different values, expected 2 to 1,000 classes",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("columns", "options", "says"), BAD.values(), ids=BAD)
def test_bad_columns_say_what_is_there_and_what_was_expected(
    tmp_path: Path, columns: dict[str, Any], options: dict[str, Any], says: str
) -> None:
    path = _write(tmp_path, **columns)
    with pytest.raises(ConfigError) as caught:
        _read(path, **options)
    assert str(caught.value) == f"{path}: {says}"


FINDINGS = {
    "probabilities that sum to 0.9": ("candidate", [0.3, 0.3, 0.3], Cause.NOT_NORMALISED),
    "the champion's as well": ("champion", [0.5, 0.5, 0.5], Cause.NOT_NORMALISED),
    "a probability of 1.2": ("candidate", [1.2, -0.1, -0.1], Cause.OUT_OF_RANGE),
    "infinity": ("candidate", [np.inf, 0.0, 0.0], Cause.NOT_A_NUMBER),
}


@pytest.mark.parametrize(("name", "row", "cause"), FINDINGS.values(), ids=FINDINGS)
def test_a_models_bad_probabilities_are_a_finding_of_that_model(
    tmp_path: Path, name: str, row: list[float], cause: Cause
) -> None:
    answers = [*_COLUMNS[name][:3], row]
    table = _read(_write(tmp_path, **{name: answers}))
    (finding,) = checks.unusable(table, Task.MULTICLASS)
    assert (finding.cause, finding.column, finding.n) == (cause, name, 1)


def test_probabilities_of_floats_sum_to_one_closely_enough(tmp_path: Path) -> None:
    answers = [[0.5, 0.3, 0.2 + 9e-7]] * 4
    assert not checks.unusable(_read(_write(tmp_path, candidate=answers)), Task.MULTICLASS)


def test_a_relevance_below_zero_is_a_finding() -> None:
    table = Predictions(candidate=np.zeros(3), y_true=np.array([0.0, -1.0, 2.0]))
    (finding,) = checks.unusable(table, Task.RANKING)
    assert (finding.cause, finding.column) == (Cause.NEGATIVE, "y_true")
