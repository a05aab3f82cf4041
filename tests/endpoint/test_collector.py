"""The collector over literal log files: exactly once, and closed means closed."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

import pytest

from tidegate.core.model import Task
from tidegate.endpoint import measuring
from tidegate.endpoint.collector import Collector
from tidegate.endpoint.layout import Folder
from tidegate.endpoint.store import Reader
from tidegate.ports import Measure

if TYPE_CHECKING:
    from pathlib import Path

MEASURE = Measure(
    interval=10.0, slower_than=0.5, task=Task.BINARY, clip=None, label_source=None, label_every=20.0
)
WAY = measuring.traffic_key(MEASURE)
LABELS = measuring.label_key(MEASURE)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path / "endpoint")
    folder.make()
    measuring.write(folder, MEASURE)
    return folder


def request(t: float, variant: str = "1", status: int = 200, ms: int = 5) -> str:
    line = {"route": "invocations", "t": f"{t:.3f}", "variant": f"v-{variant}"}
    return json.dumps({**line, "status": status, "ms": ms}) + "\n"


def append(path: Path, *lines: str) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(lines)


def collect(folder: Folder, now: float, *, gone: set[str] | None = None) -> None:
    """One pass of a collector that has just been started: nothing is kept in memory."""
    collector = Collector(folder)
    collector.collect(now, timeout=1.0, gone=gone or set())
    collector.close()


def traffic(folder: Folder) -> dict[tuple[int, str], tuple[int, ...]]:
    with Reader(folder.store) as store:
        return store.traffic(WAY, 0, 10**9)


def notes(folder: Folder) -> dict[str, int]:
    with Reader(folder.store) as store:
        return store.notes()


def test_a_line_is_counted_once_however_often_the_collector_restarts(folder: Folder) -> None:
    log = folder.access / "000000000001.jsonl"
    append(log, request(1001), request(1002, "2", 503, 900), request(1011), request(1003)[:20])
    collect(folder, 1011.2)
    collect(folder, 1011.4)
    append(log, request(1003)[20:], "garbage\n")
    collect(folder, 1011.6)
    assert traffic(folder) == {(100, "1"): (2, 0, 0), (100, "2"): (1, 1, 1), (101, "1"): (1, 0, 0)}
    assert notes(folder) == {"malformed access lines": 1}


def test_counts_and_position_change_together_or_not_at_all(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(folder.access / "000000000001.jsonl", request(1001))
    collector = Collector(folder)
    with monkeypatch.context() as patch:

        def full(*_: object, **__: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        patch.setattr("tidegate.endpoint.store.Store.set_number", full)
        with pytest.raises(sqlite3.OperationalError):
            collector.collect(1002, timeout=1.0, gone=set())
    assert traffic(folder) == {}
    collector.collect(1003, timeout=1.0, gone=set())
    collector.close()
    assert traffic(folder) == {(100, "1"): (1, 0, 0)}


def test_finished_segments_are_deleted_and_never_read_again(folder: Folder) -> None:
    first, second = folder.access / "000000000001.jsonl", folder.access / "000000000002.jsonl"
    append(first, request(1001), request(1002)[:10])
    append(second, request(1003))
    content = first.read_text(encoding="utf-8")
    collect(folder, 1004)
    assert not first.exists()
    first.write_text(content, encoding="utf-8")  # as if the deletion had been interrupted
    collect(folder, 1005)
    assert not first.exists()
    assert traffic(folder) == {(100, "1"): (2, 0, 0)}
    assert notes(folder) == {"malformed access lines": 1}


def test_a_request_logged_after_its_minute_closed_is_a_finding_not_evidence(folder: Folder) -> None:
    log = folder.access / "000000000001.jsonl"
    append(log, request(1001))
    collect(folder, 1020)
    append(log, request(1002), request(1019))
    collect(folder, 1021)
    assert traffic(folder) == {(100, "1"): (1, 0, 0), (101, "1"): (1, 0, 0)}
    assert notes(folder) == {"requests after their minute": 1}


def strata(folder: Folder) -> dict[tuple[int, int, str], tuple[int, int, float, float]]:
    with Reader(folder.store) as store:
        return store.strata(LABELS, 0, 10**9, 10**9)


def test_labels_and_answers_join_whichever_comes_first(folder: Folder) -> None:
    answers = folder.answers / "v-2" / "01.jsonl"
    append(folder.labels, '{"id": "early", "label": 1}\n')
    collect(folder, 1000)
    append(
        answers, '{"id": "early", "t": 1004, "p": 0.5}\n', '{"id": "late", "t": 1005, "p": 0.5}\n'
    )
    collect(folder, 1010)
    append(
        folder.labels, '{"id": "late", "label": 0, "at": 1030}\n', '{"id": "early", "label": 0}\n'
    )
    append(answers, '{"id": "late", "t": 1009, "p": 0.9}\n')  # the first answer counts as well
    collect(folder, 1045)
    assert strata(folder) == {
        (100, 50, "2"): (1, 0, 0.25, 0.0625),
        (100, 51, "2"): (1, 1, 0.25, 0.0625),
    }
    assert notes(folder) == {"duplicate labels": 1, "answers with an id that was there": 1}


def test_a_label_dated_into_a_closed_bucket_lands_in_the_open_one(folder: Folder) -> None:
    append(folder.answers / "v-2" / "01.jsonl", '{"id": "x", "t": 1004, "p": 0.5}\n')
    collect(folder, 1070)
    append(folder.labels, '{"id": "x", "label": 0, "at": 1006}\n')
    collect(folder, 1071)
    assert list(strata(folder)) == [(100, 53, "2")]


def test_a_replaced_label_file_is_read_from_its_start(folder: Folder) -> None:
    append(folder.answers / "v-2" / "01.jsonl", '{"id": "x", "t": 1004, "p": 0.5}\n')
    append(folder.labels, '{"id": "other", "label": 0}\n')
    collect(folder, 1010)
    folder.labels.unlink()
    append(folder.labels, '{"id": "x", "label": 0}\n')
    collect(folder, 1011)
    assert len(strata(folder)) == 1


def test_the_answers_of_a_variant_that_is_gone_are_read_to_the_end_and_deleted(
    folder: Folder,
) -> None:
    answers = folder.answers / "v-2" / "01.jsonl"
    append(answers, '{"id": "x", "t": 1004, "p": 0.5}\n', '{"seen": 4, "filled": {"a": 3}}\n')
    collect(folder, 1010, gone={"2"})
    assert not answers.parent.exists()
    with Reader(folder.store) as store:
        assert store.fills("2") == {"a": (4, 3)}
