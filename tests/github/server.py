"""The loopback GitHub over HTTP: token, permissions, faults, and the description's judgement.

    with serve() as hub:
        Api(hub.url, hub.token).get(f"/repos/{hub.repository}")

A request or an answer that breaks GitHub's description is answered with 500, kept in
``hub.violations``, and fails the ``with`` block.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from tests.github import actions, code, talk  # noqa: F401 - they fill ROUTES
from tests.github.description import description
from tests.github.hub import Hub
from tests.github.routing import ROUTES, Answer, RefusedError, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Calls of `POST /_hub/NAME`, for tests in another process; the body holds the arguments.
CONTROLS = (
    "add_artifact", "add_comment", "add_issue", "add_pull", "add_run", "fail_next", "grant"
)  # fmt: skip
WANTED_HEADERS = ("accept", "user-agent", "x-github-api-version")
LIMIT_HEADERS = {
    "x-ratelimit-limit": "1000",
    "x-ratelimit-remaining": "999",
    "x-ratelimit-reset": "2000000000",
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # head and body leave together, after the state was saved
    hub: Hub
    after: Callable[[], None]

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        with self.hub.lock:
            self.answer(self._read())
            self.after()

    do_POST = do_PATCH = do_PUT = do_DELETE = do_GET  # noqa: N815

    def _read(self) -> bytes:
        if self.headers.get("transfer-encoding"):
            self.hub.violations.append(f"{self.command} {self.path}: a body without a length")
            self.close_connection = True
            return b""
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def answer(self, data: bytes) -> None:
        raise NotImplementedError

    def write(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def write_json(self, status: int, body: Any, headers: dict[str, str]) -> None:
        if body is None:
            self.write(status, b"", headers)
        else:
            kind = {"Content-Type": "application/json; charset=utf-8"}
            self.write(status, json.dumps(body).encode(), kind | headers)

    def reset(self) -> None:
        """Break the connection: the client sees a reset, not an end."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


class _Api(_Handler):
    """The API itself."""

    def answer(self, data: bytes) -> None:
        parts = urlsplit(self.path)
        if parts.path.startswith("/_hub/"):
            self._control(parts.path.removeprefix("/_hub/"), data)
            return
        self.hub.requests.append((self.command, self.path))
        fault = self.hub.take_fault(self.command, self.path)
        if fault is None or fault.apply:
            answer = self._answered(parts.path, parts.query, data)
        if fault is None:
            self.write_json(answer.status, answer.body, {**LIMIT_HEADERS, **answer.headers})
        elif fault.status is None:
            self.reset()
        else:
            body = {
                "message": fault.message or "Injected",
                "documentation_url": "https://docs.test",
            }
            self.write_json(fault.status, body, {**LIMIT_HEADERS, **fault.headers})

    def _control(self, name: str, data: bytes) -> None:
        if not self._has_token():
            self.write_json(401, {"message": "Bad credentials"}, {})
        elif name == "state":
            self.write_json(200, self.hub.snapshot(), {})
        elif name in CONTROLS:
            arguments = json.loads(data or b"{}")
            if name == "add_artifact":
                files = arguments["files"]
                arguments["files"] = {key: text.encode() for key, text in files.items()}
            self.write_json(200, {"done": getattr(self.hub, name)(**arguments)}, {})
        else:
            self.write_json(404, {"message": f"one of {CONTROLS}"}, {})

    def _has_token(self) -> bool:
        given = self.headers.get("authorization", "")
        return hmac.compare_digest(given.encode(), f"Bearer {self.hub.token}".encode())

    def _answered(self, path: str, query: str, data: bytes) -> Answer:
        if not self._has_token():
            return Answer(status=401, body={"message": "Bad credentials"})
        # Uploads have a host of their own on GitHub, and a prefix on an Enterprise Server.
        uploading = path.startswith("/uploads/")
        found = description().find(self.command, path.removeprefix("/uploads"))
        if found is None:
            self.hub.violations.append(f"{self.command} {path}: no such operation in the cut")
            return Answer(status=404, body={"message": "Not Found"})
        operation, params = found
        if uploading != ("servers" in operation.content):
            return Answer(status=404, body={"message": "Not Found"})
        where = f"{self.command} {operation.template}"
        pairs = parse_qsl(query, keep_blank_values=True)
        body, problems = self._decoded(data)
        problems += description().request_problems(operation, params, dict(pairs), body)
        problems += [f"no header {name}" for name in WANTED_HEADERS if not self.headers.get(name)]
        if problems:
            return self._violation(where, problems)
        request = Request(
            url=f"{self.hub.url}{path}",
            params=params,
            query=dict(pairs),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
            data=data,
        )
        answer = self._handled(request, operation.method, operation.template)
        problems = description().response_problems(
            operation, answer.status, answer.body, "application/json"
        )
        return self._violation(f"our answer to {where}", problems) if problems else answer

    def _decoded(self, data: bytes) -> tuple[Any, list[str]]:
        if not data or "json" not in self.headers.get("content-type", ""):
            return None, []
        try:
            return json.loads(data), []
        except ValueError:
            return None, ["the body is not JSON"]

    def _violation(self, where: str, problems: list[str]) -> Answer:
        said = [f"{where}: {problem}" for problem in problems]
        self.hub.violations += said
        return Answer(status=500, body={"message": "; ".join(said)})

    def _handled(self, request: Request, method: str, template: str) -> Answer:
        route = ROUTES[method, template]
        name = f"{request.params.get('owner', '')}/{request.params.get('repo', '')}"
        if "{owner}" in template and name.lower() != self.hub.repository.lower():
            return Answer(status=404, body={"message": "Not Found"})
        if not self.hub.permits(route.needs):
            return Answer(
                status=403,
                body={"message": "Resource not accessible by integration"},
                headers={"x-accepted-github-permissions": route.needs},
            )
        try:
            return route.handle(self.hub, request)
        except RefusedError as refused:
            return Answer(status=refused.status, body=refused.body)


