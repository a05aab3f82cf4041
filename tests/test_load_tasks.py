"""``mlops.yaml``: classes, groups and weights, and what the reader is told about bad ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.test_load import problems
from tidegate.load import load

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.core.config import Config

DATA = "data: {train: a.parquet, holdout: b.parquet, target: y, id: id"
IRIS = f"""\
version: 1
model: {{name: iris, task: multiclass, classes: [setosa, versicolor, 3]}}
{DATA}}}
train: {{run: python train.py}}
gate: {{rules: [{{metric: latency_p95_ms, at_most: 5}}]}}
"""
SEARCH = IRIS.replace("task: multiclass, classes: [setosa, versicolor, 3]", "task: ranking")
GUARD = "release: {canary: {guards: [{metric: label_error, margin: 1.2x}]}}\n"


def loaded(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "mlops.yaml"
    path.write_text(text)
    return load(path)


def test_classes_are_texts_in_the_order_in_which_they_stand(tmp_path: Path) -> None:
    assert loaded(tmp_path, IRIS).model.classes == ("setosa", "versicolor", "3")
    unnamed = IRIS.replace(", classes: [setosa, versicolor, 3]", "")
    assert loaded(tmp_path, unnamed).model.classes == ()


def test_group_and_weight_are_columns_of_the_data(tmp_path: Path) -> None:
    data = loaded(tmp_path, IRIS.replace("id: id}", "id: id, group: user, weight: w}")).data
    assert (data.group, data.weight) == ("user", "w")


def test_other_groups_weights_or_classes_are_other_rules(tmp_path: Path) -> None:
    texts = [
        IRIS,
        IRIS.replace("id: id}", "id: id, group: user}"),
        IRIS.replace("id: id}", "id: id, weight: user}"),
        IRIS.replace("setosa, versicolor", "versicolor, setosa"),
    ]
    assert len({loaded(tmp_path, text).rules_digest for text in texts}) == 4
    assert loaded(tmp_path, IRIS.replace("id: id}", "id: row}")).rules_digest == (
        loaded(tmp_path, IRIS).rules_digest
    )


CASES = {
    "classes-of-a-regression": (
        IRIS.replace("multiclass", "regression"),
        "2:39: model.classes: got classes for task regression, expected no such key: only a multiclass "
        "model answers with a probability of each class",
    ),
    "one-class": (
        IRIS.replace("[setosa, versicolor, 3]", "[setosa]"),
        "2:48: model.classes: got a list, expected at least 2 item(s)",
    ),
    "a-class-twice": (
        IRIS.replace("[setosa, versicolor, 3]", "['3', 4, 3.0]"),
        '2:48: model.classes: got the class 3 twice, expected different classes (3, 3.0 and "3" are '
        "one class)",
    ),
    "a-class-that-is-a-list": (
        IRIS.replace("[setosa, versicolor, 3]", "[a, [b]]"),
        "2:52: model.classes[1]: got a list, expected text or a number or true or false",
    ),
    "late-labels-without-an-order": (
        IRIS.replace(", classes: [setosa, versicolor, 3]", "") + GUARD,
        "2:8: model.classes: got nothing, beside a guard of label_error, expected the classes in their "
        "order: labels that arrive later are read by it",
    ),
    "ranking-without-queries": (
        SEARCH,
        "3:7: data.group: got nothing, expected the column that says which rows are of one query (task "
        "ranking)",
    ),
    "one-column-in-two-roles": (
        IRIS.replace("id: id}", "id: id, group: id}"),
        "3:7: data: got one column in two roles, expected target, id, time, group and weight to be "
        "different columns",
    ),
    "an-empty-weight": (
        IRIS.replace("id: id}", "id: id, weight: ''}"),
        "3:73: data.weight: got '', expected text that is not empty",
    ),
    "label-guard-of-a-ranking": (
        SEARCH.replace("id: id}", "id: id, group: q}") + GUARD,
        "6:38: release.canary.guards[0].metric: got label_error for task ranking, expected a task of "
        "binary, multiclass",
    ),
}


@pytest.mark.parametrize(("text", "line"), CASES.values(), ids=CASES)
def test_bad_files_say_where_what_and_what_was_expected(
    tmp_path: Path, text: str, line: str
) -> None:
    assert problems(tmp_path, text) == [line]
