"""What happened, line by line as it happens, and as one JSON document at the end."""

from __future__ import annotations

import sys
import textwrap
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from tidegate.errors import OutsideError, TidegateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.smoke.bill import Bill

OFTEN = 15.0  # real seconds between two lines about one wait


@dataclass(frozen=True)
class Check:
    """A row of a stand-in's table of behaviour, and what was seen. ``agrees`` None: not seen."""

    row: str
    assumed: str
    seen: str
    agrees: bool | None


@dataclass
class Step:
    name: str
    seconds: float = 0.0
    ended: str = "interrupted"


@dataclass
class Journal:
    """Tells and keeps. ``rules``: the rows of the table, name -> what is assumed."""

    rules: dict[str, str]
    bill: Bill
    clock: Callable[[], float]
    began: float = 0.0
    steps: list[Step] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    _told: float = 0.0

    def say(self, line: str) -> None:
        minutes, seconds = divmod(int(self.clock() - self.began), 60)
        print(
            f"[{minutes:3d}:{seconds:02d}  ${self.bill.total:.3f}]  {line}",
            file=sys.stderr,
            flush=True,
        )

    def waiting(self, line: str) -> None:
        """Say it, if nothing was said for a while."""
        if time.monotonic() - self._told >= OFTEN:
            self._told = time.monotonic()
            self.say(f"    {line}")

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Name what is done, and take its time."""
        self.say(name)
        self._told = time.monotonic()
        step, begin = Step(name), self.clock()
        self.steps.append(step)
        try:
            yield
            step.ended = "done"
        except TidegateError as error:
            step.ended = f"failed: {error}"
            raise
        finally:
            step.seconds = round(self.clock() - begin, 1)
            if step.ended == "done":
                self.say(f"    done in {step.seconds:.0f} s")

    def check(self, row: str, seen: str, *, agrees: bool | None) -> None:
        """Keep what was seen of a row; unknown rows are a mistake of the script."""
        self.checks.append(Check(row, self.rules[row], seen, agrees))
        if agrees is False:
            self.say(f"    DIFFERS from what is assumed ({row}): {seen}")

    def probe(self, row: str, look: Callable[[], tuple[str, bool]]) -> None:
        """Look at a row; what cannot be looked at ends no run."""
        try:
            seen, agrees = look()
        except OutsideError as error:
            self.check(row, f"could not be looked at: {error}", agrees=None)
        else:
            self.check(row, seen, agrees=agrees)

    # --- the end ----------------------------------------------------------------------------

    def table(self) -> str:
        """Return the checked rows for people."""
        words = {True: "as assumed", False: "DIFFERS", None: "not seen"}
        lines = ["", "What the stand-ins assume, and what was seen:"]
        for one in self.checks:
            lines += [
                f"  {words[one.agrees]:<11} {one.row}",
                *_wrapped("assumed", one.assumed),
                *_wrapped("seen", one.seen),
            ]
        return "\n".join(lines)

    def document(self, **more: Any) -> dict[str, Any]:
        """Return everything as data; times in seconds, money in US dollars."""
        return {
            **more,
            "seconds": round(self.clock() - self.began, 1),
            "dollars": round(self.bill.total, 4),
            "ceiling": self.bill.ceiling,
            "steps": [asdict(step) for step in self.steps],
            "checks": [asdict(check) for check in self.checks],
            **self.facts,
        }


def _wrapped(word: str, text: str) -> list[str]:
    first, rest = f"    {word + ':':<9}", " " * 13
    return textwrap.wrap(text, 100, initial_indent=first, subsequent_indent=rest) or [first]