class _Storage(_Handler):
    """Where signed addresses lead: another origin, which must never see the token."""

    def answer(self, data: bytes) -> None:
        parts = urlsplit(self.path)
        if self.headers.get("authorization"):
            self.hub.violations.append("the token was sent to the storage's host")
            self.write(400, b"AuthorizationHeaderPresent", {})
            return
        fault = self.hub.take_fault(self.command, f"/_storage{self.path}")
        if fault is not None and fault.status is None:
            self.reset()
        elif fault is not None:
            self.write(fault.status or 500, b"Injected", dict(fault.headers))
        elif parts.query != "sig=s3cret" or (name := parts.path[1:]) not in self.hub.blobs:
            self.write(403, b"AuthenticationFailed", {})
        else:
            self.write(200, self.hub.blobs[name], {"Content-Type": "application/zip"})


@contextlib.contextmanager
def running(hub: Hub, *, port: int = 0, after: Callable[[], None] = lambda: None) -> Iterator[Hub]:
    """Serve a hub on loopback until the block ends; ``after`` is called after each request."""
    servers = []
    shared = {"hub": hub, "after": staticmethod(after)}
    for handler, at in ((_Api, port), (_Storage, 0)):
        server = ThreadingHTTPServer(("127.0.0.1", at), type("Handler", (handler,), shared))
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    hub.url, hub.storage_url = (f"http://127.0.0.1:{s.server_address[1]}" for s in servers)
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


@contextlib.contextmanager
def serve(
    *,
    repository: str = "acme/churn",
    repository_id: int = 1001,
    bare: Path | None = None,
    artifacts: Path | None = None,
) -> Iterator[Hub]:
    """Serve a fresh repository; fail at the end if anything broke GitHub's description."""
    hub = Hub(repository=repository, repository_id=repository_id, bare=bare, artifacts=artifacts)
    with running(hub):
        try:
            yield hub
        except BaseException as error:
            for violation in hub.violations:
                error.add_note(violation)
            raise
    assert not hub.violations, "\n".join(hub.violations)
