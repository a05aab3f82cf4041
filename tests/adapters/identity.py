"""A GitHub that gives a job its OpenID Connect tokens, on loopback."""

from __future__ import annotations

import base64
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

ISSUER = "https://token.actions.githubusercontent.com"
BEARER = "runner-bearer-0123456789"


@dataclass
class GitHub:
    """What it gives and was asked."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)  # of the next answers; then 200
    broken: bool = False
    asked: list[str] = field(default_factory=list)  # audiences
    given: list[str] = field(default_factory=list)  # tokens

    @property
    def env(self) -> dict[str, str]:
        """The environment of a job with `id-token: write`."""
        return {
            "GITHUB_ACTIONS": "true",
            "GITHUB_REPOSITORY": "acme/flight delays",
            "GITHUB_RUN_ID": "17",
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.url}/token?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": BEARER,
        }


def token(audience: str, number: int) -> str:
    """Return a JWT as GitHub's; nobody checks its signature here."""

    def part(content: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

    now = int(time.time())
    claims = {"iss": ISSUER, "aud": audience, "sub": "repo:acme/flight:ref:refs/heads/main",
              "repository": "acme/flight", "iat": now, "exp": now + 300, "jti": number}  # fmt: skip
    return ".".join([part({"alg": "RS256", "typ": "JWT"}), part(claims), "c2lnbmF0dXJl"])


@contextmanager
def github() -> Iterator[GitHub]:
    """Serve tokens."""
    hub = GitHub()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            audience = parse_qs(urlsplit(self.path).query).get("audience", [""])[0]
            hub.asked.append(audience)
            status = hub.statuses.pop(0) if hub.statuses else 200
            if hub.broken:
                status = 503
            if self.headers.get("authorization") != f"Bearer {BEARER}":
                status = 401
            body = b"{}"
            if status == 200:
                hub.given.append(token(audience, len(hub.given)))
                body = json.dumps({"value": hub.given[-1]}).encode()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", f"{hub.url}/elsewhere")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
