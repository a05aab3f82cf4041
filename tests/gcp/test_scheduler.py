"""Cloud Scheduler: it really sends its requests."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.gcp.client import Client
from tests.gcp.clock import parse, stamp
from tests.gcp.cron import schedule
from tests.gcp.rows import shows
from tests.gcp.server import serve

if TYPE_CHECKING:
    from tests.gcp.client import Row
    from tests.gcp.cloud import Cloud

pytestmark = pytest.mark.real


def jobs(cloud: Cloud) -> str:
    place = f"projects/{cloud.project}/locations/{cloud.region}"
    return f"https://cloudscheduler.googleapis.com/v1/{place}/jobs"


def job(cloud: Cloud, endpoint: str, split: dict[str, int], **fields: Any) -> Row:
    when = time.gmtime(cloud.clock.time() + 120)
    target = {
        "uri": f"{endpoint}?updateMask=trafficSplit",
        "httpMethod": "PATCH",
        "headers": {"Content-Type": "application/json"},
        "body": base64.b64encode(json.dumps({"trafficSplit": split}).encode()).decode(),
        "oauthToken": {"serviceAccountEmail": "dead-man@acme-ml.iam.gserviceaccount.com"},
    }
    return {
        "name": f"{jobs(cloud).partition('/v1/')[2]}/churn-dead-man",
        "schedule": f"{when.tm_min} {when.tm_hour} {when.tm_mday} {when.tm_mon} *",
        "timeZone": "Etc/UTC",
        "httpTarget": target,
        **fields,
    }


def until(cloud: Cloud, client: Client, key: str = "lastAttemptTime") -> Row:
    for _ in range(500):
        row = client.did("GET", f"{jobs(cloud)}/churn-dead-man")
        if key in row and (key != "lastAttemptTime" or "status" in row):
            return row
        time.sleep(0.01)
    raise AssertionError(row)


def two(client: Client) -> str:
    address, model = client.endpoint(), client.model("m")
    client.deployed(address, model, "1", _0=100)
    client.deployed(address, model, "2", _0=10, _1=90)
    return address


@shows("cron", "fires")
def test_at_its_minute_the_request_is_sent(cloud: Cloud, client: Client) -> None:
    address = two(client)
    made = client.did("POST", jobs(cloud), job(cloud, address, {"1": 100}))
    assert made["state"] == "ENABLED"
    assert 0 < parse(made["scheduleTime"]) - cloud.clock.time() <= 120
    assert client.did("GET", address)["trafficSplit"] == {"2": 10, "1": 90}
    cloud.advance(121)
    row = until(cloud, client)
    assert row["status"] == {}
    assert client.did("GET", address)["trafficSplit"] == {"1": 100}
    assert cloud.calls[-1].method.endswith("endpoints.get")
    sent = [call for call in cloud.calls if call.principal.startswith("dead-man@")]
    assert [call.method for call in sent] == ["aiplatform.projects.locations.endpoints.patch"]


def test_on_a_fast_clock_a_minute_comes_soon() -> None:
    with serve(time_scale=600) as cloud:
        client = Client(cloud)
        address = two(client)
        client.did("POST", jobs(cloud), job(cloud, address, {"1": 100}, schedule="* * * * *"))
        assert until(cloud, client)["status"] == {}
        assert client.did("GET", address)["trafficSplit"] == {"1": 100}


@shows("retries")
def test_a_failed_attempt_is_repeated(cloud: Cloud, client: Client) -> None:
    address = two(client)
    retry = {"retryCount": 2, "minBackoffDuration": "5s"}
    client.did("POST", jobs(cloud), job(cloud, address, {"1": 100}, retryConfig=retry))
    cloud.fail_next("*.endpoints.patch", status=503)
    cloud.advance(121)
    row = until(cloud, client)
    assert row["status"]["code"] == 14
    assert parse(row["scheduleTime"]) < cloud.clock.time() + 6
    cloud.advance(6)
    for _ in range(500):
        if client.did("GET", address)["trafficSplit"] == {"1": 100}:
            return
        time.sleep(0.01)
    raise AssertionError("it was not sent again")


@shows("json-content")
def test_a_job_without_a_content_type_is_refused_by_vertex(cloud: Cloud, client: Client) -> None:
    address = two(client)
    body = job(cloud, address, {"1": 100})
    del body["httpTarget"]["headers"]
    client.did("POST", jobs(cloud), body)
    cloud.advance(121)
    assert until(cloud, client)["status"]["code"] == 3
    assert client.did("GET", address)["trafficSplit"] == {"2": 10, "1": 90}
    assert cloud.violations
    cloud.violations.clear()


@shows("paused")
def test_a_paused_job_waits(cloud: Cloud, client: Client) -> None:
    address = two(client)
    client.did("POST", jobs(cloud), job(cloud, address, {"1": 100}, schedule="* * * * *"))
    client.did("POST", f"{jobs(cloud)}/churn-dead-man:pause", {})
    cloud.advance(300)
    time.sleep(0.1)
    assert "lastAttemptTime" not in client.did("GET", f"{jobs(cloud)}/churn-dead-man")
    client.did("POST", f"{jobs(cloud)}/churn-dead-man:resume", {})
    cloud.advance(61)
    until(cloud, client)


@shows("job-exists", "update-mask")
def test_a_job_is_armed_again_by_a_patch(cloud: Cloud, client: Client) -> None:
    address = two(client)
    body = job(cloud, address, {"1": 100})
    client.did("POST", jobs(cloud), body)
    assert client.refused("POST", jobs(cloud), body) == (409, "ALREADY_EXISTS")
    later = time.gmtime(cloud.clock.time() + 600)
    when = f"{later.tm_min} {later.tm_hour} {later.tm_mday} {later.tm_mon} *"
    moved = client.did(
        "PATCH", f"{jobs(cloud)}/churn-dead-man", {"schedule": when}, updateMask="schedule"
    )
    assert moved["httpTarget"]["httpMethod"] == "PATCH"
    cloud.advance(200)
    time.sleep(0.1)
    assert "lastAttemptTime" not in client.did("GET", f"{jobs(cloud)}/churn-dead-man")
    assert len(client.did("GET", jobs(cloud))["jobs"]) == 1
    client.did("DELETE", f"{jobs(cloud)}/churn-dead-man")
    assert client.refused("GET", f"{jobs(cloud)}/churn-dead-man") == (404, "NOT_FOUND")


@shows("cron")
def test_a_schedule_that_is_none_is_refused(cloud: Cloud, client: Client) -> None:
    for fields in ({"schedule": "61 * * * *"}, {"timeZone": "Europe/Nowhere"}):
        body = job(cloud, "https://x.googleapis.com/y", {}, **fields)
        assert client.refused("POST", jobs(cloud), body) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("text", "zone", "after", "then"),
    [
        ("*/15 * * * *", "UTC", "2026-01-01T00:00:00Z", "2026-01-01T00:15:00Z"),
        ("0 6 * * mon-fri", "utc", "2026-01-02T06:00:00Z", "2026-01-05T06:00:00Z"),
        ("30 2 29 2 *", "Etc/UTC", "2026-01-01T00:00:00Z", "2028-02-29T02:30:00Z"),
        ("0 0 13 * 5", "UTC", "2026-01-03T00:00:00Z", "2026-01-09T00:00:00Z"),
        ("0 9 * * *", "Europe/Berlin", "2026-07-01T00:00:00Z", "2026-07-01T07:00:00Z"),
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z"),
    ],
)
def test_unix_cron(text: str, zone: str, after: str, then: str) -> None:
    assert stamp(schedule(text, zone).after(parse(after))) == stamp(parse(then))
