"""Models, their versions and their artifacts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.gcp.rows import shows

if TYPE_CHECKING:
    from tests.gcp.client import Client
    from tests.gcp.cloud import Cloud

pytestmark = pytest.mark.real
OBJECTS = "https://storage.googleapis.com/upload/storage/v1/b/acme-models/o"
SPEC = {"imageUri": "europe-docker.pkg.dev/acme/serving/python:1"}


@shows("model-exists")
def test_a_models_id_is_given_once(client: Client) -> None:
    client.model("m")
    body = {"modelId": "m", "model": {"displayName": "m", "containerSpec": SPEC}}
    assert client.refused("POST", f"{client.vertex}/models:upload", body) == (409, "ALREADY_EXISTS")


@shows("model-id")
@pytest.mark.parametrize("name", ["1m", "-m", "M", "m" * 64])
def test_a_models_id_has_a_form(client: Client, name: str) -> None:
    body = {"modelId": name, "model": {"displayName": "m", "containerSpec": SPEC}}
    refused = client.refused("POST", f"{client.vertex}/models:upload", body)
    assert refused == (400, "INVALID_ARGUMENT")


@shows("model-versions")
def test_an_upload_under_a_parent_is_another_version(client: Client) -> None:
    parent = client.model("m")
    model = {"displayName": "newer", "containerSpec": SPEC, "versionAliases": ["best"]}
    made = client.made(
        "POST", f"{client.vertex}/models:upload", {"parentModel": parent, "model": model}
    )
    assert made == {**made, "model": parent, "modelVersionId": "2"}
    assert client.did("GET", f"{client.vertex}/models/m")["versionId"] == "1"
    assert client.did("GET", f"{client.vertex}/models/m@best")["displayName"] == "newer"
    versions = client.did("GET", f"{client.vertex}/models/m:listVersions")["models"]
    assert [one["versionId"] for one in versions] == ["1", "2"]


@shows("artifacts-copied")
def test_what_is_uploaded_stays_what_it_was(cloud: Cloud, client: Client) -> None:
    query = {"uploadType": "media", "name": "churn/v1/model.pkl"}
    client.ask("POST", OBJECTS, params=query, data=b"judged")
    client.model("m", "environment", artifactUri="gs://acme-models/churn/v1")
    client.ask("POST", OBJECTS, params=query, data=b"changed later")
    address = client.endpoint()
    client.deployed(address, client.model("n", "environment"), "2")
    client.deployed(address, cloud.name_of("models", "m"), "1", _0=100)
    predicted = client.did("POST", f"{address}:predict", {"instances": [{}]})
    uri = predicted["predictions"][0]["AIP_STORAGE_URI"]
    bucket, _, folder = uri.removeprefix("gs://").partition("/")
    assert bucket != "acme-models"
    name = f"{folder}/model.pkl".replace("/", "%2F")
    held = client.ask(
        "GET", f"https://storage.googleapis.com/storage/v1/b/{bucket}/o/{name}?alt=media"
    )
    assert held.content == b"judged"


@shows("artifacts-missing")
def test_artifacts_must_be_there(client: Client) -> None:
    model = {"displayName": "m", "containerSpec": SPEC, "artifactUri": "gs://acme-models/nothing"}
    started = client.did("POST", f"{client.vertex}/models:upload", {"modelId": "m", "model": model})
    assert client.ended(started)["error"]["code"] == 3
    assert client.refused("GET", f"{client.vertex}/models/m") == (404, "NOT_FOUND")


def test_models_are_found_by_their_labels(client: Client) -> None:
    client.model("a", labels={"tidegate-endpoint": "churn"})
    client.model("b")
    found = client.did("GET", f"{client.vertex}/models", filter="labels.tidegate-endpoint=churn")
    assert [one["displayName"] for one in found["models"]] == ["a"]
    client.did("PATCH", f"{client.vertex}/models/b", {"labels": {"x": "y"}}, updateMask="labels")
    assert client.did("GET", f"{client.vertex}/models/b")["labels"] == {"x": "y"}
    client.made("DELETE", f"{client.vertex}/models/a")
    assert len(client.did("GET", f"{client.vertex}/models")["models"]) == 1
