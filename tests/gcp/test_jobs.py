"""Custom jobs: their containers run, their output is logged."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.gcp.rows import shows

if TYPE_CHECKING:
    from tests.gcp.client import Client, Row
    from tests.gcp.cloud import Cloud

pytestmark = pytest.mark.real

# What a training job does: fetch a token, then write its model where it is told to.
TRAIN = """
import json, os, urllib.request
host = os.environ["GCE_METADATA_HOST"]
ask = urllib.request.Request(
    f"http://{host}/computeMetadata/v1/instance/service-accounts/default/token",
    headers={"Metadata-Flavor": "Google"})
token = json.load(urllib.request.urlopen(ask))["access_token"]
bucket, _, folder = os.environ["AIP_MODEL_DIR"].removeprefix("gs://").partition("/")
print("training", os.environ["ROUNDS"], "rounds")
url = (f"{os.environ['STORAGE_EMULATOR_HOST']}/upload/storage/v1/b/{bucket}/o"
       f"?uploadType=media&name={folder}model.bin")
put = urllib.request.Request(url, b"trained", {"Authorization": f"Bearer {token}"})
print(json.load(urllib.request.urlopen(put))["name"])
"""


def started(client: Client, code: str, **scheduling: Any) -> Row:
    spec = {
        "imageUri": "europe-docker.pkg.dev/acme/training/python:1",
        "command": ["python3", "-c", code],
        "env": [{"name": "ROUNDS", "value": "7"}],
    }
    pool = {
        "machineSpec": {"machineType": "n1-standard-4"},
        "replicaCount": "1",
        "containerSpec": spec,
    }
    body = {
        "displayName": "churn",
        "labels": {"tidegate-run": "1"},
        "jobSpec": {
            "workerPoolSpecs": [pool],
            "baseOutputDirectory": {"outputUriPrefix": "gs://acme-models/runs/1"},
            "scheduling": scheduling,
        },
    }
    return client.did("POST", f"{client.vertex}/customJobs", body)


def until(client: Client, job: Row, *states: str) -> Row:
    host = f"https://{client.cloud.region}-aiplatform.googleapis.com/v1"
    for _ in range(800):
        row = client.did("GET", f"{host}/{job['name']}")
        if row["state"].removeprefix("JOB_STATE_") in states:
            return row
        time.sleep(0.01)
    raise AssertionError(row)


def logged(client: Client, job: Row) -> list[str]:
    number = job["name"].rpartition("/")[2]
    body = {
        "resourceNames": [f"projects/{client.cloud.project}"],
        "filter": f'resource.type="ml_job" AND resource.labels.job_id="{number}"'
        ' AND timestamp>="2020-01-01T00:00:00Z" AND severity>=INFO',
        "orderBy": "timestamp asc",
    }
    found = client.did("POST", "https://logging.googleapis.com/v2/entries:list", body)
    return [entry["jsonPayload"]["message"] for entry in found.get("entries", [])]


@shows("job-environment", "job-logs", "log-filter")
def test_a_job_writes_its_model_and_its_log(cloud: Cloud, client: Client) -> None:
    job = started(client, TRAIN)
    assert job["state"] == "JOB_STATE_PENDING"
    done = until(client, job, "SUCCEEDED", "FAILED")
    assert done["state"] == "JOB_STATE_SUCCEEDED", logged(client, job)
    assert done["startTime"] <= done["endTime"]
    assert cloud.state.buckets["acme-models"]["runs/1/model/model.bin"].data == b"trained"
    assert logged(client, job) == ["training 7 rounds", "runs/1/model/model.bin"]
    listed = client.did("GET", f"{client.vertex}/customJobs", filter="labels.tidegate-run=1")
    assert [one["name"] for one in listed["customJobs"]] == [job["name"]]


@shows("job-failed")
def test_a_job_that_ends_badly_has_failed(client: Client) -> None:
    job = started(client, "raise SystemExit(3)")
    done = until(client, job, "SUCCEEDED", "FAILED")
    assert done["error"]["message"].endswith("a non-zero status of 3.")


@shows("job-cancelled")
def test_a_cancelled_job_ends_some_time_later(cloud: Cloud, client: Client) -> None:
    job = started(client, "import time; time.sleep(60)")
    until(client, job, "RUNNING")
    cloud.speed = 0.3
    host = f"https://{cloud.region}-aiplatform.googleapis.com/v1"
    client.did("POST", f"{host}/{job['name']}:cancel", {})
    assert until(client, job, "CANCELLING", "CANCELLED")["state"] == "JOB_STATE_CANCELLING"
    assert until(client, job, "CANCELLED")["error"]["code"] == 1


@shows("job-spot")
def test_a_preempted_job_is_started_again(cloud: Cloud, client: Client) -> None:
    code = """
import os, time
print("began", flush=True)
time.sleep(60)
"""
    job = started(client, code, strategy="SPOT")
    for expected in (1, 2):
        until(client, job, "RUNNING")
        for _ in range(300):
            if len(logged(client, job)) == expected:
                break
            time.sleep(0.01)
        assert logged(client, job) == ["began"] * expected
        cloud.preempt(job["name"])


@shows("job-timeout")
def test_a_job_is_ended_at_its_timeout(client: Client) -> None:
    job = started(client, "import time; time.sleep(60)", timeout="0.2s")
    assert until(client, job, "FAILED", "SUCCEEDED")["error"]["code"] == 4
