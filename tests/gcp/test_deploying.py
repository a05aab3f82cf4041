"""Deployed models and the rules of the traffic split."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.gcp.client import Client
from tests.gcp.rows import shows
from tests.gcp.server import serve

if TYPE_CHECKING:
    from tests.gcp.cloud import Cloud

pytestmark = pytest.mark.real


@shows("split-zero-key", "split-overwrites")
def test_zero_stands_for_the_model_being_deployed(client: Client) -> None:
    address, model = client.endpoint(), client.model("m")
    client.deployed(address, model, "11", _0=100)
    assert client.did("GET", address)["trafficSplit"] == {"11": 100}
    client.deployed(address, model, "12")
    assert client.did("GET", address)["trafficSplit"] == {"11": 100}
    client.deployed(address, model, "13", _0=5, _11=95)
    endpoint = client.did("GET", address)
    assert endpoint["trafficSplit"] == {"13": 5, "11": 95}
    assert [one["id"] for one in endpoint["deployedModels"]] == ["11", "12", "13"]


@shows("deployed-id-taken")
def test_a_deployed_models_id_is_given_once(client: Client) -> None:
    address, model = client.endpoint(), client.model("m")
    client.deploying(address, model, "1234567890", _0=100)
    resources = {"machineSpec": {"machineType": "n1-standard-2"}, "minReplicaCount": 1}
    again = {"deployedModel": {"id": "1234567890", "model": model, "dedicatedResources": resources}}
    assert client.refused("POST", f"{address}:deployModel", again) == (409, "ALREADY_EXISTS")


@shows("deployed-id")
@pytest.mark.parametrize("name", ["12345678901", "v1"])
def test_a_deployed_models_id_is_up_to_ten_digits(client: Client, name: str) -> None:
    address, model = client.endpoint(), client.model("m")
    resources = {"machineSpec": {"machineType": "n1-standard-2"}, "minReplicaCount": 1}
    body = {"deployedModel": {"id": name, "model": model, "dedicatedResources": resources}}
    assert client.refused("POST", f"{address}:deployModel", body) == (400, "INVALID_ARGUMENT")


@shows("split-sum", "split-unknown")
def test_a_split_is_whole_and_names_who_is_there(client: Client) -> None:
    address, model = client.endpoint(), client.model("m")
    client.deployed(address, model, "1", _0=100)
    client.deployed(address, model, "2")
    for split in ({"1": 99}, {"1": 60, "2": 60}, {"1": 110, "2": -10}, {"1": 90, "3": 10}):
        refused = client.refused(
            "PATCH", address, {"trafficSplit": split}, updateMask="trafficSplit"
        )
        assert refused == (400, "INVALID_ARGUMENT"), split
    assert client.did("GET", address)["trafficSplit"] == {"1": 100}


@shows("undeploy-with-traffic", "undeploy-remainder", "split-zero-key", "undeploy-last")
def test_a_model_with_traffic_stays(client: Client) -> None:
    address, model = client.endpoint(), client.model("m")
    client.deployed(address, model, "1", _0=100)
    client.deployed(address, model, "2")
    undeploy = f"{address}:undeployModel"
    precondition = (400, "FAILED_PRECONDITION")
    assert client.refused("POST", undeploy, {"deployedModelId": "1"}) == precondition
    split = {"trafficSplit": {"1": 60, "2": 40}}
    client.did("PATCH", address, split, updateMask="trafficSplit")
    assert client.refused("POST", undeploy, {"deployedModelId": "1"}) == precondition
    zero = {"deployedModelId": "1", "trafficSplit": {"0": 100}}
    assert client.refused("POST", undeploy, zero) == (400, "INVALID_ARGUMENT")
    client.made("POST", undeploy, {"deployedModelId": "1", "trafficSplit": {"2": 100}})
    endpoint = client.did("GET", address)
    assert [one["id"] for one in endpoint["deployedModels"]] == ["2"]
    assert endpoint["trafficSplit"] == {"2": 100}
    client.made("POST", undeploy, {"deployedModelId": "2"})
    assert client.did("GET", address).keys().isdisjoint({"trafficSplit", "deployedModels"})


@shows("deploy-failed")
@pytest.mark.parametrize("answer", ["crash", "silent"])
def test_a_container_that_does_not_come_up_is_not_deployed(answer: str) -> None:
    with serve() as cloud:
        cloud.patience = 0.5
        client = Client(cloud)
        address, model = client.endpoint(), client.model("m", answer)
        failed = client.ended(client.deploying(address, model, "1", _0=100))
        assert failed["error"]["code"] == 9
        assert "Model server" in failed["error"]["message"]
        assert client.did("GET", address).keys().isdisjoint({"trafficSplit", "deployedModels"})
        client.deployed(address, client.model("well"), "1", _0=100)


@shows("operation-cancelled")
def test_a_cancelled_deployment_frees_its_id(cloud: Cloud, client: Client) -> None:
    cloud.freeze("deployModel")
    address, model = client.endpoint(), client.model("m")
    started = client.deploying(address, model, "1", _0=100)
    host = f"https://{cloud.region}-aiplatform.googleapis.com/v1"
    client.did("POST", f"{host}/{started['name']}:cancel")
    cloud.thaw()
    client.deployed(address, model, "1", _0=100)


@shows("mutate-traffic")
def test_mutating_changes_replicas_and_nothing_else(client: Client) -> None:
    address, model = client.endpoint(), client.model("m")
    client.deployed(address, model, "1", _0=100)
    mutate = f"{address}:mutateDeployedModel"
    resources = {
        "minReplicaCount": 2,
        "maxReplicaCount": 4,
        "machineSpec": {"machineType": "n1-standard-2"},
    }
    given = {"id": "1", "dedicatedResources": resources}
    mask = "dedicatedResources.minReplicaCount,dedicated_resources.max_replica_count"
    changed = client.made("POST", mutate, {"deployedModel": given, "updateMask": mask})
    assert changed["deployedModel"]["dedicatedResources"]["maxReplicaCount"] == 4
    bad = {"deployedModel": {**given, "serviceAccount": "x"}, "updateMask": "serviceAccount"}
    assert client.refused("POST", mutate, bad) == (400, "INVALID_ARGUMENT")


@shows("endpoint-delete-refused", "model-delete-refused")
def test_what_is_deployed_cannot_be_deleted(client: Client, cloud: Cloud) -> None:
    address, model = client.endpoint(), client.model("m")
    client.deployed(address, model, "1", _0=100)
    assert client.refused("DELETE", address) == (400, "FAILED_PRECONDITION")
    assert client.refused("DELETE", f"{client.vertex}/models/m") == (400, "FAILED_PRECONDITION")
    read = client.did("GET", f"{client.vertex}/models/m")
    assert read["deployedModels"] == [
        {"endpoint": cloud.name_of("endpoints", "churn"), "deployedModelId": "1"}
    ]
