"""GitHub's REST API: patient with limits, careful with repeats, quiet about the token.

https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api
"""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
from requests.auth import AuthBase

from tidegate.adapters.host.addresses import bare, climbs, origin, segment, takes_uploads
from tidegate.adapters.host.answers import (
    ForbiddenError,
    InvalidError,
    NotFoundError,
    StatusError,
    UnknownOutcomeError,
    decoded,
    limited_until,
    next_page,
    refusal,
    still_limited,
)
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

__all__ = [
    "Api",
    "ForbiddenError",
    "InvalidError",
    "NotFoundError",
    "StatusError",
    "UnknownOutcomeError",
    "segment",
]

T = TypeVar("T")

JSON = "application/vnd.github+json"
BYTES = "application/octet-stream"
VERSION = "2022-11-28"
TIMEOUT = (10.0, 30.0)  # seconds: to connect, between two bytes
UPLOAD_TIMEOUT = (10.0, 300.0)
BACKOFF = (1.0, 2.0, 4.0, 8.0)  # seconds between tries of a call that fails
PATIENCE = 300.0  # seconds that one call may spend waiting for limits and repeats
REDIRECTS = 5
_BLOCK = 1 << 20
_JITTER = random.SystemRandom()


class _Bearer(AuthBase):
    """The token, kept out of every text: requests' own errors and reprs show headers."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def hide(self, text: str) -> str:
        """Return a text without the token."""
        return text.replace(self._token, "***") if self._token else text


# For other hosts, and instead of what a .netrc file may hold.
_NOBODY = _Bearer(None)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Call:
    """One request, as it can be made again."""

    method: str
    url: str
    name: str  # "GET /repos/o/n", for people
    repeatable: bool
    accept: str = JSON
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    file: Path | None = None
    away: bool = False  # may be redirected to another host, without the token


class _LimitedError(Exception):
    """A rate limit; nothing has happened."""

    def __init__(self, until: float) -> None:
        super().__init__()
        self.until = until


class _BrokenError(Exception):
    """No answer, or a server's failure."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


