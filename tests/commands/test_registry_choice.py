"""Which registry a command works with: releases, a server, or the store that dies with the job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.github.server import serve
from tests.real_repo import Repo, Stage
from tidegate.adapters.registry.mlflow import MlflowRegistry
from tidegate.adapters.registry.releases import ReleasesRegistry
from tidegate.errors import ConfigError, Exit, OutsideError
from tidegate.git import text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tidegate.ports import Registry

pytestmark = pytest.mark.real

HOSTED = {"GITHUB_ACTIONS": "true", "RUNNER_ENVIRONMENT": "github-hosted"}
OURS = {"GITHUB_ACTIONS": "true", "RUNNER_ENVIRONMENT": "self-hosted"}
JOB = {**HOSTED, "GITHUB_REPOSITORY": "acme/churn", "GITHUB_TRIGGERING_ACTOR": "ada"}
STORE = {"registry__store": "github-releases"}
HOME = "https://github.com/acme/churn.git"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "GITHUB_ACTIONS", "RUNNER_ENVIRONMENT", "GITHUB_REPOSITORY", "GITHUB_API_URL", "GH_TOKEN",
        "GITHUB_TOKEN", "TIDEGATE_GITHUB_TOKEN",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)


def chosen(
    root: Path, monkeypatch: pytest.MonkeyPatch, env: Mapping[str, str], origin: str = "", **config: str
) -> Registry:  # fmt: skip
    repo = Repo.make(root, **config)
    if origin:
        text(repo.path, "remote", "set-url", "origin", origin)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return repo.context().registry()


@pytest.mark.parametrize("env", [{}, OURS], ids=["a person's machine", "our own runner"])
def test_without_a_word_the_registry_is_embedded_where_the_machine_stays(
    env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(chosen(tmp_path, monkeypatch, {**JOB, **env} if env else {}), MlflowRegistry)


def test_on_a_machine_that_dies_with_the_job_it_is_refused_and_both_ways_out_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="would die with this job") as caught:
        chosen(tmp_path, monkeypatch, JOB)
    assert caught.value.exit_code is Exit.USAGE
    assert "store: github-releases" in caught.value.remedy
    assert "uri: ..." in caught.value.remedy


def test_a_server_is_used_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = chosen(tmp_path, monkeypatch, JOB, registry__uri="http://127.0.0.1:9")
    assert isinstance(found, MlflowRegistry)


def test_a_job_uses_its_own_repository_and_the_token_given_to_our_steps_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {**JOB, "GITHUB_TOKEN": "somebody's", "GH_TOKEN": "somebody's"}
    with pytest.raises(OutsideError, match="there is no token") as caught:
        chosen(tmp_path / "one", monkeypatch, env, **STORE)
    assert "TIDEGATE_GITHUB_TOKEN" in caught.value.remedy
    env = {"TIDEGATE_GITHUB_TOKEN": "t0ken"}
    found = chosen(tmp_path / "two", monkeypatch, env, **STORE)
    assert isinstance(found, ReleasesRegistry)
    assert found._root == "/repos/acme/churn"


@pytest.mark.parametrize(
    ("origin", "env", "root"),
    [
        (HOME, {"GH_TOKEN": "t"}, "/repos/acme/churn"),
        ("git@github.com:acme/churn.git", {"GITHUB_TOKEN": "t"}, "/repos/acme/churn"),
        ("https://t0k@github.com/acme/churn", {"TIDEGATE_GITHUB_TOKEN": "t"}, "/repos/acme/churn"),
        (
            "git@ghe.example.com:ml/coin.git",
            {"GH_TOKEN": "t", "GITHUB_API_URL": "https://ghe.example.com/api/v3"},
            "/repos/ml/coin",
        ),
    ],
    ids=["https", "ssh", "with a user", "enterprise server"],
)
def test_a_person_s_machine_uses_the_remote_and_any_usual_token(
    origin: str, env: dict[str, str], root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = chosen(tmp_path, monkeypatch, env, origin, **STORE)
    assert isinstance(found, ReleasesRegistry)
    assert found._root == root


@pytest.mark.parametrize(
    ("origin", "env", "said"),
    [
        (HOME, {}, "there is no token"),
        ("", {"GH_TOKEN": "t"}, "`origin` is not at github.com"),
        ("https://gitlab.com/acme/churn", {"GH_TOKEN": "t"}, "`origin` is not at github.com"),
        ("https://github.com.evil.example/acme/churn", {"GH_TOKEN": "t"}, "is not at github.com"),
        (HOME, {"GH_TOKEN": "t", "GITHUB_API_URL": "https://ghe.test/api/v3"}, "is not at ghe.test"),
    ],
    ids=["no token", "a folder", "another host", "a look-alike", "another server"],
)  # fmt: skip
def test_what_is_missing_is_named_and_the_token_goes_nowhere(
    origin: str, env: dict[str, str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OutsideError, match=said) as caught:
        chosen(tmp_path, monkeypatch, env, origin, **STORE)
    assert caught.value.remedy


def test_two_releases_of_a_model_with_nothing_but_the_repository_s_own_releases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve() as hub:
        hub.state.refs["refs/heads/main"] = "b" * 40
        stage = Stage(Repo.make(tmp_path, **STORE)).enter(monkeypatch)
        event = tmp_path / "event.json"
        event.write_text("{}")
        for name, value in {
            **JOB, "GITHUB_API_URL": hub.url, "TIDEGATE_GITHUB_TOKEN": hub.token,
            "GITHUB_EVENT_PATH": str(event),
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        for slope in (None, 0.95):
            if slope is not None:
                stage.push(slope)
            assert stage.tidegate("run", "--through-probation") == 0
        assert stage.outcomes() == [("1", "promoted"), ("2", "promoted")]
        assert [(row["tag_name"], row["name"]) for row in hub.state.releases] == [
            ("coin-v1", "coin 1"), ("coin-v2", "coin 2 (champion)"),
        ]  # fmt: skip
        assert '"tidegate.outcome": "promoted"' in hub.state.releases[1]["body"]
        assert dict(stage.repo.context().registry().aliases("coin")) == {"champion": "2"}
