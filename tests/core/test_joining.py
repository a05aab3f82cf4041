"""Labels joined without memory: the same strata as the endpoint's own joiner, in any order."""

from __future__ import annotations

import math
import random
import sqlite3
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.core.evidence import LabelArm, LabelStratum
from tidegate.core.joining import UNTIMED, fill, join
from tidegate.core.model import Task
from tidegate.endpoint import measuring
from tidegate.endpoint.joining import Answer, Joiner, Label
from tidegate.endpoint.store import Reader, Store
from tidegate.ports import Answered, Measure, Truth

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

BINARY = Measure(
    interval=60.0, slower_than=None, task=Task.BINARY, clip=None, label_source=None, label_every=600
)
REGRESSION = replace(BINARY, task=Task.REGRESSION, clip=10.0)


def row(name: str, at: float, version: str = "1", prediction: float = 0.75) -> Answered:
    return Answered(
        id=name, at=at, version=version, prediction=prediction,
        filled=frozenset(), columns=frozenset(),
    )  # fmt: skip


def strata(
    answers: Iterable[Answered],
    labels: Iterable[Truth],
    measure: Measure = BINARY,
    *,
    closed: int = 1000,
    closed_bucket: int = 1000,
) -> tuple[LabelStratum, ...]:
    joined = join(
        answers, labels, measure, first=0, closed=closed, closed_bucket=closed_bucket,
        versions=("1", "2"),
    )  # fmt: skip
    return joined.strata


def test_an_answer_meets_its_label_in_its_minute_and_bucket() -> None:
    answers = [row("a", 61), row("b", 119), row("c", 121, "2")]
    labels = [Truth(id=name, value=0.0, at=700.0) for name in "abc"]
    assert strata(answers, labels) == (
        LabelStratum(
            minute=1, bucket=1, candidate=None,
            champion=LabelArm(labelled=2, mistakes=2, loss_sum=1.125, loss_sum_sq=0.6328125),
        ),
        LabelStratum(
            minute=2, bucket=1, champion=None,
            candidate=LabelArm(labelled=1, mistakes=1, loss_sum=0.5625, loss_sum_sq=0.31640625),
        ),
    )  # fmt: skip


def test_the_first_label_of_an_id_counts() -> None:
    labels = [Truth(id="a", value=1.0, at=700.0), Truth(id="a", value=0.0, at=650.0)]
    (one,) = strata([row("a", 61)], labels)
    assert one.champion == LabelArm(labelled=1, mistakes=0, loss_sum=0.0625, loss_sum_sq=0.00390625)


def test_the_earliest_answer_of_an_id_counts_in_any_order() -> None:
    answers = [row("a", 200, "2", 0.1), row("a", 61, "1", 0.9)]
    labels = [Truth(id="a", value=1.0, at=700.0)]
    found = join(answers, labels, BINARY, first=0, closed=9, closed_bucket=9, versions=("1", "2"))
    assert found == join(
        answers[::-1], labels, BINARY, first=0, closed=9, closed_bucket=9, versions=("1", "2")
    )
    assert [(one.minute, one.candidate) for one in found.strata] == [(1, None)]
    assert found.notes == {"answers with an id that was there": 1}


def test_a_label_before_its_answer_arrives_with_it() -> None:
    (one,) = strata([row("a", 1261)], [Truth(id="a", value=1.0, at=3.0)])
    assert one.bucket == 2


def test_a_label_without_a_time_is_left_out_and_told() -> None:
    labels = [Truth(id="a", value=1.0, at=None), Truth(id="b", value=1.0, at=math.nan)]
    found = join(
        [row("a", 61)], labels, BINARY, first=0, closed=9, closed_bucket=9, versions=("1", "2")
    )
    assert (found.strata, found.labels, found.notes) == ((), 0, {UNTIMED: 2})


@pytest.mark.parametrize(
    ("closed", "bucket", "known"), [(2, 2, True), (1, 2, False), (2, 1, False)]
)
def test_only_closed_minutes_and_buckets_are_told(closed: int, bucket: int, known: bool) -> None:
    found = strata(
        [row("a", 119)], [Truth(id="a", value=1.0, at=1199.0)], closed=closed, closed_bucket=bucket
    )
    assert bool(found) is known


@pytest.mark.parametrize(
    ("prediction", "label"), [(0.5, 2.0), (1.5, 1.0), (0.5, math.inf), (math.nan, 1.0)]
)
def test_a_label_that_does_not_fit_is_left_out_and_told(prediction: float, label: float) -> None:
    found = join(
        [row("a", 61, prediction=prediction)], [Truth(id="a", value=label, at=100.0)], BINARY,
        first=0, closed=9, closed_bucket=9, versions=("1", "2"),
    )  # fmt: skip
    assert found.strata == ()
    assert found.notes == {"labels that do not fit the task": 1}


def test_rows_without_an_id_and_other_versions_count_nowhere() -> None:
    answers = [row("", 61), row("b", 61, "3")]
    labels = [Truth(id="", value=1.0, at=100.0), Truth(id="b", value=1.0, at=100.0)]
    assert strata(answers[1:], labels) == ()


