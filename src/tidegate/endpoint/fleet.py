"""The model servers: started, restarted with patience, and ended when nobody asks them any more."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.endpoint import processes
from tidegate.endpoint.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Collection

    from tidegate.endpoint.layout import Folder
    from tidegate.endpoint.spec import Spec

GRACE = 6.0  # seconds a server has to finish its last answers
LONGEST_WAIT = 30.0  # seconds between two starts of a server that keeps dying
SETTLED = 30.0  # seconds after which a start counts as a success

# One thread per model server: two variants on one box must not fight for its cores through
# thread pools, or the slower one is slow because of its neighbour.
ENVIRONMENT = {
    **dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LOKY_MAX_CPU_COUNT"), "1"
    ),
    "PYTHONUNBUFFERED": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}


@dataclass(slots=True)
class _Tries:
    """How the starts of one server went, in this supervisor's life."""

    started: float
    failures: int = 0

    def due(self, now: float) -> bool:
        """Whether the next start may happen: at once, then after 1, 2, 4 ... seconds."""
        wait = 0.0 if self.failures <= 1 else min(LONGEST_WAIT, 2.0 ** (self.failures - 2))
        return now >= self.started + wait


class Fleet:
    """The servers of one endpoint. All truth is in locks and files: it may be rebuilt any time."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._tries: dict[str, _Tries] = {}
        self._leaving: dict[str, float] = {}
        self._ending: dict[str, float] = {}

    def keep(self, spec: Spec, now: float) -> None:
        """Start what is missing. ``now`` on a monotonic clock."""
        for version in spec.members:
            self._leaving.pop(version, None)
            lock = self._folder.server_lock(version)
            if processes.held(lock):
                continue
            tries = self._tries.get(version)
            if tries is None:
                tries = self._tries[version] = _Tries(now)
            elif now - tries.started > SETTLED:
                tries.failures = 0
            if version in self._ending or tries.due(now):
                self._ending.pop(version, None)
                self._start(version, tries, now)

    def dismiss(self, spec: Spec, now: float, drain: float) -> set[str]:
        """Return the versions that left the spec less than ``drain`` seconds ago.

        They keep their cluster and their server, for the requests that are still with them.
        """
        for version in self._present():
            if version not in spec.members:
                self._leaving.setdefault(version, now)
        return {version for version, since in self._leaving.items() if now < since + drain}

    def end(self, leaving: Collection[str], now: float) -> set[str]:
        """End the drained servers without waiting; return the versions that are gone for good."""
        gone: set[str] = set()
        for version in [one for one in self._leaving if one not in leaving]:
            lock = self._folder.server_lock(version)
            if not processes.held(lock):
                processes.sweep(lock)
                gone.add(version)
            elif version not in self._ending:
                self._ending[version] = now
                processes.ask_to_end(lock)
            elif now > self._ending[version] + GRACE:
                processes.kill(lock)
        return gone

    def forget(self, version: str) -> None:
        """Delete what is left of a version that is gone, once its last answers were counted."""
        folder = self._folder
        for member in folder.models.glob(folder.model_pattern(version)):
            shutil.rmtree(member, ignore_errors=True)
        (folder.path / folder.socket(version)).unlink(missing_ok=True)
        folder.starts(version).unlink(missing_ok=True)
        folder.server_lock(version).unlink(missing_ok=True)
        for state in (self._leaving, self._ending, self._tries):
            state.pop(version, None)

    def end_all(self) -> None:
        """End every server, now."""
        for version in self._present():
            processes.end(self._folder.server_lock(version), grace=0)

    def _present(self) -> list[str]:
        return self._folder.servers()

    def _start(self, version: str, tries: _Tries, now: float) -> None:
        lock = self._folder.server_lock(version)
        processes.sweep(lock)  # the user's own server may have outlived ours
        # Counted before the start: a supervisor killed in between counts one start too many, never
        # one too few. A start after a reboot is nobody's failure.
        starts = read_starts(self._folder, version) + 1
        document = {"boot": processes.boot_id(), "starts": starts}
        write_atomic(self._folder.starts(version), json.dumps(document), durable=False)
        processes.start(
            [sys.executable, "-m", "tidegate.endpoint.server", str(self._folder.path), version],
            lock=lock,
            log=self._folder.server_log(version),
            stopped=self._folder.stopped,
            environment=ENVIRONMENT,
        )
        tries.started = now
        tries.failures += 1


def read_starts(folder: Folder, version: str) -> int:
    """Return how often the variant's server was started since it was deployed or the boot."""
    try:
        document = json.loads(folder.starts(version).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return 0
    return int(document["starts"]) if document["boot"] == processes.boot_id() else 0