class Api:
    """The REST API at ``url`` with a job's token.

    Args:
        url: ``https://api.github.com``, or the one of a GitHub Enterprise Server.
        token: None asks as nobody.
        patience: seconds that one call may spend waiting for limits and repeats.
        sleep: waits that many seconds.
        clock: the time in epoch seconds.

    Raises:
        OutsideError: the token cannot be one.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        patience: float = PATIENCE,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if token is not None and (not token.isascii() or not token.isprintable() or " " in token):
            raise OutsideError(
                "the GitHub token holds characters that no token has",
                remedy="Check the secret for a line break or a space at its end.",
            )
        self.url = url.rstrip("/")
        self._bearer = _Bearer(token or None)
        self._patience = patience
        self._sleep = sleep
        self._clock = clock
        self._barred_until = 0.0
        self._session = requests.Session()
        self._session.headers["User-Agent"] = "tidegate"
        self._session.headers["X-GitHub-Api-Version"] = VERSION

    def __repr__(self) -> str:
        return f"Api({self.url!r})"

    # --- what others call ---------------------------------------------------------------------

    def get(self, path: str, **query: Any) -> Any:
        """Return the decoded answer.

        Raises:
            NotFoundError, ForbiddenError, InvalidError, StatusError: GitHub refused.
            OutsideError: GitHub cannot be reached, or limits us for longer than we wait.
        """
        return self._perform(self._call("GET", path, query=query), self._json)

    def pages(self, path: str, **query: Any) -> Iterator[Any]:
        """Yield every item of a listing, in GitHub's order. Raises as :meth:`get`."""
        call = self._call("GET", path, query={"per_page": 100, **query})
        seen = set()
        while True:
            found, link = self._perform(
                call, lambda answer: (self._json(answer), answer.headers.get("link", ""))
            )
            yield from _items(found, call.name)
            if (url := next_page(link)) is None:
                return
            url = urljoin(call.url, url)
            if origin(url) != origin(self.url) or url in seen:
                raise OutsideError(f"{call.name}: the next page is not one that GitHub would name")
            seen.add(url)
            call = _Call(method="GET", url=url, name=call.name, repeatable=True)

    def send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        repeatable: bool | None = None,
    ) -> Any:
        """Send a change and return the decoded answer; None where there is none.

        Args:
            method: POST, PATCH, PUT or DELETE.
            path: as for :meth:`get`.
            body: what is sent as JSON.
            repeatable: whether sending it twice does no harm; all but POST are by default.

        Raises:
            UnknownOutcomeError: the answer was lost and repeating may do it twice.
            NotFoundError, ForbiddenError, InvalidError, StatusError: GitHub refused.
            OutsideError: GitHub cannot be reached, or limits us for longer than we wait.
        """
        call = self._call(method, path, body=body)
        if repeatable is not None:
            call = replace(call, repeatable=repeatable)
        try:
            return self._perform(call, self._json)
        except NotFoundError as gone:
            if method == "DELETE" and gone.repeated:
                return None  # the first try, whose answer was lost, did it
            raise

    def download(self, path: str, into: Path, *, at_most: int, accept: str = BYTES) -> None:
        """Write an answer's bytes to a file, whole or not at all.

        Follows redirects; the token stays with our host.

        Raises:
            OutsideError: it is larger than ``at_most`` bytes, or as :meth:`get`.
        """
        call = replace(self._call("GET", path), accept=accept, away=True)
        part = into.with_name(f"{into.name}.part")

        def write(answer: requests.Response) -> None:
            size = 0
            with part.open("wb") as file:
                for block in answer.iter_content(_BLOCK):
                    size += len(block)
                    if size > at_most:
                        raise OutsideError(f"{call.name}: larger than {at_most:,} bytes")
                    file.write(block)

        try:
            self._perform(call, write)
            part.replace(into)
        finally:
            part.unlink(missing_ok=True)

    def upload(self, url: str, file: Path, *, name: str) -> Any:
        """Add a file to a release; ``url`` is the release's ``upload_url``.

        Raises:
            UnknownOutcomeError: the answer was lost; look at the release's assets.
            InvalidError: the release has a file of that name.
            OutsideError: the address is not GitHub's, or as :meth:`get`.
        """
        url = url.partition("{")[0]
        if not takes_uploads(url, self.url):
            raise OutsideError(f"the upload address is not GitHub's: {bare(url)}")
        call = _Call(
            method="POST",
            url=url,
            name=f"POST {urlsplit(url).path}",
            repeatable=False,
            query={"name": name},
            file=file,
        )
        return self._perform(call, self._json)

    # --- how ------------------------------------------------------------------------------------

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> _Call:
        if climbs(path):
            raise OutsideError(f"{path!r} is not an address on GitHub")
        return _Call(
            method=method,
            url=f"{self.url}{path}",
            name=f"{method} {path}",
            repeatable=method != "POST",
            query=query or {},
            body=body,
        )

    def _perform(self, call: _Call, read: Callable[[requests.Response], T]) -> T:
        """Make a call, as often and as slowly as it takes."""
        failures = 0
        spent = 0.0
        while True:
            if self._barred_until > self._clock():
                raise still_limited(call.name, self._barred_until)
            try:
                return self._attempt(call, read)
            except NotFoundError as missing:
                missing.repeated = failures > 0
                raise
            except _LimitedError as limited:
                wait = max(0.0, limited.until - self._clock())
                if spent + wait > self._patience:
                    # Whoever asks next is told the same without asking GitHub: asking while
                    # limited is what GitHub punishes.
                    self._barred_until = limited.until
                    raise still_limited(call.name, limited.until) from None
            except _BrokenError as broken:
                failures += 1
                if broken.sent and not call.repeatable:
                    raise UnknownOutcomeError(
                        f"the answer to {call.name} was lost ({broken}); it may have happened",
                        remedy="Run again: what is already there is found and kept.",
                    ) from None
                if failures > len(BACKOFF):
                    raise OutsideError(
                        f"GitHub failed {failures} times at {call.name}: {broken}",
                        remedy="Run again later; https://www.githubstatus.com tells of outages.",
                    ) from None
                wait = BACKOFF[failures - 1] * _JITTER.uniform(0.5, 1.0)
            spent += wait
            self._sleep(wait)

    def _attempt(self, call: _Call, read: Callable[[requests.Response], T]) -> T:
        try:
            with self._open(call) as answer:
                if answer.status_code < 300:
                    return read(answer)
                text = self._bearer.hide(answer.content.decode("utf-8", "replace"))
        except requests.RequestException as error:
            # Their own words may hold an address with a signature: the kind must do.
            raise _BrokenError(type(error).__name__, sent=_was_sent(error)) from None
        except OSError as error:
            raise OutsideError(f"{call.name}: {error.filename}: {error.strerror}") from None
        until = limited_until(answer.status_code, answer.headers, text, self._clock())
        if until is not None:
            raise _LimitedError(until)
        if answer.status_code >= 500:
            raise _BrokenError(f"status {answer.status_code}", sent=True)
        raise refusal(call.name, answer.status_code, answer.headers, text)

    def _open(self, call: _Call) -> requests.Response:
        """Send a call and follow its redirects by hand, so that the token stays at home."""
        url = call.url
        query: Mapping[str, Any] | None = call.query
        for _ in range(REDIRECTS):
            answer = self._once(call, url, query)
            if not answer.is_redirect:
                return answer
            answer.close()
            moved = urljoin(url, answer.headers["location"])
            safe = call.method == "GET" or answer.status_code in {307, 308}
            downgraded = urlsplit(moved).scheme != urlsplit(self.url).scheme
            elsewhere = origin(moved) != origin(self.url) and not call.away
            if not safe or downgraded or elsewhere:
                raise OutsideError(
                    f"{call.name} is redirected to {bare(moved)}",
                    remedy="Where the repository was renamed, use its new name.",
                )
            url, query = moved, None
        raise OutsideError(f"{call.name} is redirected without end")

    def _once(self, call: _Call, url: str, query: Mapping[str, Any] | None) -> requests.Response:
        ours = origin(url) == origin(self.url) or url == call.url
        headers = {"Accept": call.accept} if ours else {"Accept": "*/*"}
        options: dict[str, Any] = {
            "params": query,
            "auth": self._bearer if ours else _NOBODY,
            "allow_redirects": False,
            "stream": True,
        }
        if call.file is not None:
            headers["Content-Type"] = BYTES
            with call.file.open("rb") as data:
                return self._session.request(
                    call.method, url, headers=headers, data=data, timeout=UPLOAD_TIMEOUT, **options
                )
        if call.body is not None:
            headers["Content-Type"] = "application/json"
            options["data"] = json.dumps(call.body).encode()
        return self._session.request(call.method, url, headers=headers, timeout=TIMEOUT, **options)

    def _json(self, answer: requests.Response) -> Any:
        if not (text := answer.content.decode("utf-8", "replace")):
            return None
        if (found := decoded(text)) is None:
            raise OutsideError(
                f"GitHub's answer to {bare(answer.url)} is not JSON",
                remedy="A proxy may have answered in its place.",
            )
        return found


def _items(found: Any, name: str) -> list[Any]:
    """Return a listing's items: a list, or the one list beside ``total_count``."""
    lists = [found] if isinstance(found, list) else []
    if isinstance(found, dict):
        lists = [value for value in found.values() if isinstance(value, list)]
    if len(lists) != 1:
        raise OutsideError(f"{name}: GitHub's answer is not a listing")
    return list(lists[0])


def _was_sent(error: requests.RequestException) -> bool:
    """Whether GitHub may have read the request before the connection failed."""
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.SSLError):
        return False
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return type(reason).__name__ not in {"NewConnectionError", "NameResolutionError"}
