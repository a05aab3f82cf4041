"""What Google's refusals mean: whether anything happened, and whether asking again helps. No IO.

Statuses: https://cloud.google.com/apis/design/errors and
https://cloud.google.com/storage/docs/json_api/v1/status-codes
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable

_SHOWN = 500  # characters of Google's message
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# Refused for coming too fast: nothing was done. Cloud Storage says it with a 403, too.
_THROTTLED = frozenset({"rateLimitExceeded", "userRateLimitExceeded"})


class GoogleError(OutsideError):
    """Google refused, or did not answer.

    Attributes:
        status: the HTTP status; 0 where nothing was answered.
        reason: Google's word for it ("ABORTED", "conditionNotMet"); "" where it gave none.
        unknown: whether what was asked may have been done: read back.
        repeated: whether an earlier try of the same call may have been the cause.
    """

    repeated = False

    def __init__(
        self,
        message: str,
        *,
        status: int,
        reason: str = "",
        unknown: bool = False,
        remedy: str = "",
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.status = status
        self.reason = reason
        self.unknown = unknown

    @property
    def throttled(self) -> bool:
        """Whether it came too fast; nothing was done."""
        return self.status == 429 or self.reason in _THROTTLED

    @property
    def passing(self) -> bool:
        """Whether the server is out of order for the moment."""
        return self.status in {408, 500, 502, 503, 504}


def plain(text: str) -> str:
    """Return somebody else's words on one line, without control characters, cut to 500."""
    line = _UNPRINTABLE.sub(" ", text).strip()
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"


def refused(name: str, status: int, text: str, hide: Callable[[str], str]) -> GoogleError:
    """Return the error of an answer to ``name`` ("GET aiplatform.googleapis.com/v1/...")."""
    reason, said = _told(text)
    said = plain(hide(said))
    error = GoogleError(
        f"Google refused {name}: {status}{f' {reason}' if reason else ''}{f', {said}' if said else ''}",
        status=status,
        reason=reason,
        remedy=_remedy(status),
    )
    error.unknown = error.passing and not error.throttled
    return error


def _told(text: str) -> tuple[str, str]:
    """Return the reason and the message of an answer; both may be empty."""
    try:
        body: Any = json.loads(text)
    except (ValueError, RecursionError):
        return "", ""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return "", ""
    reason = error.get("status")
    errors = error.get("errors")
    if not reason and isinstance(errors, list) and errors and isinstance(errors[0], dict):
        reason = errors[0].get("reason")
    return plain(str(reason or ""))[:64], str(error.get("message") or "")


def _remedy(status: int) -> str:
    if status == 401:
        return "The session is wrong or over: log in again, or set TIDEGATE_GCP_PROVIDER."
    if status == 403:
        return "`tidegate doctor --policy gcp` prints what the service account must be allowed."
    if status == 429:
        return "Google limits how often it may be called; run again later."
    return ""
