"""Custom jobs: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.customJobs"""

from __future__ import annotations

import itertools
import signal
import time
from typing import TYPE_CHECKING, Any

from tests.gcp import behaviour
from tests.gcp.clock import stamp
from tests.gcp.containers import Container, command_line, environment
from tests.gcp.labels import check_labels
from tests.gcp.listing import matching
from tests.gcp.routing import method, missing, page, refuse, shown

if TYPE_CHECKING:
    from tests.gcp.cloud import Cloud
    from tests.gcp.routing import Request, Row

_SERVICE = "aiplatform.projects.locations.customJobs"
_ENDED = {"JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED"}
_PREEMPTIONS = 6  # times that a job on spot machines is started again
_ids = itertools.count(3_000_000_000_000_000_001)
_inserts = itertools.count(1)


@method(f"{_SERVICE}.create")
def _create(cloud: Cloud, request: Request) -> Any:
    check_labels(request.body)
    pools = request.body["jobSpec"]["workerPoolSpecs"]
    if len(pools) != 1 or "containerSpec" not in pools[0]:
        raise refuse("UNIMPLEMENTED", "The stand-in runs one pool, with a container.")
    if not pools[0].get("machineSpec", {}).get("machineType"):
        raise refuse("INVALID_ARGUMENT", "machine_spec.machine_type is required.")
    now = stamp(cloud.clock.time())
    output = {"name", "state", "createTime", "updateTime", "startTime", "endTime", "error"}
    row: Row = {key: value for key, value in request.body.items() if key not in output}
    row |= {
        "name": f"{request.name}/{next(_ids)}",
        "state": "JOB_STATE_PENDING",
        "createTime": now,
        "updateTime": now,
        "_due": time.monotonic() + cloud.speed,
        "_starts": 0,
    }
    cloud.state.jobs[row["name"]] = row
    return shown(row)


@method(f"{_SERVICE}.get")
def _get(cloud: Cloud, request: Request) -> Any:
    return shown(_row(cloud, request.name))


def _row(cloud: Cloud, name: str) -> Row:
    if name not in cloud.state.jobs:
        raise missing(name)
    return cloud.state.jobs[name]


@method(f"{_SERVICE}.list")
def _list(cloud: Cloud, request: Request) -> Any:
    rows = [shown(row) for row in reversed(cloud.state.jobs.values())]
    return page(request, "customJobs", matching(rows, request.one("filter")), 100, 1000)


@method(f"{_SERVICE}.cancel")
def _cancel(cloud: Cloud, request: Request) -> Any:
    row = _row(cloud, request.name)
    if row["state"] in _ENDED:
        raise refuse("FAILED_PRECONDITION", f"{request.name} has ended: {row['state']}.")
    _become(cloud, row, "JOB_STATE_CANCELLING")
    row["_due"] = time.monotonic() + cloud.speed
    return {}


@method(f"{_SERVICE}.delete")
def _delete(cloud: Cloud, request: Request) -> Any:
    if _row(cloud, request.name)["state"] not in _ENDED:
        raise refuse("FAILED_PRECONDITION", f"{request.name} has not ended.")

    def finish() -> tuple[str, Row]:
        del cloud.state.jobs[request.name]
        return "", {}

    return cloud.operations.start(request.name, "deleteCustomJob", finish)


# --- while nobody asks --------------------------------------------------------------------------


def settle_jobs(cloud: Cloud) -> None:
    """Start, watch and end what is due."""
    for row in list(cloud.state.jobs.values()):
        if row["state"] == "JOB_STATE_PENDING" and time.monotonic() >= row["_due"]:
            _start(cloud, row)
        elif row["state"] == "JOB_STATE_RUNNING":
            _watch(cloud, row)
        elif row["state"] == "JOB_STATE_CANCELLING" and time.monotonic() >= row["_due"]:
            behaviour.apply("job-cancelled")
            _stop(cloud, row)
            _end(cloud, row, "JOB_STATE_CANCELLED", 1, "The job was cancelled.")


