"""Cloud Storage's JSON API."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.gcp.rows import shows

if TYPE_CHECKING:
    import requests

    from tests.gcp.client import Client
    from tests.gcp.cloud import Cloud

pytestmark = pytest.mark.real
HOST = "https://storage.googleapis.com"
UPLOAD = f"{HOST}/upload/storage/v1/b/acme-models/o"
OBJECTS = f"{HOST}/storage/v1/b/acme-models/o"


def put(client: Client, name: str, data: bytes, **query: Any) -> requests.Response:
    params = {"uploadType": "media", "name": name, **query}
    return client.ask("POST", UPLOAD, params=params, data=data)


@shows("new-generation")
def test_bytes_come_back_with_their_hashes(client: Client) -> None:
    first = put(client, "a/b", b"123456789").json()
    assert first["md5Hash"] == base64.b64encode(hashlib.md5(b"123456789").digest()).decode()
    assert first["crc32c"] == "4waSgw=="  # the check value of CRC-32C
    assert first["size"] == "9"
    answer = client.ask("GET", f"{OBJECTS}/a%2Fb", params={"alt": "media"})
    assert answer.content == b"123456789"
    assert "md5=" in answer.headers["x-goog-hash"]
    second = put(client, "a/b", b"other").json()
    assert int(second["generation"]) > int(first["generation"])
    part = client.ask(
        "GET", f"{OBJECTS}/a%2Fb", params={"alt": "media"}, headers={"Range": "bytes=1-2"}
    )
    assert (part.status_code, part.content) == (206, b"th")


@shows("generation-match")
def test_preconditions_hold_writers_apart(client: Client) -> None:
    made = put(client, "lock", b"1", ifGenerationMatch="0")
    assert made.status_code == 200
    again = put(client, "lock", b"2", ifGenerationMatch="0")
    assert again.status_code == 412
    assert again.json()["error"]["errors"][0]["reason"] == "conditionNotMet"
    generation = made.json()["generation"]
    assert put(client, "lock", b"3", ifGenerationMatch=generation).status_code == 200
    stale = client.ask("DELETE", f"{OBJECTS}/lock", params={"ifGenerationMatch": generation})
    assert stale.status_code == 412
    assert client.ask("DELETE", f"{OBJECTS}/lock").status_code == 204
    assert client.ask("GET", f"{OBJECTS}/lock").status_code == 404


def multipart(given: dict[str, Any], data: bytes) -> tuple[bytes, dict[str, str]]:
    body = (
        b"--frontier\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n"
        + json.dumps(given).encode()
        + b"\r\n--frontier\r\nContent-Type: text/plain\r\n\r\n"
        + data
        + b"\r\n--frontier--\r\n"
    )
    return body, {"Content-Type": "multipart/related; boundary=frontier"}


@shows("hash-mismatch")
def test_a_multipart_upload_keeps_metadata_and_checks_hashes(client: Client) -> None:
    digest = hashlib.sha256(b"a\r\nb\n").hexdigest()
    body, headers = multipart({"name": "m", "metadata": {"sha256": digest}}, b"a\r\nb\n")
    query = {"uploadType": "multipart"}
    made = client.ask("POST", UPLOAD, params=query, data=body, headers=headers)
    assert made.json()["metadata"] == {"sha256": digest}
    assert client.ask("GET", f"{OBJECTS}/m", params={"alt": "media"}).content == b"a\r\nb\n"
    body, headers = multipart({"name": "m", "md5Hash": "XUFAKrxLKna5cZ2REBfFkg=="}, b"x")
    refused = client.ask("POST", UPLOAD, params=query, data=body, headers=headers)
    assert refused.status_code == 400


@shows("resumable")
def test_a_resumable_upload_goes_on_where_it_stopped(client: Client) -> None:
    data = bytes(range(256)) * 2048  # 512 KiB
    begun = client.ask(
        "POST", UPLOAD, params={"uploadType": "resumable"}, json={"name": "big", "metadata": {}}
    )
    at = begun.headers["Location"]
    assert at.startswith(f"{HOST}/upload/")
    half = len(data) // 2
    span = f"bytes 0-{half - 1}/{len(data)}"
    first = client.ask("PUT", at, data=data[:half], headers={"Content-Range": span})
    assert (first.status_code, first.headers["Range"]) == (308, f"bytes=0-{half - 1}")
    asked = client.ask("PUT", at, headers={"Content-Range": f"bytes */{len(data)}"})
    assert (asked.status_code, asked.headers["Range"]) == (308, f"bytes=0-{half - 1}")
    odd = client.ask(
        "PUT", at, data=b"x", headers={"Content-Range": f"bytes {half}-{half}/{len(data)}"}
    )
    assert odd.status_code == 400
    span = f"bytes {half}-{len(data) - 1}/{len(data)}"
    last = client.ask("PUT", at, data=data[half:], headers={"Content-Range": span})
    assert last.json()["size"] == str(len(data))
    assert client.ask("GET", f"{OBJECTS}/big", params={"alt": "media"}).content == data


@shows("name-order")
def test_objects_are_listed_by_name_in_pages(client: Client) -> None:
    for name in ("v1/b", "v1/a", "v2/c", "top"):
        put(client, name, b"")
    query = {"prefix": "v1/", "maxResults": 1}
    first = client.did("GET", OBJECTS, **query)
    rest = client.did("GET", OBJECTS, **query, pageToken=first["nextPageToken"])
    assert [one["name"] for page in (first, rest) for one in page["items"]] == ["v1/a", "v1/b"]
    folders = client.did("GET", OBJECTS, delimiter="/")
    assert folders["prefixes"] == ["v1/", "v2/"]
    assert [one["name"] for one in folders["items"]] == ["top"]


def test_a_bucket_is_there_or_not(client: Client) -> None:
    assert client.did("GET", f"{HOST}/storage/v1/b/acme-models")["name"] == "acme-models"
    assert client.refused("GET", f"{HOST}/storage/v1/b/nobodys") == (404, "notFound")


def test_a_container_finds_storage_at_the_emulators_address(cloud: Cloud, client: Client) -> None:
    put(client, "a", b"bytes")
    for path in ("storage/v1/b/acme-models/o/a", "download/storage/v1/b/acme-models/o/a"):
        answer = client.ask("GET", f"{cloud.url}/{path}", params={"alt": "media"})
        assert answer.content == b"bytes"
