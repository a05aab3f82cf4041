"""The ledger as the engine uses it: a verified chain, its state, and what is derived from both."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tidegate.core.evidence import Arm, LabelArm, LabelStratum, Minute, Series
from tidegate.core.ledger import ChainError, Event, follow, from_lines, to_json, to_lines
from tidegate.core.state import State, fold
from tidegate.errors import ConfigError, OutsideError
from tidegate.load import violations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tidegate.core.events import Payload
    from tidegate.ports import LedgerStore, Snapshot

EVENTS = "events.jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class Book:
    """The ledger at one commit."""

    snapshot: Snapshot
    chain: tuple[Event, ...]
    state: State

    def frozen(self, rollout: str) -> Series:
        """Return the minutes and strata of a rollout that were written down when they closed."""
        prefix = f"evidence/{rollout}/"
        minutes: list[Minute] = []
        labels: list[LabelStratum] = []
        closed = 0
        for name in sorted(n for n in self.snapshot.files if n.startswith(prefix)):
            page = json.loads(self.snapshot.files[name])
            minutes += [_minute(item) for item in page["minutes"]]
            labels += [_stratum(item) for item in page["labels"]]
            closed = page["closed"]
        return Series(minutes=tuple(minutes), labels=tuple(labels), closed=closed)


class Ledger:
    """One model's ledger. ``page`` renders what a person sees on the branch."""

    def __init__(self, store: LedgerStore, page: Callable[[State, tuple[Event, ...]], str]) -> None:
        self._store = store
        self._page = page

    def read(self) -> Book:
        """Return the newest ledger, its chain verified.

        Raises:
            OutsideError: the store cannot be reached, or the chain was tampered with.
        """
        snapshot = self._store.read()
        content = snapshot.files.get(EVENTS, b"")
        try:
            chain = from_lines(content)
        except ChainError as error:
            raise OutsideError(
                f"the ledger is not as it was written: {error}",
                remedy="Restore the ledger branch to its last good commit; nothing is decided on an edited ledger.",
            ) from None
        return Book(snapshot=snapshot, chain=chain, state=fold(chain))

    def append(
        self, book: Book, *payloads: Payload, at: float, actor: str, human: bool = False,
        evidence: Series | None = None,
    ) -> Book:  # fmt: skip
        """Write events over ``book`` in one commit, with the evidence that has closed since.

        Raises:
            LedgerMovedError: somebody else appended first; read again and decide again.
            ConfigError: an event breaks ``schemas/event.schema.json`` (a reason of 5,000 letters).
        """
        chain = list(book.chain)
        for payload in payloads:
            chain.append(follow(chain, payload, at=at, actor=actor, human=human))
        new = tuple(chain)
        for event in new[len(book.chain) :]:
            if found := violations(to_json(event), "event.schema.json"):
                raise ConfigError(f"this cannot be written into the ledger: {found[0]}")
        state = fold(new[len(book.chain) :], book.state)
        files = {
            EVENTS: book.snapshot.files.get(EVENTS, b"") + to_lines(new[len(book.chain) :]),
            "state.json": (json.dumps(_plain(state), indent=2) + "\n").encode(),
            "README.md": self._page(state, new).encode(),
        }
        if evidence is not None and book.state.rollout is not None:
            name = f"evidence/{book.state.rollout.id}/{new[-1].seq:06d}.json"
            files[name] = json.dumps(asdict(evidence)).encode()
        message = "; ".join(event.type for event in new[len(book.chain) :])
        snapshot = self._store.write(book.snapshot, files, message)
        return Book(snapshot=snapshot, chain=new, state=state)


def merge(frozen: Series, fresh: Series) -> Series:
    """Return both, where a minute or stratum that was written down is never reopened."""
    known = {(s.minute, s.bucket) for s in frozen.labels}
    return Series(
        minutes=frozen.minutes + tuple(m for m in fresh.minutes if m.index >= frozen.closed),
        labels=frozen.labels + tuple(s for s in fresh.labels if (s.minute, s.bucket) not in known),
        closed=max(frozen.closed, fresh.closed),
    )


def since(whole: Series, frozen: Series) -> Series:
    """Return what ``whole`` has over ``frozen``: what is to be written down now."""
    known = {(s.minute, s.bucket) for s in frozen.labels}
    return Series(
        minutes=tuple(m for m in whole.minutes if m.index >= frozen.closed),
        labels=tuple(s for s in whole.labels if (s.minute, s.bucket) not in known),
        closed=whole.closed,
    )


def _minute(data: Mapping[str, Any]) -> Minute:
    arms = {key: Arm(**data[key]) if data[key] else None for key in ("champion", "candidate")}
    return Minute(index=data["index"], share=data["share"], **arms)


def _stratum(data: Mapping[str, Any]) -> LabelStratum:
    arms = {key: LabelArm(**data[key]) if data[key] else None for key in ("champion", "candidate")}
    return LabelStratum(minute=data["minute"], bucket=data["bucket"], **arms)


def _plain(state: State) -> dict[str, Any]:
    """Return the state as plain JSON data."""

    def plain(value: Any) -> Any:
        if isinstance(value, frozenset | set):
            return sorted(value)
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [plain(v) for v in value]
        return value

    return {key: plain(value) for key, value in asdict(state).items()}
