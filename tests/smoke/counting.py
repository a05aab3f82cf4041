"""The cloud's own counts, held against who answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.core.model import Task
from tidegate.errors import OutsideError
from tidegate.ports import Measure

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping

    from tidegate.core.evidence import Arm
    from tidegate.ports import Counts

MEASURE = Measure(
    interval=60.0, slower_than=2.0, task=Task.BINARY, clip=None, label_source=None, label_every=600.0
)  # fmt: skip


@dataclass(frozen=True)
class Counted:
    """What the cloud counted. ``slow`` None: it does not say of all answers how long they took."""

    requests: Mapping[str, int]
    errors: int
    slow: int | None


@dataclass(frozen=True)
class Span:
    """Minutes (since 1970) in which a run's requests were asked, and nothing else was."""

    first: int
    end: int
    answered: Counter[str]
    failed: int  # requests without an answer: counted or not


def wait_for(
    counts: Counts, span: Span, pause: Callable[[str], None], over: Callable[[], bool]
) -> Counted:
    """Ask until the counts are those of the answers, and until their latencies are there.

    Args:
        counts: the source.
        span: what must be counted.
        pause: waits a little; told what is counted so far.
        over: whether it has lasted too long.

    Raises:
        OutsideError: it lasts too long, and the counts are other ones, or none.
    """
    trouble = ""
    while True:
        try:
            found = _sum(counts.counts(("1", "2"), span.first, span.end, MEASURE), span)
        except OutsideError as error:
            found, trouble = Counted({}, 0, None), f" ({error})"
        same = all(
            abs(found.requests.get(version, 0) - number) <= span.failed
            for version, number in span.answered.items()
        )
        if same and (found.slow is not None or over()):
            return found
        told = f"counted {dict(found.requests)} of {dict(span.answered)}{trouble}"
        if over():
            raise OutsideError(f"The cloud's counts are not those of the answers: {told}.")
        pause(told)


def _sum(arms: Mapping[tuple[int, str], Arm], span: Span) -> Counted:
    slow = [arm.slow for arm in arms.values()]
    return Counted(
        requests={
            version: sum(arm.requests for (_, one), arm in arms.items() if one == version)
            for version in span.answered
        },
        errors=sum(arm.errors for arm in arms.values()),
        slow=None if None in slow else sum(one for one in slow if one is not None),
    )
