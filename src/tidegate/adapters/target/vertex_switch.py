"""The dead-man's switch: a job of Cloud Scheduler that patches the endpoint's traffic split.

A schedule has minutes and no year: the job is due once, and is moved or deleted long before it
would be due again. What it would do, and for whom, stands in its description.
https://cloud.google.com/scheduler/docs/reference/rest/v1/projects.locations.jobs
https://cloud.google.com/scheduler/docs/configuring/cron-job-schedules
"""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tidegate.adapters.cloud.google_errors import GoogleError
from tidegate.adapters.target import vertex_names as names
from tidegate.adapters.target.vertex_seen import moment
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate.adapters.target.vertex_calls import Calls, Row

MINUTE = 60
_AHEAD = 30.0  # seconds that a job must be away, to be there when its minute comes
_TRIES = 3
_MARK = "tidegate "
_FIELDS = "description,schedule,timeZone,attemptDeadline,retryConfig,httpTarget"


@dataclass(frozen=True, kw_only=True, slots=True)
class Armed:
    """The switch as it stands."""

    generation: int
    split: Mapping[str, int]  # deployed model's id -> per cent
    fires: int = 0  # epoch seconds, a whole minute
    tripped: float | None = None  # an earlier firing that nobody has answered yet
    attempted: float | None = None
    succeeded: bool = False
    enabled: bool = True

    @property
    def threat(self) -> Mapping[str, int]:
        """The split that it may still ask for."""
        over = self.attempted is not None and self.attempted >= self.fires and self.succeeded
        return {} if over else self.split

    def is_like(self, wanted: Armed, fires: int) -> bool:
        """Whether nothing has to be written to have what is wanted."""
        mine = (self.generation, self.fires, dict(self.split), self.tripped)
        return mine == (wanted.generation, fires, dict(wanted.split), wanted.tripped)

    def fired(self, split: Mapping[str, int]) -> float | None:
        """Return when it fired last; None: it has not.

        An attempt whose answer was lost counts where the endpoint has the split it asked for.
        """
        due = self.attempted is not None and self.attempted >= self.fires
        if due and (self.succeeded or dict(split) == dict(self.split)):
            return self.attempted
        return self.tripped


class Switch:
    """The job of one endpoint, acting as the service account ``account``."""

    def __init__(self, calls: Calls, endpoint: str, account: str) -> None:
        self._google = calls.google
        self._jobs = f"https://cloudscheduler.googleapis.com/v1/{calls.parent}/jobs"
        self._name = f"{calls.parent}/jobs/{names.job_id(endpoint)}"
        self._url = f"{self._jobs}/{names.job_id(endpoint)}"
        self._target = calls.url("endpoints", endpoint)
        self._account = account

    def read(self) -> Armed | None:
        """jobs.get; None where it is not armed.

        Raises:
            OutsideError: a job of its name is not ours.
        """
        try:
            row = self._google.get(self._url)
        except GoogleError as error:
            if error.status == 404:
                return None
            raise
        return _armed(row)

    def arm(self, before: Armed | None, wanted: Armed, *, until: float, now: float) -> None:
        """jobs.create or jobs.patch, where it is not armed like this already.

        It fires at the first whole minute from ``until`` on. One that was paused, or could not be
        updated, is made anew (jobs.delete, jobs.create).

        Raises:
            OutsideError: Cloud Scheduler does not put it on that minute.
        """
        for late in range(_TRIES):
            fires = math.ceil(max(until, now + _AHEAD) / MINUTE) * MINUTE + late * MINUTE
            if before is not None and before.enabled and before.is_like(wanted, fires):
                return
            row = self._write(before, self._body(wanted, fires))
            next_time = moment(row.get("scheduleTime"))
            if next_time is None or abs(next_time - fires) < MINUTE:
                return
            before = _armed(row)  # its minute had begun: it would wait for a year
        raise OutsideError(
            f"Cloud Scheduler puts {self._name} at {row.get('scheduleTime')}, not where it was asked.",
            remedy="Compare this machine's clock with the right time.",
        )

    def disarm(self) -> None:
        """jobs.delete; none there is fine."""
        try:
            self._google.delete(self._url)
        except GoogleError as error:
            if error.status != 404:
                raise

    def _write(self, before: Armed | None, body: Row) -> Row:
        if before is not None and not before.enabled:
            self.disarm()
            before = None
        if before is None:
            try:
                return self._google.post(self._jobs, {"name": self._name, **body}, repeat=True)
            except GoogleError as error:
                if error.status != 409:
                    raise
        return self._google.patch(self._url, body, repeat=True, updateMask=_FIELDS)

    def _body(self, wanted: Armed, fires: int) -> Row:
        when = datetime.fromtimestamp(fires, UTC)
        note = {
            "generation": wanted.generation,
            "fires": fires,
            "tripped": wanted.tripped,
        }
        patch = json.dumps({"trafficSplit": dict(wanted.split)}, sort_keys=True).encode()
        return {
            "description": _MARK + json.dumps(note),
            "schedule": f"{when.minute} {when.hour} {when.day} {when.month} *",
            "timeZone": "Etc/UTC",
            "attemptDeadline": "60s",
            "retryConfig": {
                "retryCount": 5,
                "minBackoffDuration": "5s",
                "maxBackoffDuration": "60s",
                "maxDoublings": 3,
            },
            "httpTarget": {
                "uri": f"{self._target}?updateMask=trafficSplit",
                "httpMethod": "PATCH",
                "headers": {"Content-Type": "application/json"},
                "body": base64.b64encode(patch).decode(),
                "oauthToken": {
                    "serviceAccountEmail": self._account,
                    "scope": "https://www.googleapis.com/auth/cloud-platform",
                },
            },
        }


def _armed(row: Row) -> Armed:
    text = str(row.get("description", ""))
    try:
        note = json.loads(text.removeprefix(_MARK))
        body = json.loads(base64.b64decode(row["httpTarget"]["body"]))
        code = (row.get("status") or {}).get("code", 0)
        return Armed(
            generation=int(note["generation"]),
            fires=int(note["fires"]),
            split={key: int(value) for key, value in body["trafficSplit"].items()},
            tripped=note["tripped"],
            attempted=moment(row.get("lastAttemptTime")),
            succeeded=code == 0,
            enabled=row.get("state", "ENABLED") == "ENABLED",
        )
    except (ValueError, KeyError, TypeError) as error:
        raise OutsideError(
            f"{row.get('name')} in Cloud Scheduler is not as Tidegate wrote it: {text[:100]!r}.",
            remedy="Delete that job if it is nobody's; it is made anew.",
        ) from error
