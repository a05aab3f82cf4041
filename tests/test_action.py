"""From the action's inputs to one command line: each value one argument, none of them an option."""

from __future__ import annotations

import base64
import importlib
import os
import signal
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pytest

from tests.runner_protocol import read_log
from tidegate import action
from tidegate.action import OPTIONS, arguments
from tidegate.cli import VERBS
from tidegate.errors import ConfigError
from tidegate.runner import Runner, without_credentials
from tidegate.yaml12 import parse

HOSTILE = (
    "--help", "-h", "---", "-", "--config=/etc/passwd", "--no-wait", "x y", " x ", "a\nb", "\n--help", "$(id)",
    "`id`", "$HOME", "'", '"', "a=b", "=", "*", "~", "\\", "é💥", "--reason=other", "-5", "@file", "::set-output name=a::b",
)  # fmt: skip
TOKEN = "ghs_abcdefghijklmnopqrstuvwxyz0123456789"


def env(command: str, **options: str) -> dict[str, str]:
    given = {f"TIDEGATE_OPTION_{name.upper()}": value for name, value in options.items()}
    return {"TIDEGATE_COMMAND": command, **given}


def parsed(line: list[str]) -> dict[str, Any]:
    """Return what the command's own parser makes of a command line."""
    from tidegate.cli import _parser

    args = vars(_parser(line).parse_args(line))
    return {key: value for key, value in args.items() if key not in ("verb", "command")}


def test_without_inputs_the_command_stands_alone() -> None:
    assert arguments(env("validate")) == ["validate"]
    assert arguments(env("validate", config="mlops.yaml", live="false", base="")) == ["validate"]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_is_one_argument_and_never_an_option(value: str) -> None:
    found = parsed(arguments(env("promote", reason=value, version=value, config=value)))
    assert (found["reason"], found["version"], str(found["config"])) == (value, value, value)
    found = parsed(arguments(env("find", base=value, model=value)))
    assert (found["base"], found["model"], found["live"]) == (value, value, False)
    assert found["ignore"] is None


@pytest.mark.parametrize("value", [v for v in HOSTILE if v.split() == [v]])
def test_each_word_of_a_list_is_one_argument(value: str) -> None:
    line = arguments(env("find", ignore=f"docs/** {value}\n\tx"))
    assert parsed(line)["ignore"] == ["docs/**", value, "x"]


def test_two_dashes_are_no_value() -> None:
    for name in ("reason", "version"):
        with pytest.raises(ConfigError, match=f"input {name}: got '--'"):
            arguments(env("promote", **{"reason": "why", name: "--"}))


def test_white_space_alone_is_no_list() -> None:
    assert parsed(arguments(env("find", ignore=" \n\t")))["ignore"] is None


def test_a_release_on_github_asks_and_returns() -> None:
    assert arguments(env("release", version="3")) == ["release", "--no-wait", "--", "3"]


def test_a_retry_lifts_the_quarantine_of_the_version_it_names() -> None:
    found = parsed(arguments(env("retry", version="3", reason="the feed is repaired")))
    assert (found["retry"], found["version"], found["no_wait"]) == ("3", None, True)
    assert found["reason"] == "the feed is repaired"
    with pytest.raises(ConfigError, match="retry needs a version"):
        arguments(env("retry", reason="why"))


def test_a_role_stands_for_itself_and_folders_have_names_of_their_own() -> None:
    given = {"case": "c", "case_digest": "d", "model_folder": "m", "model_digest": "e", "into": "i"}
    found = parsed(arguments(env("score", role="champion", **given)))
    assert (found["role"], str(found["model"]), found["model_digest"]) == ("champion", "m", "e")


def test_digests_of_roles_that_did_not_run_are_empty_and_stay_so() -> None:
    words = {"case": "c", "candidate": "x", "scores": "s", "into": "i"}
    line = arguments(env("decide", scores_digest="candidate=ab champion= anchor=", **words))
    assert parsed(line)["scores_digest"] == ["candidate=ab", "champion=", "anchor="]


