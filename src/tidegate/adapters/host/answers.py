"""What GitHub's refusals mean: errors with a remedy, and how long a limit lasts. No IO.

Status codes and limits: https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api
and https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDARY_WAIT = 60.0  # seconds; what GitHub asks for where it names no time
_SHOWN = 500  # characters of GitHub's message
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_NEXT = re.compile(r'<([^<>]*)>\s*;[^,<>]*\brel="?next"?')


class StatusError(OutsideError):
    """GitHub answered, and refused.

    Attributes:
        status: the HTTP status.
        body: the decoded answer; None where it was not JSON.
    """

    def __init__(self, message: str, *, status: int, body: Any = None, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.status = status
        self.body = body


class NotFoundError(StatusError):
    """404: there is no such thing, or the token may not see it.

    ``repeated`` says that an earlier try of the same call may have been the cause.
    """

    repeated = False


class ForbiddenError(StatusError):
    """403: the token may not do this."""


class InvalidError(StatusError):
    """422: GitHub refuses the content."""


class UnknownOutcomeError(OutsideError):
    """The answer to a request that creates something was lost. It may or may not have happened."""


_KINDS: dict[int, type[StatusError]] = {403: ForbiddenError, 404: NotFoundError, 422: InvalidError}


def plain(text: str) -> str:
    """Return somebody else's words on one line, without control characters, cut to 500."""
    line = _UNPRINTABLE.sub(" ", text).strip()
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"


def decoded(text: str) -> Any:
    """Return an answer's JSON, or None where it is not JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def refusal(call: str, status: int, headers: Mapping[str, str], text: str) -> StatusError:
    """Return the error that tells of a refused ``call`` ("GET /repos/o/n") and what to do."""
    body = decoded(text)
    said = _message(body)
    return _KINDS.get(status, StatusError)(
        f"GitHub refused {call}: {status}{f', {said}' if said else ''}",
        status=status,
        body=body,
        remedy=_remedy(status, headers, said),
    )


def _message(body: Any) -> str:
    """Return GitHub's message with the details that it keeps in ``errors``."""
    if not isinstance(body, dict):
        return ""
    details = body.get("errors")
    parts = [str(body.get("message") or "")]
    for detail in details if isinstance(details, list) else []:
        if isinstance(detail, dict):
            known = (detail.get(key) for key in ("resource", "field", "code", "message"))
            parts.append(" ".join(str(value) for value in known if value))
        else:
            parts.append(str(detail))
    return plain("; ".join(part for part in parts if part))


def _remedy(status: int, headers: Mapping[str, str], said: str) -> str:
    if status == 401:
        return (
            "The token is missing, wrong or expired; a job's token dies with its job. "
            "Give the step the job's own token, `github.token`."
        )
    if status == 403:
        return _permission(headers, said)
    if status == 404:
        return (
            "Either it does not exist or the token may not see it: GitHub answers 404, not 403, "
            "for what is private. Check the name and the job's `permissions:`."
        )
    if status == 410:
        return "The feature is switched off in the repository's settings (Issues, for instance)."
    if status in {409, 422}:
        return "GitHub read the request and will not do it as it is; correct what it names."
    return "See GitHub's message; https://www.githubstatus.com tells of outages."


def _permission(headers: Mapping[str, str], said: str) -> str:
    """Name the permission that is missing, where GitHub named it."""
    wanted = headers.get("x-accepted-github-permissions", "")
    if sets := [_yaml(alternative) for alternative in wanted.split(";") if alternative.strip()]:
        return f"Give the job, and the job that calls it, `permissions:` with {' or '.join(sets)}."
    if "not accessible by integration" in said:
        return "The job lacks a permission: compare its `permissions:` with the documentation's."
    return "A rule of the repository or organisation forbids it; `tidegate doctor` shows which."


def _yaml(permissions: str) -> str:
    """Return ``pull_requests=write,contents=read`` as a workflow's file writes it."""
    pairs = (pair.strip().partition("=") for pair in permissions.split(","))
    return " and ".join(
        f"`{plain(name).replace('_', '-')}: {plain(level)}`" for name, _, level in pairs if name
    )


def limited_until(status: int, headers: Mapping[str, str], text: str, now: float) -> float | None:
    """Return when to ask again (epoch seconds), or None where no rate limit was hit."""
    if status not in {403, 429}:
        return None
    after = headers.get("retry-after", "")
    if after.isascii() and after.isdigit():
        return now + max(1.0, float(after))
    if headers.get("x-ratelimit-remaining") == "0":
        reset = headers.get("x-ratelimit-reset", "")
        if reset.isascii() and reset.isdigit():
            return max(now + 1.0, float(reset) + 1.0)  # the reset is told in whole seconds
        return now + SECONDARY_WAIT
    said = _message(decoded(text)).lower()
    # "You have exceeded a secondary rate limit": sometimes without any header.
    return now + SECONDARY_WAIT if status == 429 or "rate limit" in said else None


def still_limited(call: str, until: float) -> OutsideError:
    """Return the error of giving up on a rate limit that ends at ``until`` (epoch seconds)."""
    try:
        when = datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        when = "a time far away"
    return OutsideError(
        f"GitHub's rate limit stops {call} until {when}",
        remedy="Run again after that time; a repository's token has 1,000 requests an hour.",
    )


def next_page(link: str) -> str | None:
    """Return the address of the next page from a ``Link`` header.

    >>> next_page('<https://a/x?page=1>; rel="prev", <https://a/x?page=3>; rel="next"')
    'https://a/x?page=3'
    """
    found = _NEXT.search(link)
    return found[1] if found else None
