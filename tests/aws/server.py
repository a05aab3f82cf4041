"""The stand-in over HTTP: whose call it is, whether it fits the model, who answers it.

    with serve() as cloud:
        boto3.client("sagemaker", endpoint_url=cloud.url, **cloud_credentials)

A request or answer that breaks the service model is kept in ``cloud.violations`` and fails the
``with`` block.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.aws import (  # noqa: F401 - they fill OPERATIONS
    cloudwatch,
    configs,
    endpoints,
    joblogs,
    runtime,
    scheduler,
    sts,
    training,
)
from tests.aws.cloud import Cloud
from tests.aws.passthrough import Moto, api_name, refused_bytes
from tests.aws.routing import OPERATIONS, RefusedError, Row, invalid
from tests.aws.validation import constraint_problems, shape_problems
from tests.aws.wire import Answer, Call, parse, render, render_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.aws.faults import Fault

# Calls of `POST /_cloud/NAME`, for tests in another process; the body holds the arguments.
CONTROLS = (
    "advance", "drop_minutes", "fail_next", "freeze", "interrupt", "lag_reads", "partial_data", "put_counts",
    "state", "thaw", "throttle", "token", "trust", "clock",
)  # fmt: skip
KNOBS = (
    "capture_delay", "commands", "invocation_timeout", "metrics_delay", "rollback_fails", "schedule_lateness", "speed",
    "spot_share", "stale_configs", "startup_timeout", "weights_fail",
)  # fmt: skip
_SCOPE = re.compile(r"Credential=([^/]+)/\d+/[^/]+/([^/]+)/aws4_request")
TICK = 0.02  # seconds between two looks at what is due


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    cloud: Cloud

    def log_message(self, *_: object) -> None:
        pass

    def handle_expect_100(self) -> bool:
        going_on = super().handle_expect_100()
        self.wfile.flush()  # boto3 waits a second for this before it sends a body
        return going_on

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = urlsplit(self.path)
        if parts.path.startswith("/_cloud/"):
            self._control(parts.path.removeprefix("/_cloud/"), body)
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        key, scope = _signature(headers, parts.query)
        call = parse(self.command, parts.path, parts.query, headers, body, scope)
        if call is None:
            self._pass_on(key, scope, parts.path, parts.query, body, headers)
            return
        with self.cloud.lock:
            self.cloud.calls.append((call.service, call.operation, call.params))
            fault = self.cloud.faults.take(call.service, call.operation)
        if fault is None or fault.apply:
            answer = self._answered(call, key)
        if fault is not None and fault.code is None:
            self._reset()
        elif fault is not None:
            self._send(render_error(call, _injected(fault)))
        else:
            self._send(answer)

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET  # noqa: N815

    def _answered(self, call: Call, key: str) -> Answer:
        try:
            result = self._result(call, key)
        except RefusedError as refused:
            return render_error(call, refused)
        problems = shape_problems(call.model.output_shape, result)
        if call.model.output_shape is not None and call.service != "sagemaker-runtime":
            problems += [
                said
                for said in constraint_problems(call.model.output_shape, result)
                if "enum" in said or "pattern" in said
            ]
        if problems:
            return self._violation(call, "our answer to ", problems)
        return render(call, result)

    def _result(self, call: Call, key: str) -> Row:
        if call.model is None or (call.service, call.operation) not in OPERATIONS:
            self._note(call, ["not in the stand-in"])
            raise RefusedError(
                "UnknownOperationException", f"{call.operation}: not in the stand-in"
            )
        with self.cloud.lock:
            refused = sts.refused_session(self.cloud, key, call.service)
            if refused is not None and call.operation != "AssumeRoleWithWebIdentity":
                raise refused
        problems = shape_problems(call.model.input_shape, call.params)
        if problems:
            self._note(call, problems)
            raise invalid("; ".join(problems))
        found = list(constraint_problems(call.model.input_shape, call.params))
        if found:
            many = "error" if len(found) == 1 else "errors"
            code = "ValidationError" if call.service == "sagemaker-runtime" else None
            raise RefusedError(
                code or "ValidationException",
                f"{len(found)} validation {many} detected: {'; '.join(found)}",
            )
        operation = OPERATIONS[call.service, call.operation]
        if operation.outside:
            return operation.handle(self.cloud, call.params)
        with self.cloud.lock:
            self.cloud.caller = key
            self.cloud.tick()
            result = operation.handle(self.cloud, call.params)
            self.cloud.tick()
            return result

    def _note(self, call: Call, problems: list[str], prefix: str = "") -> None:
        with self.cloud.lock:
            self.cloud.violations += [
                f"{prefix}{call.service} {call.operation}: {problem}" for problem in problems
            ]

    def _violation(self, call: Call, prefix: str, problems: list[str]) -> Answer:
        self._note(call, problems, prefix)
        return render_error(call, RefusedError("InternalFailure", "; ".join(problems), status=500))

    def _pass_on(
        self, key: str, scope: str, path: str, query: str, body: bytes, headers: dict[str, str]
    ) -> None:
        """Let moto answer, but for expired credentials and planned faults."""
        service, name, params = api_name(self.command, scope, path, query, headers, body)
        with self.cloud.lock:
            self.cloud.calls.append((service, name, params))
            fault = self.cloud.faults.take(service, name)
            refused = sts.refused_session(self.cloud, key, service)
        if refused is not None:
            self._send(refused_bytes(service, refused))
            return
        if fault is None or fault.apply:
            answer = self.cloud.moto.forward(self.command, self.path, self.headers, body)
        if fault is not None and fault.code is None:
            self._reset()
        elif fault is not None:
            self._send(refused_bytes(service, _injected(fault)))
        else:
            self._send(answer)

    def _control(self, name: str, body: bytes) -> None:
        arguments = json.loads(body or b"{}")
        if name == "set" and arguments.keys() <= set(KNOBS):
            for knob, value in arguments.items():
                setattr(self.cloud, knob, value)
            done: Any = None
        elif name in CONTROLS:
            done = getattr(self.cloud, name)(**arguments)
        else:
            self._json(404, {"message": f"one of {CONTROLS}, or set with some of {KNOBS}"})
            return
        self._json(200, {"done": done})

    def _json(self, status: int, body: Any) -> None:
        text = json.dumps(body, default=str).encode()
        self._send(Answer(status=status, headers={"Content-Type": "application/json"}, body=text))

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        given = {name.lower() for name in answer.headers}
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if "x-amzn-requestid" not in given:
            self.send_header("x-amzn-RequestId", "00000000-0000-0000-0000-000000000000")
        if "content-length" not in given:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def _reset(self) -> None:
        """Break the connection: the client sees a reset, not an end."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


