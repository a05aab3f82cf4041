"""The loopback GitHub can say no: to what breaks the description, to whom, and on demand."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.github import actions
from tests.github.cut import bare, cut, references, written
from tests.github.description import CUT, Description, description
from tests.github.hub import TOKEN, Hub
from tests.github.routing import ROUTES, Answer, Route
from tests.github.server import running, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.real

R = "/repos/acme/churn"


def ask(hub: Hub, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
    sent = {
        "Authorization": f"Bearer {hub.token}",
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": "2022-11-28",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return requests.request(
        method, hub.url + path, json=body, headers=sent, timeout=10, allow_redirects=False
    )


@contextlib.contextmanager
def lenient() -> Iterator[Hub]:
    """Serve without the judgement at the end."""
    with running(Hub()) as hub:
        yield hub


# --- the cut ----------------------------------------------------------------------------------------


def test_the_cut_holds_exactly_the_operations_that_are_served() -> None:
    described = {(o.method, o.template) for o in description().operations}
    assert described == set(ROUTES)


def test_the_cut_is_whole_and_small() -> None:
    document = json.loads(CUT.read_text())
    for reference in references(document):
        _, _, kind, name = reference.split("/")
        assert name in document["components"][kind]
    assert CUT.stat().st_size < 300_000
    assert document["info"]["version"] == "23.0.2"


def test_cutting_the_cut_changes_nothing() -> None:
    assert written(cut(json.loads(CUT.read_text()))) == CUT.read_text()


def test_prose_is_cut_and_names_are_kept() -> None:
    schema = {"description": "x", "properties": {"description": {"type": "a", "title": "y"}}}
    assert bare(schema) == {"properties": {"description": {"type": "a"}}}


# --- what breaks the description ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("POST", "/issues", {"title": "t", "boddy": "x"}, "body.boddy is not described"),
        ("POST", "/issues", {}, "'title' is a required property"),
        ("POST", "/issues", None, "no body"),
        ("POST", "/issues/1/comments", {"body": 7}, "7 is not of type 'string'"),
        ("GET", "/issues?state=al", None, "'al' is not one of"),
        ("GET", "/issues?stat=all", None, "query parameter 'stat' is not described"),
        ("GET", "/issues?per_page=many", None, "'many' is not of type 'integer'"),
        ("GET", "/issues/one", None, "'one' is not of type 'integer'"),
        ("POST", "/check-runs", {"name": "n"}, "'head_sha' is a required property"),
        (
            "POST",
            "/check-runs",
            {"name": "n", "head_sha": "a", "conclusion": "passed", "status": "completed"},
            "passed",
        ),
        ("POST", "/deployments", {"ref": "a", "auto_merged": False}, "auto_merged"),
        ("DELETE", "/issues/1", None, "no such operation"),
        ("GET", "/stargazers", None, "no such operation"),
    ],
)
def test_a_request_that_breaks_the_description_is_a_loud_failure(
    method: str, path: str, body: Any, said: str
) -> None:
    with lenient() as hub:
        hub.add_issue("t", "b")
        assert ask(hub, method, R + path, body).status_code in {404, 500}
        assert said in "\n".join(hub.violations)


def test_what_was_broken_fails_the_block() -> None:
    hubs = contextlib.ExitStack()
    ask(hubs.enter_context(serve()), "GET", f"{R}/issues?stat=all")
    with pytest.raises(AssertionError, match="'stat' is not described"):
        hubs.close()


@pytest.mark.parametrize("header", ["Accept", "X_GitHub_Api_Version", "User_Agent"])
def test_a_request_without_a_header_that_github_asks_for_is_a_failure(header: str) -> None:
    with lenient() as hub:
        assert ask(hub, "GET", f"{R}/issues", None, **{header: ""}).status_code == 500
        assert "no header" in hub.violations[0]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body={"enabled": "yes"}),
        Answer(body={}),
        Answer(body=[]),
        Answer(body=None),
        Answer(status=201, body={"enabled": True}),
    ],
)
def test_an_answer_of_ours_that_breaks_the_description_is_a_loud_failure(
    answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ("GET", "/repos/{owner}/{repo}/actions/permissions")
    monkeypatch.setitem(ROUTES, key, Route(lambda *_: answer, ""))
    with lenient() as hub:
        assert ask(hub, "GET", f"{R}/actions/permissions").status_code == 500
        assert "our answer to" in hub.violations[0]


def test_a_value_without_a_place_in_the_schema_cannot_be_answered() -> None:
    with pytest.raises(KeyError, match="boddy"):
        description().fill("issue-comment", {"boddy": "x"})


def test_what_is_filled_in_satisfies_every_schema() -> None:
    whole = description()
    for operation in whole.operations:
        for status, answer in operation.content["responses"].items():
            content = answer.get("content", {}).get("application/json", {})
            name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
            if name and status.startswith("2"):
                body = whole.fill(name, {})
                assert (
                    whole.response_problems(operation, int(status), body, "application/json") == []
                )


def test_nullable_is_understood() -> None:
    schemas = {
        "a": {"type": "string", "nullable": True, "enum": ["x"]},
        "b": {"allOf": [{"type": "string"}], "nullable": True},
        "pull-request-simple": {"properties": {"head": {"properties": {"repo": {}}}}},
        "pull-request": {"properties": {"head": {"properties": {"repo": {}}}}},
    }
    content = {
        name: {
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
        }
        for name in "ab"
    }
    paths = {"/x": {"get": {"responses": {"200": content["a"], "201": content["b"]}}}}
    small = Description(
        {"info": {"version": "1"}, "components": {"schemas": schemas}, "paths": paths}
    )
    (operation,) = small.operations
    for status in (200, 201):
        for body, good in ((None, True), ("x", True), (7, False)):
            problems = small.response_problems(operation, status, body, "application/json")
            assert (problems == []) is good


# --- who may ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["", "Bearer wrong", TOKEN, f"token {TOKEN}"])
def test_without_the_token_nothing_is_told(given: str) -> None:
    with serve() as hub:
        for path in (R, "/rate_limit", f"{R}/issues"):
            assert ask(hub, "GET", path, Authorization=given).status_code == 401
        assert ask(hub, "POST", "/_hub/grant", {}, Authorization=given).status_code == 401


def test_a_permission_is_needed_and_named() -> None:
    with serve() as hub:
        number = hub.add_issue("t", "b")["number"]
        at = f"{R}/issues/{number}/comments"
        hub.grant({"pull_requests": "write"})
        assert ask(hub, "POST", at, {"body": "b"}).status_code == 201
        hub.grant({"issues": "read"})
        refused = ask(hub, "POST", at, {"body": "b"})
        assert refused.status_code == 403
        named = refused.headers["x-accepted-github-permissions"]
        assert named == "issues=write; pull_requests=write"
        assert ask(hub, "GET", at).status_code == 200


def test_another_repository_is_not_found() -> None:
    with serve() as hub:
        assert ask(hub, "GET", "/repos/acme/other/issues").status_code == 404


def test_the_storage_refuses_a_token_and_a_wrong_signature() -> None:
    with lenient() as hub:
        row = hub.add_artifact(1, "a", {})
        at = ask(hub, "GET", f"{R}/actions/artifacts/{row['id']}/zip").headers["Location"]
        assert requests.get(at, timeout=10).status_code == 200
        assert requests.get(at[:-1], timeout=10).status_code == 403
        assert hub.violations == []
        token = {"Authorization": f"Bearer {hub.token}"}
        assert requests.get(at, headers=token, timeout=10).status_code == 400
        assert hub.violations


# --- faults ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("apply", [True, False])
def test_a_fault_comes_before_or_after_the_effect(apply: bool) -> None:
    with serve() as hub:
        hub.fail_next("POST", "/labels", status=502, apply=apply)
        assert ask(hub, "POST", f"{R}/labels", {"name": "x"}).status_code == 502
        assert len(hub.state.labels) == int(apply)
        expected = 422 if apply else 201
        assert ask(hub, "POST", f"{R}/labels", {"name": "x"}).status_code == expected


def test_a_connection_can_be_reset() -> None:
    with serve() as hub:
        hub.fail_next("GET", "/issues", status=None)
        with pytest.raises(requests.ConnectionError):
            ask(hub, "GET", f"{R}/issues")
        assert ask(hub, "GET", f"{R}/issues").status_code == 200


# --- what GitHub itself refuses ---------------------------------------------------------------------------


def release(hub: Hub, **more: Any) -> requests.Response:
    return ask(
        hub, "POST", f"{R}/releases", {"tag_name": "v1", "target_commitish": "e" * 40, **more}
    )


def test_a_published_release_holds_its_tag() -> None:
    with serve() as hub:
        first = release(hub, draft=True).json()
        assert ask(hub, "GET", f"{R}/releases/tags/v1").status_code == 404
        assert hub.state.refs == {}
        at = f"{R}/releases/{first['id']}"
        assert ask(hub, "PATCH", at, {"draft": False}).status_code == 200
        assert hub.state.refs == {"refs/tags/v1": "e" * 40}
        assert ask(hub, "GET", f"{R}/releases/latest").json()["id"] == first["id"]
        again = release(hub)
        assert (again.status_code, again.json()["errors"][0]["code"]) == (422, "already_exists")
        assert release(hub, draft=True).status_code == 201
        assert ask(hub, "DELETE", at).status_code == 204
        assert ask(hub, "GET", f"{R}/releases/tags/v1").status_code == 404


def upload(hub: Hub, url: str, data: bytes) -> int:
    sent = {
        "Authorization": f"Bearer {hub.token}",
        "Accept": "*/*",
        "X-GitHub-Api-Version": "2022-11-28",
        "Content-Type": "application/octet-stream",
    }
    return requests.post(url, data=data, headers=sent, timeout=10).status_code


def test_assets_go_to_the_address_that_was_handed_out() -> None:
    with serve() as hub:
        row = release(hub, draft=True).json()
        url = row["upload_url"].replace("{?name,label}", "?name=a")
        assert upload(hub, url.replace("/uploads/", "/"), b"x") == 404
        assert upload(hub, url, b"") == 422
        assert upload(hub, url, b"x") == 201
        assert upload(hub, url, b"y") == 422
        asset = ask(hub, "GET", f"{R}/releases/{row['id']}/assets").json()[0]
        assert ask(hub, "DELETE", f"{R}/releases/assets/{asset['id']}").status_code == 204
        assert hub.state.assets == []


def test_an_immutable_release_keeps_its_assets() -> None:
    with serve() as hub:
        hub.state.settings["immutable_releases"] = True
        row = release(hub, draft=True).json()
        url = row["upload_url"].replace("{?name,label}", "?name=a")
        assert upload(hub, url, b"x") == 201
        ask(hub, "PATCH", f"{R}/releases/{row['id']}", {"draft": False})
        assert upload(hub, url.replace("name=a", "name=b"), b"x") == 422


def test_a_ref_is_made_once_moved_and_taken_away() -> None:
    with serve() as hub:
        body = {"ref": "refs/heads/a/b", "sha": "a" * 40}
        assert ask(hub, "POST", f"{R}/git/refs", body).status_code == 201
        assert ask(hub, "POST", f"{R}/git/refs", body).status_code == 422
        at = f"{R}/git/refs/heads/a/b"
        assert ask(hub, "PATCH", at, {"sha": "b" * 40}).json()["object"]["sha"] == "b" * 40
        assert ask(hub, "GET", f"{R}/git/ref/heads/a/b").status_code == 200
        assert len(ask(hub, "GET", f"{R}/git/matching-refs/heads/a").json()) == 1
        assert ask(hub, "DELETE", at).status_code == 204
        assert ask(hub, "GET", f"{R}/git/ref/heads/a/b").status_code == 404


def test_a_body_that_is_too_long_is_refused() -> None:
    with serve() as hub:
        body = {"title": "t", "body": "x" * 65_537}
        assert ask(hub, "POST", f"{R}/issues", body).status_code == 422


def test_the_settings_of_a_new_repository_are_described() -> None:
    with serve() as hub:
        assert ask(hub, "GET", R).json()["default_branch"] == "main"
        assert ask(hub, "GET", f"{R}/actions/permissions/selected-actions").status_code == 409
        assert ask(hub, "GET", "/rate_limit").status_code == 200
        assert actions.SETTINGS["default_workflow_permissions"] == "read"


# --- artifacts of a folder, and the process ----------------------------------------------------------------


def test_artifacts_are_taken_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "7" / "result").mkdir(parents=True)
    (tmp_path / "7" / "result" / "r.json").write_text("{}")
    (tmp_path / "7" / "zipped").mkdir()
    (tmp_path / "7" / "zipped" / "zipped.zip").write_bytes(b"PK")
    with serve(artifacts=tmp_path) as hub:
        hub.add_run(7, head_repository_id=5, branch="patch", sha="e" * 40)
        for _ in range(2):
            rows = ask(hub, "GET", f"{R}/actions/runs/7/artifacts").json()["artifacts"]
        assert sorted(row["name"] for row in rows) == ["result", "zipped"]
        assert {row["workflow_run"]["head_repository_id"] for row in rows} == {5}


def test_the_process_keeps_its_state_in_a_file(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    command = [sys.executable, "-m", "tests.github", "--state", str(state), "--repository", "o/n"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            hub = Hub(repository="o/n")
            hub.url = process.stdout.readline().strip()
            pull = {"head": "f", "sha": "a" * 40}
            added = ask(hub, "POST", "/_hub/add_pull", pull).json()["done"]
            at = f"/repos/o/n/issues/{added['number']}/comments"
            assert ask(hub, "POST", at, {"body": "hi"}).status_code == 201
            kept = json.loads(state.read_text())
            assert [row["body"] for row in kept["comments"]] == ["hi"]
            assert kept["violations"] == []
            assert ask(hub, "GET", "/_hub/state").json()["pulls"][0]["number"] == added["number"]
            assert ask(hub, "POST", "/_hub/token", {}).status_code == 404
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
