"""How traffic is counted, as a file: the adapter writes it, the collector follows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.core.model import Task
from tidegate.endpoint.files import locked, write_atomic
from tidegate.ports import Measure

if TYPE_CHECKING:
    from tidegate.endpoint.layout import Folder

# A request's whole life is bounded by the route's timeout and a little more (see xds.listeners),
# then Envoy flushes its log within 0.1 s and the collector reads it within another 0.1 s.
SLACK = 0.7


def lag(timeout: float) -> float:
    """Return by how many seconds the watermark stays behind what was read."""
    return timeout + SLACK


def traffic_key(measure: Measure) -> str:
    """Name the way requests are counted: equal names, comparable counts."""
    return f"requests interval={measure.interval} slower_than={measure.slower_than}"


def label_key(measure: Measure) -> str:
    """Name the way labelled answers are counted."""
    classes = f" classes={json.dumps(measure.classes)}" if measure.classes else ""
    return (
        f"labels interval={measure.interval} task={measure.task} clip={measure.clip} "
        f"every={measure.label_every}{classes}"
    )


def write(folder: Folder, measure: Measure) -> None:
    """Ask the collector to count this way from now on."""
    source = None if measure.label_source is None else str(measure.label_source.absolute())
    document = {
        "interval": measure.interval,
        "slower_than": measure.slower_than,
        "task": measure.task.value,
        "clip": measure.clip,
        "label_source": source,
        "label_every": measure.label_every,
        "classes": measure.classes,
    }
    folder.make()
    with locked(folder.spec_lock):
        write_atomic(folder.measure, json.dumps(document))


def read(folder: Folder) -> Measure | None:
    """Return the measure asked for last; None before the first."""
    try:
        raw = json.loads(folder.measure.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    source = raw["label_source"]
    return Measure(
        interval=float(raw["interval"]),
        slower_than=raw["slower_than"],
        task=Task(raw["task"]),
        clip=raw["clip"],
        label_source=None if source is None else Path(source),
        label_every=float(raw["label_every"]),
        classes=tuple(raw.get("classes", ())),
    )
