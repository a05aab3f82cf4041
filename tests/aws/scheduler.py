"""EventBridge Scheduler: one-time schedules whose universal target is really called.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-universal.html and
https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateSchedule.html
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from tests.aws.routing import OPERATIONS, RefusedError, Row, invalid, operation, paged
from tests.aws.validation import constraint_problems, service_model, shape_problems

if TYPE_CHECKING:
    from tests.aws.cloud import Cloud

PRECISION = 60.0  # seconds after its time within which a schedule is invoked
UNIVERSAL = re.compile(r"arn:aws:scheduler:::aws-sdk:([a-z0-9-]+):([A-Za-z0-9]+)")
AT = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)")
READS = (
    "get", "describe", "list", "poll", "receive", "search", "scan", "query", "select", "read",
    "lookup", "discover", "validate", "batchGet", "batchDescribe", "batchRead", "transactGet",
    "adminGet", "adminList", "testMigration", "retrieve", "testConnection", "translateDocument",
    "isAuthorized", "invokeModel",
)  # fmt: skip


@dataclass
class Schedule:
    name: str
    arn: str
    request: Row
    created: datetime
    modified: datetime
    at: float  # its time, epoch seconds of the stand-in's clock
    try_at: float  # when the target is called (next)
    attempts: int = 0
    done: bool = False


class Schedules:
    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.items: dict[str, Schedule] = {}
        self.fired: list[Row] = []  # what became of each: name, time, error, attempts
        self.tokens: dict[str, Row] = {}

    def due(self, request: Row) -> tuple[float, float]:
        """Return a schedule's time, and when it will be invoked."""
        found = AT.fullmatch(request["ScheduleExpression"])
        if found is None:
            raise invalid(f"Invalid Schedule Expression {request['ScheduleExpression']}.")
        try:
            zone = ZoneInfo(request.get("ScheduleExpressionTimezone", "UTC"))
            at = datetime.fromisoformat(found[1]).replace(tzinfo=zone).timestamp()
        except (ValueError, KeyError):
            raise invalid(f"Invalid Schedule Expression {found[0]}.") from None
        window = request["FlexibleTimeWindow"]
        late = self._cloud.schedule_lateness
        if late is None:
            late = self._cloud.dice.random() * PRECISION
        if window["Mode"] == "FLEXIBLE":
            late += self._cloud.dice.random() * 60 * window["MaximumWindowInMinutes"]
        return at, at + late

    def tick(self) -> None:
        now = self._cloud.now()
        for schedule in list(self.items.values()):
            if schedule.done or schedule.try_at > now:
                continue
            if schedule.request.get("State", "ENABLED") == "ENABLED":
                self._fire(schedule, now)

    def _fire(self, schedule: Schedule, now: float) -> None:
        schedule.attempts += 1
        error = self._invoke(schedule.request["Target"])
        policy = schedule.request["Target"].get("RetryPolicy", {})
        oldest = policy.get("MaximumEventAgeInSeconds", 86_400)
        if (
            error is not None
            and schedule.attempts <= policy.get("MaximumRetryAttempts", 185)
            and now - schedule.at < oldest
        ):
            schedule.try_at = now + min(2.0**schedule.attempts, 60.0)
            return
        self.fired.append(
            {"name": schedule.name, "time": now, "error": error, "attempts": schedule.attempts}
        )
        schedule.done = True
        if schedule.request.get("ActionAfterCompletion", "NONE") == "DELETE":
            self.items.pop(schedule.name, None)

    def _invoke(self, target: Row) -> str | None:
        """Call the target; return why that failed, or None."""
        found = UNIVERSAL.fullmatch(target["Arn"])
        assert found is not None
        service, name = found[1], operation_name(found[1], found[2])
        try:
            params = json.loads(target.get("Input", "{}"))
        except ValueError:
            return "the input is not JSON"
        shape = service_model(service).operation_model(name).input_shape
        problems = [*shape_problems(shape, params), *constraint_problems(shape, params)]
        if problems:
            return "; ".join(problems)
        try:
            OPERATIONS[service, name].handle(self._cloud, params)
        except RefusedError as refused:
            return str(refused)
        return None


