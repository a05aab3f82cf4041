"""Flights as HTTP requests: what is known when one is scheduled, and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from tidegate.demo.data import ID, LEAK, TARGET, TIME

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

_READ = 5_000  # rows turned into requests at once


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One flight: its bytes on the wire, and how it ended."""

    id: str
    label: int
    scheduled: str
    request: bytes


def questions(live: pa.Table, suffix: str, start: int = 0) -> Iterator[Question]:
    """Yield the rows of ``live`` from ``start`` on, in their order, for ever.

    Args:
        live: what :mod:`tidegate.demo.data` wrote to ``live.parquet``.
        suffix: makes the ids differ from those of an earlier process.
        start: rows to leave out at first.
    """
    known = [n for n in live.column_names if n not in (ID, TIME, TARGET, LEAK)]
    lap = 0
    while True:
        again = f"{suffix}+{lap}" if lap else suffix
        for begin in range(start, live.num_rows, _READ):
            part = live.slice(begin, _READ)
            rows = part.select(known).to_pylist()
            ids, labels = part[ID].to_pylist(), part[TARGET].to_pylist()
            times = part[TIME].to_pylist()
            for row, name, label, when in zip(rows, ids, labels, times, strict=True):
                yield Question(
                    id=name + again,
                    label=label,
                    scheduled=f"{when:%Y-%m-%d %H:%M}",
                    request=_request(name + again, row),
                )
        lap, start = lap + 1, 0


def _request(name: str, row: dict[str, Any]) -> bytes:
    body = json.dumps({"dataframe_records": [row]}, separators=(",", ":"), allow_nan=False).encode()
    head = (
        "POST /invocations HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"x-request-id: {name}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def autumn(live: pa.Table) -> pa.Table:
    """Return the flights of September to November.

    The replay begins when the airlines' summer timetable ends, and starts again before December,
    whose weather and holidays are another story.
    """
    month = pc.month(live[TIME])
    return live.filter(pc.and_(pc.greater_equal(month, 9), pc.less_equal(month, 11)))
