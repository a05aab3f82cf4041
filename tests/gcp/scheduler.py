"""Cloud Scheduler: https://cloud.google.com/scheduler/docs/reference/rest/v1/projects.locations.jobs"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.gcp import behaviour
from tests.gcp.clock import stamp
from tests.gcp.cron import schedule
from tests.gcp.masks import masked
from tests.gcp.routing import method, missing, page, refuse, shown

if TYPE_CHECKING:
    from tests.gcp.cloud import Cloud
    from tests.gcp.routing import Request, Row

_SERVICE = "cloudscheduler.projects.locations.jobs"
_OUTPUT = frozenset(
    {"name", "state", "scheduleTime", "lastAttemptTime", "status", "userUpdateTime"}
)
_WITH_BODY = {"POST", "PUT", "PATCH"}


@method(f"{_SERVICE}.create")
def _create(cloud: Cloud, request: Request) -> Any:
    name = request.body.get("name") or f"{request.name}/job-{len(cloud.state.schedules)}"
    parent, _, last = name.rpartition("/")
    if parent != request.name or not re.fullmatch(r"[A-Za-z0-9_-]{1,500}", last):
        raise refuse("INVALID_ARGUMENT", f"Job name must be under {request.name}: {name!r}")
    if name in cloud.state.schedules:
        raise refuse("ALREADY_EXISTS", f"Job {name} already exists.", rule="job-exists")
    row: Row = {key: value for key, value in request.body.items() if key not in _OUTPUT}
    row |= {"name": name, "state": "ENABLED"}
    cloud.state.schedules[name] = _planned(cloud, row)
    return shown(cloud.state.schedules[name])


def _planned(cloud: Cloud, row: Row) -> Row:
    """Return a job that was checked, with its defaults and its next time."""
    if not row.get("schedule"):
        raise refuse("INVALID_ARGUMENT", "schedule is required.")
    target = row.get("httpTarget")
    if target is None:
        raise refuse("UNIMPLEMENTED", "The stand-in knows HTTP targets only.")
    if not re.match(r"https?://[^/]+", target.get("uri", "")):
        raise refuse("INVALID_ARGUMENT", "httpTarget.uri must be an address.")
    target.setdefault("httpMethod", "POST")
    if "body" in target and target["httpMethod"] not in _WITH_BODY:
        raise refuse("INVALID_ARGUMENT", f"{target['httpMethod']} takes no body.")
    row.setdefault("timeZone", "Etc/UTC")
    now = cloud.clock.time()
    behaviour.apply("cron")
    try:
        row["_next"] = schedule(row["schedule"], row["timeZone"]).after(now)
    except ValueError as error:
        raise refuse("INVALID_ARGUMENT", f"Schedule or time zone is invalid: {error}") from error
    row |= {
        "_tries": 0,
        "_running": False,
        "userUpdateTime": stamp(now),
        "scheduleTime": stamp(row["_next"]),
    }
    return row


def _row(cloud: Cloud, request: Request) -> Row:
    if request.name not in cloud.state.schedules:
        raise missing(request.name)
    return cloud.state.schedules[request.name]


@method(f"{_SERVICE}.get")
def _get(cloud: Cloud, request: Request) -> Any:
    return shown(_row(cloud, request))


@method(f"{_SERVICE}.list")
def _list(cloud: Cloud, request: Request) -> Any:
    rows = [shown(row) for name, row in sorted(cloud.state.schedules.items())]
    rows = [row for row in rows if row["name"].startswith(f"{request.name}/")]
    return page(request, "jobs", rows, 500, 500)


@method(f"{_SERVICE}.patch")
def _patch(cloud: Cloud, request: Request) -> Any:
    row = _row(cloud, request)
    mask = request.one("updateMask") or ",".join(request.body.keys() - _OUTPUT)
    changed = masked(row, request.body, mask, ignored=_OUTPUT)
    cloud.state.schedules[request.name] = _planned(cloud, changed)
    return shown(cloud.state.schedules[request.name])


@method(f"{_SERVICE}.delete")
def _delete(cloud: Cloud, request: Request) -> Any:
    del cloud.state.schedules[_row(cloud, request)["name"]]
    return {}


@method(f"{_SERVICE}.pause")
def _pause(cloud: Cloud, request: Request) -> Any:
    row = _row(cloud, request)
    if row["state"] != "ENABLED":
        raise refuse("FAILED_PRECONDITION", f"The job is {row['state']}.")
    row["state"] = "PAUSED"
    return shown(row)


@method(f"{_SERVICE}.resume")
def _resume(cloud: Cloud, request: Request) -> Any:
    row = _row(cloud, request)
    if row["state"] != "PAUSED":
        raise refuse("FAILED_PRECONDITION", f"The job is {row['state']}.")
    row["state"] = "ENABLED"
    return shown(_planned(cloud, row))


@method(f"{_SERVICE}.run")
def _run(cloud: Cloud, request: Request) -> Any:
    row = _row(cloud, request)
    row["_forced"] = True
    return shown(row)
