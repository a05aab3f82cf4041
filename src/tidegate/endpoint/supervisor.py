"""The supervisor of one endpoint: ``python -m tidegate.endpoint.supervisor FOLDER``.

Looks twenty times a second whether reality is what the spec wants, fires the dead-man's switch,
and counts what was logged. It keeps nothing in memory that matters: kill it at any moment,
traffic goes on, and the next one takes over the same processes.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.endpoint import processes
from tidegate.endpoint import spec as specs
from tidegate.endpoint.collector import Collector
from tidegate.endpoint.files import locked, write_atomic
from tidegate.endpoint.fleet import Fleet
from tidegate.endpoint.gateway import Gateway
from tidegate.endpoint.layout import Folder, version_of
from tidegate.endpoint.measuring import lag
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from tidegate.endpoint.spec import Spec

TICK = 0.05  # seconds
LARGEST_LOG = 10 << 20  # bytes of a process's own output that are kept

_log = logging.getLogger(__name__)


class Supervisor:
    """One endpoint's loop body."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._fleet = Fleet(folder)
        self._gateway = Gateway(folder)
        self._collector = Collector(folder)
        self._stamp: tuple[int, int] | None = None
        self._spec: Spec | None = None
        self._trimmed = 0.0

    def tick(self) -> bool:
        """Do what is due now; False when the endpoint's folder is gone and so is the endpoint."""
        if not self._read_spec() or self._spec is None:
            self._fleet.end_all()
            self._gateway.end()
            return False
        now = time.monotonic()
        gone: set[str] = set()
        try:
            if self._spec.until is not None and time.time() >= self._spec.until:
                self._fire()
            spec = self._spec
            self._fleet.keep(spec, now)
            leaving = self._fleet.dismiss(spec, now, drain=lag(spec.timeout))
            self._gateway.follow(spec, leaving, now)
            gone = self._fleet.end(leaving, now)
        except (OSError, OutsideError):
            _log.exception("cannot follow the spec; trying again")
        self._count(self._spec, gone)
        return True

    def _count(self, spec: Spec, gone: set[str]) -> None:
        try:
            self._collector.collect(time.time(), timeout=spec.timeout, gone=self._silent(spec))
            self._forget(gone)
            self._gateway.rotate()
            self._trim()
        except (OSError, sqlite3.Error):
            # The store's clock stands still meanwhile, so no minute closes: no data, no decision.
            _log.exception("cannot count; trying again")

    def _silent(self, spec: Spec) -> set[str]:
        """Return the versions whose answers are all written."""
        logged = {version_of(path.name) for path in self._folder.answers.glob("v-*")}
        return {
            version
            for version in logged - spec.members.keys()
            if not processes.held(self._folder.server_lock(version))
        }

    def _forget(self, gone: set[str]) -> None:
        if not gone:
            return
        with locked(self._folder.spec_lock):
            current = specs.read(self._folder)
            for version in gone - (current.members.keys() if current else set()):
                self._fleet.forget(version)

    def _read_spec(self) -> bool:
        try:
            status = self._folder.spec.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._spec = specs.read(self._folder) or self._spec
            except OutsideError:
                _log.exception("keeping the last readable spec")
        return True

    def _fire(self) -> None:
        """Nobody re-armed the switch in time: the gate shuts by itself."""
        with locked(self._folder.spec_lock):
            before = specs.read(self._folder)
            if before is None:
                return
            self._spec = specs.fired(before, time.time())
            if self._spec != before:
                write_atomic(
                    self._folder.spec, json.dumps(asdict(self._spec), indent=1, sort_keys=True)
                )

    def _trim(self) -> None:
        """Keep the processes' own output from filling the disk; they all append."""
        if time.monotonic() < self._trimmed + 10:
            return
        self._trimmed = time.monotonic()
        for path in self._folder.logs.glob("*.log"):
            if path.stat().st_size > LARGEST_LOG:
                os.truncate(path, 0)


def main() -> int:
    """Supervise the endpoint in the folder named on the command line until it is gone."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    folder = Folder(Path(sys.argv[1]))
    supervisor = Supervisor(folder)
    while supervisor.tick():
        time.sleep(TICK)
    return 0


if __name__ == "__main__":
    sys.exit(main())
