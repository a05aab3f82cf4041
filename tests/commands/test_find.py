"""tidegate find: every model that a change can have touched, and nothing that a name can break."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.real_repo import two_releases
from tests.runner_protocol import read_log, read_pairs
from tidegate.cli import main
from tidegate.git import git, text

pytestmark = pytest.mark.real


def file(name: str, **more: Any) -> str:
    return json.dumps(
        {
            "version": 1,
            "model": {"name": name, "task": "binary"},
            "data": {"train": "a.csv", "holdout": "b.csv", "target": "y", "id": "id"},
            "train": {"run": "true"},
            "gate": {"rules": [{"metric": "brier", "margin": 0.1}]},
            **more,
        },
        indent=1,
    )


@dataclass
class Tree:
    """A repository with several models, and what `find` says about it."""

    path: Path
    patch: pytest.MonkeyPatch
    err: str = ""

    def write(self, files: dict[str, str | None]) -> str:
        for name, content in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_text(content)
        text(self.path, "add", "--all", "--force")
        text(self.path, "commit", "--quiet", "--allow-empty", "-m", "change")
        return text(self.path, "rev-parse", "HEAD")

    def find(self, *arguments: str, code: int = 0) -> list[str]:
        """Return the names that the step's output holds."""
        output = self.path.parent / "output"
        output.write_text("")
        assert main(["find", *arguments]) == code
        found = dict(read_pairs(output.read_text()))
        if code:
            assert found == {}
            return []
        models = json.loads(found["models"])
        assert int(found["count"]) == len(models)
        assert all(set(model) == {"model", "config"} for model in models)
        return [model["model"] for model in models]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    path = tmp_path / "r"
    path.mkdir()
    text(path, "init", "--quiet")
    text(path, "config", "user.name", "Ada")
    text(path, "config", "user.email", "ada@example.org")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    monkeypatch.chdir(path)
    return Tree(path, monkeypatch)


@pytest.fixture
def three(tree: Tree) -> Tree:
    """A model at the top, two in folders; the third reads a shared folder and data elsewhere."""
    shared = {"train": {"run": "true", "paths": ["shared/**/*.py", "docs/terms.md"]}}
    data = {
        "data": {"train": "../data/a.csv", "holdout": "${WHERE}/b.csv", "target": "y", "id": "i"}
    }
    tree.write(
        {
            "mlops.yaml": file("top"), "train.py": "1", "README.md": "1", "shared/lib/x.py": "1",
            "docs/terms.md": "1", "data/a.csv": "1", "a/mlops.yaml": file("one"), "a/x.py": "1",
            "ab/mlops.yaml": file("two", **shared, **data), "ab/deep/x.py": "1", "a.py": "1",
        }
    )  # fmt: skip
    return tree


CHANGES: dict[str, tuple[dict[str, str | None], list[str]]] = {
    "root": ({"train.py": "2"}, ["top"]),
    "nested": ({"a/x.py": "2"}, ["one"]),
    "a folder whose name begins alike": ({"ab/deep/x.py": "2"}, ["two"]),
    "its own file": ({"a/mlops.yaml": file("one") + "\n"}, ["one"]),
    "shared, named": ({"shared/lib/x.py": "2"}, ["top", "two"]),
    "shared, not named": ({"shared/lib/x.txt": "2"}, ["top"]),
    "named, though ignored": ({"docs/terms.md": "2"}, ["two"]),
    "data elsewhere": ({"data/a.csv": "2"}, ["top", "two"]),
    "ignored": ({"README.md": "2", "a/notes.md": "2", ".github/x.yml": "2", "LICENSE": "2"}, []),
    "deleted": ({"a/x.py": None}, ["one"]),
    "renamed": ({"a/x.py": None, "ab/x.py": "1"}, ["one", "two"]),
    "new": ({"a/new.py": "1"}, ["one"]),
    "nothing": ({}, []),
    "hostile names": ({"a/\n::set-output name=x::y": "1", 'ab/"; $(id) `id`': "1"}, ["one", "two"]),
    "option-like": ({"--help": "1"}, ["top"]),
    "magic": ({":(exclude)a": "1", "*": "1"}, ["top"]),
    "a model more": ({"c/mlops.yaml": file("three")}, ["three"]),
    "a model less": ({"a/mlops.yaml": None}, ["top"]),
}


@pytest.mark.parametrize("how", CHANGES)
def test_what_differs_from_the_base_touches_the_models_that_are_made_of_it(
    three: Tree, how: str
) -> None:
    change, touched = CHANGES[how]
    three.write(change)
    assert sorted(three.find("--base=HEAD~1")) == sorted(touched)


def test_without_a_base_it_is_every_model(three: Tree) -> None:
    assert sorted(three.find()) == ["one", "top", "two"]


