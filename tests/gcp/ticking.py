"""What happens in the cloud while nobody asks."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from tests.gcp.firing import settle_schedules
from tests.gcp.jobs import settle_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.gcp.cloud import Cloud

_EVERY = 0.02  # real seconds


@contextlib.contextmanager
def ticking(cloud: Cloud) -> Iterator[None]:
    """End what is due, for the length of the block."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(_EVERY):
            with cloud.lock:
                cloud.operations.settle()
                settle_jobs(cloud)
                settle_schedules(cloud)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(5)
