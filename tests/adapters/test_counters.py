"""Exact increases of scraped counters: every increment once, in the interval in which it was seen."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.adapters.metrics.counters import Counter, increases
from tidegate.errors import OutsideError

Samples = list[tuple[float, float]]


def counter(
    samples: Samples, *, what: str = "requests", version: str = "7", on: str = "a"
) -> Counter:
    return Counter(what, version, on, samples)


def added(*counters: Counter, first: int = 1, end: int = 4) -> dict[int, int]:
    found = increases(counters, first, end, 60.0, end_time=end * 60.0)
    return {
        index: number
        for (what, index, version), number in found.added.items()
        if what == "requests" and version == "7"
    }


def unknown(*counters: Counter, first: int = 1, end: int = 4) -> set[int]:
    found = increases(counters, first, end, 60.0, end_time=end * 60.0)
    return {index for index, version in found.unknown if version == "7"}


STEADY = [
    (45.0, 100.0),
    (60.0, 110.0),
    (75.0, 113.0),
    (120.0, 120.0),
    (165.0, 150.0),
    (240.0, 151.0),
]


def test_each_difference_counts_in_the_interval_of_its_later_scrape() -> None:
    assert added(counter(STEADY)) == {1: 10, 2: 30, 3: 1}
    assert unknown(counter(STEADY)) == set()


def test_a_scrape_at_the_end_of_an_interval_belongs_to_it() -> None:
    assert added(counter([(60.0, 0.0), (120.0, 5.0), (120.1, 6.0), (180.1, 6.0)])) == {
        1: 5, 2: 1, 3: 0,
    }  # fmt: skip


def test_a_counter_that_fell_began_at_zero() -> None:
    assert added(counter([(60.0, 100.0), (90.0, 130.0), (115.0, 7.0), (150.0, 9.0), (200.0, 9.0)])) == {
        1: 37, 2: 2, 3: 0,
    }  # fmt: skip


def test_a_first_error_is_not_lost() -> None:
    asked = counter([(45.0, 10.0), (105.0, 20.0), (165.0, 30.0), (225.0, 40.0)])
    failed = counter([(105.0, 3.0), (165.0, 3.0), (225.0, 4.0)], what="errors")
    found = increases([asked, failed], 1, 4, 60.0, end_time=240.0)
    assert {index: n for (what, index, _), n in found.added.items() if what == "errors"} == {
        1: 3, 2: 0, 3: 1,
    }  # fmt: skip
    assert not found.unknown


def test_a_counter_that_was_away_for_a_scrape_of_its_target_began_at_zero() -> None:
    """The process was started anew; it has no errors until the next one."""
    asked = counter([(45.0, 100.0), (75.0, 2.0), (105.0, 4.0), (165.0, 9.0), (225.0, 9.0)])
    failed = counter([(45.0, 1.0), (165.0, 3.0)], what="errors")
    found = increases([asked, failed], 1, 4, 60.0, end_time=240.0)
    assert {index: n for (what, index, _), n in found.added.items() if what == "errors"} == {2: 3}


def test_what_a_target_held_when_it_was_first_seen_is_not_counted_and_not_known() -> None:
    new = counter([(100.0, 1_000_000.0), (150.0, 1_000_007.0), (210.0, 1_000_007.0)])
    assert added(new) == {2: 7, 3: 0}
    assert unknown(new) == {1}


def test_an_interval_without_a_scrape_is_not_known_and_neither_is_the_next() -> None:
    gap = counter([(45.0, 100.0), (100.0, 110.0), (290.0, 400.0), (310.0, 401.0)])
    assert unknown(gap, end=6) == {2, 3, 4}


def test_a_target_that_went_away_takes_an_interval_with_it() -> None:
    gone = counter([(45.0, 100.0), (110.0, 110.0)])
    stays = counter([(45.0, 1.0), (110.0, 2.0), (170.0, 3.0), (230.0, 4.0)], on="b")
    assert unknown(gone, stays) == {2}
    assert added(gone, stays) == {1: 11, 2: 1, 3: 1}


def test_targets_of_one_version_do_not_touch_the_other_version() -> None:
    gone = counter([(45.0, 100.0), (110.0, 110.0)])
    other = counter([(45.0, 1.0), (110.0, 2.0), (170.0, 3.0), (230.0, 4.0)], version="6", on="b")
    found = increases([gone, other], 1, 4, 60.0, end_time=240.0)
    assert found.unknown == {(2, "7")}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 1.5])
def test_what_is_no_count_is_an_error(value: float) -> None:
    with pytest.raises(OutsideError, match="no count"):
        added(counter([(45.0, 1.0), (110.0, value)]))


def test_counters_that_are_not_scraped_together_are_an_error() -> None:
    """As recording rules of two groups are: nothing could be said about what was away."""
    asked = counter([(10.0 * i, float(i)) for i in range(1, 20)])
    failed = counter([(10.0 * i + 5, 1.0) for i in range(1, 20)], what="errors")
    with pytest.raises(OutsideError, match="not scraped together"):
        added(asked, failed)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    every=st.sampled_from([5, 15, 30, 45]),
    targets=st.integers(1, 3),
    restarts=st.lists(st.integers(61, 890), max_size=3),
)
def test_known_intervals_hold_every_request_that_was_scraped(
    seed: int, every: int, targets: int, restarts: list[int]
) -> None:
    """Requests at random moments, counted in processes that start anew; scrapes with jitter.

    What a process counted after its last scrape dies with it. Everything else is there, once, in the
    interval of the first scrape that saw it.
    """
    dice = random.Random(seed)
    counters, expected = [], dict.fromkeys(range(1, 15), 0)
    for target in range(targets):
        scrapes = sorted({round(t + dice.uniform(0, 4), 3) for t in range(0, 900, every)})
        asked = sorted(dice.uniform(0, 900) for _ in range(dice.randrange(400)))
        starts = sorted(restarts) if target == 0 else []
        samples = []
        for moment in scrapes:
            born = max([0, *(s for s in starts if s <= moment)])
            samples.append((moment, float(sum(born <= one <= moment for one in asked))))
        for (earlier, low), (later, high) in pairwise(samples):
            began = max([-1, *(s for s in starts if earlier < s <= later)])
            # A new process that is already past the old one's count cannot be told from it.
            seen = high if began >= 0 and high < low else high - low
            index = -(-later // 60) - 1
            if index in expected:
                expected[int(index)] += int(seen)
        counters.append(counter(samples, on=str(target)))
    found = added(*counters, end=15)
    lost = unknown(*counters, end=15)
    # A scrape every 45 s, with jitter, comes at most 49 s after the last one.
    assert not lost - {14}
    assert {index: found.get(index, 0) for index in expected} == expected
    if not restarts:
        assert sum(found.values()) == sum(
            int(one.samples[-1][1] - max(v for t, v in one.samples if t <= 60)) for one in counters
        )
