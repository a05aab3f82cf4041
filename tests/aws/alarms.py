"""CloudWatch alarms, evaluated once a minute of the stand-in's clock on what can be read by then.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from tests.aws.cloud import Cloud
    from tests.aws.routing import Row

COMPARED = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}


@dataclass
class Alarm:
    name: str
    request: Row
    updated: datetime
    state: str = "INSUFFICIENT_DATA"
    reason: str = "Unchecked: Initial alarm creation"
    changed: datetime | None = None
    evaluated: int = 0  # the minute (epoch) of the last evaluation


class Alarms:
    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.items: dict[str, Alarm] = {}

    def is_on(self, name: str) -> bool:
        return name in self.items and self.items[name].state == "ALARM"

    def tick(self) -> None:
        minute = int(self._cloud.now() // 60)
        for alarm in self.items.values():
            if alarm.evaluated < minute:
                alarm.evaluated = minute
                state = self._evaluate(alarm.request, alarm.state)
                if state != alarm.state:
                    self.set(alarm, state, "Threshold evaluated")

    def set(self, alarm: Alarm, state: str, reason: str) -> None:
        alarm.state, alarm.reason, alarm.changed = state, reason, self._cloud.time.date()

    def _evaluate(self, request: Row, current: str) -> str:
        period, number = request["Period"], request["EvaluationPeriods"]
        # As late as the data is: CloudWatch waits for it, too.
        end = (self._cloud.now() - self._cloud.metrics_delay) // period * period
        points = dict(
            self._cloud.metrics.points(
                request["Namespace"],
                request["MetricName"],
                {one["Name"]: one["Value"] for one in request.get("Dimensions", [])},
                request.get("Statistic") or request["ExtendedStatistic"],
                period=period,
                start=end - number * period,
                end=end,
            )
        )
        compare = COMPARED[request["ComparisonOperator"]]
        missing = request.get("TreatMissingData", "missing")
        if not points and missing == "missing":
            return "INSUFFICIENT_DATA"
        if not points and missing == "ignore":
            return current
        breaching = sum(compare(value, request["Threshold"]) for value in points.values())
        if missing == "breaching":
            breaching += number - len(points)
        return "ALARM" if breaching >= request.get("DatapointsToAlarm", number) else "OK"
