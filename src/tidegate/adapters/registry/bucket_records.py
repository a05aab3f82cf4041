"""What a registry in a bucket writes down: one record a version, one of the ledger's word. Pure."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

FORMAT = 1
NUMBER = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A version: what its bytes are, and where they came from."""

    model: str
    digest: str  # of the model folder
    file: str  # SHA-256 of the bundle's tar
    size: int  # bytes of the tar
    nonce: str  # of the registration that wrote it
    tags: Mapping[str, str]
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float | str] = field(default_factory=dict)

    def write(self) -> bytes:
        """Return it as JSON."""
        metrics = {
            key: value if isinstance(value, str) or math.isfinite(value) else str(value)
            for key, value in self.metrics.items()
        }
        return _json(
            model=self.model, digest=self.digest, file=self.file, size=self.size,
            nonce=self.nonce, tags=dict(self.tags), params=dict(self.params), metrics=metrics,
        )  # fmt: skip

    @classmethod
    def read(cls, data: bytes, where: str) -> Record:
        """Return what was written.

        Raises:
            OutsideError: it is not as it was written.
        """

        def made(found: Mapping[str, Any]) -> Record:
            return cls(
                model=_str(found["model"]),
                digest=_hex(found["digest"]),
                file=_hex(found["file"]),
                size=_int(found["size"]),
                nonce=_str(found["nonce"]),
                tags=_strings(found["tags"]),
                params=_strings(found["params"]),
                metrics={_str(key): value for key, value in found["metrics"].items()},
            )

        return _read(data, where, made)


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """What the ledger last said of a model's aliases."""

    serial: int  # how often it has spoken
    head: str  # hash of its newest event then
    aliases: Mapping[str, str]

    def write(self) -> bytes:
        """Return it as JSON."""
        return _json(serial=self.serial, head=self.head, aliases=dict(self.aliases))

    @classmethod
    def read(cls, data: bytes, where: str) -> Word:
        """Return what was written. Raises as :meth:`Record.read`."""

        def made(found: Mapping[str, Any]) -> Word:
            aliases = _strings(found["aliases"])
            if strange := [value for value in aliases.values() if not NUMBER.fullmatch(value)]:
                raise ValueError(f"no version: {strange[0]!r}")
            return cls(serial=_int(found["serial"]), head=_str(found["head"]), aliases=aliases)

        return _read(data, where, made)


def _json(**fields: Any) -> bytes:
    data = {"tidegate": FORMAT, **fields}
    return json.dumps(data, indent=1, sort_keys=True, allow_nan=False).encode() + b"\n"


def _read(data: bytes, where: str, made: Callable[[Mapping[str, Any]], T]) -> T:
    try:
        found = json.loads(data)
        _check_format(found["tidegate"])
        return made(found)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise OutsideError(
            f"{where} is not as Tidegate wrote it: {type(error).__name__}",
            remedy="Somebody changed it, or a newer Tidegate wrote it. Restore it from the "
            "bucket's older versions, or use that Tidegate.",
        ) from None


def _check_format(value: object) -> None:
    if value != FORMAT:
        raise ValueError("another format")


def _strings(found: Mapping[str, Any]) -> dict[str, str]:
    return {_str(key): _str(value) for key, value in found.items()}


def _str(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("expected text")
    return value


def _int(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError("expected a number")
    return value


def _hex(value: object) -> str:
    if not _HEX.fullmatch(_str(value)):
        raise ValueError("expected a SHA-256")
    return _str(value)
