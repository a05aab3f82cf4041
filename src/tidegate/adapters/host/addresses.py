"""Addresses on GitHub: which are ours, and what may be shown of the others. No IO."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from tidegate.errors import OutsideError


def segment(text: str) -> str:
    """Return a name as one segment of a path, whatever it holds.

    Raises:
        OutsideError: it is empty, ``.`` or ``..``, which would name another place.
    """
    if text in {"", ".", ".."}:
        raise OutsideError(f"{text!r} cannot be part of an address on GitHub")
    return quote(text, safe="")


def repository_path(text: str) -> str:
    """Return ``/repos/owner/name``.

    Raises:
        OutsideError: it is not ``owner/name``.
    """
    owner, slash, name = text.partition("/")
    if not slash or "/" in name:
        raise OutsideError(f"{text!r} is not a repository's `owner/name`")
    return f"/repos/{segment(owner)}/{segment(name)}"


def climbs(path: str) -> bool:
    """Whether a path is not absolute, or has segments that the client would resolve away."""
    return not path.startswith("/") or not {".", ".."}.isdisjoint(path.split("/"))


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Return (scheme, host, port): what a token belongs to.

    >>> origin("https://api.github.com/x") == origin("https://API.github.com:443/y")
    True
    """
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def bare(url: str) -> str:
    """Return an address without user and query, which may be secrets.

    >>> bare("https://me:pass@store.example/a.zip?sig=abc")
    'https://store.example/a.zip'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"


def takes_uploads(url: str, api: str) -> bool:
    """Whether the token may be sent there: our own host, or ``uploads.`` beside ``api.``.

    >>> takes_uploads("https://uploads.github.com/repos/o/n", "https://api.github.com")
    True
    >>> takes_uploads("https://uploads.github.com.example/repos/o/n", "https://api.github.com")
    False
    """
    theirs, ours = origin(url), origin(api)
    twin = f"uploads.{(ours[1] or '').removeprefix('api.')}"
    return theirs == ours or theirs == (ours[0], twin, ours[2])
