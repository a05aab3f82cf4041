"""The documents' judgement, faults, and the stand-in as a process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.gcp import behaviour
from tests.gcp.cut import cut, written
from tests.gcp.description import CUT, description
from tests.gcp.handlers import ROUTES
from tests.gcp.rows import shows
from tests.gcp.server import serve
from tests.gcp.services import METHODS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.gcp.client import Client
    from tests.gcp.cloud import Cloud

pytestmark = pytest.mark.real


@pytest.mark.parametrize(
    ("method", "path", "body", "query"),
    [
        ("POST", "endpoints", {"displayName": "x", "colour": "red"}, {}),
        ("POST", "endpoints", {"displayName": 7}, {}),
        ("POST", "endpoints", {"labels": {}}, {}),
        ("POST", "endpoints", {"displayName": "x", "trafficSplit": {"1": "all"}}, {}),
        ("POST", "endpoints", {"displayName": "x"}, {"endpoint_id": "churn"}),
        ("PATCH", "endpoints/churn", {"labels": {}}, {"updatemask": "labels"}),
        ("PATCH", "endpoints/churn", {"labels": {}}, {}),
        ("PATCH", "endpoints/churn", {"labels": {}}, {"updateMask": "trafficsplit"}),
        ("POST", "endpoints/churn:deployModel", {"deployedModel": {"id": 1}}, {}),
        ("GET", "endpoints", None, {"pageSize": "many"}),
        (
            "POST",
            "customJobs",
            {"displayName": "x", "jobSpec": {"scheduling": {"strategy": "CHEAP"}}},
            {},
        ),
    ],
)
def test_what_breaks_the_documents_is_refused_and_recorded(
    cloud: Cloud, client: Client, method: str, path: str, body: Any, query: dict[str, str]
) -> None:
    refused = client.refused(method, f"{client.vertex}/{path}", body, **query)
    assert refused == (400, "INVALID_ARGUMENT")
    assert cloud.violations
    cloud.violations.clear()


def test_a_violation_fails_the_block() -> None:
    block = serve()
    cloud = block.__enter__()
    cloud.violations.append("a colour")
    with pytest.raises(AssertionError, match="a colour"):
        block.__exit__(None, None, None)


def test_what_is_not_served_is_a_violation(cloud: Cloud, client: Client) -> None:
    for url in ("https://compute.googleapis.com/v1/x", f"{client.vertex}/indexes"):
        assert client.refused("GET", url) == (501, "UNIMPLEMENTED")
    assert len(cloud.violations) == 2
    cloud.violations.clear()


def test_another_project_is_not_ours(cloud: Cloud, client: Client) -> None:
    address = client.vertex.replace(cloud.project, "other")
    assert client.refused("GET", f"{address}/endpoints") == (403, "PERMISSION_DENIED")


def test_an_answer_of_ours_is_held_to_the_documents(
    cloud: Cloud, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "aiplatform.projects.locations.endpoints.list"
    route = type(ROUTES[name])(lambda _cloud, _request: {"endpoints": "none"}, alone=True)
    monkeypatch.setitem(ROUTES, name, route)
    assert client.refused("GET", f"{client.vertex}/endpoints") == (500, "INTERNAL")
    assert "our answer" in cloud.violations.pop()


# --- faults -------------------------------------------------------------------------------------


def test_a_call_fails_so_many_times(cloud: Cloud, client: Client) -> None:
    address = client.endpoint()
    cloud.fail_next("*.endpoints.get", times=2, status=503, headers={"Retry-After": "3"})
    for _ in range(2):
        answer = client.ask("GET", address)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "3")
    client.did("GET", address)


def test_a_change_is_made_though_its_answer_is_lost(cloud: Cloud, client: Client) -> None:
    address = client.endpoint()
    cloud.fail_next("*.endpoints.patch", status=None, apply=True)
    with pytest.raises(requests.ConnectionError):
        client.did("PATCH", address, {"description": "done"}, updateMask="description")
    assert client.did("GET", address)["description"] == "done"


@shows("throttled")
def test_a_share_of_all_calls_is_throttled(cloud: Cloud, client: Client) -> None:
    address = client.endpoint()
    cloud.throttle(0.3, seed=7)
    answers = [client.ask("GET", address) for _ in range(200)]
    cloud.throttle(0)
    refused = [answer for answer in answers if answer.status_code != 200]
    assert 40 < len(refused) < 80
    assert {answer.status_code for answer in refused} == {429, 503}
    assert any("Retry-After" in answer.headers for answer in refused)
    assert len([call for call in cloud.calls if call.method.endswith(".get")]) >= 200


# --- documents ----------------------------------------------------------------------------------


def test_every_method_of_the_cut_is_served() -> None:
    assert ROUTES.keys() == description().methods.keys()
    assert description().methods.keys() == {name for names in METHODS.values() for name in names}


def test_the_cut_is_what_the_script_writes(tmp_path: Path) -> None:
    documents = json.loads(CUT.read_text(encoding="utf-8"))
    assert written(documents) == CUT.read_text(encoding="utf-8")
    whole = {
        "revision": "1",
        "servicePath": "",
        "parameters": {},
        "schemas": {
            "A": {"properties": {"b": {"$ref": "B"}, "c": {"description": "Required. x"}}},
            "B": {"type": "object", "description": "prose"},
            "C": {"type": "object"},
        },
        "resources": {
            "r": {
                "methods": {
                    "get": {
                        "id": "s.r.get",
                        "httpMethod": "GET",
                        "path": "v1/x",
                        "parameters": {"p": {"location": "path"}},
                        "response": {"$ref": "A"},
                    }
                }
            }
        },
    }
    small = cut(whole, ("s.r.get",))
    assert small["schemas"].keys() == {"A", "B"}
    assert small["schemas"]["A"]["properties"]["c"] == {"required": True}
    assert small["schemas"]["B"] == {"type": "object"}


def test_every_rule_has_a_source() -> None:
    for name, rule in behaviour.RULES.items():
        assert rule.source.startswith(("https://", "ours")), name
        assert rule.says, name


# --- a process ----------------------------------------------------------------------------------


def test_the_stand_in_as_a_process(tmp_path: Path) -> None:
    state = tmp_path / "cloud.json"
    command = [sys.executable, "-m", "tests.gcp", "--state", str(state), "--bucket", "mine"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        env = requests.get(f"{url}/_cloud/env", timeout=5).json()
        assert env["TIDEGATE_GOOGLE_URL"] == url
        knob = {"method": "storage.buckets.get", "status": 500}
        assert requests.post(f"{url}/_cloud/fail_next", json=knob, timeout=5).status_code == 200
        assert requests.post(f"{url}/_cloud/nothing", timeout=5).status_code == 404
        requests.post(f"{url}/_cloud/set", json={"anonymous": True}, timeout=5)
        address = f"{url}/storage.googleapis.com/storage/v1/b/mine"
        assert [requests.get(address, timeout=5).status_code for _ in range(2)] == [500, 200]
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    written_state = json.loads(state.read_text(encoding="utf-8"))
    assert [call[0] for call in written_state["calls"]] == ["storage.buckets.get"] * 2
    assert written_state["violations"] == []
