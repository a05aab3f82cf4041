"""Uploads to Cloud Storage: media, multipart, resumable.

https://cloud.google.com/storage/docs/uploads-downloads#uploads
"""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.gcp import behaviour
from tests.gcp.objects import check_generation, no, stored
from tests.gcp.routing import Answer, method
from tests.gcp.storage import bucket

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.gcp.cloud import Cloud
    from tests.gcp.routing import Request, Row

_CHUNK = 256 * 1024
_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
_ids = itertools.count(1)


@dataclass
class Upload:
    """A resumable upload under way."""

    bucket: str
    name: str
    given: Mapping[str, Any]
    query: Mapping[str, Sequence[str]]
    data: bytes = b""


@method("storage.objects.insert")
def _insert(cloud: Cloud, request: Request) -> Any:
    where = request.params["bucket"]
    bucket(cloud, where)
    kind = request.one("uploadType")
    if kind == "media":
        given: Row = {"contentType": request.headers.get("content-type", "")}
        return _kept(cloud, where, request.one("name"), request.data, given, request.query)
    if kind == "multipart":
        given, data = _parts(request)
        name = request.one("name") or given.get("name", "")
        return _kept(cloud, where, name, data, given, request.query)
    if kind == "resumable" and request.one("upload_id"):
        return _continued(cloud, request)
    if kind == "resumable":
        return _begun(cloud, request, where)
    raise no(400, "invalid", f"Invalid uploadType {kind!r}")


def _kept(
    cloud: Cloud,
    where: str,
    name: str,
    data: bytes,
    given: Mapping[str, Any],
    query: Mapping[str, Sequence[str]],
) -> Row:
    if not name:
        raise no(400, "required", "Required parameter: name")
    held = bucket(cloud, where)
    check_generation(query, held.get(name))
    held[name] = stored(where, name, data, given)
    return dict(held[name].resource)


def _parts(request: Request) -> tuple[Row, bytes]:
    """Return metadata and bytes of a multipart/related body."""
    kind = request.headers.get("content-type", "")
    boundary = re.search(r'boundary="?([^";]+)', kind)
    pieces = request.data.split(b"--" + boundary[1].encode()) if boundary else []
    if len(pieces) != 4 or not kind.startswith("multipart/related"):
        raise no(400, "badContent", "Malformed multipart body.")
    (_, described), (head, data) = (_opened(piece) for piece in pieces[1:3])
    try:
        given = json.loads(described)
    except ValueError:
        raise no(400, "parseError", "Metadata part is not JSON.") from None
    if content_type := re.search(rb"(?i)content-type:\s*([^\r\n]+)", head):
        given.setdefault("contentType", content_type[1].decode().strip())
    return given, data


def _opened(piece: bytes) -> tuple[bytes, bytes]:
    """Return head and body of a part; lines end with CR LF, or with LF alone."""
    end = b"\r\n" if piece.startswith(b"\r\n") else b"\n"
    head, _, body = piece.partition(end + end)
    return head, body.removesuffix(end)


def _begun(cloud: Cloud, request: Request, where: str) -> Answer:
    given = request.body or {}
    name = request.one("name") or given.get("name", "")
    if not name:
        raise no(400, "required", "Required parameter: name")
    check_generation(request.query, bucket(cloud, where).get(name))
    kind = request.headers.get("x-upload-content-type")
    given = {**({"contentType": kind} if kind else {}), **given}
    upload_id = f"loopback-{next(_ids)}"
    cloud.state.uploads[upload_id] = Upload(where, name, given, request.query)
    at = f"{request.base}/upload/storage/v1/b/{where}/o"
    location = f"{at}?uploadType=resumable&upload_id={upload_id}"
    return Answer(data=b"", headers={"Location": location, "X-GUploader-UploadID": upload_id})


def _continued(cloud: Cloud, request: Request) -> Answer | Row:
    """Take the next bytes of a resumable upload, or say how many there are."""
    behaviour.apply("resumable")
    upload: Upload | None = cloud.state.uploads.get(request.one("upload_id"))
    if upload is None:
        raise no(404, "notFound", "The upload does not exist, or has ended.")
    said = request.headers.get(
        "content-range", f"bytes 0-{len(request.data) - 1}/{len(request.data)}"
    )
    match = _RANGE.fullmatch(said) if request.data or "content-range" in request.headers else None
    if match and match[1] is not None:
        start, end = int(match[1]), int(match[2])
        if start > len(upload.data) or end - start + 1 != len(request.data):
            raise no(400, "invalid", f"Invalid Content-Range {said!r}")
        whole = match[3] != "*" and end + 1 == int(match[3])
        if not whole and len(request.data) % _CHUNK:
            raise no(
                400, "invalid", f"A chunk of {len(request.data)} bytes is no multiple of {_CHUNK}"
            )
        upload.data = upload.data[:start] + request.data
    total = match[3] if match else str(len(upload.data))
    if total != "*" and len(upload.data) == int(total):
        del cloud.state.uploads[request.one("upload_id")]
        return _kept(cloud, upload.bucket, upload.name, upload.data, upload.given, upload.query)
    held = {"Range": f"bytes=0-{len(upload.data) - 1}"} if upload.data else {}
    return Answer(status=308, data=b"", headers=held)
