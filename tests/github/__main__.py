"""The loopback GitHub as a process: ``python -m tests.github --port 8080 --state hub.json``.

The state is written as JSON after every request. ``POST /_hub/add_pull`` and its like change the
state as :class:`tests.github.hub.Hub`'s methods do; the token is ``tests.github.hub.TOKEN``.
"""

from __future__ import annotations

import argparse
import json
import signal
import threading
from pathlib import Path

from tests.github.hub import Hub
from tests.github.server import running


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.github")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--artifacts", type=Path)
    parser.add_argument("--repository", default="acme/churn")
    parser.add_argument("--repository-id", type=int, default=1001)
    parser.add_argument("--bare", type=Path)
    options = parser.parse_args()
    hub = Hub(
        repository=options.repository,
        repository_id=options.repository_id,
        bare=options.bare,
        artifacts=options.artifacts,
    )
    part = options.state.with_name(f"{options.state.name}.part")

    def save() -> None:
        part.write_text(json.dumps(hub.snapshot(), indent=1), encoding="utf-8")
        part.replace(options.state)

    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with running(hub, port=options.port, after=save):
        save()
        print(hub.url, flush=True)
        ended.wait()


main()
