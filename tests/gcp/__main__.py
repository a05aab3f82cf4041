"""The loopback Google Cloud as a process: ``python -m tests.gcp --port 8081 --state cloud.json``.

The state is written as JSON, at most four times a second. ``POST /_cloud/put_counts`` and its like
turn the knobs of :class:`tests.gcp.cloud.Cloud`; ``GET /_cloud/env`` answers a client's variables.
"""

from __future__ import annotations

import argparse
import json
import signal
import threading
from pathlib import Path

from tests.gcp.cloud import NUMBER, PROJECT, REGION, Cloud
from tests.gcp.server import running


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.gcp")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--state", type=Path)
    parser.add_argument("--project", default=PROJECT)
    parser.add_argument("--number", default=NUMBER)
    parser.add_argument("--region", default=REGION)
    parser.add_argument("--bucket", action="append", default=[])
    parser.add_argument("--speed", type=float, default=0.02)
    parser.add_argument("--time-scale", type=float, default=1.0)
    parser.add_argument("--anonymous", action="store_true")
    options = parser.parse_args()
    cloud = Cloud(
        project=options.project,
        number=options.number,
        region=options.region,
        speed=options.speed,
        time_scale=options.time_scale,
        buckets=options.bucket or ["acme-models"],
        anonymous=options.anonymous,
    )
    changed, ended = threading.Event(), threading.Event()

    def save() -> None:
        if options.state is not None:
            part = options.state.with_name(f"{options.state.name}.part")
            with cloud.lock:
                text = json.dumps(cloud.snapshot(), indent=1)
            part.write_text(text, encoding="utf-8")
            part.replace(options.state)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with running(cloud, port=options.port, after=changed.set):
        save()
        print(cloud.url, flush=True)
        while not ended.wait(0.25):
            if changed.is_set():
                changed.clear()
                save()
    save()


main()
