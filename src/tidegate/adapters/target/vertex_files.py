"""A version's archive in Cloud Storage: put there once, checked by Google's own hash, swept away.

https://cloud.google.com/storage/docs/json_api/v1/objects
https://cloud.google.com/storage/docs/request-preconditions
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tidegate.adapters.cloud.google_errors import GoogleError
from tidegate.digests import file_digest
from tidegate.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tidegate.adapters.cloud.google import Google

_API = "https://storage.googleapis.com/storage/v1"
_UPLOAD = "https://storage.googleapis.com/upload/storage/v1"
_ADDRESS = re.compile(r"gs://([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(?:/(.*))?")
_OURS = re.compile(r"v[a-z0-9_]{1,16}-[0-9a-f]{10}")


class Files:
    """The folder ``{prefix}/{endpoint}/`` of a bucket, with one folder per version in it.

    Args:
        google: the session.
        address: ``gs://bucket/prefix``.
        endpoint: the endpoint's id.

    Raises:
        ConfigError: the address is none of Cloud Storage.
    """

    def __init__(self, google: Google, address: str, endpoint: str) -> None:
        found = _ADDRESS.fullmatch(address.rstrip("/"))
        if found is None:
            raise ConfigError(
                f"{address!r} is no place in Cloud Storage.",
                remedy="Write release.vertex.bucket as gs://bucket/prefix.",
            )
        self._google = google
        self._bucket = found[1]
        self._root = "/".join(filter(None, (found[2], endpoint))) + "/"

    def uri(self, folder: str) -> str:
        """Return the address of a version's folder."""
        return f"gs://{self._bucket}/{self._root}{folder}/"

    def put(self, folder: str, file: Path) -> str:
        """Have a file in a version's folder under its own name; return its sha256 in hex.

        The one that is there stays where it is these bytes, by Google's own MD5 and our sha256. Other
        bytes are written over with objects.insert, only as they were read before (ifGenerationMatch).

        Raises:
            GoogleError: Cloud Storage refuses or does not answer.
        """
        sha256 = file_digest(file)
        with file.open("rb") as stream:
            md5 = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).digest()
        name = f"{self._root}{folder}/{file.name}"
        wanted = base64.b64encode(md5).decode()
        there = self._head(name)
        if there is not None and _is(there, sha256, wanted, file.stat().st_size):
            return sha256
        try:
            self._google.upload(
                f"{_UPLOAD}/b/{self._bucket}/o",
                file,
                body={"metadata": {"sha256": sha256}, "md5Hash": wanted},
                name=name,
                ifGenerationMatch=there["generation"] if there else 0,
            )
        except GoogleError:
            # A lost answer, or somebody who uploads the same: what stands there now decides.
            there = self._head(name)
            if there is None or not _is(there, sha256, wanted, file.stat().st_size):
                raise
        return sha256

    def delete(self, folder: str) -> None:
        """Delete a version's folder with objects.list and objects.delete; none there is fine."""
        self._delete(f"{self._root}{folder}/")

    def sweep(self, keep: Iterable[str]) -> None:
        """Delete the folders of versions other than these; nothing that we did not name."""
        kept = set(keep)
        listing = self._google.pages(
            self._objects, "prefixes", prefix=self._root, delimiter="/", maxResults=1000
        )
        for prefix in list(listing):
            folder = prefix.removeprefix(self._root).rstrip("/")
            if _OURS.fullmatch(folder) and folder not in kept:
                self._delete(prefix)

    @property
    def _objects(self) -> str:
        return f"{_API}/b/{self._bucket}/o"

    def _head(self, name: str) -> dict[str, Any] | None:
        """objects.get, without the bytes."""
        try:
            return self._google.get(f"{self._objects}/{quote(name, safe='')}")
        except GoogleError as error:
            if error.status == 404:
                return None
            raise

    def _delete(self, prefix: str) -> None:
        for row in list(self._google.pages(self._objects, "items", prefix=prefix, maxResults=1000)):
            try:
                self._google.delete(f"{self._objects}/{quote(row['name'], safe='')}")
            except GoogleError as error:
                if error.status != 404:
                    raise


def _is(there: dict[str, Any], sha256: str, md5: str, size: int) -> bool:
    told = (there.get("metadata") or {}).get("sha256")
    return (there.get("md5Hash"), int(there.get("size", -1)), told) == (md5, size, sha256)
