"""CloudWatch's operations.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html,
API_PutMetricAlarm.html and their siblings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.aws.alarms import COMPARED, Alarm
from tests.aws.metrics import check_statistic
from tests.aws.routing import RefusedError, Row, operation, paged
from tests.aws.state import day

if TYPE_CHECKING:
    from tests.aws.cloud import Cloud

MOST_QUERIES, MOST_POINTS = 500, 100_800
_SHORT = {1, 5, 10, 20, 30}


def _wrong(message: str) -> RefusedError:
    return RefusedError("ValidationError", message)


def check_period(period: int) -> None:
    if period not in _SHORT and (period < 60 or period % 60):
        raise _wrong(f"The parameter Period must be 1, 5, 10, 20, 30 or a multiple of 60: {period}")


# --- reading ------------------------------------------------------------------------------------


@operation("cloudwatch", "GetMetricData")
def get_metric_data(cloud: Cloud, params: Row) -> Row:
    queries = params["MetricDataQueries"]
    start, end = params["StartTime"].timestamp(), params["EndTime"].timestamp()
    if len(queries) > MOST_QUERIES:
        raise _wrong(
            f"The collection MetricDataQueries must not have a size greater than {MOST_QUERIES}."
        )
    if start >= end:
        raise _wrong("The parameter StartTime must be less than the parameter EndTime.")
    if len({query["Id"] for query in queries}) != len(queries):
        raise _wrong("The values for parameter id in MetricDataQueries must be unique.")
    most = params.get("MaxDatapoints", MOST_POINTS)
    if not 1 <= most <= MOST_POINTS:
        raise _wrong(f"The parameter MaxDatapoints must be between 1 and {MOST_POINTS}.")
    newest_first = params.get("ScanBy", "TimestampDescending") == "TimestampDescending"
    found = []
    for query in queries:
        points = _points(cloud, query, start // 60 * 60, end)
        if query.get("ReturnData", True):
            label = query.get("Label") or query["MetricStat"]["Metric"]["MetricName"]
            found.append((query["Id"], label, points[::-1] if newest_first else points))
    with_token = cloud.metrics.partial.pop(0) if cloud.metrics.partial else None
    if with_token is not None:
        most = max(1, sum(len(points) for _, _, points in found) // 2)
    answer = _page(found, int(params.get("NextToken") or 0), most)
    if with_token is False:
        answer.pop("NextToken", None)
    return answer


def _points(cloud: Cloud, query: Row, start: float, end: float) -> list[tuple[int, float]]:
    if "Expression" in query or "MetricStat" not in query:
        raise _wrong("Expressions are not in the stand-in.")
    asked = query["MetricStat"]
    check_period(asked["Period"])
    check_statistic(asked["Stat"])
    metric = asked["Metric"]
    return cloud.metrics.points(
        metric["Namespace"],
        metric["MetricName"],
        {one["Name"]: one["Value"] for one in metric.get("Dimensions", [])},
        asked["Stat"],
        period=asked["Period"],
        start=start,
        end=end,
    )


def _page(found: list[tuple[str, str, list[tuple[int, float]]]], skip: int, most: int) -> Row:
    """Return the points from ``skip`` on, at most so many; the rest has a token."""
    results, seen, taken = [], 0, 0
    for name, label, points in found:
        first = max(0, skip - seen)
        part = points[first : first + most - taken] if taken < most else []
        seen += len(points)
        taken += len(part)
        whole = first + len(part) >= len(points)
        results.append(
            {
                "Id": name,
                "Label": label,
                "Timestamps": [day(at) for at, _ in part],
                "Values": [float(value) for _, value in part],
                "StatusCode": "Complete" if whole else "PartialData",
            }
        )
    answer: Row = {"MetricDataResults": results, "Messages": []}
    if skip + taken < seen:
        answer["NextToken"] = str(skip + taken)
    return answer


@operation("cloudwatch", "PutMetricData")
def put_metric_data(cloud: Cloud, params: Row) -> Row:
    if params["Namespace"].startswith("AWS/"):
        raise RefusedError(
            "InvalidParameterValue", "The value AWS/ for parameter Namespace is invalid."
        )
    for row in params.get("MetricData", []):
        about = {one["Name"]: one["Value"] for one in row.get("Dimensions", [])}
        at = row["Timestamp"].timestamp() if "Timestamp" in row else cloud.now()
        values = row.get("Values", [row["Value"]] if "Value" in row else [])
        for value, number in zip(values, row.get("Counts", [1.0] * len(values)), strict=True):
            cloud.metrics.add(params["Namespace"], row["MetricName"], about, (at, value, number))
    return {}


# --- alarms -------------------------------------------------------------------------------------


@operation("cloudwatch", "PutMetricAlarm")
def put_metric_alarm(cloud: Cloud, params: Row) -> Row:
    if "MetricName" not in params or "Period" not in params or "Threshold" not in params:
        raise _wrong("Only alarms on one metric with a threshold are in the stand-in.")
    if ("Statistic" in params) == ("ExtendedStatistic" in params):
        raise _wrong("Exactly one of Statistic and ExtendedStatistic must be specified.")
    if params["ComparisonOperator"] not in COMPARED:
        raise _wrong("Anomaly detection is not in the stand-in.")
    check_period(params["Period"])
    if params.get("TreatMissingData", "missing") not in {
        "breaching", "notBreaching", "ignore", "missing",
    }:  # fmt: skip
        raise _wrong(f"The value {params['TreatMissingData']} for TreatMissingData is invalid.")
    if params.get("DatapointsToAlarm", 1) > params["EvaluationPeriods"]:
        raise _wrong("DatapointsToAlarm must not be greater than EvaluationPeriods.")
    old = cloud.alarms.items.get(params["AlarmName"])
    alarm = Alarm(params["AlarmName"], params, cloud.time.date())
    if old is not None:
        alarm.state, alarm.reason, alarm.changed = old.state, old.reason, old.changed
    cloud.alarms.items[alarm.name] = alarm
    return {}


@operation("cloudwatch", "DescribeAlarms")
def describe_alarms(cloud: Cloud, params: Row) -> Row:
    names = params.get("AlarmNames")
    prefix = params.get("AlarmNamePrefix", "")
    rows = []
    for name, alarm in sorted(cloud.alarms.items.items()):
        if (names is not None and name not in names) or not name.startswith(prefix):
            continue
        if params.get("StateValue", alarm.state) != alarm.state:
            continue
        request = {key: value for key, value in alarm.request.items() if key != "Tags"}
        rows.append(
            {
                "ActionsEnabled": True,
                "Dimensions": [],
                **request,
                "AlarmArn": _alarm_arn(cloud, name),
                "AlarmConfigurationUpdatedTimestamp": alarm.updated,
                "StateValue": alarm.state,
                "StateReason": alarm.reason,
                "StateUpdatedTimestamp": alarm.changed or alarm.updated,
            }
        )
    asked = {"NextToken": params.get("NextToken"), "MaxResults": params.get("MaxRecords", 50)}
    return {"CompositeAlarms": [], **paged(rows, asked, "MetricAlarms")}


def _alarm_arn(cloud: Cloud, name: str) -> str:
    return f"arn:aws:cloudwatch:{cloud.region}:{cloud.account}:alarm:{name}"


@operation("cloudwatch", "DeleteAlarms")
def delete_alarms(cloud: Cloud, params: Row) -> Row:
    for name in params["AlarmNames"]:
        cloud.alarms.items.pop(name, None)
    return {}


@operation("cloudwatch", "SetAlarmState")
def set_alarm_state(cloud: Cloud, params: Row) -> Row:
    alarm = cloud.alarms.items.get(params["AlarmName"])
    if alarm is None:
        raise RefusedError("ResourceNotFound", "The named alarm was not found.", status=404)
    cloud.alarms.set(alarm, params["StateValue"], params["StateReason"])
    alarm.evaluated = int(cloud.now() // 60)  # it holds until the next evaluation
    return {}
