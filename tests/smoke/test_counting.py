"""Counts are those of the answers, or the run does not end well."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.smoke.asking import UNLIKELY, chance
from tests.smoke.bill import OTHER, SWEEPING, Bill, CeilingError, Part, expected
from tests.smoke.counting import Span, wait_for
from tidegate.core.evidence import Arm
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tidegate.ports import Measure


@dataclass
class Told:
    """A source that tells one thing after another, and the last one for ever."""

    answers: list[dict[tuple[int, str], Arm] | None]
    delay: float = 0.0
    paused: list[str] = field(default_factory=list)

    def counts(
        self, versions: Sequence[str], first: int, end: int, measure: Measure
    ) -> Mapping[tuple[int, str], Arm]:
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if found is None:
            raise OutsideError("not complete")
        return found

    def pause(self, why: str) -> None:
        self.paused.append(why)

    def over(self) -> bool:
        return len(self.paused) >= 5


def arm(requests: int, slow: int | None = 0, errors: int = 0) -> Arm:
    return Arm(requests=requests, errors=errors, slow=slow)


SPAN = Span(10, 13, Counter({"1": 90, "2": 10}), 0)
WHOLE = {(10, "1"): arm(40), (11, "1"): arm(50, 2), (11, "2"): arm(10)}


def test_what_is_late_is_waited_for() -> None:
    told = Told([None, {(10, "1"): arm(40)}, WHOLE])
    found = wait_for(told, SPAN, told.pause, told.over)
    assert (found.requests, found.errors, found.slow) == ({"1": 90, "2": 10}, 0, 2)
    assert len(told.paused) == 2


@pytest.mark.parametrize("wrong", [89, 91])
def test_other_counts_than_answers_end_the_run(wrong: int) -> None:
    told = Told([{**WHOLE, (10, "1"): arm(wrong - 50)}])
    with pytest.raises(OutsideError, match="not those of the answers"):
        wait_for(told, SPAN, told.pause, told.over)


def test_a_request_without_an_answer_may_be_counted_or_not() -> None:
    told = Told([{**WHOLE, (10, "1"): arm(41, errors=1)}])
    span = Span(10, 13, SPAN.answered, 1)
    assert wait_for(told, span, told.pause, told.over).errors == 1


def test_latencies_that_never_come_are_told_as_unknown() -> None:
    told = Told([{**WHOLE, (11, "2"): arm(10, None)}])
    assert wait_for(told, SPAN, told.pause, told.over).slow is None
    assert len(told.paused) == 5


def test_a_split_that_chance_would_not_show_is_seen() -> None:
    assert chance(60, 600, 0.1) > 0.9
    assert chance(85, 600, 0.1) > UNLIKELY
    assert chance(120, 600, 0.1) < UNLIKELY
    assert chance(20, 600, 0.1) < UNLIKELY


def test_the_bill_counts_machines_from_when_they_are_asked_for() -> None:
    now = [0.0]
    bill = Bill(3.6, 1.0, lambda: now[0])
    bill.run(2)
    now[0] = 10.0
    assert bill.total == pytest.approx(OTHER + 0.02)
    bill.run(0)
    now[0] = 1000.0
    assert bill.total == pytest.approx(OTHER + 0.02)
    bill.check()
    bill.run(1)
    now[0] += 100
    assert bill.total < 0.2
    assert SWEEPING == 1200
    with pytest.raises(CeilingError):
        bill.check()


def test_the_estimate_adds_everything() -> None:
    parts = (Part("up", 30, 1), Part("both", 60, 2))
    assert expected(parts, 0.1, 0.5) == pytest.approx(0.05 + 0.2 + 0.5 + OTHER)
