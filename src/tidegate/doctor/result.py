"""One thing that was looked at, and what was found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING

from tidegate.errors import TidegateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class State(StrEnum):
    """What a look came to. Only ``ok`` says that something is in place."""

    OK = "ok"
    WARNING = "warning"  # it works; somebody may regret it
    UNSEEN = "not looked at"  # no permission to look, or no token
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One thing that was looked at."""

    what: str
    state: State
    found: str
    remedy: str = ""

    @property
    def ok(self) -> bool:
        """Whether it will not stop a run."""
        return self.state in (State.OK, State.WARNING)


def good(what: str, found: str) -> Result:
    """It is in place."""
    return Result(what=what, state=State.OK, found=found)


def warning(what: str, found: str, remedy: str) -> Result:
    """It works, with a drawback."""
    return Result(what=what, state=State.WARNING, found=found, remedy=remedy)


def bad(what: str, found: str, remedy: str = "") -> Result:
    """It would fail."""
    return Result(what=what, state=State.FAILED, found=found, remedy=remedy)


def unseen(what: str, found: str, remedy: str = "") -> Result:
    """Nobody can tell from here: never an ok."""
    return Result(what=what, state=State.UNSEEN, found=found, remedy=remedy)


def guarded(what: str, look: Callable[[], Result]) -> Result:
    """Look; whatever goes wrong on the way is the finding."""
    try:
        return look()
    except TidegateError as error:
        return bad(what, str(error), error.remedy)


_WIDEST = 32  # letters of a name that the column is made for
_MARKS = {State.OK: "ok  ", State.WARNING: "warn", State.UNSEEN: "?   ", State.FAILED: "FAIL"}


def lines(results: Sequence[Result]) -> Iterator[str]:
    """Yield what a person reads; what is unseen for one reason is said once."""
    shown = [
        replace(group[0], what=", ".join(result.what for result in group))
        for group in _groups(results)
    ]
    width = max((len(result.what) for result in shown if len(result.what) <= _WIDEST), default=0)
    for result in shown:
        yield f"{_MARKS[result.state]}  {result.what:<{width}}  {result.found}"
        if result.remedy and result.state is not State.OK:
            yield f"      {'':<{width}}  {result.remedy}"
    count = {state: sum(r.state is state for r in results) for state in State}
    words = [
        f"{count[state]} {word}"
        for state, word in (
            (State.FAILED, "failed"),
            (State.UNSEEN, "could not be looked at"),
            (State.WARNING, "with a warning"),
        )
        if count[state]
    ]
    if words:
        yield f"of {len(results)} checks: {', '.join(words)}"
    else:
        yield "everything is in place"


def _groups(results: Sequence[Result]) -> Iterator[list[Result]]:
    def reason(result: Result) -> object:
        unseen = result.state is State.UNSEEN
        return (result.found, result.remedy) if unseen else result.what

    for _, group in groupby(results, reason):
        yield list(group)
