"""A kill switch on the wire: the process dies just after its n-th request that could change a cloud."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests
from botocore.httpsession import URLLib3Session

if TYPE_CHECKING:
    import pytest

_READS = re.compile(r"\.(Describe|List|Get)")
_ASKS = re.compile(r":(predict|rawPredict|query)$|/invocations$|/queries")


class Killed(BaseException):
    """The process is gone: nothing of ours catches this."""


@dataclass
class Wire:
    """Counts the requests that may change something; ``at``: dies after this one (0: never)."""

    at: int = 0
    count: int = 0

    def sent(self, *, changes: bool) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # the stand-in's own
        self.count += changes
        if changes and self.count == self.at:
            raise Killed

    def tap(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Listen to what boto3 and requests send."""
        aws, google = URLLib3Session.send, requests.Session.request

        def send(session: Any, request: Any) -> Any:
            answer = aws(session, request)
            self.sent(changes=_changes_aws(request))
            return answer

        def ask(session: Any, method: str, url: str, *args: Any, **more: Any) -> Any:
            answer = google(session, method, url, *args, **more)
            self.sent(changes=method.upper() not in {"GET", "HEAD"} and not _ASKS.search(url))
            return answer

        monkeypatch.setattr(URLLib3Session, "send", send)
        monkeypatch.setattr(requests.Session, "request", ask)


def _changes_aws(request: Any) -> bool:
    target = request.headers.get("X-Amz-Target", b"")
    target = target.decode() if isinstance(target, bytes) else target
    if target:
        return not _READS.search(target)
    return request.method not in {"GET", "HEAD"} and not _ASKS.search(request.url)
