"""The one scorer: casts without loss, missing columns, and clear refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.endpoint.serving import trained
from tidegate.core.model import Task
from tidegate.endpoint.scorer import Scorer, load
from tidegate.errors import NotJudgedError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return load(trained(), Task.BINARY)


ROWS = {"amount": [0.5, 2.0], "age": [30, 41], "region": ["north", None], "rate": [0.25, 1.5]}


def test_a_probability_per_row_in_any_column_order_and_any_lossless_type(scorer: Scorer) -> None:
    wanted = scorer.score(pa.table(ROWS))
    assert wanted.dtype == np.float64
    assert ((wanted > 0) & (wanted < 1)).all()
    backwards = pa.table({"extra": [1, 2], **dict(reversed(ROWS.items()))})
    assert scorer.score(backwards).tolist() == wanted.tolist()
    frame = pd.DataFrame(ROWS).astype({"age": "float32", "region": "category"})
    assert scorer.score(frame).tolist() == wanted.tolist()


def test_a_missing_column_is_a_column_of_nulls(scorer: Scorer) -> None:
    without = pa.table({name: values for name, values in ROWS.items() if name != "amount"})
    nulls = pa.table({**ROWS, "amount": pa.nulls(2)})
    assert scorer.score(without).tolist() == scorer.score(nulls).tolist()


@pytest.mark.parametrize("rows", [{"amount": ["1.5"]}, {"region": [7]}, {"age": [True, "x"]}])
def test_values_of_another_kind_are_refused(scorer: Scorer, rows: dict[str, list[object]]) -> None:
    with pytest.raises(NotJudgedError):
        scorer.score(pd.DataFrame(rows))


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotJudgedError, match="Cannot load the model") as caught:
        load(tmp_path, Task.BINARY)
    assert "MLmodel" in caught.value.remedy


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (np.zeros((2, 3)), r"shape \(2, 3\)"),
        (np.zeros(1), r"shape \(1,\)"),
        (np.array(["yes", "no"]), "not numeric"),
    ],
)
def test_an_answer_that_is_not_one_number_per_row_is_refused(answer: object, said: str) -> None:
    scorer = Scorer(lambda _: answer, columns=("x",), types={}, matrix=None, task=Task.BINARY)
    with pytest.raises(NotJudgedError, match=said):
        scorer.score(pa.table({"x": [1, 2]}))
