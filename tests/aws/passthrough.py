"""What moto answers: S3, IAM and the rest. Bytes go through; only the operation's name is read.

https://docs.getmoto.org/en/latest/docs/server_mode.html
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, unquote

from tests.aws.wire import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from email.message import Message

    from tests.aws.routing import RefusedError, Row

_HOPS = {"connection", "transfer-encoding", "keep-alive", "server", "date", "expect"}
# The parameter in the query that makes an S3 request another operation, by method.
_S3_MARKS = {
    "GET": {"list-type": "ListObjectsV2", "location": "GetBucketLocation", "uploads":
            "ListMultipartUploads", "uploadId": "ListParts", "versioning": "GetBucketVersioning",
            "tagging": "GetObjectTagging", "versions": "ListObjectVersions"},
    "PUT": {"partNumber": "UploadPart", "tagging": "PutObjectTagging", "versioning":
            "PutBucketVersioning", "policy": "PutBucketPolicy"},
    "POST": {"uploads": "CreateMultipartUpload", "uploadId": "CompleteMultipartUpload",
             "delete": "DeleteObjects"},
    "DELETE": {"uploadId": "AbortMultipartUpload", "tagging": "DeleteObjectTagging"},
    "HEAD": {},
}  # fmt: skip
_S3_PLAIN = {  # method -> (on a bucket, on an object)
    "GET": ("ListObjects", "GetObject"),
    "PUT": ("CreateBucket", "PutObject"),
    "POST": ("PostObject", "PostObject"),
    "DELETE": ("DeleteBucket", "DeleteObject"),
    "HEAD": ("HeadBucket", "HeadObject"),
}


class Moto:
    """moto's server, started when it is first needed.

    One per process, because moto keeps its state per process and takes seconds to start. What the
    last user left is thrown away; stand-ins that run at the same time share their buckets.
    """

    _lock = threading.Lock()
    _conditional = threading.Lock()  # S3 compares and writes at once, moto one after the other
    _server: Any = None
    _users = 0

    def __init__(self) -> None:
        self._joined = False

    @property
    def url(self) -> str:
        """Where moto itself listens: for the stand-in's own reads and writes, and comparisons."""
        host, port = self._join()
        return f"http://{host}:{port}"

    def _join(self) -> tuple[str, int]:
        with Moto._lock:
            if Moto._server is None:
                from moto.server import ThreadedMotoServer

                logging.getLogger("werkzeug").setLevel(logging.ERROR)
                Moto._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
                Moto._server.start()
            at: tuple[str, int] = Moto._server.get_host_and_port()
            if not self._joined:
                if Moto._users == 0:
                    _ask(at, "POST", "/moto-api/reset", {}, b"")
                Moto._users += 1
                self._joined = True
            return at

    def forward(
        self, method: str, target: str, headers: Message | Mapping[str, str], body: bytes
    ) -> Answer:
        """Let moto answer a request as it came."""
        sent = {name: value for name, value in headers.items() if name.lower() not in _HOPS}
        at = self._join()
        if {"if-match", "if-none-match"} & {name.lower() for name in sent} and method != "GET":
            with Moto._conditional:
                return _ask(at, method, target, sent, body)
        return _ask(at, method, target, sent, body)

    def close(self) -> None:
        with Moto._lock:
            Moto._users -= self._joined
            self._joined = False


def _ask(
    at: tuple[str, int], method: str, target: str, headers: Mapping[str, str], body: bytes
) -> Answer:
    given = {name.lower() for name in headers}
    connection = http.client.HTTPConnection(*at, timeout=60)
    with contextlib.closing(connection):
        connection.putrequest(method, target, skip_host="host" in given, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        if "content-length" not in given:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        # The length of a HEAD's answer is the object's; of all others we know it ourselves.
        dropped = _HOPS if method == "HEAD" else _HOPS | {"content-length"}
        kept = {name: value for name, value in answer.getheaders() if name.lower() not in dropped}
        return Answer(status=answer.status, headers=kept, body=answer.read())


def api_name(
    method: str, scope: str, path: str, query: str, headers: Mapping[str, str], body: bytes
) -> tuple[str, str, Row]:
    """Return the service, operation and some parameters of a request that moto answers."""
    if target := headers.get("x-amz-target"):
        return scope, target.rpartition(".")[2], {}
    if scope != "s3" and "x-www-form-urlencoded" in headers.get("content-type", ""):
        form = {key: values[0] for key, values in parse_qs(body.decode()).items()}
        return scope or "sts", form.pop("Action", ""), dict(form)
    if scope not in {"s3", ""}:
        return scope, f"{method} {path}", {}
    bucket, _, key = unquote(path).lstrip("/").partition("/")
    if not bucket:
        return "s3", "ListBuckets", {}
    params = {"Bucket": bucket, **({"Key": key} if key else {})}
    asked = dict(parse_qsl(query, keep_blank_values=True))
    for mark, name in _S3_MARKS.get(method, {}).items():
        if mark in asked:
            if name == "UploadPart" and "x-amz-copy-source" in headers:
                return "s3", "UploadPartCopy", params
            if name == "ListObjectsV2" and "prefix" in asked:
                params["Prefix"] = asked["prefix"]
            return "s3", name, params
    name = _S3_PLAIN[method][bool(key)]
    if name == "PutObject" and "x-amz-copy-source" in headers:
        name = "CopyObject"
    return "s3", name, params


def refused_bytes(service: str, refused: RefusedError) -> Answer:
    """Return an error of S3's, or of any other service behind moto, on the wire."""
    if service == "s3":
        text = f"<Error><Code>{refused.code}</Code><Message>{refused.message}</Message></Error>"
        kind = "application/xml"
    elif service in {"iam", "sts"}:
        text = (
            f"<ErrorResponse><Error><Code>{refused.code}</Code>"
            f"<Message>{refused.message}</Message></Error></ErrorResponse>"
        )
        kind = "text/xml"
    else:
        text = f'{{"__type": "{refused.code}", "message": "{refused.message}"}}'
        kind = "application/json"
    return Answer(
        status=refused.status,
        headers={"Content-Type": kind, "x-amzn-errortype": refused.code},
        body=text.encode(),
    )
