"""Methods of the stand-in: which function answers which, and what a refusal looks like."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.gcp import behaviour

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.gcp.cloud import Cloud

Row = dict[str, Any]  # an object in the API's own words; keys with _ are ours and never answered

# https://cloud.google.com/apis/design/errors#handling_errors
STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
# https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
CODE = {
    "CANCELLED": 1,
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "ALREADY_EXISTS": 6,
    "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "ABORTED": 10,
    "UNIMPLEMENTED": 12,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
    "UNAUTHENTICATED": 16,
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request that was found to be described and allowed."""

    host: str
    name: str  # the path after the version, without a verb: projects/p/locations/l/endpoints/e
    params: Mapping[str, str]
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]
    body: Any  # decoded JSON; an empty object where there was none
    data: bytes
    principal: str  # who asks
    base: str  # what an address in an answer starts with: https://storage.googleapis.com

    def one(self, name: str, default: str = "") -> str:
        """Return a query parameter."""
        return self.query.get(name, (default,))[0]

    @property
    def parent(self) -> str:
        """Return the name without its last collection (and id)."""
        words = self.name.split("/")
        return "/".join(words[: len(words) - (1 if len(words) % 2 else 2)])


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int = 200
    body: Any = None  # JSON, checked against the method's response
    data: bytes | None = None  # bytes, instead
    headers: Mapping[str, str] = field(default_factory=dict)


class RefusedError(Exception):
    """An answer that says no."""

    def __init__(self, status: int, body: Row) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = body


def refuse(reason: str, message: str, *, rule: str = "") -> RefusedError:
    """Return a refusal in the words of google.rpc.Status; ``rule`` names the row it comes from."""
    if rule:
        behaviour.apply(rule)
    code = STATUS[reason]
    return RefusedError(code, {"error": {"code": code, "message": message, "status": reason}})


def missing(name: str) -> RefusedError:
    """Return the answer about a resource that does not exist."""
    return refuse("NOT_FOUND", f"{name} is not found.")


@dataclass(frozen=True)
class Route:
    handle: Callable[[Cloud, Request], Answer | Row]
    alone: bool  # under the cloud's lock; not where the handler waits for a model server


ROUTES: dict[str, Route] = {}


def method(name: str, *, alone: bool = True) -> Callable[[Any], Any]:
    """Register a function for a method of the documents."""

    def register(
        handle: Callable[[Cloud, Request], Answer | Row],
    ) -> Callable[[Cloud, Request], Answer | Row]:
        assert name not in ROUTES
        ROUTES[name] = Route(handle, alone)
        return handle

    return register


def shown(row: Row) -> Row:
    """Return a row without what is ours."""
    return {key: value for key, value in row.items() if not key.startswith("_")}


def page(request: Request, key: str, items: Sequence[Any], size: int, most: int) -> Row:
    """Return a page of a listing; the token is where the next one starts."""
    wanted = request.one("pageSize") or request.one("maxResults")
    return sliced(key, items, int(wanted or 0), request.one("pageToken"), size, most)


def sliced(key: str, items: Sequence[Any], wanted: int, token: str, size: int, most: int) -> Row:
    """Return a page by its token and size (0: ``size``; never more than ``most``)."""
    if token and not token.isdigit():
        raise refuse("INVALID_ARGUMENT", f"Invalid page token: {token!r}")
    start = int(token or 0)
    end = start + min(wanted or size, most)
    body: Row = {key: list(items[start:end])} if items[start:end] else {}
    if end < len(items):
        body["nextPageToken"] = str(end)
    return body
