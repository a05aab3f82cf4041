"""Reading predictions: good files become columns, bad ones say which column and what to do."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tidegate.core.model import Task
from tidegate.core.table import Predictions
from tidegate.errors import ConfigError, Exit
from tidegate.predictions import MISSING, infer_task, read

if TYPE_CHECKING:
    from pathlib import Path

_COLUMNS: dict[str, Any] = {
    "id": ["a", "b", "c"],
    "y_true": [0, 1, 1],
    "candidate": [0.1, 0.9, 0.4],
    "champion": [0.2, 0.8, 0.3],
}


def _write(folder: Path, **changes: Any) -> Path:
    columns = {k: v for k, v in {**_COLUMNS, **changes}.items() if v is not None}
    path = folder / "predictions.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def _csv(folder: Path, text: str) -> Path:
    path = folder / "predictions.csv"
    path.write_text(text)
    return path


def test_a_parquet_table_becomes_columns(tmp_path: Path) -> None:
    path = _write(tmp_path, anchor=[0.3, 0.7, 0.2], region=["n", "s", "n"], unused=[1, 2, 3])
    table = read(path, by=["region"])
    assert table.ids is not None
    assert table.y_true is not None
    assert table.champion is not None
    assert table.anchor is not None
    assert table.ids.tolist() == ["a", "b", "c"]
    assert table.y_true.tolist() == [0.0, 1.0, 1.0]
    assert table.candidate.tolist() == [0.1, 0.9, 0.4]
    assert table.champion.tolist() == [0.2, 0.8, 0.3]
    assert table.anchor.tolist() == [0.3, 0.7, 0.2]
    assert list(table.slices) == ["region"]
    categories, codes = table.slices["region"]
    assert [categories[code] for code in codes] == ["n", "s", "n"]


def test_a_csv_table_becomes_the_same_columns(tmp_path: Path) -> None:
    text = "id,y_true,candidate,champion,region\n007,0,0.1,0.2,NA\n7,1,0.9,0.8,\n"
    table = read(_csv(tmp_path, text), by=["region"])
    assert table.ids is not None
    assert table.y_true is not None
    assert table.ids.tolist() == ["007", "7"]  # ids are text: these are two
    assert table.y_true.tolist() == [0.0, 1.0]
    assert set(table.slices["region"][0]) == {"NA", MISSING}  # North America, and nothing


def test_a_table_in_several_row_groups_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    n = 1000
    columns = {
        "id": np.arange(n),
        "y_true": np.arange(n) % 2 == 0,
        "candidate": np.arange(n) / n,
        "region": [None if i % 10 == 0 else f"r{i % 3}" for i in range(n)],
    }
    pq.write_table(pa.table(columns), path, row_group_size=137)
    table = read(path, by=["region"])
    assert table.y_true is not None
    assert table.y_true.tolist() == [float(i % 2 == 0) for i in range(n)]
    assert table.candidate.tolist() == (np.arange(n) / n).tolist()
    categories, codes = table.slices["region"]
    assert [categories[code] for code in codes] == [
        MISSING if i % 10 == 0 else f"r{i % 3}" for i in range(n)
    ]


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(pa.array([0, 1, 1], pa.int8()), id="int8"),
        pytest.param(pa.array([0, 1, 1], pa.uint64()), id="uint64"),
        pytest.param(pa.array([0, 1, 1], pa.float32()), id="float32"),
        pytest.param(pa.array([0, 1, 1], pa.float64()), id="float64"),
        pytest.param(pa.array([False, True, True]), id="bool"),
        pytest.param(pa.array([Decimal(0), Decimal(1), Decimal(1)]), id="decimal"),
        pytest.param(pa.array([5, 0, 1, 1], pa.int16()).slice(1), id="slice of int16"),
        pytest.param(pa.array([True, False, True, True]).slice(1), id="slice of bool"),
    ],
)
def test_every_kind_of_number_is_read(tmp_path: Path, values: Any) -> None:
    table = read(_write(tmp_path, y_true=values, candidate=values))
    assert table.y_true is not None
    assert table.y_true.tolist() == table.candidate.tolist() == [0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(pa.array([0.1, None, 0.3]), id="float"),
        pytest.param(pa.array([0, None, 1], pa.int32()), id="int"),
        pytest.param(pa.array([False, None, True]), id="bool"),
        pytest.param(pa.array([Decimal(0), None, Decimal(1)]), id="decimal"),
        pytest.param(pa.array([0.1, float("nan"), 0.3]), id="NaN"),
    ],
)
def test_a_missing_prediction_is_nan_for_the_gate_to_judge(tmp_path: Path, values: Any) -> None:
    table = read(_write(tmp_path, candidate=values))
    assert np.isnan(table.candidate).tolist() == [False, True, False]


def test_predictions_that_are_all_missing_are_nan(tmp_path: Path) -> None:
    assert np.isnan(read(_write(tmp_path, candidate=[None] * 3)).candidate).all()


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([True, False, True], ["true", "false", "true"]),
        ([2020, 2021, 2020], ["2020", "2021", "2020"]),
        ([dt.date(2020, 1, 2), None, None], ["2020-01-02", MISSING, MISSING]),
        (pa.array(["x", None, "y"]).dictionary_encode(), ["x", MISSING, "y"]),
        (pa.DictionaryArray.from_arrays([2, 0, 2], ["a", "unused", "c"]), ["c", "a", "c"]),
    ],
    ids=["bool", "int", "date", "dictionary", "dictionary with an unused value"],
)
def test_slices_are_text_and_only_what_occurs(
    tmp_path: Path, values: Any, labels: list[str]
) -> None:
    categories, codes = read(_write(tmp_path, group=values), by=["group"]).slices["group"]
    assert [categories[code] for code in codes] == labels
    assert set(categories) == set(labels)


def test_a_first_release_has_no_champion(tmp_path: Path) -> None:
    assert read(_write(tmp_path, champion=None)).champion is None


_BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no candidate": ({"candidate": None}, "no column 'candidate'; it has id, y_true, champion"),
    "no id": ({"id": None}, "no column 'id'"),
    "no truth": ({"y_true": None}, "no column 'y_true'"),
    "a truth is missing": (
        {"y_true": [0, None, 1]},
        "column 'y_true': 1 of 3 rows have no truth (the first is row 2), expected one in every row",
    ),
    "a truth is NaN": ({"y_true": [0.0, 1.0, float("nan")]}, "(the first is row 3)"),
    "text in the truth": (
        {"y_true": ["good", "bad", "good"]},
        "column 'y_true': got string (row 1: 'good'), expected numbers",
    ),
    "text among predictions": (
        {"candidate": ["0.1", "n/a", "0.3"]},
        "column 'candidate': got string (row 2: 'n/a'), expected numbers",
    ),
    "lists": ({"champion": [[0.1, 0.9]] * 3}, "column 'champion': got list<element: double>"),
    "an id is missing": ({"id": ["a", None, "c"]}, "column 'id': 1 of 3 rows have no id"),
    "an id twice": ({"id": ["a", "b", "a"]}, "column 'id': 'a' occurs more than once"),
    "a number twice as id": ({"id": [7, 5, 7]}, "column 'id': 7 occurs more than once"),
    "no rows": (
        {name: pa.array([], pa.float64()) for name in _COLUMNS},
        "0 rows",
    ),
}


@pytest.mark.parametrize("case", _BAD)
def test_a_bad_table_names_column_expectation_and_remedy(tmp_path: Path, case: str) -> None:
    changes, message = _BAD[case]
    path = _write(tmp_path, **changes)
    with pytest.raises(ConfigError) as error:
        read(path, task=Task.BINARY)
    assert str(path) in str(error.value)
    assert message in str(error.value)
    assert error.value.remedy
    assert error.value.exit_code is Exit.USAGE


def test_a_slice_column_must_be_coarse_and_one_that_is_missing_is_left_to_the_gate(
    tmp_path: Path,
) -> None:
    n = 1001
    path = tmp_path / "p.parquet"
    pq.write_table(
        pa.table({"id": range(n), "y_true": [0] * n, "candidate": [0.5] * n, "fine": range(n)}),
        path,
    )
    assert read(path, by=["region"]).slices == {}
    with pytest.raises(ConfigError, match="'fine' has 1,001 different values"):
        read(path, by=["fine"])


def test_a_column_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    table = pa.Table.from_arrays([pa.array([1.0])] * 3, names=["id", "candidate", "candidate"])
    pq.write_table(table, path)
    with pytest.raises(ConfigError, match="'candidate' occurs 2 times"):
        read(path)


@pytest.mark.parametrize("kept", [4, 50, 300])
def test_a_truncated_parquet_file_is_named(tmp_path: Path, kept: int) -> None:
    path = _write(tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ConfigError, match="not a readable Parquet file"):
        read(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.parquet", b"id,y_true\n1,2\n", "neither Parquet"),
        ("p.csv", b"id,y_true,candidate\n1,0\n", "not a readable CSV file"),
        ("p.csv", b"", "not a readable CSV file"),
        ("p.csv", b"id,y_true,candidate\n", "0 rows"),
        ("p.csv", b"id,y_true,candidate\na,0,0.5\nb,1,oops\n", "row 2: 'oops'"),
        ("p.csv", b"\xff\xfe\x00bad", "CSV|no column"),
    ],
)
def test_a_file_that_is_no_table_is_named(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.parquet", tmp_path):
        with pytest.raises(ConfigError, match=str(path)):
            read(path)


@pytest.mark.parametrize(
    ("truth", "task"),
    [(None, Task.GENERIC), ([0.0, 1.0], Task.BINARY), ([0.0, 2.0], Task.REGRESSION)],
)
def test_the_truth_suggests_the_task(truth: list[float] | None, task: Task) -> None:
    y_true = None if truth is None else np.array(truth)
    assert infer_task(Predictions(candidate=np.zeros(2), y_true=y_true)) is task


@pytest.mark.real
def test_reading_and_judging_import_nothing_heavy(tmp_path: Path) -> None:
    path = _write(tmp_path, region=["n", None, "s"])
    script = (
        "import sys, pathlib\n"
        "from tidegate.predictions import read\n"
        "import tidegate.core.gate, tidegate.render.verdict\n"
        f"read(pathlib.Path({str(path)!r}), by=['region'])\n"
        "print(sorted({'pandas', 'scipy', 'sklearn', 'mlflow', 'jsonschema'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_large_table_read_in_parts_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = 1000
    path = tmp_path / "p.parquet"
    columns = {
        "id": np.arange(n)[::-1],
        "y_true": np.arange(n) % 2,
        "candidate": pa.array([None if i == 500 else i / n for i in range(n)]),
        "champion": np.arange(n) / n,
        "region": [None if i % 10 == 0 else f"r{i % 3 + i // 300}" for i in range(n)],
    }
    pq.write_table(pa.table(columns), path, row_group_size=137)
    whole = read(path, by=["region"])
    monkeypatch.setattr("tidegate.large.FROM_ROWS", 0)
    parts = read(path, by=["region"])
    for one, other in zip(whole.columns(), parts.columns(), strict=True):
        np.testing.assert_array_equal(one[1], other[1])
    assert parts.ids is not None
    assert parts.ids.tolist() == columns["id"].tolist()
    labels = [
        [known[c] for c in codes] for known, codes in (t.slices["region"] for t in (whole, parts))
    ]
    assert labels[0] == labels[1]


@pytest.mark.parametrize("case", _BAD)
def test_a_large_bad_table_has_the_same_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.setattr("tidegate.large.FROM_ROWS", 0)
    changes, message = _BAD[case]
    with pytest.raises(ConfigError) as error:
        read(_write(tmp_path, **changes), task=Task.BINARY)
    assert message in str(error.value)
