"""What the story needs of a cloud, beside the target that is tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tests.smoke.bill import Part
    from tests.smoke.journal import Journal
    from tidegate.perform import SafeTarget
    from tidegate.ports import Compute, Counts


@dataclass(frozen=True)
class Time:
    """The cloud's time: real, but for a stand-in whose minutes are short (FAKE_TIME_SCALE)."""

    now: Callable[[], float]
    sleep: Callable[[float], None]


class Answered(NamedTuple):
    """One request through the endpoint."""

    version: str
    prediction: float


class Place(Protocol):
    """An account. Every method raises OutsideError where the cloud refuses."""

    name: str  # of everything that is made
    price: float  # US dollars an hour of one machine
    beside: int  # machines that a version has beside its own until it gets traffic
    overlap: bool  # an update brings up a whole new fleet before the old one goes
    late: float  # seconds that counts are assumed to be late
    blur: int  # minutes by which a request may be counted late

    def rules(self) -> Mapping[str, str]: ...
    def creates(self) -> Sequence[str]: ...
    def parts(self, *, dead_man: bool) -> Sequence[Part]: ...
    def target(self, work: Path) -> SafeTarget: ...
    def counts(self, digests: Mapping[str, str]) -> Counts: ...
    def send(self, row: Mapping[str, float], digests: Mapping[str, str]) -> Answered: ...
    def probe(self, moment: str, journal: Journal, known: Mapping[str, Any]) -> None: ...
    def compute(self) -> tuple[Compute, float]: ...
    def sweep(self, tell: Callable[[str], None], patience: float) -> None: ...
    def left(self) -> list[str]: ...
