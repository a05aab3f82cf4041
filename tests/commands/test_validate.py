"""tidegate validate: all problems at once, for a person and for a program."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tidegate.cli import main

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """\
version: 1
model: {name: credit-risk, task: binary}
data: {train: "${DATA}/a.parquet", holdout: b.parquet, target: y, id: id}
train: {run: python train.py}
gate: {rules: [{metric: roc_auc, at_least: 0.75, margin: 0.005}]}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mlops.yaml"
    path.write_text(GOOD)
    return path


def test_json_of_a_good_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"valid": True, "problems": [], "warnings": []}
    assert captured.err == ""


def test_json_of_a_bad_file_lists_every_problem_and_people_read_them_on_standard_error(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(
        GOOD.replace("roc_auc", "rocauc").replace("binary", "binry").replace("run", "rn")
    )
    assert main(["validate", "--json"]) == 2
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["valid"] is False
    assert [line.split(":")[1] for line in document["problems"]] == ["2", "4", "4"]
    for line in document["problems"]:
        assert line in captured.err


def test_a_warning_is_no_problem(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(GOOD.replace("margin: 0.005", "margin: 0"))
    assert main(["validate"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("warning: mlops.yaml:5:")
    assert out.endswith("mlops.yaml: valid\n")


def test_env_asks_for_every_variable(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATA", raising=False)
    assert main(["validate"]) == 0
    assert main(["validate", "--env"]) == 2
    assert "data.train: the environment variable DATA is not set" in capsys.readouterr().err
    monkeypatch.setenv("DATA", "/data")
    assert main(["validate", "--env"]) == 0


@pytest.mark.parametrize(
    "key", ['"a\\nb"', '"\\e[2J\\e[31mFAKE"', '"\\u202Eevil"', '"::error file=x::"'],
    ids=["newline", "escape", "right to left", "workflow command"],
)  # fmt: skip
def test_a_hostile_key_cannot_write_lines_or_colours_into_the_message(
    file: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(f"{GOOD}{key}: 1\n")
    assert main(["validate"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("tidegate: mlops.yaml:6:1: ")
    assert all(character.isprintable() for line in lines for character in line)


def test_a_folder_is_not_a_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(file.parent)]) == 2
    assert "Is a directory" in capsys.readouterr().err


def test_a_large_file_is_checked_in_no_time(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = "\n".join(f"    - {{metric: m{i}, at_least: 0.5}}" for i in range(5000))
    file.write_text(GOOD.split("gate:", maxsplit=1)[0] + f"gate:\n  rules:\n{rules}\n")
    began = time.process_time()
    assert main(["validate"]) == 2
    assert time.process_time() - began < 10
    assert "problem" in capsys.readouterr().err
