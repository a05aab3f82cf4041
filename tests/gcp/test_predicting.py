"""The data plane, over real model servers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.gcp.client import SERVER
from tests.gcp.rows import shows

if TYPE_CHECKING:
    from tests.gcp.client import Client
    from tests.gcp.cloud import Cloud

pytestmark = pytest.mark.real
ONE: dict[str, Any] = {"instances": [{"x": 1}]}


@shows("random-split", "split-absent")
def test_traffic_is_split_at_random_over_processes(client: Client) -> None:
    address = client.endpoint()
    client.deployed(address, client.model("m1", "one"), "1", _0=100)
    client.deployed(address, client.model("m2", "two"), "2", _0=30, _1=70)
    client.deployed(address, client.model("m3", "three"), "3")
    seen: Counter[tuple[str, str]] = Counter()
    for _ in range(300):
        answer = client.did("POST", f"{address}:predict", ONE)
        seen[answer["deployedModelId"], answer["predictions"][0]] += 1
        assert answer["modelDisplayName"] == f"m{answer['deployedModelId']}"
    assert seen.keys() == {("1", "one"), ("2", "two")}
    assert 55 < seen["2", "two"] < 130


@shows("no-split")
def test_without_a_split_nobody_answers(client: Client) -> None:
    address = client.endpoint()
    client.deployed(address, client.model("m"), "1")
    assert client.refused("POST", f"{address}:predict", ONE) == (400, "FAILED_PRECONDITION")


@shows("container-environment", "no-install")
def test_a_container_is_told_what_the_docs_say(cloud: Cloud, client: Client) -> None:
    address = client.endpoint()
    model = client.model("m", "environment", spec={"env": [{"name": "X", "value": "$(AIP_MODE)!"}]})
    client.deployed(address, model, "77", _0=100)
    told = client.did("POST", f"{address}:predict", ONE)["predictions"][0]
    assert told["X"] == "PREDICTION!"
    assert told["AIP_ENDPOINT_ID"] == "churn"
    assert told["AIP_DEPLOYED_MODEL_ID"] == "77"
    assert told["AIP_PREDICT_ROUTE"] == "/predict"
    assert told["STORAGE_EMULATOR_HOST"] == cloud.url
    assert told["GCE_METADATA_HOST"] in cloud.url
    assert told["TIDEGATE_SKIP_INSTALL"] == told["PIP_NO_INDEX"] == "1"


@shows("container-default-routes")
def test_routes_have_defaults(client: Client) -> None:
    address = client.endpoint()
    spec = {
        "imageUri": "europe-docker.pkg.dev/acme/serving/python:1",
        "command": ["python", "-c", SERVER],
        "args": ["environment"],
    }
    body = {"modelId": "m", "model": {"displayName": "m", "containerSpec": spec}}
    model = client.made("POST", f"{client.vertex}/models:upload", body)["model"]
    client.deployed(address, model, "5", _0=100)
    told = client.did("POST", f"{address}:predict", ONE)["predictions"][0]
    assert told["AIP_PREDICT_ROUTE"] == "/v1/endpoints/churn/deployedModels/5:predict"


@shows("container-error", "predictions-needed")
def test_what_a_container_gets_wrong_is_the_clients_answer(client: Client) -> None:
    address = client.endpoint()
    client.deployed(address, client.model("bad", "503"), "1", _0=100)
    assert client.refused("POST", f"{address}:predict", ONE) == (503, "UNAVAILABLE")
    client.deployed(address, client.model("odd", "nonsense"), "2", _0=100)
    assert client.refused("POST", f"{address}:predict", ONE) == (500, "INTERNAL")


def test_a_crashed_model_server_is_unavailable(cloud: Cloud, client: Client) -> None:
    address = client.endpoint()
    client.deployed(address, client.model("m"), "1", _0=100)
    cloud.crash("churn", "1")
    assert client.refused("POST", f"{address}:predict", ONE) == (503, "UNAVAILABLE")


@shows("request-too-long")
def test_a_long_request_is_refused(client: Client) -> None:
    address = client.endpoint()
    client.deployed(address, client.model("m"), "1", _0=100)
    answer = client.ask("POST", f"{address}:predict", json={"instances": ["x" * 1_600_000]})
    assert answer.status_code == 413


@shows("raw-headers")
def test_raw_predictions_come_as_they_are(client: Client) -> None:
    address = client.endpoint()
    client.deployed(address, client.model("m", "one"), "1", _0=100)
    answer = client.ask("POST", f"{address}:rawPredict", json=ONE)
    assert answer.json() == {"predictions": ["one"]}
    assert answer.headers["x-vertex-ai-deployed-model-id"] == "1"
    assert answer.headers["x-vertex-ai-endpoint-id"] == "churn"


@shows("dedicated-endpoint")
def test_a_dedicated_endpoint_answers_at_its_own_name_only(client: Client) -> None:
    address = client.endpoint("churn", dedicatedEndpointEnabled=True)
    client.deployed(address, client.model("m", "one"), "1", _0=100)
    assert client.refused("POST", f"{address}:predict", ONE) == (400, "FAILED_PRECONDITION")
    own = client.did("GET", address)["dedicatedEndpointDns"]
    path = address.partition(".googleapis.com")[2]
    answer = client.did("POST", f"https://{own}{path}:predict", ONE)
    assert answer["predictions"] == ["one"]
