"""Request-response logging, read back from BigQuery."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.gcp.clock import stamp
from tests.gcp.rows import shows

if TYPE_CHECKING:
    from tests.gcp.client import Client
    from tests.gcp.cloud import Cloud

pytestmark = pytest.mark.real
HOST = "https://bigquery.googleapis.com/bigquery/v2/projects/acme-ml"
TABLE = f"{HOST}/datasets/logs/tables/churn"
LOGGED: dict[str, Any] = {
    "predictRequestResponseLoggingConfig": {
        "enabled": True,
        "samplingRate": 1.0,
        "bigqueryDestination": {"outputUri": "bq://acme-ml.logs.churn"},
    }
}


@shows("request-logging")
def test_requests_are_logged_some_time_later(cloud: Cloud, client: Client) -> None:
    cloud.log_delay = 120
    address = client.endpoint("churn", **LOGGED)
    client.deployed(address, client.model("m", "one"), "11", _0=100)
    assert client.refused("GET", TABLE) == (404, "NOT_FOUND")
    client.did("POST", f"{address}:predict", {"instances": [{"x": 1}]})
    assert client.did("GET", f"{TABLE}/data")["totalRows"] == "0"
    cloud.advance(121)
    fields = [field["name"] for field in client.did("GET", TABLE)["schema"]["fields"]]
    (row,) = client.did("GET", f"{TABLE}/data")["rows"]
    cells = dict(zip(fields, (cell["v"] for cell in row["f"]), strict=True))
    assert (cells["endpoint"], cells["deployed_model_id"]) == ("churn", "11")
    assert json.loads(cells["request_payload"][0]["v"]) == {"instances": [{"x": 1}]}
    assert json.loads(cells["response_payload"][0]["v"]) == {"predictions": ["one"]}
    assert abs(float(cells["logging_time"]) + 121 - cloud.clock.time()) < 10


@shows("payload-form")
def test_a_payload_may_be_one_text_for_each_instance(cloud: Cloud, client: Client) -> None:
    client.endpoint("churn", **LOGGED)
    cloud.log_items = True
    asked, answered = {"instances": [{"x": 1}, {"x": 2}]}, {"predictions": [0.5, 0.25]}
    cloud.put_capture("churn", "11", cloud.clock.time(), asked, answered)
    (row,) = client.did("GET", f"{TABLE}/data", selectedFields="request_payload,response_payload")[
        "rows"
    ]
    texts = [[cell["v"] for cell in column["v"]] for column in row["f"]]
    assert texts == [['{"x": 1}', '{"x": 2}'], ["0.5", "0.25"]]


@shows("query-parameters")
def test_a_query_takes_a_window_and_gives_pages(cloud: Cloud, client: Client) -> None:
    client.endpoint("churn", **LOGGED)
    start = float(int(cloud.clock.time())) - 1000  # whole: rows lie on the window's ends
    for number in range(5):
        cloud.put_capture("churn", "11", start + number, {"n": number}, {"predictions": [number]})

    def parameter(name: str, kind: str, value: str) -> dict[str, Any]:
        return {"name": name, "parameterType": {"type": kind}, "parameterValue": {"value": value}}

    body = {
        "query": "SELECT logging_time, request_payload FROM `acme-ml.logs.churn`"
        " WHERE logging_time >= @start AND logging_time < @end AND deployed_model_id = @model"
        " ORDER BY logging_time LIMIT 100",
        "useLegacySql": False,
        "parameterMode": "NAMED",
        "queryParameters": [
            parameter("start", "TIMESTAMP", stamp(start + 1)),
            parameter("end", "TIMESTAMP", stamp(start + 4)),
            parameter("model", "STRING", "11"),
        ],
        "formatOptions": {"useInt64Timestamp": True},
        "maxResults": 2,
    }
    first = client.did("POST", f"{HOST}/queries", body)
    job = first["jobReference"]["jobId"]
    rest = client.did("GET", f"{HOST}/queries/{job}", pageToken=first["pageToken"], maxResults=2)
    rows = [row["f"] for page in (first, rest) for row in page["rows"]]
    assert [json.loads(row[1]["v"][0]["v"])["n"] for row in rows] == [1, 2, 3]
    assert abs(int(rows[0][0]["v"]) / 1e6 - start - 1) < 1e-3
    assert first["totalRows"] == "3"
    assert "pageToken" not in rest


def test_without_logging_there_is_no_table(client: Client) -> None:
    address = client.endpoint("churn")
    client.deployed(address, client.model("m", "one"), "11", _0=100)
    client.did("POST", f"{address}:predict", {"instances": [{"x": 1}]})
    assert client.refused("GET", f"{TABLE}/data") == (404, "NOT_FOUND")
