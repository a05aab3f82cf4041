"""The AWS stand-in as a process: ``python -m tests.aws --port 8081 --state cloud.json``.

The state is written as JSON a few times a second. ``POST /_cloud/put_counts`` and its like change
it as :class:`tests.aws.cloud.Cloud`'s methods do, ``POST /_cloud/set`` sets knobs; the body is JSON.
"""

from __future__ import annotations

import argparse
import json
import signal
import threading
import time
from pathlib import Path

from tests.aws.cloud import Cloud
from tests.aws.server import running

EVERY = 0.2  # seconds between two writes of the state


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.aws")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--state", type=Path)
    parser.add_argument("--time-scale", type=float, default=1.0)
    parser.add_argument("--speed", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    cloud = Cloud(time_scale=options.time_scale, speed=options.speed, seed=options.seed)
    saved = 0.0

    def save() -> None:
        nonlocal saved
        if options.state is None or time.monotonic() - saved < EVERY:
            return
        saved = time.monotonic()
        part = options.state.with_name(f"{options.state.name}.part")
        part.write_text(json.dumps(cloud.state(), indent=1, default=str), encoding="utf-8")
        part.replace(options.state)

    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with running(cloud, port=options.port, after=save):
        print(cloud.url, flush=True)
        ended.wait()
        saved = 0.0
        save()


main()
