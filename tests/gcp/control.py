"""Knobs of a stand-in in another process: ``POST /_cloud/NAME`` with the arguments as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.gcp.routing import Answer

if TYPE_CHECKING:
    from tests.gcp.cloud import Cloud

METHODS = (
    "add_bucket", "advance", "crash", "fail_next", "fail_operation", "freeze", "lag_reads",
    "preempt", "put_capture", "put_counts", "put_log", "thaw", "throttle",
)  # fmt: skip
SETTINGS = {
    "anonymous",
    "log_delay",
    "log_errors",
    "log_items",
    "metric_delay",
    "patience",
    "speed",
}


def controlled(cloud: Cloud, name: str, data: bytes) -> Answer:
    """Turn a knob: one of ``METHODS``, ``set`` (of ``SETTINGS``), ``trust``, ``state``, ``env``."""
    given = json.loads(data or b"{}")
    with cloud.lock:
        if name in METHODS:
            getattr(cloud, name)(**given)
        elif name == "set" and given.keys() <= SETTINGS:
            for key, value in given.items():
                setattr(cloud, key, value)
        elif name == "set_images":
            cloud.images.update(given)
        elif name == "set_life":
            cloud.identity.life = given["seconds"]
        elif name == "trust":
            accounts = tuple(given.pop("service_accounts", ()))
            provider = cloud.identity.trust(service_accounts=accounts, **given)
            return Answer(body={"provider": provider})
        elif name == "runner_token":
            return Answer(body={"token": cloud.identity.runner_token(**given)})
        elif name == "state":
            return Answer(body=cloud.snapshot())
        elif name == "env":
            return Answer(body=cloud.env)
        elif name == "time":
            return Answer(body={"time": cloud.clock.time()})
        else:
            return Answer(status=404, body={"error": f"no such knob: {name}"})
    return Answer(body={})
