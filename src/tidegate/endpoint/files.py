"""Atomic files and a lock between processes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING

from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def write_atomic(path: Path, text: str, *, durable: bool = True) -> None:
    """Replace ``path`` by ``text``: readers see the old or the new content, never a part.

    ``durable`` also survives a power cut. Envoy's file watch wants exactly this move:
    https://www.envoyproxy.io/docs/envoy/latest/configuration/overview/xds_api#filesystem-subscriptions
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        if durable:
            os.fsync(file.fileno())
    temporary.replace(path)
    if durable:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextlib.contextmanager
def locked(path: Path, *, patience: float = 10.0) -> Iterator[None]:
    """Hold an exclusive lock on ``path``; the kernel lets go of it when the process dies.

    Raises:
        OutsideError: somebody else held it for ``patience`` seconds.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise OutsideError(
                        f"Another process has held {path} for {patience:.0f} s.",
                        remedy="Wait for it, or look which process it is: fuser " + str(path),
                    ) from None
                time.sleep(0.01)
        yield
    finally:
        os.close(handle)
