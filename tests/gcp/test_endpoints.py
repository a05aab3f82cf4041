"""Endpoints, their etags, and operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.gcp.rows import shows

if TYPE_CHECKING:
    from tests.gcp.client import Client
    from tests.gcp.cloud import Cloud

pytestmark = pytest.mark.real


@shows("operation", "project-number")
def test_an_endpoint_is_there_when_its_operation_is_done(cloud: Cloud, client: Client) -> None:
    cloud.freeze("createEndpoint")
    started = client.did(
        "POST", f"{client.vertex}/endpoints", {"displayName": "churn"}, endpointId="churn"
    )
    assert "done" not in started
    assert client.refused("GET", f"{client.vertex}/endpoints/churn") == (404, "NOT_FOUND")
    cloud.thaw()
    done = client.ended(started)
    name = f"projects/{cloud.number}/locations/{cloud.region}/endpoints/churn"
    assert done["response"]["name"] == name
    assert done["response"]["@type"].endswith("google.cloud.aiplatform.v1.Endpoint")
    read = client.did("GET", f"{client.vertex}/endpoints/churn")
    assert read["name"] == name
    assert read["etag"]


@shows("operation-cancelled")
def test_a_cancelled_operation_makes_nothing(cloud: Cloud, client: Client) -> None:
    cloud.freeze()
    started = client.did(
        "POST", f"{client.vertex}/endpoints", {"displayName": "churn"}, endpointId="churn"
    )
    host = f"https://{cloud.region}-aiplatform.googleapis.com/v1"
    client.did("POST", f"{host}/{started['name']}:cancel")
    cloud.thaw()
    assert client.ended(started)["error"]["code"] == 1
    assert client.refused("GET", f"{client.vertex}/endpoints/churn") == (404, "NOT_FOUND")


def test_operations_are_listed_by_place_and_by_endpoint(cloud: Cloud, client: Client) -> None:
    first, second = client.endpoint("one"), client.endpoint("two")
    everything = client.did("GET", f"{client.vertex}/operations")["operations"]
    assert len(everything) == 2
    assert all(one["done"] for one in everything)
    for address in (first, second):
        (own,) = client.did("GET", f"{address}/operations")["operations"]
        assert f"/{address.rpartition('/')[2]}/operations/" in own["name"]


def test_an_operation_fails_when_a_test_says_so(cloud: Cloud, client: Client) -> None:
    cloud.fail_operation("createEndpoint", "no quota", "RESOURCE_EXHAUSTED")
    started = client.did(
        "POST", f"{client.vertex}/endpoints", {"displayName": "churn"}, endpointId="churn"
    )
    assert client.ended(started)["error"] == {"code": 8, "message": "no quota"}


@shows("endpoint-exists")
def test_an_id_is_given_once(client: Client) -> None:
    client.endpoint("churn")
    body = {"displayName": "churn"}
    assert client.refused("POST", f"{client.vertex}/endpoints", body, endpointId="churn") == (
        409,
        "ALREADY_EXISTS",
    )


@shows("endpoint-id")
@pytest.mark.parametrize("name", ["Churn", "churn-", "0123", "1234567890", "1a", "a" * 64])
def test_an_id_that_the_docs_do_not_allow_is_refused(client: Client, name: str) -> None:
    refused = client.refused(
        "POST", f"{client.vertex}/endpoints", {"displayName": "x"}, endpointId=name
    )
    assert refused == (400, "INVALID_ARGUMENT")


@shows("labels")
@pytest.mark.parametrize("labels", [{"Team": "a"}, {"team": "A"}, {"team": "a" * 65}, {"1x": "a"}])
def test_labels_have_a_form(client: Client, labels: dict[str, str]) -> None:
    body = {"displayName": "x", "labels": labels}
    assert client.refused("POST", f"{client.vertex}/endpoints", body, endpointId="x") == (
        400,
        "INVALID_ARGUMENT",
    )


@shows("etag-conflict", "patch-answers-endpoint", "update-mask")
def test_of_two_writers_with_one_etag_the_second_is_aborted(client: Client) -> None:
    address = client.endpoint("churn", labels={"owner": "nobody"})
    etag = client.did("GET", address)["etag"]
    query = {"updateMask": "labels"}
    first = client.did("PATCH", address, {"etag": etag, "labels": {"owner": "one"}}, **query)
    assert first["labels"] == {"owner": "one"}
    assert first["displayName"] == "churn"
    second = client.refused("PATCH", address, {"etag": etag, "labels": {"owner": "two"}}, **query)
    assert second == (409, "ABORTED")
    assert client.did("GET", address)["labels"] == {"owner": "one"}


@shows("blind-overwrite")
def test_without_an_etag_the_last_writer_wins(client: Client) -> None:
    address = client.endpoint("churn")
    for owner in ("one", "two"):
        client.did("PATCH", address, {"labels": {"owner": owner}}, updateMask="labels")
    assert client.did("GET", address)["labels"] == {"owner": "two"}


@shows("deployed-models-output-only")
def test_deployed_models_are_not_made_by_a_patch(client: Client) -> None:
    address = client.endpoint("churn")
    body = {"deployedModels": [{"id": "1", "model": "m"}], "description": "x"}
    client.did("PATCH", address, body, updateMask="description,deployed_models")
    assert "deployedModels" not in client.did("GET", address)


@shows("location-host")
def test_a_region_is_asked_at_its_own_host(client: Client) -> None:
    elsewhere = client.vertex.replace("https://europe-west1", "https://us-central1")
    assert client.refused("GET", f"{elsewhere}/endpoints") == (400, "INVALID_ARGUMENT")


@shows("lagging-reads")
def test_reads_may_lag_behind_a_write(cloud: Cloud, client: Client) -> None:
    address = client.endpoint("churn")
    cloud.lag_reads(2)
    client.did("PATCH", address, {"description": "new"}, updateMask="description")
    seen = [client.did("GET", address).get("description") for _ in range(3)]
    assert seen == [None, None, "new"]


def test_endpoints_are_listed_by_labels_and_in_pages(client: Client) -> None:
    for number in range(3):
        client.endpoint(f"e{number}", labels={"odd": str(number % 2)})
    address = f"{client.vertex}/endpoints"
    found = client.did("GET", address, filter="labels.odd=0")["endpoints"]
    assert [one["displayName"] for one in found] == ["e0", "e2"]
    first = client.did("GET", address, pageSize=2)
    rest = client.did("GET", address, pageSize=2, pageToken=first["nextPageToken"])
    assert [len(page["endpoints"]) for page in (first, rest)] == [2, 1]
    assert "nextPageToken" not in rest


def test_a_deleted_endpoint_is_gone(client: Client) -> None:
    address = client.endpoint("churn")
    client.made("DELETE", address)
    assert client.refused("GET", address) == (404, "NOT_FOUND")
