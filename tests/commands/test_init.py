"""tidegate init: a file that loads, from whatever stands in the folder."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tidegate.cli import main
from tidegate.commands import init
from tidegate.doctor.flow import flow, hosted
from tidegate.load import load
from tidegate.signing import public_of
from tidegate.yaml12 import parse

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real  # git is asked

FLOW = ".github/workflows/mlops.yml"
FORKS = ".github/workflows/mlops-forks.yml"


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
    assert document["written"] == ["mlops.yaml", FLOW, ".gitignore"]
    assert document["change"] == ["branch"]  # there is no git repository to ask
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
    assert capsys.readouterr().out.count("CHANGE THIS: ") == 7  # and the default branch


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
    assert main(["init", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] == [FLOW, ".gitignore"]
    (folder / FLOW).write_text("mine, too")
    assert main(["init"]) == 2
    assert "--force" in capsys.readouterr().err
    assert ((folder / "mlops.yaml").read_text(), (folder / FLOW).read_text()) == (
        "mine",
        "mine, too",
    )
    assert main(["init", "--force"]) == 0
    load(folder / "mlops.yaml")
    assert flow(FLOW, (folder / FLOW).read_text()).calls


# --- the workflow ---------------------------------------------------------------------------


def repository(folder: Path, *, branch: str = "main", origin: str | None = None) -> None:
    subprocess.run(["git", "init", "--quiet", f"--initial-branch={branch}"], check=True)
    if origin:
        subprocess.run(["git", "remote", "add", "origin", origin], check=True)


def test_the_workflow_is_for_this_repository_and_short(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full(folder)
    repository(folder, branch="trunk", origin="git@github.com:acme/credit.git")
    (folder / "requirements.txt").write_text("scikit-learn\n")
    assert main(["init", "--forks", "--operate-runner", "gpu box", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["written"] == ["mlops.yaml", FLOW, FORKS, ".gitignore"]
    text = (folder / FLOW).read_text()
    assert len(text.splitlines()) < 40
    read = flow(FLOW, text)
    assert read.branches() == ["trunk"]
    inputs = {call.file: dict(call.inputs) for call in read.calls}
    assert inputs["check.yml"] == {"requirements": "requirements.txt"}
    assert inputs["deliver.yml"] == {
        "requirements": "requirements.txt",
        "operate-runner": "gpu box",
    }
    assert inputs["watch.yml"]["operate-runner"] == "gpu box"
    assert set(inputs["command.yml"]) == {"operate-runner", "command", "model", "version", "reason"}
    assert load(folder / "mlops.yaml").registry.store == "github-releases"
    assert (folder / FORKS).read_text().count("zizmor: ignore") == 1


@pytest.mark.parametrize(
    ("origin", "store"),
    [
        ("git@github.com:acme/credit.git", "github-releases"),
        ("https://github.com/acme/credit", "github-releases"),
        ("https://token@github.com/acme/credit.git", "github-releases"),
        ("ssh://git@github.com:22/acme/credit.git", "github-releases"),
        ("https://github.com.evil.example/acme/credit.git", None),
        ("https://gitlab.com/acme/credit.git", None),
        ("/srv/git/credit.git", None),
        (None, None),
    ],
)
def test_model_bytes_go_where_origin_is(
    folder: Path, origin: str | None, store: str | None
) -> None:
    full(folder)
    repository(folder, origin=origin)
    assert main(["init"]) == 0
    assert load(folder / "mlops.yaml").registry.store == store


def test_the_default_branch_is_what_origin_calls_it(folder: Path) -> None:
    repository(folder, branch="feature")
    subprocess.run(
        ["git", "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/release/1.x"],
        check=True,
    )
    assert main(["init"]) == 0
    assert flow(FLOW, (folder / FLOW).read_text()).branches() == ["release/1.x"]


@pytest.mark.parametrize("branch", ["a,b", "on", "1.0", "v{x}", "größe", "a'b"])
def test_a_branch_of_any_name_comes_through_as_it_is(folder: Path, branch: str) -> None:
    repository(folder, branch=branch)
    assert main(["init"]) == 0
    assert flow(FLOW, (folder / FLOW).read_text()).branches() == [branch]


@pytest.mark.parametrize(
    "label", ["self-hosted", '["self-hosted", "gpu"]', "it's", "a: b", "on, off"]
)
def test_a_label_of_any_spelling_comes_through_as_it_is(folder: Path, label: str) -> None:
    assert main(["init", "--operate-runner", label]) == 0
    calls = flow(FLOW, (folder / FLOW).read_text()).calls
    given = {call.inputs["operate-runner"] for call in calls if call.file != "check.yml"}
    assert given == {label}


def test_a_second_model_in_a_folder_shares_the_workflow(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repository(folder)
    assert main(["init"]) == 0
    before = (folder / FLOW).read_text()
    second = folder / "models" / "Fraud"
    (second / "data").mkdir(parents=True)
    full(second)
    monkeypatch.chdir(second)
    capsys.readouterr()
    assert main(["init", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] == ["mlops.yaml"]
    assert load(second / "mlops.yaml").model.name == "fraud"
    assert not (second / ".github").exists()
    assert not (second / ".gitignore").exists()
    assert (folder / FLOW).read_text() == before


def test_a_workflow_of_another_name_is_not_doubled(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository(folder)
    assert main(["init", "--forks"]) == 0
    for name in (FLOW, FORKS):
        (folder / name).rename((folder / name).with_name(f"our-{name.rpartition('/')[2]}"))
    (folder / "mlops.yaml").unlink()
    capsys.readouterr()
    assert main(["init", "--forks", "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] == ["mlops.yaml"]
    assert not (folder / FLOW).exists()


def test_started_in_a_folder_the_workflow_stands_at_the_top(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository(folder)
    inner = folder / "model"
    inner.mkdir()
    (inner / "pyproject.toml").write_text("[project]\nname='x'\n")
    monkeypatch.chdir(inner)
    assert main(["init"]) == 0
    read = flow(FLOW, (folder / FLOW).read_text())
    assert {call.inputs.get("requirements") for call in read.calls} == {
        None,
        "model/pyproject.toml",
    }


@pytest.mark.parametrize("option", ["--no-workflow", "--hook=../origin.git"])
def test_one_box_gets_no_workflow(folder: Path, option: str) -> None:
    repository(folder)
    subprocess.run(
        ["git", "init", "--quiet", "--bare", str(folder.parent / "origin.git")], check=True
    )
    assert main(["init", option]) == 0
    assert not (folder / ".github").exists()


def test_the_ledgers_rules_are_printed_ready_to_import(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository(folder, origin="git@github.com:acme/credit.git")
    assert main(["init"]) == 0
    out = capsys.readouterr().out
    assert "gh api --method POST repos/acme/credit/rulesets" in out
    ruleset = json.loads(next(line for line in out.splitlines() if line.startswith("{")))
    assert ruleset["enforcement"] == "active"
    assert "refs/heads/tidegate-ledger/*" in ruleset["conditions"]["ref_name"]["include"]
    assert {rule["type"] for rule in ruleset["rules"]} == {"deletion", "non_fast_forward"}


def test_the_written_yaml_is_strict(folder: Path) -> None:
    assert main(["init", "--forks"]) == 0
    for name in (FLOW, FORKS):
        assert parse((folder / name).read_text()).data["permissions"] == {}


# --- the signing key ------------------------------------------------------------------------


def test_the_private_key_is_shown_on_the_terminal_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    person = tmp_path / "tty"
    monkeypatch.setattr(init, "_TERMINAL", person)
    assert main(["init", "--signing-key"]) == 0
    shown = person.read_text()
    private = shown.split("this once: ")[1].splitlines()[0]
    assert "gh secret set TIDEGATE_SIGNING_KEY" in shown
    assert load(folder / "mlops.yaml").registry.public_key == public_of(private)
    [deliver] = [
        call for call in flow(FLOW, (folder / FLOW).read_text()).calls if call.file == "deliver.yml"
    ]
    assert deliver.secrets == {"signing-key"}
    assert len((folder / FLOW).read_text().splitlines()) < 40
    captured = capsys.readouterr()
    written = "".join(p.read_text() for p in folder.rglob("*") if p.is_file())
    assert private not in captured.out + captured.err + written


def test_a_repository_that_is_set_up_is_told_where_a_key_goes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(init, "_TERMINAL", tmp_path / "tty")
    assert main(["init"]) == 0
    before = (folder / "mlops.yaml").read_text()
    capsys.readouterr()
    assert main(["init", "--signing-key"]) == 0
    out = capsys.readouterr().out
    public = out.split("public_key: ")[1].splitlines()[0]
    assert public == public_of((tmp_path / "tty").read_text().split("once: ")[1].splitlines()[0])
    assert 'secrets: {signing-key: "${{ secrets.TIDEGATE_SIGNING_KEY }}"}' in out
    assert (folder / "mlops.yaml").read_text() == before


def test_without_a_terminal_no_key_is_made(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(init, "_TERMINAL", tmp_path / "no" / "tty")
    assert main(["init", "--signing-key"]) == 2
    assert "Nothing was written" in capsys.readouterr().err
    assert not (folder / "mlops.yaml").exists()


def test_labels_of_githubs_machines_are_told_from_others() -> None:
    table = {
        "ubuntu-latest": True,
        "ubuntu-24.04-arm": True,
        '["ubuntu-latest"]': True,
        "macos-15": True,
        "self-hosted": False,
        '["self-hosted", "gpu"]': False,
        "my-ubuntu-box": False,
        "${{ vars.RUNNER }}": None,
    }
    assert {label: hosted(label) for label in table} == table


# --- what must not come through -------------------------------------------------------------


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


def test_what_init_writes_passes_validate_and_doctor_finds_what_is_missing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(["git", "init", "--quiet"], check=True)
    assert main(["init"]) == 0
    assert main(["validate"]) == 0
    assert main(["doctor"]) == 3
    assert "FAIL  data" in capsys.readouterr().out
