"""What both stores share: where they are, which keys they take, and what their refusals are called."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.errors import ConfigError, OutsideError

if TYPE_CHECKING:
    from pathlib import Path

SHA256 = "tidegate-sha256"  # the object's metadata that names its bytes
_BLOCK = 1 << 20
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]", re.ASCII)
_PART = re.compile(r"[A-Za-z0-9_=+,.-]{1,200}", re.ASCII)
_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)


class PreconditionError(OutsideError):
    """Another content stands there, or none, than the write was made for. Nothing was written."""


class MissingError(OutsideError):
    """There is no such object."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A folder of a bucket. ``prefix`` is empty or ends with a slash.

    >>> Place.of("s3://acme-models/tidegate/").key("a/b.json")
    'tidegate/a/b.json'
    """

    scheme: str
    bucket: str
    prefix: str

    @classmethod
    def of(cls, uri: str) -> Place:
        """Return the place that ``s3://bucket/prefix`` or ``gs://bucket/prefix`` names.

        Raises:
            ConfigError: it is not written so.
        """
        scheme, _, rest = uri.partition("://")
        bucket, _, prefix = rest.partition("/")
        prefix = prefix.removesuffix("/")
        if (
            scheme not in {"s3", "gs"}
            or not _BUCKET.fullmatch(bucket)
            or (prefix and not _is_key(prefix))
        ):
            raise ConfigError(
                f"not a bucket: {uri[:200]!r}",
                remedy="Write s3://bucket/folder or gs://bucket/folder, with plain characters.",
            )
        return cls(scheme=scheme, bucket=bucket, prefix=f"{prefix}/" if prefix else "")

    def key(self, key: str) -> str:
        """Return the object's whole name.

        Raises:
            OutsideError: the key leads elsewhere.
        """
        if not _is_key(key):
            raise OutsideError(f"not a key: {key[:200]!r}")
        return self.prefix + key

    def start(self, prefix: str) -> str:
        """Return what the whole names begin with. Raises as :meth:`key`."""
        folder, slash, rest = prefix.rpartition("/")
        if (
            (folder and not _is_key(folder))
            or (rest and not _is_key(rest))
            or (slash and not folder)
        ):
            raise OutsideError(f"not a key: {prefix[:200]!r}")
        return self.prefix + prefix

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.prefix}"


def _is_key(text: str) -> bool:
    parts = text.split("/")
    return all(_PART.fullmatch(part) and part not in {".", ".."} for part in parts)


def told_sha256(metadata: dict[str, str] | None) -> str | None:
    """Return the SHA-256 that an object's metadata tells; None where it tells none."""
    told = {key.lower(): value for key, value in (metadata or {}).items()}.get(SHA256, "")
    return told if _HEX.fullmatch(told) else None


def sums(source: Path | bytes) -> tuple[str, bytes, int]:
    """Return SHA-256 (hex), MD5 (raw; Cloud Storage checks it) and size of what is to be sent.

    Raises:
        OutsideError: the file cannot be read.
    """
    sha, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    if isinstance(source, bytes):
        sha.update(source)
        md5.update(source)
        return sha.hexdigest(), md5.digest(), len(source)
    size = 0
    try:
        with source.open("rb") as file:
            while block := file.read(_BLOCK):
                sha.update(block)
                md5.update(block)
                size += len(block)
    except OSError as error:
        raise OutsideError(f"{source}: {error.strerror}") from None
    return sha.hexdigest(), md5.digest(), size


def checked(found: str, wanted: str, name: str) -> None:
    """Check that bytes are those that are meant.

    Raises:
        OutsideError: they are not.
    """
    if found != wanted:
        raise OutsideError(
            f"{name} is not what it should be: SHA-256 {found[:12]} instead of {wanted[:12]}",
            remedy="Somebody changed it, or it was damaged on its way.",
        )
