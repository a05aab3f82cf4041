"""Google Cloud Storage as a store: generations compared, MD5 checked by the server.

Objects: https://cloud.google.com/storage/docs/json_api/v1/objects
Preconditions: https://cloud.google.com/storage/docs/request-preconditions
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tidegate.adapters.cloud.google import GoogleError
from tidegate.adapters.stores.base import (
    SHA256,
    MissingError,
    PreconditionError,
    checked,
    sums,
    told_sha256,
)
from tidegate.errors import OutsideError
from tidegate.ports import ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tidegate.adapters.cloud.google import Google
    from tidegate.adapters.stores.base import Place

_HOST = "https://storage.googleapis.com"
_TRIES = 4  # of reading an object that is replaced meanwhile


class GcsStore:
    """A folder of a bucket. The tag of an object is its generation."""

    def __init__(self, google: Google, place: Place) -> None:
        self._google = google
        self._place = place
        self._bucket = f"b/{quote(place.bucket, safe='')}/o"
        self._bucket_seen = False

    def __repr__(self) -> str:
        return f"GcsStore({str(self._place)!r})"

    def _url(self, key: str) -> str:
        return f"{_HOST}/storage/v1/{self._bucket}/{quote(self._place.key(key), safe='')}"

    def _object(self, key: str) -> dict[str, Any] | None:
        """https://cloud.google.com/storage/docs/json_api/v1/objects/get"""
        try:
            return self._google.get(self._url(key))
        except GoogleError as error:
            if error.status != 404:
                raise
        self._see_bucket()
        return None

    def head(self, key: str) -> ObjectInfo | None:
        """Return what stands there now; None where nothing does.

        Raises:
            OutsideError: Google cannot be reached or refuses, or there is no such bucket.
        """
        found = self._object(key)
        return None if found is None else _info(found)

    def get(self, key: str, into: Path, at_most: int) -> ObjectInfo:
        """Copy an object to a file, whole and as its checksums say, or not at all.

        Raises:
            MissingError: there is none.
            OutsideError: it is larger than ``at_most`` bytes, damaged, or Google refuses.
        """
        part = into.with_name(f"{into.name}.unchecked")
        try:
            for _ in range(_TRIES):
                if (found := self._object(key)) is None:
                    raise MissingError(f"there is no {self._place}{key}")
                info = _info(found)
                try:
                    self._google.download(
                        self._url(key), part, at_most=at_most, alt="media", generation=info.tag
                    )
                except GoogleError as error:
                    if error.status != 404:
                        raise
                    continue  # replaced between the two calls
                sha256, md5, _ = sums(part)
                if "md5Hash" in found:  # composed objects have none
                    checked(
                        md5.hex(), base64.b64decode(found["md5Hash"]).hex(), f"{self._place}{key}"
                    )
                if info.sha256 is not None:
                    checked(sha256, info.sha256, f"{self._place}{key}")
                part.replace(into)
                return info
        finally:
            part.unlink(missing_ok=True)
        raise OutsideError(f"{self._place}{key} is replaced faster than it can be read")

    def put(
        self,
        key: str,
        source: Path | bytes,
        *,
        sha256: str,
        absent: bool = False,
        tag: str | None = None,
    ) -> ObjectInfo:
        """Write an object: only where none stands (``absent``), or only over the generation ``tag``.

        An answer that got lost is looked up: where our very bytes stand, it was done.
        https://cloud.google.com/storage/docs/json_api/v1/objects/insert

        Raises:
            PreconditionError: something else stands there, or nothing; nothing was written.
            OutsideError: the bytes are not those of ``sha256``, or Google refuses.
        """
        found, md5, size = sums(source)
        checked(found, sha256, f"what is to be {self._place}{key}")
        body = {
            "name": self._place.key(key),
            "metadata": {SHA256: sha256},
            "md5Hash": base64.b64encode(md5).decode(),
            "contentType": "application/octet-stream",
        }
        generation = "0" if absent else tag
        try:
            done = self._google.upload(
                f"{_HOST}/upload/storage/v1/{self._bucket}", source, body=body,
                name=body["name"], ifGenerationMatch=generation,
            )  # fmt: skip
        except GoogleError as error:
            if error.unknown or error.repeated:
                there = self.head(key)
                if there is not None and there.sha256 == sha256:
                    return there
            if generation is not None and (error.status == 412 or (tag and error.status == 404)):
                raise PreconditionError(
                    f"{self._place}{key} is not what this write was made for"
                ) from None
            raise
        if (info := _info(done)).size != size:
            raise OutsideError(f"{self._place}{key} did not arrive whole at Google")
        return info

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys that begin with ``prefix``, in order.

        https://cloud.google.com/storage/docs/json_api/v1/objects/list
        """
        start = self._place.start(prefix)
        found = self._google.pages(f"{_HOST}/storage/v1/{self._bucket}", "items", prefix=start)
        for item in found:
            yield str(item["name"]).removeprefix(self._place.prefix)

    def delete(self, key: str) -> None:
        """Take an object away; nothing there is fine.

        https://cloud.google.com/storage/docs/json_api/v1/objects/delete
        """
        try:
            self._google.delete(self._url(key))
        except GoogleError as error:
            if error.status != 404:
                raise

    def _see_bucket(self) -> None:
        """Tell a missing object from a missing bucket; the right to list is enough for that."""
        if self._bucket_seen:
            return
        try:
            self._google.get(f"{_HOST}/storage/v1/{self._bucket}", maxResults=1)
        except GoogleError as error:
            if error.status != 404:
                raise
            raise OutsideError(
                f"there is no bucket {self._place.bucket}",
                remedy="Create it, in the location of the endpoint, or correct its name.",
            ) from None
        self._bucket_seen = True


def _info(found: dict[str, Any]) -> ObjectInfo:
    return ObjectInfo(
        size=int(found["size"]),
        sha256=told_sha256(found.get("metadata")),
        tag=str(found["generation"]),
    )
