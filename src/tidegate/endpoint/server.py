"""The model server of one variant: ``python -m tidegate.endpoint.server FOLDER VERSION``.

Listens on a Unix socket in the endpoint's folder once the model is loaded. ASGI:
https://asgi.readthedocs.io/en/stable/specs/www.html
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from tidegate.core.config import Environment
from tidegate.endpoint import control, processes, spec
from tidegate.endpoint.answers import AnswerLog
from tidegate.endpoint.backends import Backend, ModelBackend, Refused, UserBackend
from tidegate.endpoint.forward import ForwardError, UserServer
from tidegate.endpoint.layout import Folder, key
from tidegate.endpoint.protocol import ProtocolError
from tidegate.endpoint.remote import RemoteScorer
from tidegate.endpoint.xds import ARRIVED
from tidegate.environments import interpreter
from tidegate.errors import NotJudgedError, OutsideError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from tidegate.endpoint.batch import Model
    from tidegate.endpoint.spec import Member

LARGEST_BODY = 64 << 20  # bytes
AGAIN = 600.0  # seconds after which an environment that could not be built is tried again


class App:
    """The ASGI application."""

    def __init__(self, backend: Backend, version: str) -> None:
        self._backend = backend
        self._version = version

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer one HTTP request."""
        try:
            status, (body, kind) = 200, await self._answer(scope, receive)
        except ProtocolError as error:
            status, (body, kind) = 400, _problem("BAD_REQUEST", error)
        except Refused as error:
            status, (body, kind) = error.status, error.answer or _problem("REFUSED", error)
        except NotJudgedError as error:
            # Not 400: a model whose signature refuses what its predecessor took is the model's
            # fault, and only 5xx counts against it.
            status, (body, kind) = 500, _problem("MODEL_FAILED", error)
        except ForwardError as error:
            status, (body, kind) = 502, _problem("NO_ANSWER", error)
        headers = [
            (b"content-type", kind.encode("latin-1")),
            (b"content-length", str(len(body)).encode()),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(
        self, scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]]
    ) -> tuple[bytes, str]:
        path, method = scope["path"], scope["method"]
        if path in {"/invocations", "/ask"}:
            if method != "POST":
                raise Refused(405, "send a POST")
            body = await _body(receive)
            if path == "/invocations":
                headers = dict(scope["headers"])
                request_id = headers.get(b"x-request-id", b"").decode("utf-8", "replace") or None
                return await self._backend.invoke(body, request_id, _arrived(headers))
            values = await self._backend.ask(body)
            return json.dumps({"predictions": values.tolist()}).encode(), "application/json"
        if path in {"/ping", "/health"}:
            if not await self._backend.ready():
                raise Refused(503, "the user's server does not accept connections")
            return b"\n", "text/plain"
        if path == "/version":
            return self._version.encode(), "text/plain; charset=utf-8"
        raise Refused(404, "there are /invocations, /ping, /health and /version")


async def serve(folder: Folder, version: str) -> int:
    """Load the model (or start the user's server), then answer until told to stop."""
    wanted = spec.read(folder)
    if wanted is None or version not in wanted.members:
        return 0
    member = wanted.members[version]
    log = AnswerLog(folder.answers / key(version))
    model_dir = folder.path / member.model
    backend: Backend
    user: UserServer | None = None
    model: Model | None = None
    if member.serve is None:
        model = loaded(member, model_dir)
        backend = ModelBackend(model, log)
    else:
        user = UserServer(member.serve, cwd=member.cwd, model_dir=model_dir)
        await user.start()
        backend = UserBackend(user, log)
    server = uvicorn.Server(
        uvicorn.Config(
            App(backend, version),
            http="httptools",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=86_400,
            timeout_graceful_shutdown=5,
        )
    )
    chores = asyncio.create_task(_chores(folder, log, server, _ended(user, model)))
    # uvicorn sends itself the signal again after its shutdown; the last counts come after that.
    signal.signal(signal.SIGTERM, lambda *_: None)
    await server.serve([_listen(folder.socket(version))])
    chores.cancel()
    log.flush()
    if user is not None and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGTERM)  # the user's server and its children; we ignore it by now
    if isinstance(model, RemoteScorer):
        lost = model.died
        model.close()
        return 1 if lost else 0
    return 1 if user is not None and user.died else 0


