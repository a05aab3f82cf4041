"""Bare repositories over HTTP by ``git http-backend``, as GitHub serves them: tokens in, pushes only with one.

Reading a private repository needs ``Authorization: basic x-access-token:TOKEN``, a push as well, and
:attr:`Server.writable`, which says what the run's ``contents`` permission is. What was asked is kept in
:attr:`Server.asked`, so that a test can say who pushed with a token and who read without.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import subprocess
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PATH = re.compile(
    r"/(?P<name>[\w.-]+/[\w.-]+?)(?:\.git)?/(?P<rest>info/refs|git-upload-pack|git-receive-pack)"
)


@dataclass
class Server:
    """The repositories ``root/owner/name.git``, and the token that opens them."""

    root: Path
    token: str
    writable: bool = True
    private: bool = True
    url: str = ""
    asked: list[tuple[str, str, bool]] = field(
        default_factory=list
    )  # repository, service, by token

    def bare(self, name: str) -> Path:
        """Return the folder of a repository."""
        return self.root / f"{name}.git"


@contextlib.contextmanager
def serve(root: Path, token: str) -> Iterator[Server]:
    """Serve while the block runs."""
    server = Server(root, token)

    class Handler(BaseHTTPRequestHandler):
        """One request."""

        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its signature)
            """Say nothing."""

        def do_GET(self) -> None:
            """Answer for refs."""
            self._answer(b"")

        def do_POST(self) -> None:
            """Answer for packs."""
            self._answer(_body(self))

        def _answer(self, body: bytes) -> None:
            parts = urlsplit(self.path)
            found = _PATH.fullmatch(parts.path)
            if found is None or not server.bare(found["name"]).is_dir():
                return self._send(404, [], b"not found")
            service = parts.query.partition("service=")[2] or found["rest"]
            token = _token(self.headers.get("Authorization", ""))
            known = token == server.token
            server.asked.append((found["name"], service, known))
            if not known and (server.private or service == "git-receive-pack"):
                return self._send(
                    401, [("WWW-Authenticate", 'Basic realm="GitHub"')], b"who are you?"
                )
            if service == "git-receive-pack" and not server.writable:
                return self._send(403, [], b"Write access to repository not granted.")
            status, headers, answer = _backend(
                server, found["name"], found["rest"], parts.query, self, body
            )
            return self._send(status, headers, answer)

        def _send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response(status)
            for key, value in headers:
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        server.url = f"http://127.0.0.1:{httpd.server_address[1]}"
        thread = threading.Thread(target=httpd.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            httpd.shutdown()
            thread.join()


def _body(request: BaseHTTPRequestHandler) -> bytes:
    if request.headers.get("Transfer-Encoding", "").lower() != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length", 0)))
    body = b""
    while size := int(request.rfile.readline().split(b";")[0], 16):
        body += request.rfile.read(size)
        request.rfile.readline()
    request.rfile.readline()
    return body


def _token(authorization: str) -> str:
    kind, _, value = authorization.partition(" ")
    if kind.lower() == "bearer":
        return value
    try:
        return base64.b64decode(value).decode().partition(":")[2]
    except ValueError:
        return ""


def _config(values: dict[str, str]) -> dict[str, str]:
    environment = {"GIT_CONFIG_COUNT": str(len(values))}
    for number, (key, value) in enumerate(values.items()):
        environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return environment


def _backend(
    server: Server, name: str, rest: str, query: str, request: BaseHTTPRequestHandler, body: bytes
) -> tuple[int, list[tuple[str, str]], bytes]:
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_PROJECT_ROOT": str(server.root),
        "GIT_HTTP_EXPORT_ALL": "1",
        **_config(
            {
                "http.receivepack": "true",
                "uploadpack.allowFilter": "true",
                "uploadpack.allowAnySHA1InWant": "true",
                "receive.denyDeletes": "false",
            }
        ),
        "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
        "PATH_INFO": f"/{name}.git/{rest}",
        "QUERY_STRING": query,
        "REQUEST_METHOD": request.command,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_USER": "x-access-token",
    }
    done = subprocess.run(
        ["git", "http-backend"], input=body, env=environment, check=False, capture_output=True
    )
    head, _, answer = done.stdout.partition(b"\r\n\r\n")
    status, headers = 200, []
    for line in head.decode().splitlines():
        key, _, value = line.partition(":")
        if key.lower() == "status":
            status = int(value.split()[0])
        elif key:
            headers.append((key, value.strip()))
    if done.returncode and not head:
        return 500, [], done.stderr
    return status, headers, answer
