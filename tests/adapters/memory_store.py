"""A folder of a bucket, in memory, for those who only read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tidegate.ports import ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass
class MemoryStore:
    objects: dict[str, bytes] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)

    def list(self, prefix: str) -> Iterator[str]:
        self.listed.append(prefix)
        return iter(sorted(key for key in self.objects if key.startswith(prefix)))

    def head(self, key: str) -> ObjectInfo | None:
        data = self.objects.get(key)
        return (
            None if data is None else ObjectInfo(size=len(data), sha256=None, tag=str(hash(data)))
        )

    def get(self, key: str, into: Path, at_most: int) -> ObjectInfo:
        self.fetched.append(key)
        into.write_bytes(self.objects[key])
        info = self.head(key)
        assert info is not None
        return info

    def put(
        self, key: str, source: Path | bytes, *, sha256: str, absent: bool = False,
        tag: str | None = None,
    ) -> ObjectInfo:  # fmt: skip
        raise AssertionError

    def delete(self, key: str) -> None:
        raise AssertionError
