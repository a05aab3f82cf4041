"""The counts of the embedded endpoint: every request once, in its minute, to its variant."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.contracts.target_contract import until_ready
from tests.endpoint.serving import free_port, own_server, processes_of, wait_for
from tests.endpoint.traffic import Reply, Traffic
from tidegate.adapters.metrics.local import LocalMetrics
from tidegate.adapters.target.local import LocalTarget
from tidegate.core.model import Task
from tidegate.endpoint import gateway, processes
from tidegate.endpoint.layout import Folder
from tidegate.ports import Measure, Window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate.core.evidence import Arm, LabelArm, Series

pytestmark = pytest.mark.real

MEASURE = Measure(
    interval=1.0, slower_than=0.2, task=Task.BINARY, clip=None, label_source=None, label_every=2.0
)


@dataclass(slots=True)
class Stage:
    """A running, observed endpoint; version 1 is the champion, 2 the candidate."""

    target: LocalTarget
    metrics: LocalMetrics
    folder: Folder
    port: int

    def window(self, since: float, measure: Measure = MEASURE) -> Window:
        return Window(
            candidate="2",
            champion="1",
            since=since,
            measure=measure,
            shares=((since - 10, 0.5),),
        )

    def closed_past(self, moment: float, window: Window) -> Series:
        """Return the series once the minute of ``moment`` is closed."""
        series = self.metrics.read(window, time.time())
        while series.closed <= math.floor(moment / window.measure.interval):
            time.sleep(0.05)
            series = self.metrics.read(window, time.time())
        return series


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("metrics") / "endpoint"
    port = free_port()
    target = LocalTarget(directory, port=port, timeout=0.6)
    metrics = LocalMetrics(directory)
    try:
        target.deploy(own_server("1"), generation=1)
        metrics.observe(MEASURE)  # at once: the store is only just being made
        target.deploy(own_server("2"), generation=2)
        until_ready(target, "1", "2")
        target.route({"1": 0.5, "2": 0.5}, generation=3)
        yield Stage(target, metrics, Folder(directory), port)
    finally:
        target.stop()
    assert processes_of(directory) == []


def total(arms: list[Arm | None]) -> tuple[int, int, int]:
    seen = [arm for arm in arms if arm is not None]
    return (
        sum(arm.requests for arm in seen),
        sum(arm.errors for arm in seen),
        sum(arm.slow or 0 for arm in seen),
    )


def whole_minute() -> float:
    """Sleep to just after the next second, so that a short burst lies in one evidence minute."""
    now = time.time()
    start = math.ceil(now + 0.05)
    time.sleep(start - now + 0.02)
    return float(start)


def test_every_request_is_counted_once_though_the_supervisor_dies(stage: Stage) -> None:
    since = whole_minute()  # the minute in which counting began is no evidence
    with Traffic(stage.port, prefix="dies", pause=0.002) as traffic:
        for _ in range(3):
            time.sleep(0.4)
            pid = processes.alive(stage.folder.supervisor_lock)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: not processes.held(stage.folder.supervisor_lock))
            time.sleep(0.15)
            stage.target.read()
    series = stage.closed_past(time.time(), stage.window(since))
    for version, arms in (
        ("1", [minute.champion for minute in series.minutes]),
        ("2", [minute.candidate for minute in series.minutes]),
    ):
        assert total(arms)[0] == len(traffic.of(version))
    assert not traffic.failed()


def test_no_request_is_lost_or_counted_twice_when_the_log_is_cut(stage: Stage) -> None:
    since = time.time() - 1
    current = stage.folder.access / "current"
    segment = current.readlink()
    health_check = json.dumps(
        {"route": "other", "t": "1.0", "variant": "v-1", "status": 200, "ms": 1, "id": "x" * 400}
    )
    with Traffic(stage.port, prefix="cut", pause=0.002) as traffic:
        time.sleep(0.2)
        with current.open("a", encoding="utf-8") as log:  # enough that it is time for a new one
            log.write((health_check + "\n") * (gateway.SEGMENT // len(health_check)))
        wait_for(lambda: not (stage.folder.access / segment).exists())
        time.sleep(0.3)
    series = stage.closed_past(time.time(), stage.window(since))
    arms = [minute.champion for minute in series.minutes] + [m.candidate for m in series.minutes]
    assert total(arms)[0] == len(traffic.replies)
    assert current.readlink() != segment
    assert "malformed access lines" not in stage.metrics.notes()


def test_errors_and_slow_answers_are_their_variants_in_their_minute(stage: Stage) -> None:
    start = whole_minute()
    sent: list[Reply] = []
    for what in ("fail:2", "slow:2", "ok"):
        body = {"inputs": {"x": [1], "do": [what]}}
        with Traffic(stage.port, body=body, count=24, connections=12, prefix=what) as traffic:
            pass
        sent += traffic.replies
    series = stage.closed_past(time.time(), stage.window(start))
    minutes = [one for one in series.minutes if one.index >= math.floor(start)]
    assert minutes[0].index == math.floor(start)
    one = [reply for reply in sent if reply.version == "1"]
    two = [reply for reply in sent if reply.version == "2"]
    assert total([minute.champion for minute in minutes]) == (len(one), 0, 0)
    slow = len([reply for reply in two if reply.id.startswith("slow")])
    failed = len([reply for reply in two if reply.status == 500])
    assert failed == len([reply for reply in two if reply.id.startswith("fail")]) > 0
    assert total([minute.candidate for minute in minutes]) == (len(two), failed, slow)
    assert {minute.share for minute in minutes} == {0.5}
    quiet = stage.closed_past(time.time() + 1, stage.window(start)).minutes[len(minutes) :]
    assert quiet
    assert all(minute.candidate is None for minute in quiet), "not observed is not zero"


def test_an_answer_after_the_timeout_is_an_error_of_its_arrival_minute(stage: Stage) -> None:
    start = whole_minute()
    body = {"inputs": {"x": [1], "do": ["hang:2"]}}
    with Traffic(stage.port, body=body, count=12, connections=12, prefix="hang") as traffic:
        pass
    hung = [reply for reply in traffic.replies if reply.version == "2"]
    assert {reply.status for reply in hung} == {504}
    series = stage.closed_past(time.time(), stage.window(start))
    seen = [minute.candidate for minute in series.minutes]
    assert total(seen) == (len(hung), len(hung), len(hung))


def test_a_bad_request_counts_but_is_nobodys_error(stage: Stage) -> None:
    start = whole_minute()
    with Traffic(stage.port, body={"wrong": 1}, count=10, prefix="bad") as traffic:
        pass
    assert {(reply.status, reply.body) for reply in traffic.replies} == {
        (400, b'{"message": "no inputs"}')
    }, "the user's own words"
    series = stage.closed_past(time.time(), stage.window(start))
    arms = [arm for minute in series.minutes for arm in (minute.champion, minute.candidate)]
    assert total(arms) == (10, 0, 0)


def test_labels_join_early_late_twice_and_malformed(stage: Stage) -> None:
    start = whole_minute()
    early = [{"id": f"l{n}", "label": 1} for n in range(4)]
    labels = stage.folder.labels.open("a", encoding="utf-8")

    def write(*rows: object) -> None:
        for row in rows:
            labels.write((row if isinstance(row, str) else json.dumps(row)) + "\n")
        labels.flush()

    write(*early)
    time.sleep(0.2)
    with Traffic(stage.port, body={"inputs": {"x": [70]}}, count=12, prefix="l") as traffic:
        pass
    late = [{"id": f"l{n}", "label": 0, "at": time.time()} for n in range(4, 10)]
    write(*late)
    write(*[{**row, "label": 1} for row in late])  # the first label counts
    write("not json", {"id": "l10"}, {"id": "l11", "label": 7}, {"id": "nobody", "label": 1})
    labels.close()

    by_version = {reply.id: reply.version for reply in traffic.replies}
    window = stage.window(start)
    wait_for(lambda: counted(stage.metrics.read(window, time.time())) == 10)
    series = stage.metrics.read(window, time.time())
    for version, arms in (
        ("1", [stratum.champion for stratum in series.labels]),
        ("2", [stratum.candidate for stratum in series.labels]),
    ):
        ours = [arm for arm in arms if arm is not None]
        right = sum(by_version[str(row["id"])] == version for row in early)
        wrong = sum(by_version[str(row["id"])] == version for row in late)
        assert sum(arm.labelled for arm in ours) == right + wrong
        assert sum(arm.mistakes or 0 for arm in ours) == wrong
        losses = sum(arm.loss_sum or 0.0 for arm in ours)
        assert losses == pytest.approx(right * 0.09 + wrong * 0.49)
    notes = stage.metrics.notes()
    assert notes["duplicate labels"] == 6
    assert notes["malformed labels"] == 2
    assert notes["labels that do not fit the task"] == 1


def counted(series: Series) -> int:
    arms: list[LabelArm | None] = []
    for stratum in series.labels:
        arms += [stratum.champion, stratum.candidate]
    return sum(arm.labelled for arm in arms if arm is not None)


def test_a_closed_stratum_never_changes(stage: Stage) -> None:
    start = whole_minute()
    with Traffic(stage.port, body={"inputs": {"x": [70]}}, count=6, prefix="c"):
        pass
    with stage.folder.labels.open("a", encoding="utf-8") as labels:
        labels.write(json.dumps({"id": "c0", "label": 1, "at": time.time()}) + "\n")
    window = stage.window(start)
    wait_for(lambda: counted(stage.metrics.read(window, time.time())) == 1)
    before = stage.metrics.read(window, time.time())
    with stage.folder.labels.open("a", encoding="utf-8") as labels:  # backdated into it
        labels.write(json.dumps({"id": "c1", "label": 1, "at": start + 0.5}) + "\n")
    wait_for(lambda: counted(stage.metrics.read(window, time.time())) == 2)
    after = stage.metrics.read(window, time.time())
    assert after.labels[: len(before.labels)] == before.labels
    assert after.minutes[: len(before.minutes)] == before.minutes


def test_columns_are_counted_as_filled_or_not(stage: Stage) -> None:
    seen = stage.metrics.fill("1").get("half", (0, 0))
    assert seen == (0, 0)
    body = {"inputs": {"x": [1, 2], "half": [None, 3.5]}}
    with Traffic(stage.port, body=body, count=20, prefix="fill") as traffic:
        pass
    rows = 2 * len(traffic.of("1"))
    wait_for(lambda: stage.metrics.fill("1").get("half") == (rows, rows // 2))


def test_asking_directly_is_not_counted(stage: Stage) -> None:
    import pyarrow as pa

    start = whole_minute()
    answers = stage.target.ask("2", pa.table({"x": [10, 20, 30]}))
    assert answers.tolist() == [0.1, 0.2, 0.3]
    series = stage.closed_past(time.time(), stage.window(start))
    assert all(minute.candidate is None for minute in series.minutes)


def test_a_lagging_collector_closes_nothing(stage: Stage) -> None:
    window = stage.window(time.time() - 30)
    pid = processes.alive(stage.folder.supervisor_lock)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(0.1)
        before = stage.metrics.read(window, time.time())
        assert stage.metrics.read(window, time.time() + 3600) == before
    finally:
        os.kill(pid, signal.SIGCONT)


def test_another_way_of_counting_is_kept_apart(stage: Stage) -> None:
    other = Measure(
        interval=0.5,
        slower_than=None,
        task=Task.REGRESSION,
        clip=2.0,
        label_source=None,
        label_every=1.0,
    )
    stage.metrics.observe(other)
    since = whole_minute()  # a whole second is a whole half one, too
    with Traffic(stage.port, count=30, prefix="other", pause=0.05) as traffic:
        pass
    mixed = stage.closed_past(max(time.time(), since + 1), stage.window(since - 5, other))
    assert mixed.minutes[0].index >= math.floor(since / 0.5) - 2, "it began with the observation"
    first = mixed.minutes[0].index * 0.5
    arms = [minute.champion for minute in mixed.minutes] + [m.candidate for m in mixed.minutes]
    assert total(arms)[0] == len([reply for reply in traffic.replies if reply.sent >= first])
    assert all(arm.slow is None for arm in arms if arm is not None)
    old = stage.metrics.read(stage.window(since), time.time())
    assert old.minutes == (), "nothing was counted the old way meanwhile"
    stage.metrics.observe(MEASURE)
