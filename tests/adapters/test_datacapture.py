"""Captured requests of a SageMaker endpoint: every encoding, every row once, ids as documented."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.adapters.memory_store import MemoryStore
from tests.aws import serve
from tests.aws.kit import BUCKET, Kit
from tidegate.adapters.answers.datacapture import DataCapture
from tidegate.adapters.stores import open_store
from tidegate.ports import Answered

if TYPE_CHECKING:
    from collections.abc import Iterator

AT = datetime(2026, 11, 23, 7, 30, tzinfo=UTC).timestamp()
JSON, CSV = "application/json", "text/csv"


def side(data: str, encoding: str, kind: str) -> dict[str, Any]:
    if encoding == "BASE64":
        data = base64.b64encode(data.encode()).decode()
    return {"observedContentType": kind, "mode": "x", "data": data, "encoding": encoding}


def captured(
    asked: str,
    answered: str,
    *,
    encoding: str = "JSON",
    kind: str = JSON,
    name: str | None = None,
    at: str = "2026-11-23T07:30:00Z",
) -> str:
    about = {"eventId": "x", "inferenceTime": at} | ({"inferenceId": name} if name else {})
    document = {
        "captureData": {
            "endpointInput": side(asked, encoding, kind),
            "endpointOutput": side(answered, encoding, kind),
        },
        "eventMetadata": about,
        "eventVersion": "0",
    }
    return json.dumps(document)


ASKED = json.dumps({"dataframe_split": {"columns": ["x", "y", "row"], "data": [[1, None, "a"]]}})
TWO = json.dumps(
    {"dataframe_split": {"columns": ["x", "y", "row"], "data": [[1, 2, "a"], [3, None, 8]]}}
)
FOLDER = "e/v7/2026/11/23/07"


def store_of(*lines: str, key: str = f"{FOLDER}/30-00-1.jsonl") -> MemoryStore:
    return MemoryStore({key: "".join(f"{line}\n" for line in lines).encode()})


def read(source: DataCapture, since: float = AT - 60, until: float = AT + 60) -> list[Answered]:
    return list(source.answers(["7"], since, until))


def rows(*lines: str, id_column: str | None = None) -> list[Answered]:
    return read(DataCapture(store_of(*lines), "e", id_column=id_column))


def answered(name: str, prediction: float, filled: str = "x", columns: str = "x y row") -> Answered:
    return Answered(
        id=name, at=AT, version="7", prediction=prediction,
        filled=frozenset(filled.split()), columns=frozenset(columns.split()),
    )  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(captured(ASKED, '{"predictions": [0.25]}', name="r"), id="JSON"),
        pytest.param(captured(ASKED, "[0.25]", name="r"), id="a bare list"),
        pytest.param(captured(ASKED, '{"predictions": [0.25]}', encoding="BASE64", name="r"), id="BASE64"),
        pytest.param(captured("x,y,row\n1,,a\n", "0.25\n", encoding="CSV", kind=CSV, name="r"), id="CSV"),
        pytest.param(
            captured("x,y,row\r\n1,,a", "0.25", encoding="BASE64", kind="text/csv; charset=utf-8", name="r"),
            id="CSV as BASE64",
        ),
    ],
)  # fmt: skip
def test_a_row_is_read_in_every_encoding(line: str) -> None:
    assert rows(line) == [answered("r", 0.25, "x row")]


def test_rows_of_one_request_are_named_by_their_index() -> None:
    assert rows(captured(TWO, "[0.25, 0.75]", name="r")) == [
        answered("r/0", 0.25, "x y row"),
        answered("r/1", 0.75, "x row"),
    ]


def test_without_an_inference_id_the_id_column_names_the_row() -> None:
    assert rows(captured(TWO, "[0.25, 0.75]"), id_column="row") == [
        answered("a", 0.25, "x y", "x y"),
        answered("8", 0.75, "x", "x y"),
    ]


def test_the_callers_inference_id_comes_first() -> None:
    (row,) = rows(captured(ASKED, "[0.25]", name="r"), id_column="row")
    assert row.id == "r"


def test_a_row_with_no_name_at_all_still_counts_for_the_skew_check() -> None:
    assert rows(captured(ASKED, "[0.25]")) == [answered("", 0.25, "x row")]


def test_rows_without_column_names_keep_their_answers() -> None:
    plain = captured("1,2\n", "0.25\n", encoding="CSV", kind=CSV, name="r")
    unnamed = captured('{"inputs": [[1, 2]]}', "[0.25]", name="r")
    assert rows(plain, unnamed) == [answered("r", 0.25, "", "")] * 2


MALFORMED = [
    "nonsense",
    "[]",
    "{}",
    captured(ASKED, '{"predictions": [NaN]}'),
    captured(ASKED, '{"predictions": [true]}'),
    captured(ASKED, '{"predictions": ["0.5"]}'),
    captured(ASKED, '{"error": "x"}'),
    captured(ASKED, "[0.25, 0.75]"),
    captured(ASKED, "[0.25]", encoding="PARQUET"),
    captured(ASKED, "[0.25]", at="yesterday"),
    captured(ASKED, "[" * 100_000),
    captured(ASKED, "[0.25]").replace('"data": "', '"data": "*', 1).replace("JSON", "BASE64"),
]


def test_what_cannot_be_read_is_counted_and_left_out() -> None:
    good = captured(ASKED, "[0.25]", name="r")
    source = DataCapture(store_of(*MALFORMED, good), "e")
    assert [row.id for row in read(source)] == ["r"]
    assert source.notes == {"malformed captures": len(MALFORMED)}


def test_our_own_questions_are_nobodys_traffic() -> None:
    answer = json.dumps({"predictions": [0.5]})
    own, theirs = captured(ASKED, answer, name="tidegate-ask"), captured(ASKED, answer, name="r-1")
    assert [row.id for row in rows(own, theirs)] == ["r-1"]


def test_a_request_without_an_answer_is_left_out() -> None:
    document = json.loads(captured(ASKED, "[0.25]"))
    del document["captureData"]["endpointOutput"]
    source = DataCapture(store_of(json.dumps(document)), "e")
    assert read(source) == []
    assert source.notes == {"captures without a request or an answer": 1}


def test_only_what_was_asked_in_time_is_told() -> None:
    moments = ["07:28:59", "07:29:00", "07:30:59", "07:31:00"]
    lines = [captured(ASKED, "[1]", name=one, at=f"2026-11-23T{one}Z") for one in moments]
    assert [row.id for row in rows(*lines)] == ["07:29:00", "07:30:59"]


def test_hours_and_versions_that_were_not_asked_for_are_not_listed() -> None:
    store = store_of(captured(ASKED, "[1]", name="r"), key="e/v7/2026/11/23/08/00-00-1.jsonl")
    assert [row.id for row in read(DataCapture(store, "e"))] == ["r"]  # begun at the hour's end
    assert store.listed == [f"e/v7/2026/11/23/{hour:02}/" for hour in (6, 7, 8)]


def test_a_file_that_is_past_is_not_read_again() -> None:
    store = store_of(captured(ASKED, "[1]", name="r"))
    source = DataCapture(store, "e")
    assert [row.id for row in read(source)] == ["r"]
    assert read(source, AT + 60, AT + 120) == []
    assert len(store.fetched) == 1
    assert [row.id for row in read(source)] == ["r"]
    store.objects[f"{FOLDER}/31-00-1.jsonl"] = captured(
        ASKED, "[1]", name="s", at="2026-11-23T07:31:30Z"
    ).encode()
    assert [row.id for row in read(source, AT + 60, AT + 120)] == ["s"]


# --- through the stand-in -----------------------------------------------------------------------


@pytest.fixture
def kit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kit]:
    with serve() as cloud:
        for name, value in cloud.env.items():
            monkeypatch.setenv(name, value)
        yield Kit(cloud)


@pytest.mark.real
@pytest.mark.parametrize("kinds", [[], [CSV]], ids=["as base64", "as text"])
def test_what_was_asked_of_an_endpoint_is_read_once(kit: Kit, kinds: list[str]) -> None:
    kit.bucket()
    header = {"CaptureContentTypeHeader": {"CsvContentTypes": kinds}} if kinds else {}
    for name, prediction in (("v6", 0.25), ("v7", 0.75)):
        kit.model(name, ANSWER=json.dumps({"predictions": [prediction]}))
    kit.endpoint(
        {"v6": 1, "v7": 1},
        DataCaptureConfig={
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": f"s3://{BUCKET}/captured",
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            **header,
        },
    )
    start = kit.cloud.now() - 1
    expected = {}
    for index in range(20):
        told = kit.invoke(InferenceId=f"row-{index}", Body=b"x,y\n1,\n")
        expected[f"row-{index}"] = told.partition("/")[0].removeprefix("v")
    assert set(expected.values()) == {"6", "7"}
    source = DataCapture(open_store(f"s3://{BUCKET}/captured"), "e")

    def look() -> list[Answered]:
        return list(source.answers(["6", "7"], start, kit.cloud.now() + 1))

    found = kit.until(look, lambda rows: len(rows) >= len(expected))
    assert sorted((row.id, row.version) for row in found) == sorted(expected.items())
    assert {(row.version, row.prediction) for row in found} == {("6", 0.25), ("7", 0.75)}
    assert {(row.filled, row.columns) for row in found} == {
        (frozenset("x"), frozenset("xy")),
    }  # fmt: skip
    assert all(start <= row.at <= kit.cloud.now() for row in found)
    assert source.notes == {}
