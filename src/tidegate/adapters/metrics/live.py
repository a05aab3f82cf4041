"""Counts, captured answers and labels from three places, as one source of evidence."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tidegate.core.evidence import Arm, LabelStratum, Minute, Series, configured_share
from tidegate.core.joining import UNTIMED, fill, join
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tidegate.core.losses import Prediction
    from tidegate.ports import Answered, Answers, Counts, Labels, Measure, Truth, Window

LABEL_DELAY = 300.0  # seconds after which a label that became known is there to be read
MOST_ANSWERS = 5_000_000  # held in memory: about 250 bytes each
FILL_SPAN = 3600.0  # seconds of requests looked at for the skew check
FILL_ROWS = 2_000
_FRESH = 60  # intervals of recent traffic


@dataclass(frozen=True, slots=True)
class _Answer:
    """What joining needs of an answered row."""

    id: str
    at: float
    version: str
    prediction: Prediction


@dataclass(slots=True)
class _Read:
    """What one process has read for one rollout: everything before ``until``."""

    key: tuple[Any, ...]
    until: float
    arms: dict[tuple[int, str], Arm] = field(default_factory=dict)
    answers: list[_Answer] = field(default_factory=list)


class LiveMetrics:
    """The metric source of every endpoint that does not count by itself.

    Args:
        counts: requests, errors and slow answers.
        answers: captured requests and answers; None: there are none, so neither are labels joined.
        labels: the truth; None: it does not arrive.
        serving: the versions that serve now.
        label_delay: seconds after which a label that became known is there to be read.
        clock: epoch seconds.
    """

    def __init__(  # noqa: PLR0913 (three sources and how old they must be)
        self,
        counts: Counts,
        answers: Answers | None = None,
        labels: Labels | None = None,
        *,
        serving: Callable[[], Sequence[str]] = tuple,
        label_delay: float = LABEL_DELAY,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._counts = counts
        self._answers = answers
        self._labels = labels
        self._serving = serving
        self._label_delay = label_delay
        self._clock = clock
        self._counted: _Read | None = None
        self._captured: _Read | None = None
        self._notes: Mapping[str, int] = {}

    def observe(self, measure: Measure) -> None:
        """See that the source counts this way; there is nothing to switch on.

        Raises:
            ConfigError: it cannot, by the settings.
            OutsideError: it cannot be asked.
        """
        check = getattr(self._counts, "check", None)
        if check is not None:
            check(measure)

    def read(self, window: Window, now: float) -> Series:
        """Return the closed minutes and label strata of a rollout, as of ``now`` (epoch seconds).

        A minute is closed when its counts are as old as the source says they must be.

        Raises:
            OutsideError: a source fails, or says what cannot be.
        """
        interval = window.measure.interval
        first = math.ceil(window.since / interval)
        closed = math.floor((now - self._counts.delay) / interval)
        arms = self._arms(window, first, closed)
        blur = float(getattr(self._counts, "blur", 1.0))
        minutes = tuple(
            Minute(
                index=index,
                champion=arms.get((index, window.champion)),
                candidate=arms.get((index, window.candidate)),
                share=configured_share(
                    window.shares,
                    window.moving,
                    index * interval,
                    (index + 1) * interval,
                    blur=blur,
                ),
            )
            for index in range(first, closed)
        )
        labels = self._strata(window, first, closed, now)
        return Series(minutes=minutes, labels=labels, closed=closed)

    def recent(
        self, measure: Measure, now: float, *, minutes: int = _FRESH
    ) -> tuple[int, Arm] | None:
        """Return (intervals, sum over them and all serving variants) of the newest closed traffic.

        None where there was none. Intervals without a request are left out.

        Raises:
            OutsideError: as :meth:`read`.
        """
        closed = math.floor((now - self._counts.delay) / measure.interval)
        versions = tuple(self._serving())
        if not versions:
            return None
        arms = self._asked(versions, closed - minutes, closed, measure)
        if not arms:
            return None
        slow = [arm.slow for arm in arms.values()]
        total = Arm(
            requests=sum(arm.requests for arm in arms.values()),
            errors=sum(arm.errors for arm in arms.values()),
            slow=None if None in slow else sum(one for one in slow if one is not None),
        )
        return len({index for index, _ in arms}), total

    def fill(self, version: str) -> Mapping[str, tuple[int, int]]:
        """Return column -> (rows seen, rows in which it was filled) of the last hour's requests.

        Raises:
            OutsideError: as :meth:`read`.
        """
        if self._answers is None:
            return {}
        until = self._clock() - self._answers.delay
        return fill(self._answers.answers((version,), until - FILL_SPAN, until), FILL_ROWS)

    def notes(self) -> Mapping[str, int]:
        """Return how many odd labels and answers the last reading met, by kind."""
        return self._notes

    # --- counts -----------------------------------------------------------------------------

    def _arms(self, window: Window, first: int, closed: int) -> dict[tuple[int, str], Arm]:
        """Return the closed minutes' arms; what this process has read once stays as it was."""
        measure = window.measure
        versions = (window.champion, window.candidate)
        key = (versions, first, measure.interval, measure.slower_than)
        held = self._counted
        if held is None or held.key != key:
            held = _Read(key, first)
        begin = max(first, int(held.until))
        if begin < closed:
            held.arms.update(self._asked(versions, begin, closed, measure))
            held.until = closed
        self._counted = held
        return held.arms

    def _asked(
        self, versions: Sequence[str], first: int, end: int, measure: Measure
    ) -> dict[tuple[int, str], Arm]:
        arms = dict(self._counts.counts(versions, first, end, measure))
        for (index, version), arm in arms.items():
            if version not in versions or not first <= index < end:
                raise _wrong(f"counts of version {version} that were not asked for")
            numbers = [arm.requests, arm.errors, *([] if arm.slow is None else [arm.slow])]
            if not all(_is_count(number) for number in numbers):
                raise _wrong(f"{numbers} of version {version} are no counts")
            if max(numbers) > arm.requests:
                raise _wrong(f"more errors or slow answers of version {version} than requests")
        return {key: arm for key, arm in arms.items() if arm.requests}

    # --- labels -----------------------------------------------------------------------------

    def _strata(
        self, window: Window, first: int, closed: int, now: float
    ) -> tuple[LabelStratum, ...]:
        if self._answers is None or self._labels is None:
            return ()
        measure = window.measure
        answered = min(closed, math.floor((now - self._answers.delay) / measure.interval))
        clock = now - max(self._answers.delay, self._label_delay)
        joined = join(
            self._captures(window, first, answered),
            _bounded(self._labels.labels()),
            measure,
            first=first,
            closed=answered,
            closed_bucket=math.floor(clock / measure.label_every),
            versions=(window.champion, window.candidate),
        )
        self._notes = joined.notes
        if not joined.labels and joined.notes.get(UNTIMED):
            raise OutsideError(
                "no label says when it became known",
                remedy='Add it to each line, in epoch seconds: {"id": ..., "label": ..., "at": ...}.',
            )
        return joined.strata

    def _captures(self, window: Window, first: int, closed: int) -> list[_Answer]:
        """Return what can be labelled of closed minutes; only what is new is read."""
        assert self._answers is not None
        versions = (window.champion, window.candidate)
        interval = window.measure.interval
        key = (versions, first, interval)
        held = self._captured
        if held is None or held.key != key:
            held = _Read(key, first * interval)
        until = closed * interval
        if held.until < until:
            fresh: list[_Answer] = []
            for row in self._answers.answers(versions, held.until, until):
                if row.id and _possible(row, versions, held.until, until):
                    fresh.append(_Answer(row.id, row.at, row.version, row.prediction))
                    if len(held.answers) + len(fresh) > MOST_ANSWERS:
                        raise OutsideError(
                            f"more than {MOST_ANSWERS:,} answers wait for labels",
                            remedy="Capture a smaller share of the traffic.",
                        )
            held.answers += fresh  # all or nothing: a reading that fails is begun again
            held.until = until
        self._captured = held
        return held.answers


def _bounded(labels: Iterator[Truth]) -> Iterator[Truth]:
    for number, label in enumerate(labels):
        if number >= MOST_ANSWERS:
            raise OutsideError(
                f"more than {MOST_ANSWERS:,} labels",
                remedy="Move the files of labels that belong to ended rollouts away.",
            )
        yield label


def _possible(row: Answered, versions: Sequence[str], since: float, until: float) -> bool:
    return row.version in versions and since <= row.at < until and _finite(row.prediction)


def _finite(prediction: Prediction) -> bool:
    numbers = prediction if isinstance(prediction, tuple) else (prediction,)
    return all(map(math.isfinite, numbers))


def _is_count(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 0


def _wrong(what: str) -> OutsideError:
    return OutsideError(
        f"The source of live counts says what cannot be: {what}",
        remedy="Nothing is decided on it; see release.metrics in mlops.yaml.",
    )