def _injected(fault: Fault) -> RefusedError:
    return RefusedError(str(fault.code), "Injected", status=fault.status)


def _signature(headers: dict[str, str], query: str) -> tuple[str, str]:
    """Return the access key and the service of a request's signature; ("", "") without one."""
    found = _SCOPE.search(headers.get("authorization", ""))
    if found is not None:
        return found[1], found[2]
    presigned = parse_qs(query).get("X-Amz-Credential", [""])[0].split("/")
    return (presigned[0], presigned[3]) if len(presigned) == 5 else ("", "")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""


@contextlib.contextmanager
def running(
    cloud: Cloud, *, port: int = 0, after: Callable[[], None] = lambda: None
) -> Iterator[Cloud]:
    """Serve on loopback until the block ends; ``after`` is called after each look at what is due."""
    server = _Server(("127.0.0.1", port), type("Handler", (_Handler,), {"cloud": cloud}))
    cloud.url = f"http://127.0.0.1:{server.server_address[1]}"
    cloud.moto = Moto()
    ended = threading.Event()

    def pulse() -> None:
        while not ended.wait(TICK):
            try:
                cloud.tick()
                after()
            except Exception as error:  # noqa: BLE001 - a test must see it, and time go on
                cloud.violations.append(f"while time passed: {type(error).__name__}: {error}")
                time.sleep(0.2)

    threads = [
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True),
        threading.Thread(target=pulse, daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        yield cloud
    finally:
        ended.set()
        threads[1].join(5)
        server.shutdown()
        server.server_close()
        cloud.close()
        cloud.moto.close()


@contextlib.contextmanager
def serve(*, time_scale: float = 1.0, speed: float = 0.05, seed: int = 0) -> Iterator[Cloud]:
    """Serve a new account, and fail if anything broke the service models."""
    with running(Cloud(time_scale=time_scale, speed=speed, seed=seed)) as cloud:
        yield cloud
    assert not cloud.violations, "\n".join(cloud.violations)
