"""Join captured answers with their labels, as closed strata: pure, whatever order things come in.

The embedded endpoint joins as lines arrive and remembers what it has read. Away from it nobody
remembers: every pass reads captures and labels anew, so that what a stratum holds must follow from
the events alone. A label therefore counts in the bucket of the moment that *its sender* states; one
that states none cannot be placed, and is left out.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tidegate.core.evidence import LabelArm, LabelStratum
from tidegate.core.losses import judge
from tidegate.core.model import Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Set

    from tidegate.core.losses import Prediction

UNTIMED = "labels without the time at which they became known"


class Asked(Protocol):
    """One row that was asked and answered; ``id`` is "" where nobody can label it."""

    @property
    def id(self) -> str:
        """What its label knows it by."""

    @property
    def at(self) -> float:
        """Epoch seconds."""

    @property
    def version(self) -> str:
        """Which answered."""

    @property
    def prediction(self) -> Prediction:
        """The answer."""


class Filled(Protocol):
    """Which columns a row had, and which of them had a value."""

    @property
    def filled(self) -> Set[str]:
        """Those with a value."""

    @property
    def columns(self) -> Set[str]:
        """All of them."""


class Told(Protocol):
    """One label; ``at`` is when it became known (epoch seconds), as its sender says."""

    @property
    def id(self) -> str:
        """What its label knows it by."""

    @property
    def value(self) -> float | str:
        """The truth."""

    @property
    def at(self) -> float | None:
        """Epoch seconds."""


class Way(Protocol):
    """How labelled answers are counted."""

    @property
    def interval(self) -> float:
        """Seconds of a minute."""

    @property
    def label_every(self) -> float:
        """Seconds of a bucket."""

    @property
    def task(self) -> Task:
        """What is predicted."""

    @property
    def clip(self) -> float | None:
        """Bound of a loss."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Of a multiclass model, in the order of its probabilities."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Closed strata in order, and how many labels or answers were odd, by kind."""

    strata: tuple[LabelStratum, ...]
    labels: int = 0  # that can be joined
    notes: Mapping[str, int] = field(default_factory=dict)


def join(  # noqa: PLR0913 (what a stratum is made of)
    answers: Iterable[Asked],
    labels: Iterable[Told],
    measure: Way,
    *,
    first: int,
    closed: int,
    closed_bucket: int,
    versions: tuple[str, str],
) -> Joined:
    """Return the closed label strata of two versions.

    The first label of an id counts, and the earliest answer. Memory grows with the labels, not with
    the answers, which may be a stream.

    Args:
        answers: rows that were asked and answered, in any order.
        labels: the truth, the first of an id first.
        measure: how they are counted.
        first: index of the first minute that is asked for.
        closed: index of the first minute whose answers may not all be there yet.
        closed_bucket: index of the first arrival bucket whose labels may not all be there yet.
        versions: (champion, candidate).

    Returns:
        For every closed minute of answers and closed bucket of arrivals in which there was a label,
        the arms' counts; an arm without one is None.
    """
    notes: Counter[str] = Counter()
    told: dict[str, Told] = {}
    for label in labels:
        if label.at is None or not math.isfinite(label.at):
            notes[UNTIMED] += 1
        elif label.id in told:
            notes["duplicate labels"] += 1
        else:
            told[label.id] = label
    pairs = _pairs(answers, told, notes)
    tallies: defaultdict[tuple[int, int, str], _Tally] = defaultdict(_Tally)
    for name, (at, version, prediction) in pairs.items():
        minute = math.floor(at / measure.interval)
        label = told[name]
        # A label cannot be there before its answer: the two clocks differ.
        bucket = math.floor(max(_time(label), at) / measure.label_every)
        if version not in versions or not first <= minute < closed or bucket >= closed_bucket:
            continue
        try:
            judged = judge(
                measure.task, prediction, label.value, clip=measure.clip, classes=measure.classes
            )
        except ValueError:
            notes["labels that do not fit the task"] += 1
            continue
        tallies[minute, bucket, version].add(judged.mistake or False, judged.loss or 0.0)
    champion, candidate = versions
    strata = tuple(
        LabelStratum(
            minute=minute,
            bucket=bucket,
            champion=_arm(tallies.get((minute, bucket, champion)), measure),
            candidate=_arm(tallies.get((minute, bucket, candidate)), measure),
        )
        for minute, bucket in sorted({(m, b) for m, b, _ in tallies})
    )
    return Joined(strata, len(told), dict(notes))


def fill(answers: Iterable[Filled], most: int) -> dict[str, tuple[int, int]]:
    """Return column -> (rows seen, rows in which it was filled) of at most ``most`` rows.

    A row that was asked without a column counts as one in which it was not filled.
    """
    seen = 0
    filled: Counter[str] = Counter()
    columns: set[str] = set()
    for row in answers:
        if not row.columns:
            continue  # columns without names
        seen += 1
        columns |= row.columns
        filled.update(row.filled)
        if seen >= most:
            break
    return {column: (seen, filled[column]) for column in sorted(columns)}


class _Tally:
    __slots__ = ("losses", "mistakes")

    def __init__(self) -> None:
        self.mistakes = 0
        self.losses: list[float] = []

    def add(self, mistake: bool, loss: float) -> None:  # noqa: FBT001 (a datum)
        self.mistakes += mistake
        self.losses.append(loss)


def _pairs(
    answers: Iterable[Asked], told: Mapping[str, Told], notes: Counter[str]
) -> dict[str, tuple[float, str, Prediction]]:
    """Return id -> (asked at, version, prediction) of the labelled answers."""
    pairs: dict[str, tuple[float, str, Prediction]] = {}
    for answer in answers:
        if answer.id not in told:
            continue
        new = (answer.at, answer.version, answer.prediction)
        if (old := pairs.get(answer.id)) is not None:
            notes["answers with an id that was there"] += 1
            new = min(old, new, key=_first)
        pairs[answer.id] = new
    return pairs


def _first(pair: tuple[float, str, Prediction]) -> tuple[float, str, tuple[float, ...]]:
    """Order answers by time, then by who gave them, then by what they say."""
    at, version, prediction = pair
    return at, version, (prediction if isinstance(prediction, tuple) else (prediction,))


def _time(label: Told) -> float:
    assert label.at is not None
    return label.at


def _arm(tally: _Tally | None, measure: Way) -> LabelArm | None:
    if tally is None:
        return None
    decided = measure.task in (Task.BINARY, Task.MULTICLASS)
    lossy = decided or (measure.task is Task.REGRESSION and measure.clip is not None)
    # Correctly rounded sums: the same whatever the order in which answers were read.
    return LabelArm(
        labelled=len(tally.losses),
        mistakes=tally.mistakes if decided else None,
        loss_sum=math.fsum(tally.losses) if lossy else None,
        loss_sum_sq=math.fsum(loss * loss for loss in tally.losses) if lossy else None,
    )
