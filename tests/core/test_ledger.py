"""The chain: what was written stays, and every change to it shows."""

from __future__ import annotations

import hashlib
import json

import pytest

from tests.events import EVERY_EVENT
from tests.fakes import MemoryLedger
from tidegate.book import Ledger
from tidegate.core.events import Heartbeat, from_data, to_data, type_of
from tidegate.core.ledger import GENESIS, ChainError, Event, follow, from_lines, to_json, to_lines
from tidegate.core.state import fold
from tidegate.load import violations


def chain(n: int = 4) -> tuple[Event, ...]:
    events: list[Event] = []
    for number in range(n):
        beat = Heartbeat(rollout="r1", closed=number)
        events.append(follow(events, beat, at=float(number), actor="tidegate"))
    return tuple(events)


def test_a_chain_survives_writing_and_reading() -> None:
    assert from_lines(to_lines(chain())) == chain()


def test_the_first_event_follows_nothing() -> None:
    assert chain()[0].prev == GENESIS
    assert chain()[1].prev == chain()[0].hash


@pytest.mark.parametrize("payload", EVERY_EVENT, ids=type_of)
def test_every_event_keeps_its_schema_and_comes_back_whole(payload: object) -> None:
    event = follow((), payload, at=1.5, actor="ada", human=True)  # type: ignore[arg-type]
    line = json.loads(to_lines([event]))
    assert violations(line, "event.schema.json") == []
    assert from_lines(to_lines([event])) == (event,)
    assert from_data(event.type, json.loads(json.dumps(to_data(event.payload)))) == payload


@pytest.mark.parametrize("payload", EVERY_EVENT, ids=type_of)
def test_the_schema_refuses_an_event_with_a_field_too_many(payload: object) -> None:
    event = follow((), payload, at=1.5, actor="ada")  # type: ignore[arg-type]
    line = to_json(event)
    line["data"]["surprise"] = 1
    assert violations(line, "event.schema.json")
    with pytest.raises(ValueError, match="surprise"):
        from_data(line["type"], line["data"])


def test_every_edited_byte_removed_or_swapped_line_is_found() -> None:
    content = to_lines(chain())
    lines = content.splitlines(keepends=True)
    for position in range(0, len(content) - 1, 7):
        edited = bytearray(content)
        edited[position] ^= 1
        with pytest.raises(ChainError):
            from_lines(bytes(edited))
    for index in range(len(lines) - 1):
        with pytest.raises(ChainError):
            from_lines(b"".join(lines[:index] + lines[index + 1 :]))
        swapped = [*lines]
        swapped[index], swapped[index + 1] = swapped[index + 1], swapped[index]
        with pytest.raises(ChainError):
            from_lines(b"".join(swapped))


def test_an_event_type_of_a_later_version_is_an_error_not_a_guess() -> None:
    with pytest.raises(ValueError, match="unknown type 'teleported'"):
        from_data("teleported", {})


def test_folding_in_parts_is_folding_at_once() -> None:
    events: list[Event] = []
    for number, payload in enumerate(EVERY_EVENT):
        events.append(follow(events, payload, at=float(number), actor="tidegate"))
    for cut in range(len(events)):
        assert fold(events[cut:], fold(events[:cut])) == fold(events)


def test_a_line_of_an_older_version_is_read_and_stays_as_it_was() -> None:
    """An event type may gain a field with a default; what was hashed without it stays valid."""
    judged = EVERY_EVENT[0]
    line = to_json(follow((), judged, at=1.5, actor="tidegate"))
    del line["data"]["better"]
    line.pop("hash")
    body = json.dumps(line, sort_keys=True, separators=(",", ":"))
    old = json.dumps({**line, "hash": hashlib.sha256(body.encode()).hexdigest()}).encode() + b"\n"
    assert from_lines(old)[0].payload == judged
    store = MemoryLedger()
    store.write(store.read(), {"events.jsonl": old}, "an older version")
    ledger = Ledger(store, lambda state, events: "")
    ledger.append(ledger.read(), Heartbeat(rollout="r1", closed=1), at=2.0, actor="tidegate")
    assert store.read().files["events.jsonl"].startswith(old)
    assert len(ledger.read().chain) == 2
