"""Objects of Cloud Storage: their bytes, generations and hashes."""

from __future__ import annotations

import base64
import hashlib
import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.gcp import behaviour
from tests.gcp.clock import stamp
from tests.gcp.routing import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_generations = itertools.count(int(time.time() * 1_000_000))


def _table() -> list[int]:
    """Return the table of CRC-32C (RFC 3720, appendix B.4)."""
    table = []
    for number in range(256):
        value = number
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _table()


def crc32c(data: bytes) -> str:
    """Return the checksum as Cloud Storage writes it: base64 of four bytes, the highest first.

    >>> crc32c(b"123456789")
    '4waSgw=='
    """
    value, table = 0xFFFFFFFF, _TABLE
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
    return base64.b64encode((value ^ 0xFFFFFFFF).to_bytes(4, "big")).decode()


def md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


@dataclass(frozen=True)
class Stored:
    """An object: its bytes and its resource."""

    data: bytes
    resource: Mapping[str, Any]


def stored(bucket: str, name: str, data: bytes, given: Mapping[str, Any]) -> Stored:
    """Return a new generation of an object.

    Raises:
        RefusedError: a hash given with it is another one's (400).
    """
    hashes = {"md5Hash": md5(data), "crc32c": crc32c(data)}
    for key, value in hashes.items():
        if given.get(key, value) != value:
            behaviour.apply("hash-mismatch")
            said = f"Provided {key} {given[key]!r} doesn't match calculated {value!r}."
            raise no(400, "invalid", said)
    now = stamp(time.time())
    behaviour.apply("new-generation")
    resource = {
        "kind": "storage#object",
        "bucket": bucket,
        "name": name,
        "generation": (generation := str(next(_generations))),
        "metageneration": "1",
        "id": f"{bucket}/{name}/{generation}",
        "contentType": given.get("contentType", "application/octet-stream"),
        "storageClass": "STANDARD",
        "size": str(len(data)),
        "timeCreated": now,
        "updated": now,
        **hashes,
    }
    for key in ("metadata", "cacheControl", "contentEncoding", "customTime"):
        if given.get(key):
            resource[key] = given[key]
    return Stored(data, resource)


def no(status: int, reason: str, message: str) -> RefusedError:
    """Return a refusal in the words of Cloud Storage.

    https://cloud.google.com/storage/docs/json_api/v1/status-codes
    """
    error = {"domain": "global", "reason": reason, "message": message}
    return RefusedError(status, {"error": {"code": status, "message": message, "errors": [error]}})


def check_generation(query: Mapping[str, Sequence[str]], there: Stored | None) -> None:
    """Refuse a request whose preconditions do not hold."""
    now = there.resource["generation"] if there else "0"
    wanted = query.get("ifGenerationMatch", [now])[0]
    unwanted = query.get("ifGenerationNotMatch", [""])[0]
    meta = there.resource["metageneration"] if there else "0"
    if wanted != now or unwanted == now or query.get("ifMetagenerationMatch", [meta])[0] != meta:
        behaviour.apply("generation-match")
        raise no(
            412,
            "conditionNotMet",
            "At least one of the pre-conditions you specified did not hold.",
        )