@pytest.mark.parametrize("base", ["0" * 40, "f" * 40, "no-such-branch", "--output=stolen", "-h"])
def test_a_base_that_is_not_here_touches_every_model(three: Tree, base: str) -> None:
    assert sorted(three.find(f"--base={base}")) == ["one", "top", "two"]
    assert not (three.path / "stolen").exists()


def test_ignoring_is_what_the_caller_says_and_never_all(three: Tree) -> None:
    three.write({"a/x.py": "2", "README.md": "2"})
    assert three.find("--base=HEAD~1", "--ignore=a/**") == ["top"]
    assert sorted(three.find("--base=HEAD~1", "--ignore=*.txt")) == ["one", "top"]
    assert three.find("--base=HEAD~1", "--ignore=") == ["one"]


def test_a_model_in_a_hidden_or_an_ignored_folder_is_found_touched(tree: Tree) -> None:
    tree.write({".models/m/mlops.yaml": file("hidden"), "docs/m/mlops.yaml": file("documented")})
    tree.write({".models/m/x.py": "1", "docs/m/x.py": "1"})
    assert sorted(tree.find("--base=HEAD~1")) == ["documented", "hidden"]


def test_one_of_them_by_name(three: Tree, capfd: pytest.CaptureFixture[str]) -> None:
    assert three.find("--model=two", "--one") == ["two"]
    assert three.find("--one", code=2) == []
    assert "which model?" in capfd.readouterr().err
    assert three.find("--model=four", code=2) == []
    assert "no model is named 'four'" in capfd.readouterr().err


def test_two_models_of_one_name_are_an_error(tree: Tree, capfd: pytest.CaptureFixture[str]) -> None:
    tree.write({"a/mlops.yaml": file("same"), "b/mlops.yaml": file("same")})
    tree.find(code=2)
    assert "a/mlops.yaml and b/mlops.yaml both name the model same" in capfd.readouterr().err


def test_no_model_at_all_is_an_error_and_not_an_empty_list(tree: Tree) -> None:
    tree.write({"README.md": "1", "xmlops.yaml": "1", "a/mlops.yaml/b": "1"})
    tree.find(code=2)


def test_every_bad_file_is_annotated_at_its_line(
    tree: Tree, capfd: pytest.CaptureFixture[str]
) -> None:
    odd = "b\n::error::x/mlops.yaml"
    tree.write(
        {"mlops.yaml": file("good"), "a/mlops.yaml": "version: 1\nmodell: 2\n", odd: "version: 9\n"}
    )
    tree.find(code=2)
    log = capfd.readouterr()
    notes = [c for c in read_log(log.err) if set(c.properties) == {"file", "line", "title"}]
    assert {note.properties["file"] for note in notes} == {"a/mlops.yaml", odd}
    assert ("a/mlops.yaml", "2") in {
        (note.properties["file"], note.properties["line"]) for note in notes
    }
    assert "a/mlops.yaml:2:1: modell: got an unknown key" in log.err
    assert str(tree.path) not in log.err


@pytest.mark.parametrize(
    "folder", ["a b", "é💥", 'q"q', "q'q", "-x", "--config=y", "$(id)", "a\tb", "a\nmodels=[]", "%0A", ":(top)"]
)  # fmt: skip
def test_a_folder_may_have_any_name(tree: Tree, folder: str) -> None:
    tree.write({f"{folder}/mlops.yaml": file("m"), "z/mlops.yaml": file("other")})
    tree.write({f"{folder}/x": "1"})
    assert tree.find("--base=HEAD~1") == ["m"]
    (found,) = json.loads(dict(read_pairs((tree.path.parent / "output").read_text()))["models"])
    assert found["config"] == f"{folder}/mlops.yaml"


def test_a_name_that_is_no_text_is_an_expected_error(tree: Tree) -> None:
    folder = bytes(tree.path) + b"/\xff"
    path = Path(os.fsdecode(folder))
    path.mkdir()
    (path / "mlops.yaml").write_text(file("m"))
    tree.write({})
    tree.find(code=2)


def test_changed_files_with_names_that_are_no_text_count(tree: Tree) -> None:
    tree.write({"a/mlops.yaml": file("m")})
    Path(os.fsdecode(bytes(tree.path) + b"/a/\xff")).touch()
    tree.write({})
    git(tree.path, "config", "core.quotePath", "false")
    assert tree.find("--base=HEAD~1") == ["m"]


def test_outside_a_repository_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["find"]) == 2
    assert "not in a git repository" in capfd.readouterr().err


def test_live_models_are_those_with_a_rollout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stage = two_releases(tmp_path / "stage", monkeypatch)
    monkeypatch.chdir(stage.repo.path)
    capfd.readouterr()
    assert main(["find", "--live", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == []
    stage.push(0.95)
    assert stage.tidegate("run", "--no-wait") == 0
    capfd.readouterr()
    assert main(["find", "--live", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == [{"model": "coin", "config": "mlops.yaml"}]
