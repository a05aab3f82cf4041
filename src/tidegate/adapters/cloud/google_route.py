"""Where requests for Google go: to Google, or to a stand-in on this machine. No IO."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tidegate.errors import ConfigError, OutsideError

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "TIDEGATE_GOOGLE_URL"
_LOOPBACK = re.compile(r"http://(127\.0\.0\.1|\[::1\]|localhost):[0-9]{1,5}", re.ASCII)
# Vertex AI's dedicated endpoints have names of their own:
# https://cloud.google.com/vertex-ai/docs/predictions/choose-endpoint-type
_GOOGLE = re.compile(r"([a-z0-9-]+\.)+(googleapis\.com|vertexai\.goog)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Route:
    """Sends Google's addresses to ``base``; None: to Google itself.

    >>> Route("http://127.0.0.1:80").to("https://storage.googleapis.com/storage/v1/b?x=1")
    'http://127.0.0.1:80/storage.googleapis.com/storage/v1/b?x=1'
    """

    base: str | None

    @classmethod
    def of(cls, env: Mapping[str, str]) -> Route:
        """Return the route that TIDEGATE_GOOGLE_URL asks for.

        Raises:
            ConfigError: it leads anywhere but to this machine.
        """
        given = env.get(VARIABLE, "").rstrip("/")
        if given and not _LOOPBACK.fullmatch(given):
            raise ConfigError(
                f"{VARIABLE} may only lead to this machine: http://127.0.0.1:PORT",
                remedy="It is for tests. Unset it to speak to Google.",
            )
        return cls(given or None)

    def to(self, url: str) -> str:
        """Return where a request for ``url`` goes.

        Raises:
            OutsideError: it is no address of Google's; it would have been given the token.
        """
        if self.base is not None and (url == self.base or url.startswith(f"{self.base}/")):
            return url  # the stand-in named it itself
        parts = urlsplit(url)
        try:
            strange = parts.port not in {None, 443}
        except ValueError:
            strange = True
        host = parts.hostname or ""
        if parts.scheme != "https" or strange or parts.username or not _GOOGLE.fullmatch(host):
            raise OutsideError(f"not an address of Google's: {parts.scheme}://{host}")
        if self.base is None:
            return url
        query = f"?{parts.query}" if parts.query else ""
        return f"{self.base}/{host}{parts.path}{query}"

    def perhaps(self, url: str) -> str:
        """As :meth:`to`; an address that is not Google's stays as it is.

        For google-auth, which asks those that a machine's own credentials name: the runner, or the
        metadata server.
        """
        return self.to(url) if _GOOGLE.fullmatch(urlsplit(url).hostname or "") else url
