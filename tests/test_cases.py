"""What travels between jobs: written and read back as it was, and nothing else is read."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tidegate.cases import (
    ANSWERS,
    CASE,
    INPUT,
    SCORED,
    Case,
    Reference,
    Scored,
    read_case,
    read_scored,
    save_case,
    save_scored,
)
from tidegate.core.model import Task
from tidegate.digests import file_digest
from tidegate.errors import NotJudgedError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

ROWS, MODEL = 3, "1" * 64
HUGE = "9" * 400


@pytest.fixture
def case(tmp_path: Path) -> Case:
    (tmp_path / INPUT).write_bytes(b"rows")
    return Case(
        model="churn", task=Task.BINARY, id="row id", folder="models/churn", commit="c" * 40, base="b" * 40,
        input=file_digest(tmp_path / INPUT), holdout="2" * 64, hidden=("data/holdout.parquet",), predict="python 'predict.py'", timeout=30.5,
        timed=True, champion=Reference(version="7", digest="3" * 64, size_mb=0.25), anchor=None,
    )  # fmt: skip


@pytest.fixture
def scored(case: Case) -> Scored:
    answers = np.array([0.1, 5e-324, -0.0])
    return Scored(
        role="candidate", model=MODEL, input=case.input, answers=answers, columns=("x", "é"),
        latency_ms=(1.5, 2.0),
    )  # fmt: skip


def same(one: Scored, other: Scored) -> bool:
    empty = np.empty(0)
    answers = one.answers.tobytes() == other.answers.tobytes()
    return answers and repr(replace(one, answers=empty)) == repr(replace(other, answers=empty))


def test_a_case_is_read_back_as_it_was_written(tmp_path: Path, case: Case) -> None:
    for wanted in (case, replace(case, base=None, champion=None, predict=None)):
        digest = save_case(tmp_path, wanted)
        assert read_case(tmp_path, digest) == read_case(tmp_path) == wanted
    assert list(replace(case, anchor=case.champion).references) == ["champion", "anchor"]
    assert list(case.references) == ["champion"]


def test_answers_are_read_back_bit_for_bit(tmp_path: Path, case: Case, scored: Scored) -> None:
    for wanted in (scored, replace(scored, columns=None, latency_ms=None)):
        save_scored(tmp_path / "s", wanted)
        assert same(read_scored(tmp_path / "s", "candidate", MODEL, case, ROWS), wanted)


def test_answers_that_are_no_numbers_are_read_as_such_and_left_to_the_gate(
    tmp_path: Path, case: Case, scored: Scored
) -> None:
    answers = np.array([np.nan, np.inf, -np.inf])
    save_scored(tmp_path / "s", replace(scored, answers=answers))
    found = read_scored(tmp_path / "s", "candidate", MODEL, case, ROWS).answers
    assert np.array_equal(found, answers, equal_nan=True)


@pytest.mark.parametrize("digest", ["0" * 64, "", "x"])
def test_another_case_than_the_one_asked_for_is_refused(
    tmp_path: Path, case: Case, digest: str
) -> None:
    save_case(tmp_path, case)
    with pytest.raises(NotJudgedError, match="is not what the prepare job wrote"):
        read_case(tmp_path, digest)


def test_other_rows_than_the_cases_are_refused(tmp_path: Path, case: Case) -> None:
    digest = save_case(tmp_path, case)
    (tmp_path / INPUT).write_bytes(b"other")
    with pytest.raises(NotJudgedError, match="holds other rows"):
        read_case(tmp_path, digest)
    (tmp_path / INPUT).unlink()
    with pytest.raises(NotJudgedError, match="is missing"):
        read_case(tmp_path, digest)


BAD_TEXTS: dict[str, bytes] = {
    "empty": b"",
    "cut": b'{"version": 1,',
    "list": b"[]",
    "null": b"null",
    "text": b'"x"',
    "not UTF-8": b"\xff\xfe{}",
    "deep": b"[" * 200_000,
    "deep objects": b'{"a":' * 200_000,
    "large": b" " * 17_000_000,
    "other version": b'{"version": 2}',
}


@pytest.mark.parametrize("what", BAD_TEXTS)
def test_what_is_no_document_is_not_judged(
    tmp_path: Path, case: Case, scored: Scored, what: str
) -> None:
    (tmp_path / CASE).write_bytes(BAD_TEXTS[what])
    with pytest.raises(NotJudgedError):
        read_case(tmp_path)
    save_scored(tmp_path / "s", scored)
    (tmp_path / "s" / SCORED).write_bytes(BAD_TEXTS[what])
    with pytest.raises(NotJudgedError):
        read_scored(tmp_path / "s", "candidate", MODEL, case, ROWS)


BAD_CASES: list[dict[str, Any]] = [
    {"task": "survival"}, {"model": "../x"}, {"model": "A"}, {"commit": "main"}, {"base": "HEAD^1"},
    {"timeout": 0}, {"timeout": "30"}, {"timed": 1}, {"input": "x"}, {"champion": {}}, {"champion": []},
    {"champion": {"version": "1", "digest": "3" * 64, "size_mb": -1}}, {"more": 1}, {"id": ""},
]  # fmt: skip


@pytest.mark.parametrize("change", BAD_CASES, ids=str)
def test_a_case_that_the_schema_does_not_allow_is_not_judged(
    tmp_path: Path, case: Case, change: dict[str, Any]
) -> None:
    save_case(tmp_path, case)
    data = json.loads((tmp_path / CASE).read_text()) | change
    (tmp_path / CASE).write_text(json.dumps(data))
    with pytest.raises(NotJudgedError):
        read_case(tmp_path)


BAD_SCORED = [
    '"role": "anchor"', '"role": "judge"', '"model": "' + "9" * 64 + '"', '"input": "' + "9" * 64 + '"',
    '"rows": 2', '"rows": 4', '"rows": 3.5', '"rows": null', '"rows": -3', f'"rows": {HUGE}',
    '"latency_ms": [NaN]', '"latency_ms": [Infinity]', '"latency_ms": [-1]', '"latency_ms": [1e999]',
    f'"latency_ms": [{HUGE}]', '"latency_ms": ["1"]', '"latency_ms": {}', '"columns": [1]',
    '"columns": "x"', '"trusted": true',
]  # fmt: skip


@pytest.mark.parametrize("change", BAD_SCORED, ids=lambda change: change[:40])
def test_answers_said_to_be_something_else_are_not_judged(
    tmp_path: Path, case: Case, scored: Scored, change: str
) -> None:
    save_scored(tmp_path, scored)
    text = (tmp_path / SCORED).read_text().rstrip()
    (tmp_path / SCORED).write_text(f"{text[:-1]}, {change}}}")  # of two, the last one counts
    with pytest.raises(NotJudgedError):
        read_scored(tmp_path, "candidate", MODEL, case, ROWS)


@pytest.mark.parametrize("size", [0, 1, 16, 23, 25, 32])
def test_not_one_answer_for_each_row_is_not_judged(
    tmp_path: Path, case: Case, scored: Scored, size: int
) -> None:
    save_scored(tmp_path, scored)
    (tmp_path / ANSWERS).write_bytes(bytes(size))
    with pytest.raises(NotJudgedError, match="are not 3 answers"):
        read_scored(tmp_path, "candidate", MODEL, case, ROWS)
    (tmp_path / ANSWERS).unlink()
    with pytest.raises(NotJudgedError, match="are not 3 answers"):
        read_scored(tmp_path, "candidate", MODEL, case, ROWS)


def multiclass(case: Case) -> Case:
    return replace(case, task=Task.MULTICLASS, classes=("a", "b", "c"))


def with_width(case: Case, answers: npt.NDArray[np.float64]) -> Scored:
    return Scored(
        role="candidate", model="1" * 64, input=case.input, answers=answers, columns=None,
        latency_ms=None,
    )  # fmt: skip


def test_classes_and_lists_of_answers_travel_as_they_are(tmp_path: Path, case: Case) -> None:
    wide = multiclass(case)
    save_case(tmp_path, wide)
    assert read_case(tmp_path).classes == ("a", "b", "c")
    answers = np.arange(12.0).reshape(4, 3)
    save_scored(tmp_path, with_width(wide, answers))
    assert (tmp_path / "answers.f64").read_bytes() == answers.tobytes()
    found = read_scored(tmp_path, "candidate", "1" * 64, wide, 4)
    assert found.answers.tolist() == answers.tolist()


def test_answers_of_another_width_than_the_task_has_are_not_taken(
    tmp_path: Path, case: Case
) -> None:
    wide = multiclass(case)
    for wanted, answers in [
        (wide, np.zeros((4, 2))),
        (wide, np.zeros(4)),
        (case, np.zeros((4, 3))),
        (replace(case, task=Task.RANKING), np.zeros((4, 3))),
    ]:
        save_scored(tmp_path, with_width(wanted, answers))
        with pytest.raises(NotJudgedError, match="numbers a row, expected"):
            read_scored(tmp_path, "candidate", "1" * 64, wanted, 4)
    save_scored(tmp_path, with_width(wide, np.zeros((4, 3))))
    (tmp_path / "answers.f64").write_bytes(bytes(8 * 11))
    with pytest.raises(NotJudgedError, match="88 bytes are not 4 answers of 3 numbers"):
        read_scored(tmp_path, "candidate", "1" * 64, wide, 4)


def test_a_case_with_one_class_twice_is_not_judged(tmp_path: Path, case: Case) -> None:
    save_case(tmp_path, replace(case, task=Task.MULTICLASS, classes=("a", "a")))
    with pytest.raises(NotJudgedError, match="one class twice"):
        read_case(tmp_path)