def test_columns_are_counted_up_to_so_many_rows() -> None:
    both, one = frozenset({"x", "y"}), frozenset({"x"})
    rows = [replace(row("a", 1.0), columns=both, filled=one)] * 3
    assert fill([row("nameless", 1.0), *rows], 2) == {"x": (2, 2), "y": (2, 0)}


@dataclass(frozen=True)
class Event:
    """An answer and the label that came ``after`` seconds later, or never."""

    name: int
    at: float
    version: str
    prediction: float
    label: float
    after: float | None


EVENTS = st.lists(
    st.builds(
        Event,
        name=st.integers(0, 10_000),
        at=st.floats(0, 3600, allow_nan=False).map(lambda at: round(at, 3)),
        version=st.sampled_from(["1", "2"]),
        prediction=st.floats(0, 1),
        label=st.sampled_from([0.0, 1.0]),
        after=st.none() | st.floats(0, 5000).map(lambda after: round(after, 3)),
    ),
    max_size=40,
    unique_by=lambda event: event.name,
)


@settings(max_examples=40, deadline=None)
@given(events=EVENTS, seed=st.integers(0, 1000), measure=st.sampled_from([BINARY, REGRESSION]))
def test_the_strata_are_those_of_the_embedded_endpoint(
    events: list[Event], seed: int, measure: Measure, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The endpoint joins as things come, in the order of time; this joins what is there, in any."""
    answers = [row(str(e.name), e.at, e.version, e.prediction) for e in events]
    labels = [
        Truth(id=str(e.name), value=e.label, at=e.at + e.after)
        for e in events
        if e.after is not None
    ]
    dice = random.Random(seed)
    mixed_answers = dice.sample(answers, len(answers))
    mixed_labels = dice.sample(labels, len(labels))
    ours = strata(mixed_answers, mixed_labels, measure, closed=40, closed_bucket=8)

    path = tmp_path_factory.mktemp("joined") / "store.db"
    theirs = as_the_endpoint_does(path, answers, labels, measure)
    expected = {(m, b, v): counts for (m, b, v), counts in theirs.items() if m < 40 and b < 8}
    found = {
        (one.minute, one.bucket, version): arm
        for one in ours
        for version, arm in (("1", one.champion), ("2", one.candidate))
        if arm is not None
    }
    assert found.keys() == expected.keys()
    for key, (labelled, mistakes, total, squares) in expected.items():
        arm = found[key]
        assert arm.labelled == labelled
        assert arm.mistakes == (mistakes if measure is BINARY else None)
        assert arm.loss_sum == pytest.approx(total, abs=1e-9)
        assert arm.loss_sum_sq == pytest.approx(squares, abs=1e-9)


def as_the_endpoint_does(
    path: Path, answers: list[Answered], labels: list[Truth], measure: Measure
) -> dict[tuple[int, int, str], tuple[int, int, float, float]]:
    store = Store(path)
    line: list[tuple[float, int, Answered | Truth]] = [(one.at, 0, one) for one in answers]
    line += [(label.at, 1, label) for label in labels if label.at is not None]
    for moment, _, event in sorted(line, key=lambda item: item[:2]):
        with store.transaction() as db:
            feed(Joiner(store, db, measure, 0.0), event, moment)
    store.close()
    with Reader(path) as reader:
        return reader.strata(measuring.label_key(measure), 0, 10_000, 10_000)


def feed(joiner: Joiner, event: Answered | Truth, seen: float) -> None:
    if isinstance(event, Answered):
        joiner.answers([Answer(event.id, event.at, event.version, event.prediction)])
    else:
        joiner.label(Label(event.id, event.value, event.at, seen))


@settings(max_examples=40, deadline=None)
@given(events=EVENTS, earlier=st.integers(0, 60), later=st.integers(0, 60))
def test_a_closed_stratum_never_changes(events: list[Event], earlier: int, later: int) -> None:
    """What is closed at one time is the same at a later one, whatever has come since."""
    earlier, later = sorted((earlier, later))

    def at(now: int) -> dict[tuple[int, int], LabelStratum]:
        answers = [
            row(str(e.name), e.at, e.version, e.prediction) for e in events if e.at < now * 60
        ]
        labels = [
            Truth(id=str(e.name), value=e.label, at=e.at + e.after)
            for e in events
            if e.after is not None and e.at + e.after < now * 60
        ]
        found = strata(answers, labels, closed=now, closed_bucket=now * 60 // 600)
        return {(one.minute, one.bucket): one for one in found}

    before, after = at(earlier), at(later)
    assert before.items() <= after.items()


def test_the_comparison_with_the_endpoint_can_fail(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    found = as_the_endpoint_does(path, [row("a", 61)], [Truth(id="a", value=0.0, at=700.0)], BINARY)
    assert found == {(1, 1, "1"): (1, 1, 0.5625, 0.31640625)}
    assert sqlite3.connect(path).execute("SELECT count(*) FROM strata").fetchone() == (1,)
