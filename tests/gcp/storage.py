"""Cloud Storage's JSON API: https://cloud.google.com/storage/docs/json_api/v1/objects"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from tests.gcp import behaviour
from tests.gcp.clock import stamp
from tests.gcp.objects import check_generation, no
from tests.gcp.routing import Answer, method, sliced

if TYPE_CHECKING:
    from tests.gcp.cloud import Cloud
    from tests.gcp.objects import Stored
    from tests.gcp.routing import Request, Row


def bucket(cloud: Cloud, name: str) -> dict[str, Any]:
    """Return a bucket's objects.

    Raises:
        RefusedError: there is no such bucket (404).
    """
    if name not in cloud.state.buckets:
        raise no(404, "notFound", "The specified bucket does not exist.")
    return cloud.state.buckets[name]


@method("storage.buckets.get")
def _bucket(cloud: Cloud, request: Request) -> Any:
    name = request.params["bucket"]
    bucket(cloud, name)
    now = stamp(time.time())
    return {
        "kind": "storage#bucket",
        "id": name,
        "name": name,
        "projectNumber": cloud.number,
        "location": cloud.region.upper(),
        "storageClass": "STANDARD",
        "timeCreated": now,
        "updated": now,
        "metageneration": "1",
    }


def _there(cloud: Cloud, request: Request) -> Stored:
    held = bucket(cloud, request.params["bucket"])
    there: Stored | None = held.get(request.params["object"])
    generation = request.one("generation")
    if there is None or generation not in {"", there.resource["generation"]}:
        raise no(404, "notFound", f"No such object: {'/'.join(request.params.values())}")
    check_generation(request.query, there)
    return there


@method("storage.objects.get")
def _get(cloud: Cloud, request: Request) -> Any:
    there = _there(cloud, request)
    if request.one("alt") != "media":
        return dict(there.resource)
    hashes = f"crc32c={there.resource['crc32c']},md5={there.resource['md5Hash']}"
    headers = {
        "Content-Type": there.resource["contentType"],
        "x-goog-hash": hashes,
        "x-goog-generation": there.resource["generation"],
        "x-goog-stored-content-length": there.resource["size"],
    }
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if wanted is None:
        return Answer(data=there.data, headers=headers)
    start, end = int(wanted[1]), min(int(wanted[2] or len(there.data)), len(there.data) - 1)
    if start >= len(there.data):
        raise no(416, "requestedRangeNotSatisfiable", "Request range not satisfiable")
    headers["Content-Range"] = f"bytes {start}-{end}/{len(there.data)}"
    return Answer(status=206, data=there.data[start : end + 1], headers=headers)


@method("storage.objects.list")
def _list(cloud: Cloud, request: Request) -> Any:
    held = bucket(cloud, request.params["bucket"])
    prefix, delimiter = request.one("prefix"), request.one("delimiter")
    behaviour.apply("name-order")
    items: list[Row] = []
    folders: list[str] = []
    for name in sorted(held):
        rest = name.removeprefix(prefix)
        if not name.startswith(prefix):
            continue
        if delimiter and delimiter in rest:
            folder = prefix + rest[: rest.index(delimiter) + len(delimiter)]
            folders += [] if folder in folders else [folder]
        else:
            items.append(dict(held[name].resource))
    wanted = int(request.one("maxResults", "0"))
    body = sliced("items", items, wanted, request.one("pageToken"), 1000, 1000)
    return {"kind": "storage#objects", **body, **({"prefixes": folders} if folders else {})}


@method("storage.objects.delete")
def _delete(cloud: Cloud, request: Request) -> Answer:
    _there(cloud, request)
    del cloud.state.buckets[request.params["bucket"]][request.params["object"]]
    return Answer(status=204)
