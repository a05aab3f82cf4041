"""Asking GitHub for a job's OpenID Connect token.

https://docs.github.com/en/actions/reference/security/oidc
"""

from __future__ import annotations

import http.client
import json
import re
import time
import urllib.error
import urllib.request
from urllib.parse import quote, urlsplit

from tidegate.errors import OutsideError

_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)  # a JWT
_TRIES = 4
_TIMEOUT = 15.0  # seconds
_BYTES = 64 * 1024


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nothing: the job's bearer stays with the host that it is for."""

    def redirect_request(self, *_: object, **__: object) -> None:
        """Refuse."""


def ask(url: str, bearer: str, audience: str) -> str:
    """Return a token for ``audience``; asks again where GitHub is out of order.

    Args:
        url: ``ACTIONS_ID_TOKEN_REQUEST_URL``.
        bearer: ``ACTIONS_ID_TOKEN_REQUEST_TOKEN``.
        audience: who will check the token.

    Raises:
        OutsideError: GitHub gives none.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in {"127.0.0.1", "::1"}:
        raise OutsideError("ACTIONS_ID_TOKEN_REQUEST_URL is not an https address")
    asked = f"{url}{'&' if parts.query else '?'}audience={quote(audience, safe='')}"
    request = urllib.request.Request(  # noqa: S310 (the scheme is checked above)
        asked, headers={"Authorization": f"Bearer {bearer}", "Accept": "application/json"}
    )
    opener = urllib.request.build_opener(_NoRedirect)
    reason = ""
    for number in range(_TRIES):
        if number:
            time.sleep(0.25 * 2**number)
        try:
            with opener.open(request, timeout=_TIMEOUT) as answer:
                if token := _token(answer.read(_BYTES)):
                    return token
                reason = "its answer holds no token"
        except urllib.error.HTTPError as error:
            reason = f"status {error.code}"
            error.close()
            if error.code < 500 and error.code != 429:
                break
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = type(error).__name__  # its text may quote the address
    raise OutsideError(
        f"GitHub gave the job no OpenID Connect token: {reason}",
        remedy="Run the job again; https://www.githubstatus.com tells of outages.",
    )


def _token(answer: bytes) -> str | None:
    found = json.loads(answer)
    token = found.get("value") if isinstance(found, dict) else None
    return token if isinstance(token, str) and _TOKEN.fullmatch(token) else None
