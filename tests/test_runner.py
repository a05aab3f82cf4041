"""What a step tells its job: whatever the values hold, exactly that and nothing else."""

from __future__ import annotations

import io
import json
import random
import sys
from typing import TYPE_CHECKING

import pytest

from tests.runner_protocol import RunnerError, read_log, read_pairs
from tidegate.core.notices import Annotation, Severity
from tidegate.errors import OutsideError
from tidegate.redact import Guarded
from tidegate.runner import SUMMARY_LIMIT, Runner, without_credentials

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANY = 20_000
PIECES = (
    "\n", "\n", "\r", "\r\n", "\n\n", " ", "\t", "\0", "=", "<<", "<<EOF", "EOF", "::", ":", ",", ";",
    "%", "%0A", "%0D", "%25", "%3A", "%2C", "]", "##[", "##[set-output name=release;]true",
    "##[add-mask]x", "::set-output name=release::true", "::add-mask::a", "::error file=x::y",
    "::stop-commands::x", "::x::", "release=true", "outcome=pass", "release<<E\ntrue\nE\n",
    "tidegate-", "ghadelimiter_", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\ufeff", "\u200b",
    "\u00a0", "\x1b[2J", "é", "💥", "\udcff", "a", "b", "`", "$(x)", "'", '"', "\\", "<!-- -->",
)  # fmt: skip


def hostile(seed: int, count: int = MANY) -> Iterator[str]:
    rng = random.Random(seed)
    yield from PIECES
    for _ in range(count - len(PIECES)):
        yield "".join(rng.choices(PIECES, k=rng.randint(0, 9)))


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"repository": {"id": 1, "default_branch": "trunk"}}))
    return Runner(
        {
            "GITHUB_ACTIONS": "true",
            "GITHUB_OUTPUT": str(tmp_path / "output"),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
            "GITHUB_EVENT_PATH": str(event),
            "GITHUB_REPOSITORY": "acme/churn",
            "GITHUB_RUN_ID": "17",
            "GITHUB_SHA": "a" * 40,
        }
    )


def kept(text: str) -> str:
    return text.replace("\r", "").replace("\0", "").encode(errors="replace").decode()


def test_an_output_sets_its_own_key_to_its_own_value_and_no_other(
    runner: Runner, tmp_path: Path
) -> None:
    texts = list(hostile(1))
    for number, text in enumerate(texts):
        runner.output(f"key-{number}", text)
    written = (tmp_path / "output").read_bytes().decode()
    assert read_pairs(written) == [(f"key-{i}", kept(text)) for i, text in enumerate(texts)]


@pytest.mark.parametrize("name", ["", "a=b", "a\nb", "a<<b", "A", "1a", "ä", "a b", "a\n"])
def test_an_outputs_name_is_ours(runner: Runner, name: str) -> None:
    with pytest.raises(ValueError, match="not an output's name"):
        runner.output(name, "x")


def test_the_oracle_itself_finds_forged_outputs() -> None:
    assert read_pairs("a=1\nrelease=true\n") == [("a", "1"), ("release", "true")]
    assert read_pairs("a<<E\nx\nE\nb=2\nE\n".replace("\nE\n", "\nE\n", 1)[:-2]) == [
        ("a", "x"),
        ("b", "2"),
    ]
    for broken in ("no sign", "<<E\nx\nE", "a<<E\nx"):
        with pytest.raises(RunnerError):
            read_pairs(broken)


def test_the_oracle_itself_obeys_what_the_runner_obeys() -> None:
    log = "  ::set-output name=a%2Cb,c=d::x%0Ay\ntext ##[add-mask]s3\n::nothing::x\nx ::debug::y\n"
    found = read_log(log)
    assert [(c.name, c.data) for c in found] == [("set-output", "x\ny"), ("add-mask", "s3")]
    assert found[0].properties == {"name": "a,b", "c": "d"}
    assert read_log("::stop-commands::T\n::error::x\n##[error]y\n::T::\n::error::z")[0].data == "z"


