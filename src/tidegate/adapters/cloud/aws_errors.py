"""What AWS's refusals mean: whether anything happened, and whether asking again helps. No IO.

Codes: https://docs.aws.amazon.com/general/latest/gr/api-retries.html and
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidegate.adapters.cloud.repeating import AgainError, retry_after
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SHOWN = 500  # characters of AWS's message
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# Refused for coming too fast: nothing was done. A quota ("LimitExceeded") does not pass by waiting.
_THROTTLED = frozenset(
    {
        "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled",
        "RequestThrottledException", "TooManyRequestsException", "RequestLimitExceeded",
        "SlowDown", "EC2ThrottledException", "IDPCommunicationError",
    }
)  # fmt: skip
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
_STRANGERS = frozenset(
    {"InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId",
     "SignatureDoesNotMatch", "MissingAuthenticationToken", "AuthFailure"}
)  # fmt: skip
# botocore's failures, by name: never sent; perhaps sent; a passing trouble.
_UNSENT = frozenset(
    {"EndpointConnectionError", "ConnectTimeoutError", "ProxyConnectionError", "SSLError"}
)
_CUT = frozenset(
    {"ReadTimeoutError", "ConnectionClosedError", "HTTPClientError", "ResponseStreamingError",
     "IncompleteReadError", "ConnectionError"}
)  # fmt: skip
_DAMAGED = frozenset({"ChecksumError", "FlexibleChecksumError", "ResponseParserError"})
_NO_KEYS = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError",
     "TokenRetrievalError", "SSOTokenLoadError", "UnauthorizedSSOTokenError",
     "LoginTokenLoadError"}
)  # fmt: skip


class AwsError(OutsideError):
    """AWS refused, or did not answer.

    Attributes:
        code: AWS's own ("ValidationException"); "" where nothing was answered.
        status: the HTTP status; 0 where nothing was answered.
        unknown: whether what was asked may have been done: read back.
        repeated: whether an earlier try of the same call may have been the cause.
    """

    repeated = False

    def __init__(
        self, message: str, *, code: str, status: int, unknown: bool = False, remedy: str = ""
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.code = code
        self.status = status
        self.unknown = unknown

    @property
    def expired(self) -> bool:
        """Whether the credentials have ended."""
        return self.code in _EXPIRED


@dataclass(frozen=True, slots=True)
class Judge:
    """Turns botocore's errors into ours. ``hide`` takes credentials out of a text."""

    hide: Callable[[str], str]

    def refused(self, name: str, response: Mapping[str, Any]) -> AwsError:
        """Return the error of an answer."""
        told = response.get("Error", {})
        code, said = str(told.get("Code") or ""), str(told.get("Message") or "")
        status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
        throttled = code in _THROTTLED or status == 429
        return AwsError(
            f"AWS refused {name}: {code or status}{f', {self._plain(said)}' if said else ''}",
            code=code or str(status),
            status=status,
            unknown=status >= 500 and not throttled,
            remedy=_remedy(code, throttled=throttled),
        )

    def weigh(self, error: AwsError, response: Mapping[str, Any], *, repeatable: bool) -> None:
        """Raise it: as one to be repeated, or as it is."""
        throttled = error.code in _THROTTLED or error.status == 429
        headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        if throttled or (error.status >= 500 and repeatable):
            after = retry_after(headers.get("retry-after"))
            raise AgainError(error, after=after, lost=error.unknown) from None
        raise error from None

    def broken(self, name: str, error: Exception) -> AwsError:
        """Return the error of a call that got no answer, or was never sent."""
        kind = _kind(error)
        sent = kind in _CUT | _DAMAGED
        if kind in _NO_KEYS:
            remedy = (
                "Set TIDEGATE_AWS_ROLE in a GitHub job with `id-token: write`, or log in: "
                "https://docs.aws.amazon.com/cli/latest/userguide/cli-chap-authentication.html"
            )
        elif sent:
            remedy = "Whether it was done is not known; the next pass looks and goes on."
        elif kind in _UNSENT:
            remedy = "Check the network, the region's name and https://health.aws.amazon.com."
        else:
            remedy = ""
        return AwsError(
            f"{name}: {self._plain(str(error))}",
            code="" if kind in _UNSENT or sent else type(error).__name__,
            status=0,
            unknown=sent,
            remedy=remedy,
        )

    @staticmethod
    def passing(error: Exception) -> bool:
        """Whether this may be better in a moment."""
        return _kind(error) in (_UNSENT | _CUT | _DAMAGED) - {"SSLError"}

    def _plain(self, text: str) -> str:
        line = _UNPRINTABLE.sub(" ", self.hide(text)).strip()
        return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"


def _kind(error: Exception) -> str:
    """Return the name of the first of an error's classes that is listed above."""
    listed = _UNSENT | _CUT | _DAMAGED | _NO_KEYS
    return next((c.__name__ for c in type(error).__mro__ if c.__name__ in listed), "")


def _remedy(code: str, *, throttled: bool) -> str:
    if throttled:
        return "AWS limits how often it may be called; run again later."
    if code in _DENIED:
        return "`tidegate doctor --policy aws` prints what the role must be allowed."
    if code in _STRANGERS:
        return "The credentials are wrong or of another partition; log in again."
    return ""
