"""Google's REST APIs: bearer tokens that renew themselves, careful repeats, whole files.

Tokens come from :mod:`.google_login`, the only importer of google-auth.
Retries: https://cloud.google.com/storage/docs/retry-strategy
Resumable uploads: https://cloud.google.com/storage/docs/performing-resumable-uploads
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from tidegate.adapters.cloud.google_errors import GoogleError, plain, refused
from tidegate.adapters.cloud.google_files import Sending
from tidegate.adapters.cloud.google_login import Login
from tidegate.adapters.cloud.google_route import Route
from tidegate.adapters.cloud.renewal import Renewing, SessionOver
from tidegate.adapters.cloud.repeating import AgainError, Budget, Repeater, retry_after
from tidegate.errors import OutsideError
from tidegate.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

__all__ = ["Google", "GoogleError", "SessionOver", "connect"]

T = TypeVar("T")

TIMEOUT = (10.0, 75.0)  # seconds: to connect, between two bytes
UPLOAD_TIMEOUT = (10.0, 300.0)
_BLOCK = 1 << 20
_UNSENT = frozenset({"NewConnectionError", "NameResolutionError"})


class _Bearer(AuthBase):
    """A token, kept out of every text; None keeps a .netrc file out, too."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


@dataclass(frozen=True, kw_only=True, slots=True)
class _Call:
    """One request, as it can be made again."""

    method: str
    url: str
    repeatable: bool
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None  # as JSON
    data: Any = None  # bytes, or what yields them

    @property
    def name(self) -> str:
        """For people: without the query, which may hold an upload's secret."""
        parts = urlsplit(self.url)
        return f"{self.method} {parts.hostname}{parts.path}"


