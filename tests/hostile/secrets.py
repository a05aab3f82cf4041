"""Secrets that must appear nowhere, in the ways in which a program may write them."""

from __future__ import annotations

import base64
import gzip
import json
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


@cache
def lures() -> Mapping[str, str]:
    """Return what stands for each kind of secret; characters that encodings change are in them."""
    return {
        "password": "p%ss/w+rd&Lure-7Qx=Zk",
        "registry-token": "mlf_Lure/8Tq+5Rw=vN2",
        "signing": "-----BEGIN PRIVATE KEY-----\nMC4CLureLureLure+/Kx91\n-----END PRIVATE KEY-----\n",
        "cloud": "AKLURE9XwJalrXUtnFEMI/K7MDENG+bPxRfi",
        "id-token": "eyJhbGciOiJMdXJlIn0.eyJzdWIiOiJMdXJlIn0.c2ln",
    }


ENCODINGS: Mapping[str, Callable[[str], str]] = {
    "plain": str,
    "base64": lambda s: base64.b64encode(s.encode()).decode().rstrip("="),
    "base64url": lambda s: base64.urlsafe_b64encode(s.encode()).decode().rstrip("="),
    "hex": lambda s: s.encode().hex(),
    "url": lambda s: quote(s, safe=""),
    "url twice": lambda s: quote(quote(s, safe=""), safe=""),
    "reversed": lambda s: s[::-1],
    "json": lambda s: json.dumps(s)[1:-1],
    "gzip": lambda s: base64.b64encode(gzip.compress(s.encode(), mtime=0)).decode()[:40],
    "upper case": str.upper,
    "basic": lambda s: base64.b64encode(f"x-access-token:{s}".encode()).decode()[24:-4],
    "lines": lambda s: "\n".join(s[i : i + 8] for i in range(0, len(s), 8)),
}


def forms(secret: str) -> Iterator[tuple[str, str]]:
    """Yield each way in which the secret, or its one telling line, may be written."""
    for part in {secret, max(secret.splitlines(), key=len)}:
        for name, encode in ENCODINGS.items():
            yield name, encode(part)


def leaks(content: bytes, secrets: Mapping[str, str]) -> list[str]:
    """Return which secrets stand in some content, and how."""
    return [
        f"{name}, {how}"
        for name, secret in secrets.items()
        for how, form in forms(secret)
        if form.encode() in content
    ]