@pytest.mark.parametrize(
    "command", ["", "rm", "init", "override", "--help", "find ", "demo", "FIND"]
)
def test_another_command_is_an_error_that_lists_the_known_ones(command: str) -> None:
    with pytest.raises(ConfigError) as caught:
        arguments(env(command))
    assert "find, prepare, train" in caught.value.remedy


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("find", "reason"),
        ("publish", "base"),
        ("train", "advice"),
        ("gate", "by"),
        ("watch", "retry"),
    ],
)
def test_an_input_that_the_command_does_not_take_is_an_error(command: str, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{command} takes no input '{name}'"):
        arguments(env(command, **{name: "true"}))


@pytest.mark.parametrize("value", ["yes", "True", "1", "on", " true", "false\n"])
def test_a_switch_is_true_or_false_and_nothing_between(value: str) -> None:
    with pytest.raises(ConfigError, match="expected true or false"):
        arguments(env("find", live=value))
    assert "--live" in arguments(env("find", live="true"))


def options(verb: str) -> set[str]:
    parser = ArgumentParser()
    importlib.import_module(f"tidegate.commands.{verb}").add_arguments(parser)
    return {word for a in parser._actions for word in (*a.option_strings, a.dest)}


@pytest.mark.parametrize("verb", OPTIONS)
def test_every_input_is_an_argument_of_its_command(verb: str) -> None:
    runs = {"retry": "release"}.get(verb, verb)
    assert runs in VERBS
    known = options(runs)
    for name in OPTIONS[verb]:
        flag = {"model-folder": "--model", "run-id": "--run"}.get(name, f"--{name}")
        assert {flag, name} & known, name


def test_the_actions_file_hands_on_every_input_and_no_other() -> None:
    root = Path(__file__).parents[1]
    data = parse((root / ".github/actions/engine/action.yml").read_text()).data
    steps = {step["id"]: step for step in data["runs"]["steps"]}
    handed = {
        name.removeprefix("TIDEGATE_OPTION_").lower().replace("_", "-")
        for name in steps["run"]["env"]
        if name.startswith("TIDEGATE_OPTION_")
    }
    assert handed == {name for names in OPTIONS.values() for name in names}
    assert handed <= set(data["inputs"])


# --- credentials ----------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_REPOSITORY": "acme/churn",
        "GITHUB_SERVER_URL": "https://github.test",
        "RUNNER_TEMP": str(tmp_path),
        "RUNNER_ENVIRONMENT": "github-hosted",
        "TIDEGATE_GITHUB_TOKEN": TOKEN,
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
    }


def test_gits_header_is_for_this_server_masked_and_never_in_the_users_environment(
    machine: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    action.prepare(machine, Runner(machine))
    header = base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()
    assert machine["GIT_CONFIG_KEY_0"] == "http.https://github.test/.extraheader"
    assert machine["GIT_CONFIG_VALUE_0"] == f"AUTHORIZATION: basic {header}"
    masked = read_log(capfd.readouterr().err)
    assert [(c.name, c.data) for c in masked] == [("add-mask", header)]
    theirs = without_credentials(machine)
    assert not any(TOKEN in value or header in value for value in theirs.values())
    assert not any(name.startswith("GIT_CONFIG") for name in theirs)


def test_settings_that_git_was_given_already_stay(machine: dict[str, str]) -> None:
    own = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    machine |= own
    action.prepare(machine, Runner(machine))
    assert machine["GIT_CONFIG_COUNT"] == "2"
    assert own.items() - {("GIT_CONFIG_COUNT", "1")} <= machine.items()
    assert machine["GIT_CONFIG_KEY_1"] == "http.https://github.test/.extraheader"


def test_without_a_token_git_is_given_nothing(machine: dict[str, str]) -> None:
    del machine["TIDEGATE_GITHUB_TOKEN"]
    action.prepare(machine, Runner(machine))
    assert not any(name.startswith("GIT_CONFIG") for name in machine)


# --- the whole process ----------------------------------------------------------------------


def run(machine: dict[str, str], **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tidegate.action"], env={**machine, **more}, text=True,
        capture_output=True, check=False, cwd=machine["HOME"],
    )  # fmt: skip


@pytest.mark.real
def test_the_process_ends_with_the_commands_exit_code_and_obeys_nothing_it_quotes(
    machine: dict[str, str],
) -> None:
    evil = "no\n::set-output name=release::true ##[set-output name=release;]true.yaml"
    done = run(machine, **env("validate", config=evil))
    assert done.returncode == 2
    assert "release" in done.stderr
    assert [c.name for c in read_log(done.stderr + done.stdout)] == ["add-mask"]
    done = run(machine, **env("find", live="::set-output name=release::true ##[add-mask]x"))
    assert done.returncode == 2
    assert "expected true or false" in done.stderr
    assert [c for c in read_log(done.stderr) if c.name != "add-mask"] == []


@pytest.mark.real
def test_away_from_a_runner_the_action_says_what_to_run(machine: dict[str, str]) -> None:
    done = run(machine, GITHUB_ACTIONS="", **env("validate"))
    assert done.returncode == 2
    assert "run `tidegate` itself" in done.stderr


@pytest.mark.real
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_cancelled_run_reaches_the_engine_not_its_shell(tmp_path: Path, number: int) -> None:
    """GitHub signals the step's first process alone: a cloud's training job is stopped by who started it.

    https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-cancellation
    """
    top = Path(__file__).parent.parent
    steps = parse((top / ".github/actions/engine/action.yml").read_text()).data["runs"]["steps"]
    script = tmp_path / "script.sh"
    script.write_text(next(step["run"] for step in steps if step.get("id") == "run"))
    python = tmp_path / "python"
    python.write_text(
        f"#!{sys.executable}\nimport signal, sys\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit(42))\n"
        "print('ready', flush=True)\nsignal.pause()\n"
    )
    python.chmod(0o755)
    with subprocess.Popen(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)],
        env={**os.environ, "TIDEGATE_FOLDER": str(tmp_path), "TIDEGATE_PYTHON": str(python)},
        stdout=subprocess.PIPE, text=True,
    ) as step:  # fmt: skip
        assert step.stdout is not None
        assert step.stdout.readline() == "ready\n"
        step.send_signal(number)
        assert step.wait(60) == 42
