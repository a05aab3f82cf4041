"""Log lines become records, or nothing."""

from __future__ import annotations

import pytest

from tidegate.endpoint import lines
from tidegate.endpoint.joining import Answer, Label

LINE = b'{"flags":"-","id":"a","ms":%d,"route":%b,"status":%b,"t":"1795395732.922","variant":%b}'


@pytest.mark.parametrize(
    ("status", "error"),
    [(200, False), (404, False), (499, False), (500, True), (504, True), (0, True)],
)
def test_an_access_line_says_when_who_and_how(status: int, error: bool) -> None:
    line = LINE % (250, b'"invocations"', str(status).encode(), b'"v-a%2Fb"')
    request = lines.access(line)
    assert request == lines.Access(1795395732.922, "a/b", status, 0.25)
    assert request.error is error


def test_no_status_at_all_is_an_error() -> None:
    request = lines.access(LINE % (9, b'"invocations"', b"null", b'"v-1"'))
    assert isinstance(request, lines.Access)
    assert request.error


@pytest.mark.parametrize(
    ("route", "variant"), [(b'"other"', b'"v-1"'), (b'"invocations"', b"null")]
)
def test_health_checks_and_requests_nobody_got_count_for_nothing(
    route: bytes, variant: bytes
) -> None:
    assert isinstance(lines.access(LINE % (1, route, b"200", variant)), lines.Ignored)


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[]", b'{"route": "invocations"}', b"\xff\xfe", b'{"t": 1}', LINE[:40]],
)
def test_half_a_line_is_malformed(line: bytes) -> None:
    assert lines.access(line) is None
    assert lines.answer(line, "1") is None
    assert lines.label(line, 9.0) is None


def test_answers_and_fills_are_told_apart() -> None:
    assert lines.answer(b'{"id": "x", "t": 5.5, "p": 0.25}', "7") == Answer("x", 5.5, "7", 0.25)
    fills = lines.answer(b'{"seen": 3, "filled": {"a": 2}}', "7")
    assert fills == lines.Fills(3, {"a": 2})


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"id": 12, "label": true}', Label("12", 1.0, None, 9.0)),
        (b'{"id": "x", "label": 2.5, "at": 4}', Label("x", 2.5, 4.0, 9.0)),
        (b'{"id": "x", "label": "yes"}', Label("x", "yes", None, 9.0)),
        (b'{"id": "x", "label": ""}', None),
        (b'{"id": "x", "label": ["yes"]}', None),
        (b'{"id": "x", "label": NaN}', None),
        (b'{"id": null, "label": 1}', None),
        (b'{"id": "x", "label": 1, "at": "now"}', None),
    ],
)
def test_a_label_needs_an_id_and_a_number(line: bytes, expected: Label | None) -> None:
    assert lines.label(line, 9.0) == expected


@pytest.mark.parametrize(("at", "arrival"), [(None, 20.0), (15.0, 15.0), (5.0, 20.0), (25.0, 20.0)])
def test_a_sender_may_date_a_label_between_the_answer_and_now(
    at: float | None, arrival: float
) -> None:
    assert Label("x", 1.0, at, 20.0).arrival(10.0) == arrival


def test_a_label_before_its_answer_arrives_with_the_answer() -> None:
    assert Label("x", 1.0, None, 20.0).arrival(22.0) == 22.0
