"""Logged requests of a Vertex AI endpoint: read by one query, every row once, ids as documented."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.gcp.client import Client
from tests.gcp.server import serve
from tidegate.adapters.answers.requestlog import RequestLog
from tidegate.adapters.cloud.google import connect
from tidegate.errors import ConfigError, OutsideError
from tidegate.ports import Answered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.gcp.cloud import Cloud

TABLE = "bq://acme-ml.logs.churn"
AT = 1_763_880_000.0


# --- what an answer means -----------------------------------------------------------------------


class Scripted:
    """Answers a query with pages."""

    project = "acme-ml"

    def __init__(self, *pages: dict[str, Any]) -> None:
        self.pages = list(pages)
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def post(self, url: str, body: dict[str, Any], **query: Any) -> dict[str, Any]:
        self.asked.append((url, body))
        return self.pages.pop(0)

    def get(self, url: str, **query: Any) -> dict[str, Any]:
        self.asked.append((url, query))
        return self.pages.pop(0)


def log_of(scripted: Scripted, **more: Any) -> RequestLog:
    return RequestLog(
        scripted, TABLE, "e", deployed=lambda version: f"90{version}",  # type: ignore[arg-type]
        sleep=lambda _: None, **more,
    )  # fmt: skip


def row(
    asked: Any, answered: Any, *, at: float = AT, model: str = "907", endpoint: str = "e"
) -> Any:
    def texts(parts: Any) -> list[dict[str, str]]:
        parts = parts if isinstance(parts, list) else [parts]
        return [{"v": part if isinstance(part, str) else json.dumps(part)} for part in parts]

    values = [str(round(at * 1e6)), endpoint, model, texts(asked), texts(answered)]
    return {"f": [{"v": value} for value in values]}


def page(*found: Any, **more: Any) -> dict[str, Any]:
    return {
        "jobComplete": True,
        "jobReference": {"jobId": "j", "location": "EU"},
        "rows": list(found),
        **more,
    }


def read(*pages: dict[str, Any], **more: Any) -> list[Answered]:
    return list(log_of(Scripted(*pages), **more).answers(["7"], AT - 60, AT + 60))


def told(name: str, prediction: float, filled: str = "x", columns: str = "x y") -> Answered:
    return Answered(
        id=name, at=AT, version="7", prediction=prediction,
        filled=frozenset(filled.split()), columns=frozenset(columns.split()),
    )  # fmt: skip


ASKED = {"instances": [{"x": 1, "y": None}, {"x": 2, "y": 3}], "parameters": {"id": "r"}}
ANSWERED = {"predictions": [0.25, 0.75]}


def test_rows_of_one_request_are_named_by_its_id_and_their_index() -> None:
    assert read(page(row(ASKED, ANSWERED))) == [told("r/0", 0.25), told("r/1", 0.75, "x y")]


def test_a_single_row_has_the_requests_id() -> None:
    asked = {"instances": [{"x": 1, "y": None}], "parameters": {"id": "r"}}
    assert read(page(row(asked, {"predictions": [0.25]}))) == [told("r", 0.25)]


def test_payloads_may_be_one_text_for_each_instance() -> None:
    asked = [{"x": 1, "y": None, "row": "a"}, {"x": 2, "y": 3, "row": 7}]
    assert read(page(row(asked, [0.25, 0.75])), id_column="row") == [
        told("a", 0.25),
        told("7", 0.75, "x y"),
    ]
    assert read(page(row(asked[:1], [0.25])), id_column="row") == [told("a", 0.25)]


def test_a_row_with_no_name_at_all_still_counts_for_the_skew_check() -> None:
    assert [
        one.id for one in read(page(row({"instances": [{"x": 1}]}, ANSWERED["predictions"][:1])))
    ] == [""]


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(row("nonsense", ANSWERED), id="no JSON"),
        pytest.param(row(ASKED, {"predictions": [0.25]}), id="fewer answers"),
        pytest.param(row(ASKED, {"error": "x"}), id="an error"),
        pytest.param(row(ASKED, '{"predictions": [NaN, 1]}'), id="nan"),
        pytest.param(row(ASKED, ANSWERED, model="908"), id="another model"),
        pytest.param(row("[" * 100_000, ANSWERED), id="deep"),
    ],
)
def test_what_cannot_be_read_is_counted_and_left_out(odd: Any) -> None:
    source = log_of(Scripted(page(odd, row(ASKED, ANSWERED))))
    assert [one.id for one in source.answers(["7"], AT - 60, AT + 60)] == ["r/0", "r/1"]
    assert source.notes == {"malformed log rows": 1}


def test_other_endpoints_in_the_table_do_not_count() -> None:
    full = "projects/1/locations/r/endpoints/e"
    found = read(page(row(ASKED, ANSWERED, endpoint="f"), row(ASKED, ANSWERED, endpoint=full)))
    assert [one.id for one in found] == ["r/0", "r/1"]


def test_only_what_was_asked_in_time_is_told() -> None:
    found = read(*[page(*(row(ASKED, ANSWERED, at=AT + after) for after in (-61, -60, 59, 60)))])
    assert [one.at - AT for one in found] == [-60, -60, 59, 59]


def test_a_query_that_takes_time_is_waited_for_and_its_pages_followed() -> None:
    scripted = Scripted(
        {"jobComplete": False, "jobReference": {"jobId": "j", "location": "EU"}},
        page(row(ASKED, ANSWERED), pageToken="t"),
        page(row(ASKED, ANSWERED)),
    )
    found = list(log_of(scripted).answers(["7"], AT - 60, AT + 60))
    assert len(found) == 4
    urls = [url.rpartition("/v2/")[2] for url, _ in scripted.asked]
    assert urls == ["projects/acme-ml/queries"] + ["projects/acme-ml/queries/j"] * 2
    assert [asked.get("pageToken") for _, asked in scripted.asked[1:]] == [None, "t"]
    assert {asked["location"] for _, asked in scripted.asked[1:]} == {"EU"}


@pytest.mark.parametrize(
    ("pages", "said"),
    [
        pytest.param([page(errors=[{"message": "too dear"}])], "too dear", id="errors"),
        pytest.param([page(pageToken="t"), page(pageToken="t")], "same page", id="for ever"),
        pytest.param(
            [{"jobComplete": True, "rows": [], "pageToken": "t"}], "without a job", id="no job"
        ),
        pytest.param([page({"f": [{"v": "1"}]})], "1 columns", id="columns"),
    ],
)
def test_an_answer_in_part_is_an_error(pages: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(OutsideError, match=said):
        read(*pages)


def test_what_a_query_may_cost_is_limited_and_values_are_parameters() -> None:
    scripted = Scripted(page())
    list(log_of(scripted, at_most=123).answers(["6", "7'; DROP"], AT, AT + 60))
    ((_, body),) = scripted.asked
    assert body["maximumBytesBilled"] == "123"
    assert "DROP" not in body["query"]
    assert "SELECT *" not in body["query"]
    assert [one["parameterValue"]["value"] for one in body["queryParameters"]][2:] == [
        "906",
        "907'; DROP",
    ]


@pytest.mark.parametrize(
    "table", ["acme.logs.churn", "bq://acme.logs", "bq://a.b.c` WHERE 1=1 --", ""]
)
def test_what_is_no_table_is_refused(table: str) -> None:
    with pytest.raises(ConfigError):
        RequestLog(Scripted(), table, "e", deployed=str)  # type: ignore[arg-type]


# --- through the stand-in -----------------------------------------------------------------------


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with serve() as found:
        for name, value in found.env.items():
            monkeypatch.setenv(name, value)
        logging = {
            "enabled": True, "samplingRate": 1.0, "bigqueryDestination": {"outputUri": TABLE},
        }  # fmt: skip
        Client(found).endpoint("e", predictRequestResponseLoggingConfig=logging)
        yield found


@pytest.mark.real
@pytest.mark.parametrize("items", [False, True], ids=["whole bodies", "one text each"])
def test_what_was_asked_in_time_is_read_once(
    cloud: Cloud, items: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.adapters.answers.requestlog._PAGE", 3)
    cloud.log_items = items
    source = RequestLog(
        connect(cloud.project), TABLE, "e", deployed=lambda version: f"90{version}", id_column="row"
    )
    now = float(int(cloud.clock.time()))  # whole: rows lie on the window's ends
    assert list(source.answers(["6", "7"], now - 100, now)) == []  # no table yet
    assert source.notes == {"no log table": 1}
    for index in range(-2, 12):
        cloud.put_capture(
            "e", "906" if index % 3 else "907", now - 60 + index,
            {"instances": [{"x": 1, "row": f"r{index}"}]}, {"predictions": [index / 10]},
        )  # fmt: skip
    cloud.put_capture("e", "905", now - 55, {"instances": [{"x": 1}]}, {"predictions": [1.0]})
    found = list(source.answers(["6", "7"], now - 60, now - 50))
    assert {(one.id, one.version, one.prediction) for one in found} == {
        (f"r{index}", "6" if index % 3 else "7", index / 10) for index in range(10)
    }
    assert len(found) == 10
    assert all(one.at == pytest.approx(now - 60 + float(one.id[1:]), abs=1e-3) for one in found)
    assert {one.columns for one in found} == {frozenset("x")}


@pytest.mark.real
def test_a_bigquery_that_refuses_is_an_error(cloud: Cloud) -> None:
    cloud.fail_next("bigquery.jobs.query", 1, 403)
    source = RequestLog(connect(cloud.project), TABLE, "e", deployed=str)
    with pytest.raises(OutsideError):
        list(source.answers(["6"], AT, AT + 60))
