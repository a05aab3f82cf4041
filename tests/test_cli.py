"""The command line: help, exit codes, two streams."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.endpoint.serving import wait_for
from tests.real_repo import Repo, Stage, end, two_releases
from tidegate import cli
from tidegate.cli import VERBS, main
from tidegate.commands import validate
from tidegate.errors import ConfigError, NotJudgedError, OutsideError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD = """\
version: 1
model: {name: credit-risk, task: binary}
data: {train: a.parquet, holdout: b.parquet, target: y, id: id}
train: {run: python train.py}
gate: {rules: [{metric: roc_auc, at_least: 0.75, margin: 0.005}]}
"""


def options(verb: str) -> list[argparse.Action]:
    parser = argparse.ArgumentParser()
    import_module(f"tidegate.commands.{verb}").add_arguments(parser)
    return parser._actions


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_and_each_of_its_options(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    text = VERBS[verb]
    assert f"{text[0].upper()}{text[1:]}." in shown
    assert len(text) > len(verb) + 20
    for action in options(verb):
        assert action.help, f"{verb} {action.dest} has no help"


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_says_of_a_verb_what_its_module_says(verb: str) -> None:
    assert VERBS[verb] == import_module(f"tidegate.commands.{verb}").SUMMARY


def test_every_command_module_with_a_summary_is_a_verb() -> None:
    folder = Path(cli.__file__).parent / "commands"
    modules = {p.stem for p in folder.glob("*.py") if "\nSUMMARY = " in p.read_text()}
    assert modules == set(VERBS)


def test_the_help_shows_the_daily_verbs_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    shown = capsys.readouterr().out
    places = [
        shown.index(f"  {v} ") for v in ("init", "validate", "plan", "run", "status", "revert")
    ]
    assert places == sorted(places)
    others = [shown.index(f"  {verb} ") for verb in VERBS if verb not in cli.GROUPS["every day"]]
    assert max(places) < min(others)
    assert "exit codes:" in shown


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mlops.yaml"
    path.write_text(GOOD)
    return path


def test_a_good_file_is_0_a_bad_one_2_a_missing_one_2(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", str(file)]) == 0
    file.write_text(GOOD.replace("binary", "binry"))
    assert main(["validate", str(file)]) == 2
    assert main(["validate", str(file.with_name("none.yaml"))]) == 2
    captured = capsys.readouterr()
    assert captured.out == f"{file}: valid\n"
    assert f"{file}:2:34: model.task: got 'binry'" in captured.err
    assert "tidegate init" in captured.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-verb"],
        ["validate", "--no-such-option"],
        ["--config", "x", "validate"],
        ["hold"],
        ["hold", "--for", "99999999d", "--reason", "why"],
        ["tick", "--every", "soon"],
    ],
    ids=["verb", "option", "option before the verb", "missing reason", "for ever", "no duration"],
)
def test_wrong_usage_is_2_on_standard_error(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "usage:" in captured.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RefusedError("no"), 1),
        (ConfigError("no"), 2),
        (OutsideError("no"), 3),
        (PermissionError(13, "Permission denied", "/there"), 3),
        (OSError(28, "No space left on device"), 3),
        (ValueError("no"), 4),
        (AssertionError("no"), 4),
        (RecursionError("no"), 4),
        (NotJudgedError("no"), 6),
        (KeyboardInterrupt(), 130),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_each_kind_of_failure_has_its_exit_code(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(validate, "run", fail)
    assert main(["validate"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert ("this is a bug in Tidegate" in captured.err) == (code == 4)
    assert ("Traceback" in captured.err) == (code == 4)


@pytest.mark.real
def test_a_reader_that_goes_away_is_no_success(file: Path) -> None:
    file.write_text(GOOD)
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "tidegate", "validate", str(file)],
        stdout=write, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(write)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr


# What an interrupt does to a command under way: tests/commands/test_train.py, test_evaluate.py.


@pytest.mark.real
def test_a_terminal_that_lacks_a_letter_is_no_bug(file: Path) -> None:
    odd = file.rename(file.with_name("größe.yaml"))
    done = subprocess.run(
        [sys.executable, "-m", "tidegate", "validate", str(odd)],
        env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"gr\\xf6\\xdfe.yaml: valid" in done.stdout


@pytest.mark.real
def test_an_interrupt_while_the_command_is_still_being_imported_is_no_traceback(
    tmp_path: Path,
) -> None:
    slow = tmp_path / "numpy.py"  # found before the real one: the import takes for ever
    slow.write_text(
        f"import time\nopen({str(tmp_path / 'importing')!r}, 'w').close()\ntime.sleep(60)\n"
    )
    child = Repo(tmp_path).process("evaluate", PYTHONPATH=str(tmp_path))
    try:
        wait_for((tmp_path / "importing").exists)
        os.kill(child.pid, signal.SIGINT)
        _, err = child.communicate(timeout=50)
    finally:
        end(child)
    assert child.returncode == 130
    assert "Traceback" not in err


@pytest.mark.real
def test_validate_pays_for_no_heavy_import(file: Path) -> None:
    code = (
        "import sys\nfrom tidegate.cli import main\n"
        f"assert main(['validate', {str(file)!r}]) == 0\n"
        "heavy = {'numpy', 'pyarrow', 'mlflow', 'pandas', 'sklearn', 'requests', 'jinja2'}\n"
        "found = heavy & set(sys.modules)\n"
        "assert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


# --- --json ---------------------------------------------------------------------------------

WITH_JSON = {
    "anchor": ["1", "--reason", "why"],
    "doctor": [],
    "hold": ["--reason", "why"],
    "log": ["--all"],
    "plan": [],
    "register": [],
    "release": [],
    "resume": ["--reason", "why"],
    "run": [],
    "status": [],
    "tick": [],
}
# Theirs is read in the tests of these commands.
ELSEWHERE = {
    "evaluate", "gate", "init", "override", "promote", "replay", "revert", "train", "validate", "report", "demo",
    "find", "prepare", "score", "measure", "decide", "watch", "publish",
}  # fmt: skip


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with pytest.MonkeyPatch.context() as patch:
        yield two_releases(tmp_path_factory.mktemp("cli"), patch)


def test_every_command_with_json_is_read_in_some_test() -> None:
    offered = {verb for verb in VERBS if any("--json" in a.option_strings for a in options(verb))}
    assert offered - ELSEWHERE == set(WITH_JSON)


@pytest.mark.real
@pytest.mark.parametrize("verb", WITH_JSON)
def test_json_is_one_document_on_standard_output(
    verb: str, stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    assert stage.tidegate(verb, *WITH_JSON[verb], "--json") == 0
    assert json.loads(capfd.readouterr().out)


@pytest.mark.real
def test_a_failure_leaves_standard_output_empty_for_a_program(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    assert stage.tidegate("release", "99", "--json") == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "no registered version 99; known: 1, 2" in captured.err


@pytest.mark.real
def test_outside_a_git_repository_a_command_says_so(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--config", str(file), "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "is not in a git repository" in captured.err