def test_an_annotation_is_one_command_with_exactly_these_words(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", Guarded(log, {}))
    texts = list(hostile(2, 5000))
    for text in texts:
        runner.annotate(
            Annotation(path=text, line=3, severity=Severity.FAILURE, title=text, message=text)
        )
    found = read_log(log.getvalue())
    assert len(found) == len(texts)
    for text, command in zip(texts, found, strict=True):
        assert command.name == "error"
        assert command.data == text
        assert set(command.properties) == {"file", "line", "title"}
        assert command.properties["file"] == text
        assert command.properties["title"].strip() == text.strip()


def test_nothing_that_is_said_is_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    from tidegate.terminal import Terminal

    log = io.StringIO()
    guarded = Guarded(log, {})
    terminal = Terminal(out=guarded, err=guarded)  # type: ignore[arg-type]
    for text in hostile(3):
        terminal.progress(text)
        terminal.say(text)
        guarded.write(text)
    guarded.finish()
    assert read_log(log.getvalue()) == []


def test_a_mask_covers_every_line_of_a_secret(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    secrets = [text for text in hostile(4, 2000) if text.strip()]
    for secret in secrets:
        log.seek(0)
        log.truncate()
        runner.mask(secret)
        found = read_log(log.getvalue())
        assert {command.name for command in found} <= {"add-mask"}
        masked = {command.data for command in found}
        assert secret in masked
        assert all(line in masked for line in secret.splitlines() if line.strip())


def test_a_summary_is_cut_to_what_github_shows_and_never_within_a_letter(
    runner: Runner, tmp_path: Path
) -> None:
    runner.summary("ä" * SUMMARY_LIMIT)
    data = (tmp_path / "summary").read_bytes()
    assert SUMMARY_LIMIT - 2 <= len(data) <= 1024 * 1024
    assert set(data.decode().strip()) == {"ä"}


def test_summaries_of_steps_do_not_run_into_each_other(runner: Runner, tmp_path: Path) -> None:
    for text in ("one", "two\n\n\n", "\udcff\0::set-output name=a::b"):
        runner.summary(text)
    text = (tmp_path / "summary").read_bytes().decode(errors="replace")
    assert text.startswith("one\n\ntwo\n\n")
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize("missing", ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"])
def test_a_file_that_the_runner_did_not_give_is_an_expected_error(
    runner: Runner, missing: str, tmp_path: Path
) -> None:
    lacking = Runner({k: v for k, v in runner.env.items() if k != missing})
    gone = Runner({**runner.env, missing: str(tmp_path / "no" / "where")})
    for one in (lacking, gone):
        with pytest.raises(OutsideError, match=missing):
            one.summary("b") if "SUMMARY" in missing else one.output("a", "b")


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '"x"', "\ud800".encode("utf-8", "surrogatepass")]
)
def test_an_event_that_is_none_is_an_expected_error(
    runner: Runner, tmp_path: Path, content: str | bytes
) -> None:
    path = tmp_path / "event.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(OutsideError):
        _ = runner.event


@pytest.mark.parametrize(
    ("head", "fork"),
    [
        ({"repo": {"full_name": "acme/churn"}}, False),
        ({"repo": {"full_name": "mallory/churn"}}, True),
        ({"repo": None}, True),
        ({}, True),
    ],
    ids=["own", "fork", "deleted", "unknown"],
)
def test_a_pull_request_of_nobody_knows_whom_is_a_forks(
    runner: Runner, tmp_path: Path, head: dict[str, object], *, fork: bool
) -> None:
    event = {"pull_request": {"number": 3, "head": {"sha": "b" * 40, **head}}}
    (tmp_path / "event.json").write_text(json.dumps(event))
    assert runner.from_fork is fork
    assert (runner.pull, runner.head) == (3, "b" * 40)


def test_a_forks_job_without_an_identity_is_told_what_helps(runner: Runner, tmp_path: Path) -> None:
    event = {
        "pull_request": {"number": 3, "head": {"sha": "b" * 40, "repo": {"full_name": "eve/x"}}}
    }
    (tmp_path / "event.json").write_text(json.dumps(event))
    with pytest.raises(
        OutsideError, match="a fork's pull request no OpenID Connect token"
    ) as error:
        runner.id_token("sts.amazonaws.com")
    assert "push the branch to this repository" in error.value.remedy
    assert error.value.exit_code == 3


def test_away_from_a_runner_there_is_none() -> None:
    assert Runner.find({"GITHUB_ACTIONS": "false", "GITHUB_OUTPUT": "/x"}) is None


def test_the_users_code_gets_no_token_no_runner_file_and_no_header_of_gits() -> None:
    secret = {
        "TIDEGATE_GITHUB_TOKEN", "TIDEGATE_SIGNING_KEY", "GITHUB_TOKEN", "GITHUB_OUTPUT", "GITHUB_ENV",
        "GITHUB_PATH", "GITHUB_STEP_SUMMARY", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_RUNTIME_TOKEN",
        "RUNNER_TRACKING_ID", "INPUT_TOKEN", "GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0",
        "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN",
    }  # fmt: skip
    needed = {"PATH", "HOME", "LANG", "GITHUB_ACTIONS", "RUNNER_TEMP", "CUDA_VISIBLE_DEVICES"}
    assert set(without_credentials(dict.fromkeys(secret | needed, "x"))) == needed
