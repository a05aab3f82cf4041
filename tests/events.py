"""One event of every type, in an order in which they can happen."""

from __future__ import annotations

from tidegate.core.events import (
    Alerted,
    Anchored,
    Deployed,
    Gap,
    Heartbeat,
    Held,
    Judged,
    Looked,
    Ordered,
    Overridden,
    ParityChecked,
    Payload,
    Published,
    Refused,
    Registered,
    Requested,
    Resumed,
    Routed,
    Routing,
)
from tidegate.core.model import VersionRef

MODEL = VersionRef(version="1", digest="a" * 64, recipe="b" * 64, commit="c" * 40)

EVERY_EVENT: tuple[Payload, ...] = (
    Judged(
        outcome="reject", candidate="a" * 64, champion=None, holdout="d" * 64, rules="e" * 64,
        recipe="b" * 64, commit="c" * 40,
    ),
    Looked(
        outcome="pass", candidate="a" * 64, holdout="d" * 64, rules="e" * 64, commit="c" * 40, pull=7
    ),
    Overridden(candidate="a" * 64, reason="known good"),
    Registered(model=MODEL),
    Requested(
        model=MODEL, mode="canary", judged_against=None, policy={"steps": ["5%"]}, task="binary",
        loss_center=0.17,
    ),
    Deployed(rollout="r4"),
    ParityChecked(rollout="r4", ok=True, rows=300, worst=0.0, skewed=("dep_delay",)),
    Routing(
        rollout="r4", phase="canary", step=0, traffic={"1": 1.0}, cause="start",
        evidence=({"metric": "error_rate", "log_harm": None},),
    ),
    Routed(rollout="r4"),
    Heartbeat(rollout="r4", closed=7),
    Gap(rollout="r4", seconds=1300.0, tripped=True),
    Published(champion="1", challenger=None),
    Held(until=None, hands_off=True, reason="freeze"),
    Resumed(reason="thaw"),
    Alerted(cause="raised_outside", traffic={"1": 1.0}),
    Anchored(model=MODEL, reason="a good one"),
    Ordered(verb="revert", rollout="r4", reason="pager"),
    Refused(rollout="r4", cause="not_ready"),
)  # fmt: skip
