"""The dead-man's switch of a SageMaker endpoint: a one-time schedule that calls the weights API.

EventBridge Scheduler calls UpdateEndpointWeightsAndCapacities as a universal target
(https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-universal.html), within a
minute after its time. It tries again while the endpoint is busy, for an hour: longer, and an old
call could still arrive in a later step.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tidegate.adapters.cloud.aws import AwsError
from tidegate.adapters.target.sagemaker_names import role_arn, variant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tidegate.adapters.cloud.aws import Aws
    from tidegate.adapters.target.sagemaker_names import Names

RETRIED = 3600  # seconds for which a busy endpoint is tried again
_ATTEMPTS = 185  # the most there are
_SOONEST = 60.0  # seconds from now: a time that has passed is never reached
_MOVED = 60.0  # seconds; a smaller move is not written
_AT = re.compile(r"at\((.+)\)")
_GENERATION = re.compile(r"generation (\d+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """The switch as it is set. ``at`` in epoch seconds; ``weights`` by variant."""

    at: float
    generation: int
    weights: Mapping[str, float]
    enabled: bool

    def fallback(self) -> dict[str, float]:
        """Return the traffic that it makes, by version."""
        total = sum(self.weights.values())
        return {
            name.removeprefix("v"): weight / total
            for name, weight in self.weights.items()
            if weight > 0
        }


@dataclass(frozen=True, slots=True)
class Switch:
    """Reads, sets and deletes the schedule. ``role`` is a name or an ARN."""

    aws: Aws
    names: Names
    role: str
    clock: Callable[[], float]

    def read(self) -> Schedule | None:
        """Return the switch; None where none is set.

        https://docs.aws.amazon.com/scheduler/latest/APIReference/API_GetSchedule.html
        """
        try:
            row = self.aws.call("scheduler", "get_schedule", Name=self.names.schedule)
        except AwsError as error:
            if error.code != "ResourceNotFoundException":
                raise
            return None
        return _parsed(row)

    def set(
        self,
        present: Schedule | None,
        until: float,
        fallback: Mapping[str, float],
        variants: Iterable[str],
        generation: int,
    ) -> None:
        """Let the variants' weights become ``fallback`` at ``until``; every other one gets 0.

        Nothing is written where the switch is set so already, give or take a minute.

        https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateSchedule.html
        https://docs.aws.amazon.com/scheduler/latest/APIReference/API_UpdateSchedule.html
        """
        now = self.clock()
        at = max(until, now + _SOONEST)
        weights = dict.fromkeys(variants, 0.0)
        weights |= {variant(version): share for version, share in fallback.items()}
        if (
            present is not None
            and present.enabled
            and present.weights == weights
            and abs(present.at - at) < _MOVED
            and present.at > now
        ):
            return
        request = self._request(at, weights, generation)
        if present is None:
            try:
                self.aws.call("scheduler", "create_schedule", repeat=True, **request)
            except AwsError as error:
                if (
                    error.code != "ConflictException"
                ):  # made by an answer that got lost, or just now
                    raise
            else:
                return
        self.aws.call("scheduler", "update_schedule", repeat=True, **request)

    def delete(self) -> None:
        """Disarm; nothing there is fine.

        https://docs.aws.amazon.com/scheduler/latest/APIReference/API_DeleteSchedule.html
        """
        try:
            self.aws.call("scheduler", "delete_schedule", repeat=True, Name=self.names.schedule)
        except AwsError as error:
            if error.code != "ResourceNotFoundException":
                raise

    def _request(self, at: float, weights: Mapping[str, float], generation: int) -> dict[str, Any]:
        partition, account = self.aws.partition, self.aws.account
        wanted = [
            {"VariantName": name, "DesiredWeight": weight}
            for name, weight in sorted(weights.items())
        ]
        call = {
            "EndpointName": self.names.endpoint,
            "DesiredWeightsAndCapacities": wanted,  # no instance counts: autoscaling has set them
        }
        when = datetime.fromtimestamp(int(at + 0.999), UTC)
        return {
            "Name": self.names.schedule,
            "Description": f"Tidegate: shuts the gate of {self.names.endpoint} when nobody ticks any "
            f"more; generation {generation}",
            "ScheduleExpression": f"at({when:%Y-%m-%dT%H:%M:%S})",
            "ScheduleExpressionTimezone": "UTC",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "State": "ENABLED",
            "ActionAfterCompletion": "NONE",  # that it stands there still says that it fired
            "Target": {
                "Arn": f"arn:{partition}:scheduler:::aws-sdk:sagemaker:"
                "updateEndpointWeightsAndCapacities",
                "RoleArn": role_arn(self.role, partition=partition, account=account),
                "Input": json.dumps(call, sort_keys=True),
                "RetryPolicy": {
                    "MaximumEventAgeInSeconds": RETRIED,
                    "MaximumRetryAttempts": _ATTEMPTS,
                },
            },
        }


def _parsed(row: Mapping[str, Any]) -> Schedule:
    """Return what a schedule says; one that we would not have written says as little as it can."""
    found = _AT.fullmatch(str(row.get("ScheduleExpression", "")))
    generation = _GENERATION.search(str(row.get("Description", "")))
    try:
        at = datetime.fromisoformat(found[1]).replace(tzinfo=UTC).timestamp() if found else 0.0
        wanted = json.loads(row["Target"]["Input"])["DesiredWeightsAndCapacities"]
        weights = {str(one["VariantName"]): float(one["DesiredWeight"]) for one in wanted}
    except (KeyError, TypeError, ValueError):
        at, weights = 0.0, {}
    return Schedule(
        at=at,
        generation=int(generation[1]) if generation else 0,
        weights=weights,
        enabled=row.get("State") == "ENABLED",
    )
