"""A server for images without a toolkit: ``python code/server.py``. Standard library, and the model.

Vertex AI sets port and paths (https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements):
AIP_HTTP_PORT, AIP_HEALTH_ROUTE, AIP_PREDICT_ROUTE. SageMaker asks for /ping and /invocations on port 8080
(https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html). Nothing listens before
the model is loaded, so a health check that is answered is true.
"""

from __future__ import annotations

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from tidegate.container.answering import Answerer

LARGEST_BODY = 64 << 20  # bytes
INSTALL = "--install"  # first, pip installs code/requirements.txt


class Handler(BaseHTTPRequestHandler):
    """Answers health checks and requests for predictions."""

    protocol_version = "HTTP/1.1"
    # Headers and body leave in one segment: two small ones would wait for each other's receipt.
    wbufsize = -1
    timeout = 600.0  # seconds that a connection may be idle
    health: ClassVar[frozenset[str]] = frozenset({"/ping"})
    predict: ClassVar[frozenset[str]] = frozenset({"/invocations"})
    answerer: ClassVar[Answerer]

    def do_GET(self) -> None:
        """Answer a health check."""
        if self.path.partition("?")[0] in self.health:
            self._send(200, b"{}")
        else:
            self._send(404, b'{"error_code": "NOT_FOUND"}')

    def do_POST(self) -> None:
        """Answer a request for predictions."""
        status, body = self._answer()
        self._send(status, body)

    def _answer(self) -> tuple[int, bytes]:
        from tidegate.container.answering import problem
        from tidegate.endpoint.protocol import ProtocolError
        from tidegate.errors import NotJudgedError

        size = self.headers.get("content-length", "")
        if not (size.isascii() and size.isdigit()):
            self.close_connection = True  # where its body ends is not known
            return 411, b'{"error_code": "LENGTH_REQUIRED"}'
        if int(size) > LARGEST_BODY:
            self.close_connection = True
            return 413, b'{"error_code": "TOO_LARGE"}'
        body = self.rfile.read(int(size))
        if self.path.partition("?")[0] not in self.predict:
            return 404, b'{"error_code": "NOT_FOUND"}'
        try:
            return 200, self.answerer.answer(body)
        except ProtocolError as error:
            return 400, problem("BAD_REQUEST", error)
        except NotJudgedError as error:
            return 500, problem("MODEL_FAILED", error)

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Say nothing: the platform counts requests, and an address is nobody's business."""


class Server(ThreadingHTTPServer):
    """One thread per connection; a full backlog refuses nobody at once."""

    daemon_threads = True
    request_queue_size = 1024


def main(arguments: list[str]) -> int:
    """Install what is asked for, load the model, then answer until told to stop.

    SageMaker starts a container with the argument ``serve``, which changes nothing.
    """
    code = Path(__file__).resolve().parent
    if INSTALL in arguments:
        wanted = str(code / "requirements.txt")
        pip = [sys.executable, "-m", "pip", "install", "--no-input", "-r", wanted]
        if (failed := os.spawnv(os.P_WAIT, sys.executable, pip)) != 0:  # noqa: S606
            return failed
    if str(code) not in sys.path:
        sys.path.insert(0, str(code))
    from tidegate.container.answering import load

    env = os.environ
    port = int(env.get("AIP_HTTP_PORT") or env.get("SAGEMAKER_BIND_TO_PORT") or 8080)
    Handler.health = frozenset({"/ping", env.get("AIP_HEALTH_ROUTE", "/ping")})
    Handler.predict = frozenset({"/invocations", env.get("AIP_PREDICT_ROUTE", "/invocations")})
    Handler.answerer = load(code.parent)
    with Server((env.get("TIDEGATE_BIND", "0.0.0.0"), port), Handler) as server:  # noqa: S104
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
