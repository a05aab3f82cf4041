"""The loopback Google Cloud over HTTP: hosts, tokens, faults, and the documents' judgement.

    with serve() as cloud:
        requests.get(f"{cloud.url}/storage.googleapis.com/storage/v1/b/acme-models")

A request or an answer that breaks Google's documents is kept in ``cloud.violations`` and fails the
``with`` block; the request is refused as Google would refuse it.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from tests.gcp import behaviour
from tests.gcp.cloud import Call, Cloud
from tests.gcp.control import controlled
from tests.gcp.description import Method, camel, description
from tests.gcp.handlers import ROUTES
from tests.gcp.routing import Answer, RefusedError, Request, refuse
from tests.gcp.services import service_at
from tests.gcp.ticking import ticking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.gcp.faults import Fault

# Paths of Cloud Storage where a client was sent here by STORAGE_EMULATOR_HOST.
_EMULATED = {"storage", "upload", "download", "resumable"}
_OPEN = {"sts.token"}  # asked by who has no token yet
# Bodies that are bytes, or are read by the method itself.
_RAW = {"storage.objects.insert", "aiplatform.projects.locations.endpoints.rawPredict"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    cloud: Cloud
    after: Callable[[], None]

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        data = self._read()
        parts = urlsplit(self.path)
        first, _, rest = parts.path[1:].partition("/")
        if first == "_cloud":
            self._write(controlled(self.cloud, rest, data))
        elif first in {"", "computeMetadata"}:
            headers = {name.lower(): value for name, value in self.headers.items()}
            self._write(self.cloud.identity.metadata(parts.path, headers))
        elif first in _EMULATED:
            path = parts.path[1:]
            self._serve("storage.googleapis.com", path, parts.query, data, self.cloud.url)
        else:
            self._serve(first, rest, parts.query, data, f"https://{first}")
        self.after()

    do_POST = do_PATCH = do_PUT = do_DELETE = do_GET  # noqa: N815

    def _read(self) -> bytes:
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        data = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    # --- one request --------------------------------------------------------------------------

    def _serve(self, host: str, path: str, query: str, data: bytes, base: str) -> None:
        document = service_at(host)
        # Uploads and downloads have paths of their own, for the same methods.
        plain = path
        if document == "storage.v1":
            for prefix in ("upload/", "resumable/upload/", "download/"):
                plain = plain.removeprefix(prefix)
        http = "POST" if path.startswith("upload/") and self.command == "PUT" else self.command
        found = description().find(document or "", http, plain)
        if found is None or found[0].id not in ROUTES:
            said = f"{self.command} https://{host}/{path}: the stand-in does not serve this"
            self.cloud.violations.append(said)
            self._write(_refused(refuse("UNIMPLEMENTED", said)))
            return
        method, params = found
        fault = self.cloud.faults.take(method.id)
        if fault is not None and not fault.apply:
            self._fail(method, params, fault)
            return
        pairs = parse_qs(query, keep_blank_values=True)
        if path.startswith("download/"):
            pairs["alt"] = ["media"]
        answer = self._answered(method, params, pairs, data, host, plain, base)
        if fault is not None:
            self._fail(method, params, fault)
        else:
            self._write(answer)

    def _answered(
        self,
        method: Method,
        params: dict[str, str],
        query: dict[str, list[str]],
        data: bytes,
        host: str,
        path: str,
        base: str,
    ) -> Answer:
        principal = ""
        body: Any = None
        try:
            if method.id not in _OPEN and not self.cloud.anonymous and "upload_id" not in query:
                principal = self.cloud.identity.principal(self.headers.get("authorization"))
            body = self._body(method, query, data)
            request = Request(
                host=host,
                name=self._name(method, params, path, host),
                params=params,
                query=query,
                headers={name.lower(): value for name, value in self.headers.items()},
                body={} if body is None else body,
                data=data,
                principal=principal,
                base=base,
            )
            answer = self._handled(method, request)
        except RefusedError as refused:
            answer = _refused(refused)
        flat = {**params, **{key: ",".join(values) for key, values in query.items()}}
        self.cloud.calls.append(Call(method.id, flat, body, answer.status, principal))
        return answer

    def _body(self, method: Method, query: dict[str, list[str]], data: bytes) -> Any:
        """Return the decoded body, held to the documents.

        Raises:
            RefusedError: it, or the query, breaks them (400).
        """
        body: Any = None
        kind = self.headers.get("content-type", "")
        known = {key: values for key, values in query.items() if key not in _extra(method)}
        problems = description().query_problems(method, known)
        try:
            if "x-www-form-urlencoded" in kind and method.id == "sts.token":
                body = {camel(key): value for key, value in parse_qsl(data.decode())}
            elif data and "json" in kind and "multipart" not in kind:
                body = json.loads(data)
            elif data and method.id not in _RAW:
                behaviour.apply("json-content")
                problems.append(f"the body is {kind}, not application/json")
        except ValueError:
            problems.append("the body is not JSON")
        if method.id not in _RAW:
            problems += description().body_problems(method, body)
        if mask := query.get("updateMask"):
            problems += description().mask_problems(method, mask[0])
        if problems:
            self.cloud.violations += [f"{method.id}: {problem}" for problem in problems]
            said = f"Invalid JSON payload received. {' '.join(problems)}"
            raise refuse("INVALID_ARGUMENT", said)
        return body

    def _name(self, method: Method, params: dict[str, str], path: str, host: str) -> str:
        """Return the resource's full name; Vertex AI's with the project's number."""
        cloud = self.cloud
        project = params.get("projectsId", cloud.project)
        if project not in {cloud.project, cloud.number, "-"}:
            raise refuse("PERMISSION_DENIED", f"Permission denied on resource project {project}.")
        _, _, name = path.partition("/")
        name = name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name
        if method.document != "aiplatform.v1":
            return name
        if project == cloud.project:
            behaviour.apply("project-number")
        region = params["locationsId"]
        dedicated = host.endswith(".prediction.vertexai.goog") and method.id.endswith("redict")
        if host != f"{region}-aiplatform.googleapis.com" and not dedicated:
            raise refuse(
                "INVALID_ARGUMENT",
                f"{host} does not serve the location {region}.",
                rule="location-host",
            )
        return cloud.canonical(name)

    def _handled(self, method: Method, request: Request) -> Answer:
        route = ROUTES[method.id]
        with self.cloud.lock if route.alone else contextlib.nullcontext():
            if route.alone:
                self.cloud.operations.settle()
            try:
                answer = route.handle(self.cloud, request)
            except RefusedError:
                raise
            except Exception as error:
                self.cloud.violations.append(f"{method.id}: {traceback.format_exc()}")
                raise refuse("INTERNAL", f"the stand-in broke: {error!r}") from error
        if not isinstance(answer, Answer):
            answer = Answer(body=answer)
        if answer.data is None and answer.status < 300:
            problems = description().answer_problems(method, answer.body)
            if problems:
                said = [f"our answer to {method.id}: {problem}" for problem in problems]
                self.cloud.violations += said
                raise refuse("INTERNAL", "; ".join(said))
        return answer

    # --- writing ------------------------------------------------------------------------------

    def _fail(self, method: Method, params: dict[str, str], fault: Fault) -> None:
        if not fault.apply:
            self.cloud.calls.append(Call(method.id, params, None, fault.status or 0, ""))
        if fault.status is None:
            self.close_connection = True
            linger = struct.pack("ii", 1, 0)  # a reset, not an end
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
            return
        error = {"code": fault.status, "message": "Injected.", "status": fault.reason}
        self._write(Answer(status=fault.status, body={"error": error}, headers=fault.headers))

    def _write(self, answer: Answer) -> None:
        data = answer.data
        headers = dict(answer.headers)
        if data is None:
            data = b"" if answer.body is None else json.dumps(answer.body).encode()
            headers.setdefault("Content-Type", "application/json; charset=UTF-8")
        self.send_response(answer.status)
        for name, value in headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _refused(refused: RefusedError) -> Answer:
    return Answer(status=refused.status, body=refused.body)


def _extra(method: Method) -> set[str]:
    """Return parameters that the documents leave to the upload protocol's own description."""
    return {"upload_id"} if method.id == "storage.objects.insert" else set()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # a connection beyond them waits seconds for its next SYN


@contextlib.contextmanager
def running(
    cloud: Cloud, *, port: int = 0, after: Callable[[], None] = lambda: None
) -> Iterator[Cloud]:
    """Serve a cloud on loopback until the block ends; ``after`` is called after each request."""
    shared = {"cloud": cloud, "after": staticmethod(after)}
    server = _Server(("127.0.0.1", port), type("Handler", (_Handler,), shared))
    cloud.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        with ticking(cloud):
            yield cloud
    finally:
        server.shutdown()
        server.server_close()
        cloud.close()


@contextlib.contextmanager
def serve(**settings: Any) -> Iterator[Cloud]:
    """Serve a fresh project (settings of :class:`Cloud`); fail at the end on any violation."""
    cloud = Cloud(**settings)
    with running(cloud):
        try:
            yield cloud
        except BaseException as error:
            for violation in cloud.violations:
                error.add_note(violation)
            raise
    assert not cloud.violations, "\n".join(cloud.violations)
