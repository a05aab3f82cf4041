"""The ledger's chain: events in a row, each carrying the hash of the one before.

``events.jsonl`` holds one event a line. An edit, a removal or a reordering anywhere breaks every
later hash; the head's hash is also published as a registry tag, so that a rewritten ledger shows.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tidegate.core.events import Payload, from_data, to_data, type_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

GENESIS = "0" * 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One line of the ledger. ``at`` is in epoch seconds, ``seq`` counts from 1."""

    seq: int
    at: float
    actor: str
    human: bool
    payload: Payload
    prev: str
    hash: str = ""

    @property
    def type(self) -> str:
        """The event type's name."""
        return type_of(self.payload)


class ChainError(ValueError):
    """The ledger is not what was written: ``line`` tells where it first breaks."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(f"events.jsonl line {line}: {what}")
        self.line = line


def _body(event: Event) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "at": event.at,
        "type": event.type,
        "actor": event.actor,
        "human": event.human,
        "data": to_data(event.payload),
        "prev": event.prev,
    }


def _digest(body: object) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def follow(
    chain: Sequence[Event], payload: Payload, *, at: float, actor: str, human: bool = False
) -> Event:
    """Return the event that comes after ``chain``; the chain itself is left as it is."""
    seq, prev = (chain[-1].seq + 1, chain[-1].hash) if chain else (1, GENESIS)
    event = Event(seq=seq, at=at, actor=actor, human=human, payload=payload, prev=prev)
    return replace(event, hash=_digest(_body(event)))


def to_json(event: Event) -> dict[str, Any]:
    """Return the event as it stands in ``events.jsonl`` (``schemas/event.schema.json``)."""
    return {**_body(event), "hash": event.hash}


def to_lines(chain: Iterable[Event]) -> bytes:
    """Write events as JSON Lines.

    Only ever for new events: lines that were written stay as they are, byte by byte, because a
    later version may know fields that their hash does not cover.
    """
    return b"".join(json.dumps(to_json(e), allow_nan=False).encode() + b"\n" for e in chain)


def from_lines(content: bytes) -> tuple[Event, ...]:
    """Read and verify a chain.

    Raises:
        ChainError: a line that is not an event, an edited or missing one, or a broken order.
    """
    chain: list[Event] = []
    for number, line in enumerate(content.splitlines(), start=1):
        chain.append(_verified(line, number, chain[-1] if chain else None))
    return tuple(chain)


def _verified(line: bytes, number: int, before: Event | None) -> Event:
    """Return the event of one line: its hash is checked against the line, not against our reading."""
    try:
        raw = json.loads(line)
        stated = raw.pop("hash")
        event = Event(
            seq=raw["seq"],
            at=raw["at"],
            actor=raw["actor"],
            human=raw["human"],
            payload=from_data(raw["type"], raw["data"]),
            prev=raw["prev"],
            hash=stated,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ChainError(number, f"not an event: {error}") from None
    if stated != _digest(raw):
        raise ChainError(number, "its content does not match its hash: it was edited")
    seq, prev = (before.seq + 1, before.hash) if before else (1, GENESIS)
    if (event.seq, event.prev) != (seq, prev):
        raise ChainError(number, "does not follow the line before it")
    return event
