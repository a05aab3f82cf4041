"""Increases of scraped counters, exactly: what was added to each in each interval. Pure.

PromQL's ``increase()`` estimates: it extrapolates to the ends of the range, so that its results are
fractions, do not add up, and lose what a counter held when it was first seen. Here the raw samples are
taken and each difference between two scrapes counts, once, in the interval in which the later one was
made. Sums over any stretch of time are thus what the counters say.

A counter that is smaller than before, or was away for a scrape of its target, began at zero in
between. A counter that appears on a target that was scraped before began at zero, too: most clients
make a counter when it is first incremented, and the first error must not be lost. An interval in which
a target was not scraped at all, or came or went, is not known for the versions on it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_ENOUGH = 4  # samples from which it can be told whether a target's counters are scraped together


@dataclass(frozen=True, slots=True)
class Counter:
    """One counter's samples, (epoch seconds, value), in order of time."""

    what: str  # "requests", "errors", "slow"
    version: str
    target: str  # what was scraped; counters of one scrape share their times
    samples: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Increases:
    """``added``: (what, interval, version) -> sum. ``unknown``: intervals that must not be used."""

    added: Mapping[tuple[str, int, str], int]
    unknown: frozenset[tuple[int, str]]


def increases(
    counters: Iterable[Counter], first: int, end: int, interval: float, *, end_time: float
) -> Increases:
    """Return what was added to the counters in each interval first <= index < end.

    A sample at the very end of an interval belongs to it. To be known, interval ``first`` needs
    samples of the one before it.

    Args:
        counters: of all targets; the samples reach up to ``end_time``.
        first: index of the first interval.
        end: index of the interval after the last one.
        interval: its length in seconds.
        end_time: up to when samples were read (epoch seconds).

    Raises:
        OutsideError: a value is no count, or the counters of one target are not scraped together.
    """
    by_target: defaultdict[str, list[Counter]] = defaultdict(list)
    for counter in counters:
        if counter.samples:
            by_target[counter.target].append(counter)
    added: defaultdict[tuple[str, int, str], int] = defaultdict(int)
    unknown: set[tuple[int, str]] = set()

    def interval_of(moment: float) -> int:
        return math.ceil(moment / interval) - 1

    for target, group in by_target.items():
        scrapes = sorted({moment for counter in group for moment, _ in counter.samples})
        lost = _lost([interval_of(moment) for moment in scrapes], interval_of(end_time))
        unknown |= {
            (index, version)
            for index in lost
            if first <= index < end
            for version in {counter.version for counter in group}
        }
        before = {later: earlier for earlier, later in pairwise(scrapes)}
        for counter in group:
            _together(target, counter, before)
            held = dict(counter.samples)
            for moment, value in counter.samples:
                index = interval_of(moment)
                number = _whole(counter, value)
                if moment not in before or not first <= index < end:
                    continue  # what a target held when it was first seen is older than that
                base = _whole(counter, held.get(before[moment], 0.0))
                added[counter.what, index, counter.version] += (
                    number - base if number >= base else number
                )
    return Increases(dict(added), frozenset(unknown))


def _lost(seen: Sequence[int], last: int) -> set[int]:
    """Return the intervals of which a target's scrapes do not tell everything.

    Args:
        seen: the intervals of its scrapes, in order.
        last: the interval up to which samples were read.
    """
    lost = {seen[0]}  # what was counted before it was first seen
    for earlier, later in pairwise(seen):
        if later - earlier > 1:
            lost |= set(range(earlier + 1, later + 1))
    if seen[-1] < last:
        lost.add(seen[-1] + 1)  # what was counted after it was last seen
    return lost


def _together(target: str, counter: Counter, before: Mapping[float, float]) -> None:
    held = {moment for moment, _ in counter.samples}
    alone = sum(moment in before and before[moment] not in held for moment in held)
    if len(held) >= _ENOUGH and alone > len(held) / 2:
        raise OutsideError(
            f"Prometheus: the counters of {target or 'one target'} are not scraped together",
            remedy="Use raw counters of one scrape, not recording rules or federated series.",
        )


def _whole(counter: Counter, value: float) -> int:
    if not math.isfinite(value) or value < 0 or value != math.floor(value):
        raise OutsideError(
            f"Prometheus: {value} is no count of {counter.what} (version {counter.version})",
            remedy="release.metrics wants counters of requests, errors and slow answers.",
        )
    return int(value)