class Google:
    """Google's APIs for one project. Safe to share between threads.

    Every method raises GoogleError where Google refuses or does not answer, and SessionOver where
    the credentials have ended.
    """

    def __init__(
        self, project: str, login: Login, renewing: Renewing[str], route: Route, repeater: Repeater
    ) -> None:
        self._given = project
        self._login = login
        self._renewing = renewing
        self._route = route
        self._repeater = repeater
        self._local = threading.local()  # requests' sessions are not for several threads

    def __repr__(self) -> str:
        return f"Google({self._given!r})"

    @property
    def fading(self) -> bool:
        """Whether the session cannot be renewed, and ends soon."""
        return self._renewing.fading

    @property
    def project(self) -> str:
        """The project's id: the one given, or the one of the machine's own credentials.

        Raises:
            OutsideError: nobody names one.
        """
        if not self._given:
            self._renewing.value()
        if not (found := self._given or self._login.project):
            raise OutsideError(
                "no Google Cloud project is named",
                remedy="Set `project` in mlops.yaml.",
            )
        return found

    def get(self, url: str, **query: Any) -> dict[str, Any]:
        """Return the decoded answer. ``url`` is Google's own, with https."""
        call = _Call(method="GET", url=url, query=query, repeatable=True)
        return self._perform(call, _decoded)

    def post(
        self, url: str, body: Mapping[str, Any], *, repeat: bool = False, **query: Any
    ) -> dict[str, Any]:
        """Send ``body`` as JSON; ``repeat`` says that doing it twice does no harm."""
        call = _Call(method="POST", url=url, query=query, body=body, repeatable=repeat)
        return self._perform(call, _decoded)

    def patch(
        self, url: str, body: Mapping[str, Any], *, repeat: bool = False, **query: Any
    ) -> dict[str, Any]:
        """As :meth:`post`."""
        call = _Call(method="PATCH", url=url, query=query, body=body, repeatable=repeat)
        return self._perform(call, _decoded)

    def delete(self, url: str, *, repeat: bool = True, **query: Any) -> dict[str, Any]:
        """Delete. A 404 with ``repeated`` set may be the work of an earlier try."""
        call = _Call(method="DELETE", url=url, query=query, repeatable=repeat)
        return self._perform(call, _decoded)

    def pages(self, url: str, key: str, **query: Any) -> Iterator[Any]:
        """Yield the items under ``key`` of every page of a listing.

        https://cloud.google.com/apis/design/design_patterns#list_pagination
        """
        seen: set[str] = set()
        token = None
        while True:
            page = self.get(url, **query, **({"pageToken": token} if token else {}))
            yield from page.get(key) or ()
            token = page.get("nextPageToken")
            if not token:
                return
            if token in seen:
                raise OutsideError(f"{urlsplit(url).path}: a listing of Google's does not end")
            seen.add(token)

    def download(self, url: str, into: Path, *, at_most: int, **query: Any) -> None:
        """Write an answer's bytes to a file, whole or not at all.

        Raises:
            OutsideError: it is larger than ``at_most`` bytes, or the disk fails.
        """
        call = _Call(method="GET", url=url, query=query, repeatable=True,
                     headers={"Accept-Encoding": "identity"})  # fmt: skip
        part = into.with_name(f"{into.name}.part-{os.getpid()}-{threading.get_ident()}")

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
        except OSError as error:
            raise OutsideError(f"{into} cannot be written: {error.strerror}") from None
        finally:
            part.unlink(missing_ok=True)

    def upload(
        self, url: str, file: Path | bytes, *, body: Mapping[str, Any] | None = None, **query: Any
    ) -> dict[str, Any]:
        """Upload by a resumable session and return the object; goes on where a connection broke.

        Args:
            url: the ``/upload/`` address of the API.
            file: what to send.
            body: the object's own fields (``metadata``, ``md5Hash``), as JSON.
            query: ``name``, preconditions; ``uploadType`` is added.
        """
        sending = Sending(file)
        begin = _Call(
            method="POST", url=url, query={**query, "uploadType": "resumable"},
            body=dict(body or {}), headers={"X-Upload-Content-Length": str(sending.size)},
            repeatable=True,  # a session that is never used leaves nothing
        )  # fmt: skip
        session = self._perform(begin, lambda answer: answer.headers.get("location", ""))
        if not session:
            raise GoogleError(f"{begin.name}: no upload session was given", status=0)

        def attempt(lost: bool) -> dict[str, Any]:  # noqa: FBT001 (the repeater's)
            if lost:
                ask = self._put(session, sending.question(), b"")
                answer = self._once(ask, _progress, lost=lost)
                if isinstance(answer, dict):
                    return answer
                sending.start = answer
            with closing(sending.open()) as data:
                answer = self._once(self._put(session, sending.range(), data), _progress, lost=lost)
            if isinstance(answer, dict):
                return answer
            sending.start = answer  # it wants the rest
            raise AgainError(
                GoogleError(f"{begin.name}: the upload does not arrive whole", status=308),
                lost=True,
            )

        return self._repeater(attempt)

    @staticmethod
    def _put(session: str, sent: str, data: Any) -> _Call:
        headers = {"Content-Range": sent}
        return _Call(method="PUT", url=session, headers=headers, data=data, repeatable=True)

    # --- one call ---------------------------------------------------------------------------

    def _perform(self, call: _Call, use: Callable[[requests.Response], T]) -> T:
        return self._repeater(lambda lost: self._once(call, use, lost=lost))

    def _once(self, call: _Call, use: Callable[[requests.Response], T], *, lost: bool) -> T:
        """Make a call once; AgainError where another try is harmless and may help."""
        for last in (False, True):
            token = self._renewing.value()
            try:
                with closing(self._send(call, token)) as answer:
                    if answer.ok or answer.status_code == 308:
                        return use(answer)
                    if answer.status_code == 401 and not last:
                        self._renewing.spoil(token)  # refused, so nothing has happened
                        continue
                    text = answer.content.decode("utf-8", "replace")
            except requests.RequestException as error:
                raise self._broken(call, error, lost=lost) from None
            found = refused(call.name, answer.status_code, text, self._hide)
            found.repeated = lost
            if answer.status_code == 401:
                raise SessionOver(f"the Google session is over: {found}", remedy=found.remedy)
            if found.throttled or (found.passing and call.repeatable):
                after = retry_after(answer.headers.get("retry-after"))
                raise AgainError(found, after=after, lost=found.unknown)
            raise found
        raise AssertionError

    def _send(self, call: _Call, token: str) -> requests.Response:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.trust_env = self._route.base is None  # no proxy to ourselves
        session: requests.Session = self._local.session
        answer = session.request(
            call.method,
            self._route.to(call.url),
            params={key: _text(value) for key, value in call.query.items() if value is not None},
            json=call.body,
            data=call.data,
            headers={**self._login.headers, **call.headers},
            auth=_Bearer(token),
            allow_redirects=False,
            stream=True,
            timeout=TIMEOUT if call.data is None else UPLOAD_TIMEOUT,
        )
        # An answer whose headers were cut has lost the ones that say how long it is.
        endless = not answer.headers.keys() & {"content-length", "transfer-encoding"}
        if endless and answer.ok and answer.status_code != 204:
            answer.close()
            raise requests.exceptions.ChunkedEncodingError
        if answer.is_redirect and answer.status_code != 308:
            answer.close()
            raise GoogleError(f"{call.name} is redirected, which Google never does", status=0)
        return answer

    def _broken(self, call: _Call, error: requests.RequestException, *, lost: bool) -> Exception:
        sent = _was_sent(error)
        # requests' own text quotes the address with its query, which may hold an upload's secret.
        found = GoogleError(
            f"{call.name}: {plain(type(error).__name__)}",
            status=0,
            unknown=sent,
            remedy="Whether it was done is not known; the next pass looks and goes on."
            if sent else "Check the network and https://status.cloud.google.com.",
        )  # fmt: skip
        found.repeated = lost
        if isinstance(error, requests.exceptions.SSLError) or (sent and not call.repeatable):
            return found
        return AgainError(found, lost=sent)

    def _hide(self, text: str) -> str:
        """Return a text without the token that is in use."""
        return redact(text, {"TOKEN": self._renewing.held or ""})


