"""Sending questions at a rate over a few keep-alive connections, and the truth some time later.

A small HTTP/1.1 client of its own: one process must ask a thousand questions a second and leave
the cores to the models.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tidegate.demo.questions import Question

CONNECTIONS = 48
_BEAT = 0.01  # seconds between two looks at what is due
_LAST = 1.0  # seconds for the last answers
_TIMEOUT = 10.0  # seconds after which an answer counts as failed


@dataclass(kw_only=True)
class Status:
    """What the driver tells about itself, as JSON, every second."""

    started: int = 1  # how often a driver has started in this folder
    sent: int = 0
    answered: int = 0
    failed: int = 0
    labelled: int = 0
    per_second: int = 0
    scheduled: str = ""  # where the replay is, in 2013
    position: int = 0  # flights replayed


class _Connection(asyncio.Protocol):
    """One keep-alive connection with at most one question on its way."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self.asked: Question | None = None
        self.since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by class
        self._driver.idle.append(self)

    def ask(self, question: Question) -> None:
        """Send one question."""
        assert self._transport is not None
        self.asked, self.since = question, time.monotonic()
        self._transport.write(question.request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, mark, body = self._buffer.partition(b"\r\n\r\n")
        if not mark or len(body) < _length(head):
            return
        ok = head.split(b" ", 2)[1] == b"200"
        closing = b"\r\nconnection: close" in head.lower()
        self._buffer = b""
        self._finish(ok=ok)
        if closing:
            self.drop()
        else:
            self._driver.idle.append(self)

    def drop(self) -> None:
        """Close the connection; a question still on its way has failed."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (its signature)
        self._finish(ok=False)
        self._driver.lost(self)

    def _finish(self, *, ok: bool) -> None:
        if (question := self.asked) is not None:
            self.asked = None
            self._driver.done(question, ok=ok)


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


class Driver:
    """Sends questions at a rate, over a few connections, and appends labels later.

    Args:
        port: of the endpoint on 127.0.0.1.
        source: the questions.
        rate: returns how many a second are wanted now.
        labels: the file that gets ``{"id": ..., "label": ...}`` lines.
        delay: seconds between a flight's answer and its label.
        status: counted here.
    """

    def __init__(  # noqa: PLR0913 (a driver is made in one place)
        self,
        *,
        port: int,
        source: Iterator[Question],
        rate: Callable[[], float],
        labels: Path,
        delay: float,
        status: Status,
    ) -> None:
        self.idle: deque[_Connection] = deque()
        self.status = status
        self._open: set[_Connection] = set()
        self._port, self._source, self._rate = port, source, rate
        self._labels, self._delay = labels, delay
        self._landing: deque[tuple[float, str]] = deque()

    async def run(self, stop: asyncio.Event, seconds: float, at_most: int, tell: Path) -> None:
        """Send until told to stop, for at most so many seconds and questions."""
        began = last = told = time.monotonic()
        due, before = 0.0, 0
        while not stop.is_set() and last - began < seconds and self.status.sent < at_most:
            await asyncio.sleep(_BEAT)
            now = time.monotonic()
            due = min(due + (now - last) * self._rate(), 0.2 * self._rate() + 1)
            last = now
            await self._connect()
            due -= self._send(int(due))
            self._land(now)
            if now - told >= 1.0:
                answered = self.status.answered + self.status.failed
                self.status.per_second = round((answered - before) / (now - told))
                before, told = answered, now
                self._drop_stuck(now)
                write(tell, self.status)
        await self._hang_up()
        self._land(float("inf"))
        write(tell, self.status)

    async def _hang_up(self) -> None:
        """Wait a moment for the last answers, then close every connection."""
        deadline = time.monotonic() + _LAST
        while any(c.asked for c in self._open) and time.monotonic() < deadline:
            await asyncio.sleep(_BEAT)
        for connection in list(self._open):
            connection.drop()
        while self._open:
            await asyncio.sleep(0)

    def _send(self, due: int) -> int:
        count = min(due, len(self.idle))
        for _ in range(count):
            question = next(self._source)
            self.status.sent += 1
            self.status.position += 1
            self.status.scheduled = question.scheduled
            self.idle.popleft().ask(question)
        return count

    def done(self, question: Question, *, ok: bool) -> None:
        """Count an answer; the flight lands whether anybody answered or not."""
        if ok:
            self.status.answered += 1
        else:
            self.status.failed += 1
        line = json.dumps({"id": question.id, "label": question.label})
        self._landing.append((time.monotonic() + self._delay, line))

    def lost(self, connection: _Connection) -> None:
        """Forget a connection that the other side closed."""
        self._open.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)

    def _land(self, now: float) -> None:
        lines = []
        while self._landing and self._landing[0][0] <= now:
            lines.append(self._landing.popleft()[1])
        if lines:
            with self._labels.open("a", encoding="utf-8") as file:
                file.write("\n".join(lines) + "\n")
            self.status.labelled += len(lines)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        while len(self._open) < CONNECTIONS:
            try:
                _, connection = await loop.create_connection(
                    lambda: _Connection(self), "127.0.0.1", self._port
                )
            except OSError:
                await asyncio.sleep(0.2)  # nobody listens (yet): nothing is sent, nothing is lost
                return
            self._open.add(connection)

    def _drop_stuck(self, now: float) -> None:
        for connection in list(self._open):
            if connection.asked is not None and now - connection.since > _TIMEOUT:
                connection.drop()


def write(path: Path, status: Status) -> None:
    """Write the status so that no reader sees half of it."""
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text(json.dumps(asdict(status)) + "\n")
    unfinished.replace(path)


def read(path: Path) -> Status | None:
    """Read what a driver wrote last; None when none did."""
    try:
        return Status(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
