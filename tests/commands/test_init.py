"""tidegate init: a file that loads, from whatever stands in the folder."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tidegate.cli import main
from tidegate.load import load

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "Credit Risk_2"
    (folder / "data").mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def table(path: Path, **columns: Any) -> None:
    pq.write_table(pa.table(columns or {"id": [1, 2], "x": [0.1, 0.2], "target": [0, 1]}), path)


def full(folder: Path) -> None:
    table(folder / "data" / "train.parquet")
    table(folder / "data" / "holdout.parquet")
    (folder / "train.py").write_text("from sklearn import svm\nimport mlflow\nmlflow.autolog()\n")


def test_a_usual_repository_is_understood(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full(folder)
    assert main(["init", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["written"] == ["mlops.yaml", ".gitignore"]
    assert document["change"] == []
    config = load(folder / "mlops.yaml")
    assert config.model.name == "credit-risk-2"
    assert config.model.task == "binary"
    assert config.data.train == "data/train.parquet"
    assert config.data.holdout == "data/holdout.parquet"
    assert (config.data.id, config.data.target) == ("id", "target")
    assert config.train.run == "python train.py"
    assert (folder / ".gitignore").read_text() == ".tidegate/\n"


def test_an_empty_folder_gets_placeholders_that_say_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init"]) == 0
    load(folder / "mlops.yaml")
    text = (folder / "mlops.yaml").read_text()
    assert text.count("# CHANGE THIS: ") == 6
    assert capsys.readouterr().out.count("CHANGE THIS: ") == 6


def test_many_values_mean_regression(folder: Path) -> None:
    for name in ("train", "holdout"):
        table(folder / "data" / f"{name}.parquet", row_id=[1, 2, 3], price=[1.5, 2.5, 9.0])
    assert main(["init", "--target", "price"]) == 0
    config = load(folder / "mlops.yaml")
    assert (config.model.task, config.data.target, config.data.id) == (
        "regression",
        "price",
        "row_id",
    )


def test_a_file_of_the_users_is_not_overwritten_without_force(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "mlops.yaml").write_text("mine")
    assert main(["init"]) == 2
    assert "--force" in capsys.readouterr().err
    assert (folder / "mlops.yaml").read_text() == "mine"
    assert main(["init", "--force"]) == 0
    load(folder / "mlops.yaml")


@pytest.mark.parametrize("force", [False, True], ids=["no file", "a file of the user's"])
def test_a_name_that_no_rule_allows_leaves_no_bad_file_behind(
    folder: Path, force: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "mlops.yaml"
    if force:
        path.write_text("mine")
    assert main(["init", "--name", "Not a name!", *(["--force"] if force else [])]) == 2
    assert "model.name" in capsys.readouterr().err
    assert path.exists() == force
    assert not force or path.read_text() == "mine"


@pytest.mark.parametrize(
    "column",
    ["yes: no", "# not a comment", "123", "null", "'", '"', "a: [b", "{x}", "*alias", "&x", "!tag", "- a",
     "größe", " padded ", "tab\there", "1e5", "true", "%", "@", "`", "a #b", "\\n"],
)  # fmt: skip
def test_a_column_of_any_name_comes_through_as_it_is(folder: Path, column: str) -> None:
    full(folder)
    table(folder / "data" / "holdout.parquet", **{"id": [1, 2], column: [0, 1]})
    assert main(["init", "--target", column, "--id", f"{column} id"]) == 0
    config = load(folder / "mlops.yaml")
    assert (config.data.target, config.data.id) == (column, f"{column} id")


def test_a_script_with_a_space_in_its_name_is_a_command_that_runs(folder: Path) -> None:
    (folder / "train all.py").write_text("open('ran', 'w')")
    assert main(["init"]) == 0
    command = load(folder / "mlops.yaml").train.run
    assert command == "python 'train all.py'"


def test_an_unreadable_table_is_a_finding_not_a_crash(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full(folder)
    (folder / "data" / "holdout.parquet").write_bytes(b"PAR1 this is not parquet")
    assert main(["init"]) == 0
    assert "not a readable Parquet" in capsys.readouterr().out
    load(folder / "mlops.yaml")


def test_the_state_directory_is_ignored_once(folder: Path) -> None:
    (folder / ".gitignore").write_text("*.pyc")
    assert main(["init"]) == 0
    assert main(["init", "--force"]) == 0
    assert (folder / ".gitignore").read_text() == "*.pyc\n.tidegate/\n"


def test_a_hook_outside_a_repository_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--hook", str(tmp_path / "origin.git")]) == 2
    assert "git" in capsys.readouterr().err


@pytest.mark.real
def test_what_init_writes_passes_validate_and_doctor_finds_what_is_missing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(["git", "init", "--quiet"], check=True)
    assert main(["init"]) == 0
    assert main(["validate"]) == 0
    assert main(["doctor"]) == 3
    assert "FAIL  data" in capsys.readouterr().out
