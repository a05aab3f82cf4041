"""Operations of the loopback GitHub: which function answers which, and what it needs to know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.github.hub import Hub

REPO = "/repos/{owner}/{repo}"


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request that was found to be described and allowed."""

    url: str  # without the query
    params: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any  # decoded JSON
    data: bytes

    def number(self, name: str) -> int:
        text = self.params[name]
        if not text.isdigit():
            raise RefusedError(404, "Not Found")
        return int(text)


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class RefusedError(Exception):
    """An answer of GitHub that says no."""

    def __init__(self, status: int, message: str, *errors: Mapping[str, str]) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {"message": message, "documentation_url": "https://docs.test"}
        if errors:
            self.body["errors"] = list(errors)


def invalid(resource: str, name: str, code: str, message: str = "") -> RefusedError:
    """Return GitHub's "Validation Failed"."""
    detail = {"resource": resource, "field": name, "code": code}
    if message:
        detail["message"] = message
    return RefusedError(422, "Validation Failed", detail)


Handler = "Callable[[Hub, Request], Answer]"


@dataclass(frozen=True)
class Route:
    handle: Callable[[Hub, Request], Answer]
    needs: str  # "issues=write; pull_requests=write": any one of them; "": only a token


ROUTES: dict[tuple[str, str], Route] = {}


def route(method: str, path: str, needs: str) -> Callable[[Any], Any]:
    """Register a function for an operation of the description."""

    def register(handle: Callable[[Hub, Request], Answer]) -> Callable[[Hub, Request], Answer]:
        assert (method, path) not in ROUTES
        ROUTES[method, path] = Route(handle, needs)
        return handle

    return register


def page(request: Request, items: Sequence[Any], wrap: str | None = None) -> Answer:
    """Return the page of a listing that was asked for, with its ``Link``."""
    size = min(int(request.query.get("per_page", 30)), 100)
    number = int(request.query.get("page", 1))
    last = max(1, -(-len(items) // size))
    shown = list(items[(number - 1) * size : number * size])
    links = []
    for relation, to in (("prev", number - 1), ("next", number + 1), ("last", last)):
        if 1 <= to <= last and number != to:
            query = urlencode({**request.query, "page": to})
            links.append(f'<{request.url}?{query}>; rel="{relation}"')
    body = shown if wrap is None else {"total_count": len(items), wrap: shown}
    return Answer(body=body, headers={"Link": ", ".join(links)} if links else {})