def _text(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _decoded(answer: requests.Response) -> dict[str, Any]:
    if not answer.content:
        return {}
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise OutsideError(
            f"Google's answer to {answer.request.method} {urlsplit(answer.url).path} is no object",
            remedy="A proxy may have answered in its place.",
        )
    return found


def _progress(answer: requests.Response) -> dict[str, Any] | int:
    """Return the finished object, or how many bytes have arrived."""
    if answer.status_code != 308:
        return _decoded(answer)
    _, _, end = answer.headers.get("range", "").rpartition("-")
    return int(end) + 1 if end.isascii() and end.isdigit() else 0


def _was_sent(error: requests.RequestException) -> bool:
    """Whether Google may have read the request before the connection failed."""
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.SSLError):
        return False
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return type(reason).__name__ not in _UNSENT


# --- connecting -------------------------------------------------------------------------------


def connect(
    project: str = "",
    *,
    env: Mapping[str, str] | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Google:
    """Return a session; credentials are asked for when the first call needs them.

    With TIDEGATE_GCP_PROVIDER, the runner's OpenID Connect token is exchanged for the provider's
    session (and TIDEGATE_GCP_SERVICE_ACCOUNT's, where that is set), renewed at 80 % of its life;
    without it, google-auth finds credentials as it always does.

    Args:
        project: its id; "" takes the one of the machine's own credentials.
        env: the environment; None: ours.
        sleep: waits that many seconds.
        clock: seconds that never go backwards.

    Raises:
        ConfigError: a variable is not what it must be.
        OutsideError: google-auth is not installed, or no job is there to prove.
    """
    env = os.environ if env is None else env
    route = Route.of(env)
    repeater = Repeater(Budget(), sleep=sleep, clock=clock)
    login = Login.of(env, route, repeater)
    renewing = Renewing(
        login,
        what=login.what,
        remedy="Run the job again: what was begun is found and finished.",
        clock=clock,
    )
    return Google(project, login, renewing, route, repeater)
