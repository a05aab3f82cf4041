"""Envoy, kept running and following: clusters before routes, and a log that is cut into pieces."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from tidegate.endpoint import envoy, processes, tail, xds
from tidegate.endpoint.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from tidegate.endpoint.layout import Folder
    from tidegate.endpoint.spec import Spec

SEGMENT = 8 << 20  # bytes of access log after which a new segment begins
PATIENCE = 3.0  # seconds Envoy may take to listen before it is started again
LONGEST_WAIT = 10.0  # seconds between two starts

_log = logging.getLogger(__name__)


class Gateway:
    """Envoy as the supervisor sees it."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._started: float | None = None
        self._failures = 0
        self._listening = False
        self._known: set[str] = set()
        self._asked_reopen = ""
        self._pid: int | None = None

    def follow(self, spec: Spec, leaving: Iterable[str], now: float) -> None:
        """Make Envoy run, know the variants and split the traffic. ``now``: monotonic seconds."""
        folder = self._folder
        wanted = {version: folder.socket(version) for version in {*spec.members, *leaving}}
        self._write("bootstrap.json", xds.bootstrap(folder.admin_socket))
        self._write("listeners.json", xds.listeners(spec.bind, spec.port, spec.timeout))
        self._write("clusters.json", xds.clusters(wanted))
        if not processes.held(folder.envoy_lock):
            self._write("routes.json", xds.routes(spec.traffic, spec.timeout))
            self._start(now)
            return
        self._pid = processes.alive(folder.envoy_lock)
        # A route must not name a cluster before Envoy has it, or requests in between fail.
        if not set(spec.traffic) <= self._known:
            self._known = self._ask_known()
        if set(spec.traffic) <= self._known:
            self._known &= wanted.keys()
            self._write("routes.json", xds.routes(spec.traffic, spec.timeout))
        self._watch_listener(now)

    def rotate(self) -> None:
        """Begin a new segment of the access log when the current one is large."""
        access = self._folder.access
        current = self._current()
        if current in tail.segments(access):
            if (access / current).stat().st_size > SEGMENT:
                self._point_log(current)
        elif self._listening and self._asked_reopen != current:
            # Envoy makes it with the next request it logs.
            envoy.ask(self._folder, "/reopen_logs", method="POST")
            self._asked_reopen = current

    def end(self) -> None:
        """End Envoy, now, also when somebody has deleted the folder it runs in."""
        if self._pid is not None and not self._folder.envoy_lock.exists():
            processes.kill_group(self._pid)
        processes.end(self._folder.envoy_lock, grace=0)

    def _start(self, now: float) -> None:
        wait = 0.0 if self._failures <= 1 else min(LONGEST_WAIT, 2.0 ** (self._failures - 2) / 4)
        if self._started is not None and now < self._started + wait:
            return
        # A segment of its own for every life of Envoy: a killed one may have left half a line.
        self._point_log(max([self._current(), *tail.segments(self._folder.access)]))
        self._known = set()
        self._listening = False
        self._started = now
        self._failures += 1
        processes.start(
            envoy.command(),
            lock=self._folder.envoy_lock,
            log=self._folder.logs / "envoy.log",
            stopped=self._folder.stopped,
        )

    def _watch_listener(self, now: float) -> None:
        """Envoy tries to bind once; when somebody else had the port, start it again later."""
        if self._listening:
            return
        if self._started is None:  # found running by a new supervisor
            self._started = now
        try:
            self._listening = bool(envoy.ask(self._folder, "/listeners").strip())
        except OSError as error:
            _log.debug("Envoy is not up yet: %s", error)
        if self._listening:
            self._failures = 0
        elif now > self._started + PATIENCE:
            _log.error("Envoy does not listen; see envoy.log. Starting it again.")
            self.end()

    def _ask_known(self) -> set[str]:
        try:
            return xds.known_clusters(envoy.dump(self._folder, "dynamic_active_clusters"))
        except OSError:
            return set()

    def _current(self) -> str:
        link = self._folder.access / "current"
        return link.readlink().name if link.is_symlink() else ""

    def _point_log(self, after: str) -> None:
        """Let the log's name lead to the segment after ``after``; numbers are never used twice."""
        number = int(after.removesuffix(".jsonl") or 0) + 1
        link = self._folder.access / "current"
        temporary = link.with_name(".current.tmp")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(f"{number:012d}.jsonl")
        temporary.replace(link)

    def _write(self, name: str, document: dict[str, Any]) -> None:
        path = self._folder.xds / name
        text = json.dumps(document, indent=1)
        try:
            if path.read_text(encoding="utf-8") == text:
                return
        except FileNotFoundError:
            pass
        write_atomic(path, text, durable=False)
