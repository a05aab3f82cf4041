"""Counts, captures and labels as one source: closed, checked, read once, never more than was said."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.adapters.memory_store import MemoryStore
from tidegate import book
from tidegate.adapters.answers.datacapture import DataCapture
from tidegate.adapters.answers.requestlog import RequestLog
from tidegate.adapters.labels.files import LabelFile, LabelFolder
from tidegate.adapters.metrics import live
from tidegate.adapters.metrics.cloudwatch import CloudWatch
from tidegate.adapters.metrics.command import CommandCounts
from tidegate.adapters.metrics.live import LiveMetrics
from tidegate.adapters.metrics.monitoring import Monitoring
from tidegate.adapters.metrics.prometheus import Prometheus
from tidegate.core.evidence import Arm, LabelArm, Minute, Series
from tidegate.core.model import Task
from tidegate.errors import ConfigError, OutsideError
from tidegate.ports import Answered, Measure, Truth, Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tidegate.adapters.cloud.aws import Aws
    from tidegate.adapters.cloud.google import Google
    from tidegate.core.clouds import Metering
    from tidegate.ports import Answers, Counts, Labels, MetricSource, ObjectStore

MEASURE = Measure(
    interval=60.0, slower_than=0.2, task=Task.BINARY, clip=None, label_source=None, label_every=600
)
WINDOW = Window(
    candidate="2", champion="1", since=590.0, measure=MEASURE, shares=((0.0, 0.05),), moving=()
)


@dataclass
class FakeCounts:
    """Counts as they are in truth; what is asked is remembered."""

    truth: dict[tuple[int, str], Any] = field(default_factory=dict)
    delay: float = 120.0
    blur: float = 1.0
    asked: list[tuple[tuple[str, ...], int, int]] = field(default_factory=list)
    failing: bool = False

    def counts(
        self, versions: Sequence[str], first: int, end: int, measure: Measure
    ) -> Mapping[tuple[int, str], Arm]:
        self.asked.append((tuple(versions), first, end))
        if self.failing:
            raise OutsideError("away")
        return {key: arm for key, arm in self.truth.items() if first <= key[0] < end}


@dataclass
class FakeAnswers:
    rows: list[Answered] = field(default_factory=list)
    delay: float = 300.0
    asked: list[tuple[float, float]] = field(default_factory=list)
    breaks: bool = False

    def answers(self, versions: Sequence[str], since: float, until: float) -> Iterator[Answered]:
        self.asked.append((since, until))
        for row in self.rows:
            if row.version in versions and since <= row.at < until:
                yield row
        if self.breaks:
            raise OutsideError("broke off")


@dataclass
class FakeLabels:
    truths: list[Truth] = field(default_factory=list)

    def labels(self) -> Iterator[Truth]:
        return iter(self.truths)


def row(name: str, at: float, version: str = "1", filled: str = "xy") -> Answered:
    return Answered(
        id=name, at=at, version=version, prediction=0.75, filled=frozenset(filled),
        columns=frozenset("xy"),
    )  # fmt: skip


def kept_protocols(
    aws: Aws, google: Google, settings: Metering, store: ObjectStore, path: Path
) -> tuple[Sequence[Counts], Sequence[Answers], Sequence[Labels], MetricSource]:
    """Hold every source to its Protocol: for the type checker."""
    counts: list[Counts] = [
        CloudWatch(aws, "e"),
        Monitoring(google, project="p", region="r", endpoint="e", deployed=str),
        Prometheus(settings),
        CommandCounts("true", path),
    ]
    answers: list[Answers] = [
        DataCapture(store, "e"),
        RequestLog(google, "bq://p.d.t", "e", deployed=str),
    ]
    labels: list[Labels] = [LabelFile(path), LabelFolder(store)]
    return counts, answers, labels, LiveMetrics(counts[0], answers[0], labels[0])


ARM = Arm(requests=600, errors=3, slow=12)


def test_every_closed_minute_is_told_with_its_share_and_what_was_seen() -> None:
    source = FakeCounts(
        {(10, "1"): ARM, (10, "2"): Arm(requests=30, errors=0, slow=0), (12, "1"): ARM}
    )
    series = LiveMetrics(source).read(WINDOW, 60 * 13 + 120.0)
    assert series.closed == 13
    assert series.minutes == (
        Minute(index=10, champion=ARM, candidate=Arm(requests=30, errors=0, slow=0), share=0.05),
        Minute(index=11, champion=None, candidate=None, share=0.05),
        Minute(index=12, champion=ARM, candidate=None, share=0.05),
    )


def test_a_minute_is_closed_when_it_is_as_old_as_the_source_says() -> None:
    source = LiveMetrics(FakeCounts(delay=120.0))
    assert source.read(WINDOW, 60 * 13 + 119.9).closed == 12
    assert source.read(WINDOW, 60 * 13 + 120.0).closed == 13


def test_a_share_is_not_known_around_a_change() -> None:
    window = replace(WINDOW, shares=((0.0, 0.05), (780.0, 0.25)), moving=((700.0, 780.0),))
    series = LiveMetrics(FakeCounts(blur=5.0)).read(window, 10_000.0)
    shares = {minute.index: minute.share for minute in series.minutes}
    assert [shares[index] for index in (10, 11, 12, 13, 14)] == [0.05, None, None, None, 0.25]


def test_what_was_read_once_is_not_read_again() -> None:
    source = FakeCounts({(10, "1"): ARM})
    metrics = LiveMetrics(source)
    first = metrics.read(WINDOW, 60 * 11 + 120.0)
    source.truth = {(10, "1"): Arm(requests=601, errors=3), (11, "1"): ARM}  # the platform revises
    later = metrics.read(WINDOW, 60 * 12 + 120.0)
    assert later.minutes[: len(first.minutes)] == first.minutes
    assert later.minutes[-1].champion == ARM
    assert source.asked == [(("1", "2"), 10, 11), (("1", "2"), 11, 12)]


def test_a_source_that_fails_tells_nothing_and_is_asked_again() -> None:
    source = FakeCounts({(10, "1"): ARM}, failing=True)
    metrics = LiveMetrics(source)
    with pytest.raises(OutsideError, match="away"):
        metrics.read(WINDOW, 60 * 11 + 120.0)
    source.failing = False
    assert metrics.read(WINDOW, 60 * 11 + 120.0).minutes[0].champion == ARM


def test_another_rollout_or_measure_is_read_anew() -> None:
    source = FakeCounts({(10, "1"): ARM})
    metrics = LiveMetrics(source)
    metrics.read(WINDOW, 60 * 11 + 120.0)
    metrics.read(replace(WINDOW, candidate="3"), 60 * 11 + 120.0)
    metrics.read(replace(WINDOW, measure=replace(MEASURE, slower_than=0.3)), 60 * 11 + 120.0)
    assert [first for _, first, _ in source.asked] == [10, 10, 10]


@pytest.mark.parametrize(
    ("key", "arm"),
    [
        pytest.param((10, "1"), Arm(requests=-1, errors=0), id="negative"),
        pytest.param((10, "1"), Arm(requests=5, errors=-1), id="negative errors"),
        pytest.param((10, "1"), Arm(requests=5, errors=6), id="more errors than requests"),
        pytest.param((10, "1"), Arm(requests=5, errors=0, slow=6), id="more slow than requests"),
        pytest.param((10, "1"), Arm(requests=math.nan, errors=0), id="nan"),  # type: ignore[arg-type]
        pytest.param((10, "1"), Arm(requests=math.inf, errors=0), id="infinite"),  # type: ignore[arg-type]
        pytest.param((10, "1"), Arm(requests=5.0, errors=0), id="not whole"),  # type: ignore[arg-type]
        pytest.param((10, "1"), Arm(requests=True, errors=0), id="a truth value"),
        pytest.param((10, "7"), ARM, id="a version that was not asked for"),
    ],
)
def test_what_cannot_be_is_an_error_and_never_data(key: tuple[int, str], arm: Arm) -> None:
    with pytest.raises(OutsideError, match="cannot be"):
        LiveMetrics(FakeCounts({key: arm})).read(WINDOW, 60 * 11 + 120.0)


def test_no_requests_is_no_arm() -> None:
    source = FakeCounts({(10, "1"): Arm(requests=0, errors=0)})
    assert LiveMetrics(source).read(WINDOW, 60 * 11 + 120.0).minutes[0].champion is None


def test_recent_traffic_is_summed_over_what_serves() -> None:
    source = FakeCounts({(10, "1"): ARM, (10, "2"): ARM, (12, "1"): replace(ARM, slow=None)})
    metrics = LiveMetrics(source, serving=lambda: ("1", "2"))
    assert metrics.recent(MEASURE, 60 * 12 + 120.0) == (1, Arm(requests=1200, errors=6, slow=24))
    assert metrics.recent(MEASURE, 60 * 13 + 120.0) == (2, Arm(requests=1800, errors=9, slow=None))
    assert LiveMetrics(source).recent(MEASURE, 60 * 13 + 120.0) is None
    assert LiveMetrics(FakeCounts(), serving=lambda: ("1",)).recent(MEASURE, 9_000.0) is None


def test_a_source_that_cannot_count_this_way_says_so_when_it_is_switched_on() -> None:
    class Strict(FakeCounts):
        def check(self, measure: Measure) -> None:
            raise ConfigError("whole minutes")

    with pytest.raises(ConfigError):
        LiveMetrics(Strict()).observe(MEASURE)
    LiveMetrics(FakeCounts()).observe(MEASURE)


# --- labels -------------------------------------------------------------------------------------


def labelled(now: float, *, metrics: LiveMetrics) -> list[tuple[int, int]]:
    return [(one.minute, one.bucket) for one in metrics.read(WINDOW, now).labels]


def test_a_stratum_is_told_when_answers_and_labels_are_old_enough() -> None:
    answers = FakeAnswers([row("a", 601.0), row("b", 659.0, "2")])
    labels = FakeLabels([Truth(id="a", value=1.0, at=700.0), Truth(id="b", value=0.0, at=1199.0)])
    metrics = LiveMetrics(FakeCounts(), answers, labels, label_delay=60.0)
    assert labelled(1499.0, metrics=metrics) == []
    (stratum,) = metrics.read(WINDOW, 1500.0).labels
    assert stratum.champion == LabelArm(
        labelled=1, mistakes=0, loss_sum=0.0625, loss_sum_sq=0.00390625
    )
    assert stratum.candidate is not None
    assert stratum.candidate.mistakes == 1


def test_captures_are_read_once() -> None:
    answers = FakeAnswers([row("a", 601.0)])
    metrics = LiveMetrics(FakeCounts(), answers, FakeLabels([Truth(id="a", value=1.0, at=700.0)]))
    metrics.read(WINDOW, 1500.0)
    metrics.read(WINDOW, 1510.0)
    metrics.read(WINDOW, 1560.0)
    assert answers.asked == [(600.0, 1200.0), (1200.0, 1260.0)]


def test_captures_that_broke_off_are_read_again_whole() -> None:
    answers = FakeAnswers([row("a", 601.0)], breaks=True)
    metrics = LiveMetrics(FakeCounts(), answers, FakeLabels([Truth(id="a", value=1.0, at=700.0)]))
    with pytest.raises(OutsideError):
        metrics.read(WINDOW, 1500.0)
    answers.breaks = False
    (stratum,) = metrics.read(WINDOW, 1500.0).labels
    assert stratum.champion is not None
    assert stratum.champion.labelled == 1


def test_too_much_for_the_memory_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_ANSWERS", 2)
    answers = FakeAnswers([row(str(index), 601.0) for index in range(3)])
    with pytest.raises(OutsideError, match="answers wait"):
        LiveMetrics(FakeCounts(), answers, FakeLabels()).read(WINDOW, 1500.0)
    many = FakeLabels([Truth(id=str(index), value=1.0, at=1.0) for index in range(3)])
    with pytest.raises(OutsideError, match="labels"):
        LiveMetrics(FakeCounts(), FakeAnswers(), many).read(WINDOW, 1500.0)


def test_labels_without_any_time_are_an_error() -> None:
    labels = FakeLabels([Truth(id="a", value=1.0, at=None)])
    with pytest.raises(OutsideError, match="became known"):
        LiveMetrics(FakeCounts(), FakeAnswers(), labels).read(WINDOW, 1500.0)


def test_columns_are_counted_over_recent_requests() -> None:
    answers = FakeAnswers([row("", 9_000.0), row("", 9_001.0, filled="x"), row("", 100.0)])
    metrics = LiveMetrics(FakeCounts(), answers, clock=lambda: 10_000.0)
    assert metrics.fill("1") == {"x": (2, 2), "y": (2, 1)}
    assert LiveMetrics(FakeCounts()).fill("1") == {}


@settings(max_examples=60, deadline=None)
@given(
    truth=st.dictionaries(
        st.tuples(st.integers(0, 40), st.sampled_from(["1", "2"])),
        st.integers(1, 50).flatmap(
            lambda n: st.builds(Arm, requests=st.just(n), errors=st.integers(0, n))
        ),
    ),
    ticks=st.lists(st.integers(0, 60), min_size=1, max_size=6),
)
def test_minutes_read_in_any_steps_are_the_truth(
    truth: dict[tuple[int, str], Arm], ticks: list[int]
) -> None:
    """Whenever the engine ticks, what it has been told is the truth up to the watermark."""
    metrics = LiveMetrics(FakeCounts(dict(truth), delay=0.0))
    for tick in sorted(ticks):
        series = metrics.read(replace(WINDOW, since=0.0), tick * 60.0)
        told = {
            (minute.index, version): arm
            for minute in series.minutes
            for version, arm in (("1", minute.champion), ("2", minute.candidate))
            if arm is not None
        }
        assert told == {key: arm for key, arm in truth.items() if key[0] < tick}


EVENTS = st.lists(
    st.tuples(
        st.floats(600, 5000),  # asked
        st.sampled_from(["1", "2"]),
        st.floats(0, 3000) | st.none(),  # until its label is known
        st.floats(0, 299),  # until the capture is there
        st.floats(0, 59),  # until the label is there
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(events=EVENTS, ticks=st.lists(st.integers(600, 12_000), min_size=1, max_size=6))
def test_passes_that_remember_only_what_was_written_down_add_up(
    events: list[tuple[float, str, float | None, float, float]], ticks: list[int]
) -> None:
    """Each pass is a new process. What was frozen is what one reading at the end would tell."""

    def seen(now: float) -> LiveMetrics:
        rows, truths = [], []
        for index, (at, version, known, capture, line) in enumerate(events):
            if at + capture <= now:
                rows.append(row(str(index), at, version))
            if known is not None and at + known + line <= now:
                truths.append(Truth(id=str(index), value=float(index % 2), at=at + known))
        answers = FakeAnswers(rows, delay=300.0)
        return LiveMetrics(FakeCounts(), answers, FakeLabels(truths), label_delay=60.0)

    frozen = Series(minutes=(), labels=(), closed=0)
    for tick in sorted(ticks):
        whole = book.merge(frozen, seen(tick).read(WINDOW, tick))
        fresh = book.since(whole, frozen)
        assert not {(s.minute, s.bucket) for s in fresh.labels} & {
            (s.minute, s.bucket) for s in frozen.labels
        }
        frozen = whole
    last = seen(1e9).read(WINDOW, max(ticks))
    assert set(frozen.labels) == set(last.labels)
    assert frozen.minutes == last.minutes


# --- where labels stand -------------------------------------------------------------------------


LINES = (
    b'{"id": "a", "label": 1, "at": 700}\n\n{"id": 7, "label": 0.0}\n'
    b'{"id": "b"}\nnonsense\n{"id": "c", "label": NaN}\n{"id": null, "label": 1}\n'
)
READ = [Truth(id="a", value=1.0, at=700.0), Truth(id="7", value=0.0, at=None)]


def test_label_lines_are_read_as_the_endpoint_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    source = LabelFile(path)
    assert list(source.labels()) == []  # not there yet
    path.write_bytes(LINES)
    assert list(source.labels()) == READ
    assert source.notes == {"malformed labels": 4}


def test_a_line_that_is_still_being_written_waits(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_bytes(b'{"id": "a", "label": 1, "at": 700}\n{"id": "b", "lab')
    source = LabelFile(path)
    assert [truth.id for truth in source.labels()] == ["a"]
    assert source.notes == {}


def test_a_folder_of_labels_is_read_in_order_of_path(tmp_path: Path) -> None:
    (tmp_path / "02").mkdir()
    (tmp_path / "02" / "x.jsonl").write_bytes(b'{"id": "b", "label": 1, "at": 1}\n')
    (tmp_path / "01.jsonl").write_bytes(b'{"id": "a", "label": 1, "at": 1}')
    (tmp_path / "note.txt").write_bytes(b"{}")
    assert [truth.id for truth in LabelFile(tmp_path).labels()] == ["a", "b"]


def test_a_bucket_of_labels_is_read_where_it_changed() -> None:
    store = MemoryStore(
        {"a.jsonl": LINES, "b/c.jsonl": b'{"id": "z", "label": 1, "at": 9}', "x": b"?"}
    )
    source = LabelFolder(store)
    last = Truth(id="z", value=1.0, at=9.0)
    assert list(source.labels()) == [*READ, last]
    assert list(source.labels()) == [*READ, last]
    assert source.notes == {"malformed labels": 4}
    assert store.fetched == ["a.jsonl", "b/c.jsonl"]
    store.objects["a.jsonl"] = b'{"id": "a", "label": 0, "at": 1}\n'
    assert list(source.labels()) == [Truth(id="a", value=0.0, at=1.0), last]
    assert store.fetched[2:] == ["a.jsonl"]
