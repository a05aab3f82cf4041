"""Passengers' questions, replayed: the flights of autumn as live HTTP requests, then their truth.

A process of its own. Each flight is one ``POST /invocations`` with ``x-request-id``, carrying only
what is known when the flight is scheduled; its label is appended to the endpoint's labels file
some seconds after the answer, as if it had landed. No id is used twice: when the flights run out,
or the process starts again, ids get a new suffix. It talks to 127.0.0.1 and nobody else, and ends
at SIGTERM, after ``--seconds``, or when its parent is gone.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from tidegate.demo.driver import Driver, Status, read, write
from tidegate.demo.questions import autumn, questions

if TYPE_CHECKING:
    from collections.abc import Callable


def rate_of(path: Path, otherwise: float = 0.0) -> Callable[[], float]:
    """Return a reader of the wanted rate, which looks into the file five times a second."""
    looked, rate = 0.0, otherwise

    def current() -> float:
        nonlocal looked, rate
        now = time.monotonic()
        if now - looked >= 0.2:
            looked = now
            try:
                rate = float(path.read_text())
            except (OSError, ValueError):
                rate = otherwise
        return rate

    return current


async def drive(args: argparse.Namespace) -> None:
    """Run a driver as the command line says."""
    live = autumn(pq.ParquetFile(args.live).read())
    before = read(args.status)
    status = Status() if before is None else Status(
        started=before.started + 1, position=before.position
    )  # fmt: skip
    write(args.status, status)
    suffix = f"~{status.started}" if status.started > 1 else ""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    watcher = asyncio.create_task(_orphaned(stop, os.getppid()))
    driver = Driver(
        port=args.port,
        source=questions(live, suffix, status.position % live.num_rows),
        rate=rate_of(args.rate_file),
        labels=args.labels,
        delay=args.delay,
        status=status,
    )
    await driver.run(stop, args.seconds, args.at_most, args.status)
    watcher.cancel()


async def _orphaned(stop: asyncio.Event, parent: int) -> None:
    while os.getppid() == parent:
        await asyncio.sleep(1.0)
    stop.set()


def main() -> int:
    """Replay flights until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m tidegate.demo.traffic")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--live", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--status", type=Path, required=True)
    parser.add_argument("--rate-file", type=Path, required=True)
    parser.add_argument("--delay", type=float, default=2.0)
    parser.add_argument("--seconds", type=float, default=900.0)
    parser.add_argument("--at-most", type=int, default=1_000_000)
    args = parser.parse_args()
    try:
        import uvloop
    except ImportError:
        asyncio.run(drive(args))
        return 0
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(drive(args))
    return 0


if __name__ == "__main__":
    sys.exit(main())
