"""What moto answers: S3, IAM and the rest. Bytes go through; only the operation's name is read.

https://docs.getmoto.org/en/latest/docs/server_mode.html
"""

from __future__ import annotations

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

_HOPS = {"connection", "transfer-encoding", "keep-alive", "server", "date"}
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
    """moto's server on a port of its own, started when it is first needed."""

    _lock = threading.Lock()
    _running = 0  # how many of this process; they share moto's state

    def __init__(self) -> None:
        self._server: Any = None
        self._at = ("", 0)

    @property
    def url(self) -> str:
        """Where moto itself listens: for the stand-in's own reads and writes, and comparisons."""
        host, port = self._started()
        return f"http://{host}:{port}"

    def _started(self) -> tuple[str, int]:
        with self._lock:
            if self._server is None:
                from moto.server import ThreadedMotoServer

                logging.getLogger("werkzeug").setLevel(logging.ERROR)

                server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
                server.start()
                self._server, self._at = server, server.get_host_and_port()
                if Moto._running == 0:
                    self._ask("POST", "/moto-api/reset", {}, b"")
                Moto._running += 1
            return self._at

    def forward(
        self, method: str, target: str, headers: Message | Mapping[str, str], body: bytes
    ) -> Answer:
        """Let moto answer a request as it came."""
        self._started()
        sent = {name: value for name, value in headers.items() if name.lower() not in _HOPS}
        return self._ask(method, target, sent, body)

    def _ask(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        connection = http.client.HTTPConnection(*self._at, timeout=60)
        try:
            connection.putrequest(
                method, target, skip_host="Host" in headers, skip_accept_encoding=True
            )
            for name, value in headers.items():
                connection.putheader(name, value)
            if "content-length" not in {name.lower() for name in headers}:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in _HOPS}
            data = answer.read()
            if method != "HEAD":
                kept = {
                    name: value for name, value in kept.items() if name.lower() != "content-length"
                }
            return Answer(status=answer.status, headers=kept, body=data)
        finally:
            connection.close()

    def close(self) -> None:
        with self._lock:
            if self._server is not None:
                Moto._running -= 1
                self._server.stop()
                self._server._server.server_close()  # moto leaves the socket open
                self._server = None


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