def _start(cloud: Cloud, row: Row) -> None:
    pool = row["jobSpec"]["workerPoolSpecs"][0]
    spec = pool["containerSpec"]
    job = row["name"].rpartition("/")[2]
    own = {
        "CLOUD_ML_JOB_ID": job,
        "CLOUD_ML_PROJECT_ID": cloud.project,
        "AIP_MODE": "TRAINING",
        "AIP_PROJECT_NUMBER": cloud.number,
    }
    base = (row["jobSpec"].get("baseOutputDirectory") or {}).get("outputUriPrefix", "").rstrip("/")
    if base:
        behaviour.apply("job-environment")
        folders = {
            "MODEL_DIR": "model",
            "CHECKPOINT_DIR": "checkpoints",
            "TENSORBOARD_LOG_DIR": "logs",
        }
        own |= {f"AIP_{key}": f"{base}/{folder}/" for key, folder in folders.items()}
    row["_starts"] += 1
    home = cloud.folder / "jobs" / job / str(row["_starts"])  # nothing stays on a machine's disk
    variables = environment(cloud.url, home, own, spec.get("env", []))
    image = cloud.images.get(spec["imageUri"], ())
    argv = command_line(spec.get("command", []), spec.get("args", []), image, variables)

    def said(line: str) -> None:
        behaviour.apply("job-logs")
        cloud.state.entries.append(entry(cloud, job, line, "INFO"))

    cloud.containers[row["name"]] = Container(argv, variables, home, said)
    row["_deadline"] = time.monotonic() + _seconds(row) / cloud.clock.scale
    row.setdefault("startTime", stamp(cloud.clock.time()))
    _become(cloud, row, "JOB_STATE_RUNNING")


def _seconds(row: Row) -> float:
    """Return how long the job may run, in seconds of the clock; by default seven days."""
    text = (row["jobSpec"].get("scheduling") or {}).get("timeout", "604800s")
    return float(text.removesuffix("s"))


def _watch(cloud: Cloud, row: Row) -> None:
    container = cloud.containers[row["name"]]
    status = container.ended
    if container.failure:
        _end(cloud, row, "JOB_STATE_FAILED", 3, container.failure)
    elif status is None and time.monotonic() >= row["_deadline"]:
        behaviour.apply("job-timeout")
        _stop(cloud, row)
        _end(cloud, row, "JOB_STATE_FAILED", 4, "The job ran longer than its timeout.")
    elif status == 0:
        container.drained()
        _end(cloud, row, "JOB_STATE_SUCCEEDED")
    elif status is not None:
        container.drained()
        behaviour.apply("job-failed")
        said = f"The replica workerpool0-0 exited with a non-zero status of {status}."
        _end(cloud, row, "JOB_STATE_FAILED", 3, said)


def _stop(cloud: Cloud, row: Row) -> None:
    if container := cloud.containers.get(row["name"]):
        container.stop(signal.SIGKILL)


def _end(cloud: Cloud, row: Row, state: str, code: int = 0, message: str = "") -> None:
    _become(cloud, row, state)
    row["endTime"] = row["updateTime"]
    cloud.containers.pop(row["name"], None)
    if code:
        row["error"] = {"code": code, "message": message}


def _become(cloud: Cloud, row: Row, state: str) -> None:
    row |= {"state": state, "updateTime": stamp(cloud.clock.time())}


def preempt(cloud: Cloud, job: str) -> None:
    """Take the machine of a running job away; on spot machines it is started again."""
    name = job if "/" in job else cloud.name_of("customJobs", job)
    with cloud.lock:
        row = _row(cloud, cloud.canonical(name))
        assert row["state"] == "JOB_STATE_RUNNING", row["state"]
        spot = (row["jobSpec"].get("scheduling") or {}).get("strategy") == "SPOT"
        assert spot, "only a job on spot machines can be preempted"
        behaviour.apply("job-spot")
        _stop(cloud, row)
        if row["_starts"] > _PREEMPTIONS:
            _end(cloud, row, "JOB_STATE_FAILED", 14, "The job was preempted too often.")
        else:
            row["_due"] = time.monotonic() + cloud.speed
            _become(cloud, row, "JOB_STATE_PENDING")


def entry(cloud: Cloud, job: str, message: str, severity: str) -> Row:
    """Return an entry of Cloud Logging, as the training service writes it."""
    now = stamp(cloud.clock.time())
    labels = {"job_id": job, "project_id": cloud.project, "task_name": "workerpool0-0"}
    return {
        "insertId": f"loopback{next(_inserts):08}",
        "logName": f"projects/{cloud.project}/logs/workerpool0-0",
        "resource": {"type": "ml_job", "labels": labels},
        "timestamp": now,
        "receiveTimestamp": now,
        "severity": severity,
        "jsonPayload": {"message": message, "levelname": severity},
    }