def loaded(member: Member, model_dir: Path) -> Model:
    """Load a model where it was judged: in the environment that it recorded, or in this one.

    Raises:
        NotJudgedError: it cannot be loaded, or its own environment is wanted and cannot be had.
    """
    if member.environments is not None:
        place = interpreter(
            model_dir, Environment(member.environment), Path(member.environments),
            say=_say, patience=AGAIN,
        )  # fmt: skip
        if place.note:
            _say(f"version {member.version} in the engine's environment: {place.note}")
        if place.own:
            command = place.command(
                "tidegate.endpoint.worker",
                str(model_dir),
                str(member.task),
                json.dumps(member.classes),
            )
            return RemoteScorer(command, {**os.environ, **place.variables})
    from tidegate.endpoint.scorer import load

    return load(model_dir, member.task, member.classes)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _ended(user: UserServer | None, model: Model | None) -> Callable[[], bool]:
    """Return what tells whether the process that answers behind this one has ended."""
    if user is not None:
        ended = asyncio.create_task(user.ended())
        return ended.done
    return (lambda: model.died) if isinstance(model, RemoteScorer) else (lambda: False)


async def _chores(
    folder: Folder, log: AnswerLog, server: uvicorn.Server, ended: Callable[[], bool]
) -> None:
    """Once a second: write the fill counts, end with what answers, miss the supervisor."""
    alone = 0
    while True:
        await asyncio.sleep(1.0)
        log.flush()
        if ended() or not folder.spec.exists():
            server.should_exit = True
        # The dead-man's switch lives in the supervisor. A killed one must not leave the gate open
        # until somebody calls, so the servers bring it back.
        alone = 0 if processes.held(folder.supervisor_lock) else alone + 1
        if alone >= 2:
            with contextlib.suppress(OutsideError):
                control.revive(folder)


def _listen(path: str) -> socket.socket:
    Path(path).unlink(missing_ok=True)  # a killed server leaves its socket's name behind
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(4096)
    listener.setblocking(False)  # noqa: FBT003
    return listener


def _arrived(headers: Mapping[bytes, bytes]) -> float:
    """Return when the request arrived at Envoy, in epoch seconds.

    Requests and their labels must fall into the same minute: a request that waits for its batch
    over the turn of a minute is counted there by nobody else.
    """
    try:
        return float(headers[ARRIVED.encode()])
    except (KeyError, ValueError):  # asked past Envoy
        return time.time()


async def _body(receive: Callable[[], Awaitable[dict[str, Any]]]) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body
    parts = [body]
    size = len(body)
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > LARGEST_BODY:
            raise Refused(413, f"a request may have {LARGEST_BODY} bytes")
    return b"".join(parts)


def _problem(code: str, error: Exception) -> tuple[bytes, str]:
    document = {"error_code": code, "message": str(error)}
    return json.dumps(document).encode(), "application/json"


def main() -> int:
    """Serve the version named on the command line."""
    folder, version = Folder(Path(sys.argv[1])), sys.argv[2]
    os.chdir(folder.path)
    # The lock that says "alive" came in as an open file. The user's own server must not get it:
    # it would go on saying so after this process has died.
    for descriptor in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with contextlib.suppress(OSError):  # the listing's own descriptor is closed by now
            os.set_inheritable(int(descriptor), int(descriptor) <= 2)
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        return runner.run(serve(folder, version))


def _new_loop() -> asyncio.AbstractEventLoop:
    import uvloop

    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


if __name__ == "__main__":
    sys.exit(main())
