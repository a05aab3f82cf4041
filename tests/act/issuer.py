"""GitHub's issuer of OpenID Connect tokens, on loopback: what a job is, signed.

https://docs.github.com/en/actions/reference/security/oidc
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.act.world import MAIN, NAME, NUMBER
from tests.aws.sts import mint
from tidegate.pin import REPOSITORY
from tidegate.policy import ISSUER

if TYPE_CHECKING:
    from collections.abc import Iterator

OWNER = 77  # GitHub's number of Ada


@dataclass
class Issuer:
    """What it signs with, and what it gave to whom."""

    commit: str  # of ours, that the user's workflow names
    url: str = ""
    bearer: str = field(default_factory=lambda: f"runner-{secrets.token_hex(16)}")
    secret: str = field(default_factory=lambda: secrets.token_hex(16))
    given: list[dict[str, Any]] = field(default_factory=list)  # claims
    tokens: list[str] = field(default_factory=list)

    def token(self, workflow: str, environment: str, audience: str) -> str:
        """Return the token of a job on the default branch that stands in one of our files."""
        now = int(time.time())
        owner = NAME.partition("/")[0]
        place = f"environment:{environment}" if environment else f"ref:{MAIN}"
        claims = {
            "iss": f"https://{ISSUER}", "aud": audience, "sub": f"repo:{NAME}:{place}",
            "repository": NAME, "repository_id": str(NUMBER), "repository_owner": owner,
            "repository_owner_id": str(OWNER), "ref": MAIN, "ref_type": "branch",
            "job_workflow_ref": f"{REPOSITORY}/.github/workflows/{workflow}@{self.commit}",
            "environment": environment, "runner_environment": "github-hosted",
            "iat": now, "nbf": now - 60, "exp": now + 300, "jti": str(len(self.given)),
        }  # fmt: skip
        self.given.append(claims)
        self.tokens.append(mint(claims, secret=self.secret))
        return self.tokens[-1]


@contextmanager
def issuing(commit: str) -> Iterator[Issuer]:
    """Give tokens to who has the bearer."""
    issuer = Issuer(commit)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            asked = {key: value[0] for key, value in parse_qs(urlsplit(self.path).query).items()}
            allowed = self.headers.get("authorization") == f"Bearer {issuer.bearer}"
            body = b"{}"
            if allowed:
                token = issuer.token(
                    asked["workflow"], asked.get("environment", ""), asked["audience"]
                )
                body = json.dumps({"value": token}).encode()
            self.send_response(200 if allowed else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
