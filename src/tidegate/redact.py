"""Texts without secrets, and texts that a GitHub runner takes for text.

Errors of other programs are quoted to people: in logs, comments, checks and pages. They may quote
an address with a password in it, or a header, or lines that a runner would obey. What is hidden
here is what can be known: the values of the environment's secret variables in the forms in which
programs write them, and the part of an address that names a user.
"""

from __future__ import annotations

import base64
import io
import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import TextIO

HIDDEN = "***"
_SHORTEST = 8  # characters; what is shorter stands in too many texts, and is no secret
_SECRET = re.compile(
    r"TOKEN|PASSWORD|PASSWD|SECRET|CREDENTIAL|(SIGNING|PRIVATE|ACCESS|API)_?KEY", re.IGNORECASE
)
_FILES = re.compile(r"_(FILE|PATH|DIR|URL|URI)$", re.IGNORECASE)  # where a secret is, not what
_USER = re.compile(r"(?<=://)[^/?#\s'\"<>@]*(?:@[^/?#\s'\"<>@]*)*@")
# The runner trims a line and looks for "::name", and anywhere for "##[name]" (actions/runner,
# ActionCommand.cs); its lines end at carriage returns, too.
_COMMAND = re.compile(r"((?:^|(?<=[\r\n]))[^\w\r\n]*?):(?=:)")
_OLD_COMMAND = re.compile(r"##(?=\[)")


def is_secret(name: str) -> bool:
    """Tell whether an environment variable of this name holds a secret."""
    if name.startswith("GIT_CONFIG_VALUE_"):
        return True  # the header that git is given for one process
    return bool(_SECRET.search(name)) and not _FILES.search(name)


def redact(text: str, env: Mapping[str, str]) -> str:
    """Return a text without the secrets of ``env`` and without users and passwords in addresses.

    >>> redact("GET https://ada:pass@host/x: 401", {})
    'GET https://***@host/x: 401'
    """
    found = tuple(
        sorted({v for k, v in env.items() if len(v.strip()) >= _SHORTEST and is_secret(k)})
    )
    if found:
        text = _pattern(found).sub(HIDDEN, text)
    return _USER.sub(f"{HIDDEN}@", text)


@lru_cache(maxsize=8)
def _pattern(secrets: tuple[str, ...]) -> re.Pattern[str]:
    forms = {form for secret in secrets for form in _forms(secret) if len(form) >= _SHORTEST}
    return re.compile("|".join(re.escape(f) for f in sorted(forms, key=len, reverse=True)))


def _forms(secret: str) -> Iterator[str]:
    for part in {secret, secret.strip(), *secret.splitlines(), secret.rpartition(" ")[2]}:
        yield part
        yield quote(part, safe="")
        yield quote(quote(part, safe=""), safe="")
        yield quote_plus(part)
        yield json.dumps(part)[1:-1]
        yield repr(part)[1:-1]
        data = part.encode()
        yield data.hex()
        yield data.hex().upper()
        for offset in range(3):  # wherever it stands in what was encoded
            # The first and the last characters hold bits of its neighbours, too.
            whole = base64.b64encode(b"\0" * offset + data).decode().rstrip("=")
            inner = whole[(0, 2, 3)[offset] : -1]
            yield inner
            yield inner.replace("+", "-").replace("/", "_")


def inert(text: str) -> str:
    r"""Return a text in which a GitHub runner finds no command.

    >>> inert("fine: a::b\n ::set-output name=x::1 ##[add-path]y")
    'fine: a::b\n : :set-output name=x::1 # #[add-path]y'
    """
    return _OLD_COMMAND.sub("# #", _COMMAND.sub(r"\1: ", text))


class Guarded(io.TextIOBase):
    """A stream of a job's log: whole lines, without secrets and without commands.

    Args:
        inner: where the lines go.
        env: whose secrets are hidden.
    """

    def __init__(self, inner: TextIO, env: Mapping[str, str]) -> None:
        super().__init__()
        self._inner = inner
        self._env = env
        self._line = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The inner stream's."""
        return self._inner.encoding

    def writable(self) -> bool:
        """Yes."""
        return True

    def fileno(self) -> int:
        """Return the inner stream's, for the processes of the user's commands."""
        return self._inner.fileno()

    def write(self, text: str) -> int:
        """Write what makes whole lines; a rest waits for its end."""
        whole, newline, rest = (self._line + text).rpartition("\n")
        self._line = rest
        if newline:
            self._inner.write(inert(redact(whole + newline, self._env)))
        return len(text)

    def flush(self) -> None:
        """Flush what was written; a line that has not ended stays here."""
        self._inner.flush()

    def command(self, line: str) -> None:
        """Write a command that the runner shall obey."""
        self._inner.write(f"{line}\n")
        self._inner.flush()

    def finish(self) -> None:
        """Write the last line, although it never ended."""
        if self._line:
            self.write("\n")
        self.flush()
