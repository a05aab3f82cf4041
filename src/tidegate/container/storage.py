"""Cloud Storage for a training job's container. Standard library, Python 3.9 or newer."""

from __future__ import annotations

import json
import os
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

from tidegate.container.running import JobError

if TYPE_CHECKING:
    from pathlib import Path

TRIES = 5


class Storage:
    """Cloud Storage by its JSON API, as the account the container runs as.

    https://cloud.google.com/storage/docs/json_api
    https://cloud.google.com/compute/docs/access/authenticate-workloads#applications
    """

    def __init__(self) -> None:
        base = os.environ.get("STORAGE_EMULATOR_HOST") or "https://storage.googleapis.com"
        self._base = base.rstrip("/") if "://" in base else f"http://{base}"
        self._metadata = os.environ.get("GCE_METADATA_HOST") or "metadata.google.internal"

    def get(self, uri: str, into: Path) -> None:
        """Copy ``gs://bucket/name`` to a file."""
        bucket, name = split(uri)
        url = f"{self._base}/storage/v1/b/{bucket}/o/{name}?alt=media"

        def once() -> None:
            with self._open(url) as answer, into.open("wb") as file:
                shutil.copyfileobj(answer, file, 1 << 20)

        again(uri, once)

    def put(self, uri: str, source: Path) -> None:
        """Write a file to ``gs://bucket/name``, over what is there."""
        bucket, name = split(uri)
        url = f"{self._base}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}"
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(source.stat().st_size),
        }

        def once() -> None:
            with source.open("rb") as file, self._open(url, data=file, headers=headers):
                pass

        again(uri, once)

    def _open(self, url: str, data: Any = None, headers: dict[str, str] | None = None) -> Any:
        where = (
            f"http://{self._metadata}/computeMetadata/v1/instance/service-accounts/default/token"
        )
        ask = urllib.request.Request(where, headers={"Metadata-Flavor": "Google"})
        with urllib.request.urlopen(ask, timeout=30) as answer:  # noqa: S310
            token = json.load(answer)["access_token"]
        request = urllib.request.Request(  # noqa: S310
            url, data=data, headers={**(headers or {}), "Authorization": f"Bearer {token}"}
        )
        return urllib.request.urlopen(request, timeout=300)  # noqa: S310


def split(uri: str) -> tuple[str, str]:
    """Return bucket and quoted name of ``gs://bucket/name``."""
    bucket, _, name = uri[len("gs://") :].partition("/")
    return bucket, urllib.parse.quote(name, safe="")


def again(what: str, once: Any) -> None:
    """Do something that the network may fail, a few times.

    Raises:
        JobError: it was refused, or never worked.
    """
    for number in range(TRIES):
        try:
            once()
        except urllib.error.HTTPError as error:
            if error.code not in (408, 429) and error.code < 500:
                raise JobError(f"{what}: Cloud Storage refuses: {error}") from None
            last: Exception = error
        except (OSError, ValueError) as error:
            last = error
        else:
            return
        time.sleep(2.0**number)
    raise JobError(f"{what}: {last}")