def operation_name(service: str, action: str) -> str:
    """Return the operation that an action in camelCase names."""
    name = action[:1].upper() + action[1:]
    if action[:1].isupper() or name not in _names(service):
        raise invalid(f"Invalid target: the API action {action} of {service} is not known.")
    if action.startswith(READS):
        raise invalid(f"Invalid target: {action} is a read-only API action.")
    if (service, name) not in OPERATIONS:
        raise invalid(f"{service} {name} is not in the stand-in.")
    return name


def _names(service: str) -> Any:
    try:
        return service_model(service).operation_names
    except Exception:  # noqa: BLE001 - botocore's UnknownServiceError
        raise invalid(f"Invalid target: the service {service} is not known.") from None


def _checked(cloud: Cloud, params: Row) -> tuple[float, float]:
    target = UNIVERSAL.fullmatch(params["Target"]["Arn"])
    if target is None:
        raise invalid("Only universal targets are in the stand-in: arn:aws:scheduler:::aws-sdk:...")
    operation_name(target[1], target[2])
    if params.get("GroupName", "default") != "default":
        raise RefusedError(
            "ResourceNotFoundException", "Schedule group does not exist.", status=404
        )
    window = params["FlexibleTimeWindow"]
    if (window["Mode"] == "FLEXIBLE") != ("MaximumWindowInMinutes" in window):
        raise invalid("MaximumWindowInMinutes belongs to a FLEXIBLE window, and is required there.")
    return cloud.schedules.due(params)


def _the_schedule(cloud: Cloud, params: Row) -> Schedule:
    found = cloud.schedules.items.get(params["Name"])
    if found is None:
        raise RefusedError(
            "ResourceNotFoundException", f"Schedule {params['Name']} does not exist.", status=404
        )
    return found


@operation("scheduler", "CreateSchedule")
def create_schedule(cloud: Cloud, params: Row) -> Row:
    name = params["Name"]
    if (token := params.get("ClientToken")) in cloud.schedules.tokens:
        return cloud.schedules.tokens[str(token)]
    if name in cloud.schedules.items:
        raise RefusedError("ConflictException", f"Schedule {name} already exists.", status=409)
    at, try_at = _checked(cloud, params)
    now = cloud.time.date()
    arn = cloud.arn("schedule", f"default/{name}", service="scheduler")
    cloud.schedules.items[name] = Schedule(name, arn, _kept(params), now, now, at, try_at)
    answer = {"ScheduleArn": arn}
    if token is not None:
        cloud.schedules.tokens[token] = answer
    return answer


def _kept(params: Row) -> Row:
    return {key: value for key, value in params.items() if key not in {"ClientToken", "Name"}}


@operation("scheduler", "UpdateSchedule")
def update_schedule(cloud: Cloud, params: Row) -> Row:
    schedule = _the_schedule(cloud, params)
    schedule.at, schedule.try_at = _checked(cloud, params)
    schedule.request, schedule.modified = _kept(params), cloud.time.date()
    schedule.attempts, schedule.done = 0, False
    return {"ScheduleArn": schedule.arn}


@operation("scheduler", "GetSchedule")
def get_schedule(cloud: Cloud, params: Row) -> Row:
    schedule = _the_schedule(cloud, params)
    return {
        "State": "ENABLED",
        "ScheduleExpressionTimezone": "UTC",
        "ActionAfterCompletion": "NONE",
        **schedule.request,
        "Name": schedule.name,
        "Arn": schedule.arn,
        "GroupName": "default",
        "CreationDate": schedule.created,
        "LastModificationDate": schedule.modified,
    }


@operation("scheduler", "DeleteSchedule")
def delete_schedule(cloud: Cloud, params: Row) -> Row:
    schedule = _the_schedule(cloud, params)
    del cloud.schedules.items[schedule.name]
    return {}


@operation("scheduler", "ListSchedules")
def list_schedules(cloud: Cloud, params: Row) -> Row:
    rows = [
        {
            "Name": one.name,
            "Arn": one.arn,
            "GroupName": "default",
            "State": one.request.get("State", "ENABLED"),
            "CreationDate": one.created,
            "LastModificationDate": one.modified,
            "Target": {"Arn": one.request["Target"]["Arn"]},
        }
        for name, one in sorted(cloud.schedules.items.items())
        if name.startswith(params.get("NamePrefix", ""))
        and params.get("State", one.request.get("State", "ENABLED"))
        == one.request.get("State", "ENABLED")
    ]
    return paged(rows, params, "Schedules")
