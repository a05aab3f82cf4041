"""tidegate doctor: what would fail in the first hour, and how to fix it."""

from __future__ import annotations

import json
import shutil
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.endpoint.serving import free_port
from tests.github.server import serve
from tests.real_repo import Repo
from tidegate import pin
from tidegate.doctor import machine
from tidegate.git import text
from tidegate.render import starter

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    return Repo.make(tmp_path_factory.mktemp("doctor"), release__local={"port": free_port()})


@pytest.fixture
def repo(made: Repo, tmp_path: Path) -> Repo:
    return made.copy(tmp_path / "copy")


def look(repo: Repo, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit code, and what was found, by what was looked at."""
    code = repo.tidegate("doctor", "--json")
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] == (code == 0)
    return code, {check["what"]: check for check in document["checks"]}


def test_a_repository_that_is_ready_is_told_so(
    repo: Repo, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = look(repo, capsys)
    assert code == 0, found
    assert list(found) == ["mlops.yaml", "data", "ledger", "push", "registry", "endpoint", "disk"]
    assert found["data"]["found"].endswith("4,000 holdout rows")
    assert found["ledger"]["found"] == "new: nothing written yet"
    assert repo.tidegate("doctor") == 0
    assert "everything is in place" in capsys.readouterr().out


def test_looking_changes_nothing(repo: Repo, capsys: pytest.CaptureFixture[str]) -> None:
    origin = repo.path.parent / "origin.git"
    before = text(origin, "for-each-ref"), text(repo.path, "for-each-ref")
    look(repo, capsys)
    assert (text(origin, "for-each-ref"), text(repo.path, "for-each-ref")) == before
    assert not repo.home.endpoint("coin").exists()


def test_a_bad_file_is_the_only_finding(repo: Repo, capsys: pytest.CaptureFixture[str]) -> None:
    repo.write("mlops.yaml", "version: 2\n")
    code, found = look(repo, capsys)
    assert code == 2
    assert list(found) == ["mlops.yaml"]
    assert "mlops.yaml:1:10: version: got 2" in found["mlops.yaml"]["found"]


def test_a_variable_that_is_not_set_is_named(
    repo: Repo, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOT_SET_HERE", raising=False)
    repo.configure(registry={"uri": "${NOT_SET_HERE}"})
    code, found = look(repo, capsys)
    assert code == 2
    assert found["mlops.yaml"]["found"] == "variables not set: NOT_SET_HERE"


@pytest.mark.parametrize(
    ("spoil", "what", "says"),
    [
        (lambda repo: (repo.path / "holdout.parquet").unlink(), "data", "no such file"),
        (lambda repo: repo.write("train.parquet", "text"), "data", "not a readable Parquet"),
        (lambda repo: repo.configure(data__target="z"), "data", "no column 'z'"),
        (lambda repo: shutil.rmtree(repo.path.parent / "origin.git"), "push", "git push failed"),
        (
            lambda repo: repo.configure(registry={"uri": "http://127.0.0.1:9"}),
            "registry",
            "the registry failed to read the aliases",
        ),
    ],
    ids=["no holdout", "train is no table", "no such column", "no origin", "no registry"],
)
def test_each_thing_that_would_fail_is_found(
    repo: Repo, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    spoil: Any, what: str, says: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    spoil(repo)
    code, found = look(repo, capsys)
    assert code == 3
    assert not found[what]["ok"]
    assert says in found[what]["found"]
    assert found[what]["remedy"] or what == "push"


def test_a_taken_port_is_found(repo: Repo, capsys: pytest.CaptureFixture[str]) -> None:
    port = int(json.loads(repo.config.read_text())["release"]["local"]["port"])
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", port))
        thief.listen()
        code, found = look(repo, capsys)
    assert code == 3
    assert found["endpoint"]["found"] == f"port {port} is taken by another program"


def test_packages_that_are_not_installed_are_named_with_the_extra(
    repo: Repo, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_installed", lambda module: module != "envoy")
    code, found = look(repo, capsys)
    assert code == 3
    assert found["endpoint"]["found"] == "not installed: envoy"
    assert "tidegate[local]" in found["endpoint"]["remedy"]


def test_a_tampered_ledger_is_found(repo: Repo, capsys: pytest.CaptureFixture[str]) -> None:
    assert repo.tidegate("override", "--reason", "none") == 1
    from tidegate.commands.recording import record
    from tidegate.core.events import Resumed

    ledger = repo.context().ledger()
    record(ledger, lambda _: Resumed(reason="first"), actor="Ada", human=True)
    snapshot = ledger._store.read()
    files = {"events.jsonl": snapshot.files["events.jsonl"].replace(b"first", b"other")}
    ledger._store.write(snapshot, files, "tamper")
    capsys.readouterr()
    code, found = look(repo, capsys)
    assert code == 3
    assert "the ledger is not as it was written" in found["ledger"]["found"]


def test_a_full_disk_is_found(
    repo: Repo, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_LEAST_DISK", 1e18)
    code, found = look(repo, capsys)
    assert code == 3
    assert "TIDEGATE_HOME" in found["disk"]["remedy"]


# --- with GitHub ----------------------------------------------------------------------------


@pytest.fixture
def hosted(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """A repository whose origin is on GitHub by name, and on this disk by git's own rewriting."""
    for name in ("TIDEGATE_GITHUB_TOKEN", "GITHUB_TOKEN", "GH_TOKEN", "GITHUB_API_URL"):
        monkeypatch.delenv(name, raising=False)
    address = "https://github.com/acme/churn.git"
    text(repo.path, "remote", "set-url", "origin", address)
    text(repo.path, "config", f"url.{repo.path.parent / 'origin.git'}.insteadOf", address)
    path = repo.path / ".github" / "workflows" / "mlops.yml"
    path.parent.mkdir(parents=True)
    path.write_text(starter.workflow("main", training={}, operating={"runner": "self-hosted"}))
    return repo


LOOKS = ("repository", "actions", "ledger branch", "environments", "revert pulls")


def test_without_a_token_doctor_says_what_it_did_not_look_at(
    hosted: Repo, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = look(hosted, capsys)
    assert code == 5
    assert {what for what, check in found.items() if check["state"] == "not looked at"} == set(
        LOOKS
    )
    assert found["workflow"]["ok"]
    assert hosted.tidegate("doctor") == 5
    shown = capsys.readouterr().out
    assert "everything is in place" not in shown
    assert shown.count("GH_TOKEN=$(gh auth token) tidegate doctor") == 1


def test_with_a_token_it_looks(
    hosted: Repo, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve() as hub:
        monkeypatch.setenv("GITHUB_API_URL", hub.url)
        monkeypatch.setenv("GH_TOKEN", hub.token)
        hub.default_branch = "trunk"
        code, found = look(hosted, capsys)
    assert code == 3
    assert "the default branch is trunk" in found["branch"]["found"]
    assert found["environment production-operate"]["state"] == "failed"
    assert not any(check["state"] == "not looked at" for check in found.values())
    assert hub.token not in json.dumps(found)


def test_a_token_that_github_does_not_know_is_no_ok(
    hosted: Repo, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve() as hub:
        monkeypatch.setenv("GITHUB_API_URL", hub.url)
        monkeypatch.setenv("GH_TOKEN", "ghp_old")
        code, found = look(hosted, capsys)
    assert code == 5
    assert {found[what]["state"] for what in LOOKS} == {"not looked at"}
    assert "ghp_old" not in json.dumps(found)


def test_a_workflow_that_cannot_be_read_is_the_finding(
    hosted: Repo, capsys: pytest.CaptureFixture[str]
) -> None:
    (hosted.path / ".github/workflows/mlops.yml").write_text("on: [ # tidegate/tidegate/\n")
    code, found = look(hosted, capsys)
    assert code == 3
    assert found["workflow"]["found"].startswith(".github/workflows/mlops.yml:")


def test_an_endpoint_that_is_elsewhere_does_not_fail_here(
    hosted: Repo, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_installed", lambda module: module != "envoy")
    _, found = look(hosted, capsys)
    assert found["endpoint"]["state"] == "warning"


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_the_policies_name_this_repository_and_its_pin(
    hosted: Repo, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, cloud: str
) -> None:
    with serve() as hub:
        monkeypatch.setenv("GITHUB_API_URL", hub.url)
        monkeypatch.setenv("GH_TOKEN", hub.token)
        given = ["--set", "region=eu-west-1", "--set", "bucket=acme-models"]
        assert hosted.tidegate("doctor", "--policy", cloud, "--json", *given) == 0
    document = json.loads(capsys.readouterr().out)
    said = json.dumps(document)
    assert "repo:acme/churn:environment:production-operate" in said
    assert str(hub.repository_id) in said
    assert f"watch-model.yml@{pin.COMMIT}" in said
    assert "acme-models" in said
    assert "repository_id" not in document["fill_in"]


def test_a_policy_value_that_would_widen_it_is_refused(
    hosted: Repo, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hosted.tidegate("doctor", "--policy", "aws", "--set", "bucket=*") == 2
    assert "not a plain value" in capsys.readouterr().err
