"""Which function answers which operation, and how a function refuses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.aws.cloud import Cloud

Row = dict[str, Any]  # a structure in the API's own words


class RefusedError(Exception):
    """The answer is an error of the API."""

    def __init__(
        self, code: str, message: str, *, status: int = 400, more: Row | None = None
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.more = more or {}


def invalid(message: str) -> RefusedError:
    return RefusedError("ValidationException", message)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """``outside``: called without the lock, because it waits for processes."""

    service: str
    name: str
    handle: Callable[[Cloud, Row], Row]
    outside: bool = field(default=False)


OPERATIONS: dict[tuple[str, str], Operation] = {}


def operation(
    service: str, name: str, *, outside: bool = False
) -> Callable[[Callable[[Cloud, Row], Row]], Callable[[Cloud, Row], Row]]:
    """Register the function as the answer to an operation."""

    def register(handle: Callable[[Cloud, Row], Row]) -> Callable[[Cloud, Row], Row]:
        OPERATIONS[service, name] = Operation(
            service=service, name=name, handle=handle, outside=outside
        )
        return handle

    return register


def paged(items: list[Any], params: Row, key: str, *, size: int = 100) -> Row:
    """Return the page that ``NextToken`` (a number, as text) and ``MaxResults`` ask for."""
    start = int(params.get("NextToken") or 0)
    end = start + int(params.get("MaxResults") or size)
    answer: Row = {key: items[start:end]}
    if end < len(items):
        answer["NextToken"] = str(end)
    return answer
