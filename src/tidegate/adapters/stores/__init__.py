"""Buckets as stores of whole objects with compare-and-swap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.adapters.stores.base import MissingError, Place, PreconditionError

if TYPE_CHECKING:
    from tidegate.adapters.cloud.aws import Aws
    from tidegate.adapters.cloud.google import Google
    from tidegate.ports import ObjectStore

__all__ = ["MissingError", "PreconditionError", "open_store"]


def open_store(uri: str, *, aws: Aws | None = None, google: Google | None = None) -> ObjectStore:
    """Return the store at ``s3://bucket/prefix`` or ``gs://bucket/prefix``.

    Sessions that are there already are used; otherwise one is opened as :func:`connect` of the
    cloud does.

    Raises:
        ConfigError: it is not a bucket's address.
        OutsideError: the cloud's package is not installed, or it cannot be connected to.
    """
    place = Place.of(uri)
    if place.scheme == "s3":
        from tidegate.adapters.cloud.aws import connect as connect_aws
        from tidegate.adapters.stores.s3 import S3Store

        return S3Store(aws or connect_aws(None), place)
    from tidegate.adapters.cloud.google import connect as connect_google
    from tidegate.adapters.stores.gcs import GcsStore

    return GcsStore(google or connect_google(""), place)
