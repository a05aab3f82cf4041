"""CloudWatch Logs, as far as training jobs and containers need it.

https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_GetLogEvents.html,
API_DescribeLogStreams.html, API_FilterLogEvents.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.aws.routing import RefusedError, Row, operation, paged

if TYPE_CHECKING:
    from tests.aws.cloud import Cloud


class Logs:
    """Lines by (group, stream): (milliseconds, text)."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.lines: dict[tuple[str, str], list[tuple[int, str]]] = {}

    def write(self, group: str, stream: str, text: str) -> None:
        at = int(self._cloud.now() * 1000)
        self.lines.setdefault((group, stream), []).append((at, text))

    def streams(self, group: str) -> list[str]:
        found = [stream for known, stream in self.lines if known == group]
        if not found:
            raise RefusedError(
                "ResourceNotFoundException", "The specified log group does not exist."
            )
        return sorted(found)

    def arn(self, group: str, stream: str) -> str:
        where = f"{self._cloud.region}:{self._cloud.account}"
        return f"arn:aws:logs:{where}:log-group:{group}:log-stream:{stream}"


def _renamed(answer: Row) -> Row:
    """Return a page with its token as this service spells it."""
    return {"nextToken" if key == "NextToken" else key: value for key, value in answer.items()}


@operation("logs", "DescribeLogStreams")
def describe_streams(cloud: Cloud, params: Row) -> Row:
    group = params["logGroupName"]
    rows = []
    for stream in cloud.logs.streams(group):
        if not stream.startswith(params.get("logStreamNamePrefix", "")):
            continue
        lines = cloud.logs.lines[group, stream]
        rows.append(
            {
                "logStreamName": stream,
                "creationTime": lines[0][0],
                "firstEventTimestamp": lines[0][0],
                "lastEventTimestamp": lines[-1][0],
                "lastIngestionTime": lines[-1][0],
                "arn": cloud.logs.arn(group, stream),
            }
        )
    asked = {"NextToken": params.get("nextToken"), "MaxResults": params.get("limit", 50)}
    answer = paged(rows, asked, "logStreams")
    return _renamed(answer)


@operation("logs", "GetLogEvents")
def get_events(cloud: Cloud, params: Row) -> Row:
    key = (params["logGroupName"], params["logStreamName"])
    if key not in cloud.logs.lines:
        raise RefusedError("ResourceNotFoundException", "The specified log stream does not exist.")
    low, high = params.get("startTime", 0), params.get("endTime", 1 << 62)
    lines = [line for line in cloud.logs.lines[key] if low <= line[0] < high]
    limit = params.get("limit", 10_000)
    token = params.get("nextToken")
    if token is not None:
        place = int(token[2:])
        start = place if token[0] == "f" else max(0, place - limit)
        end = min(start + limit, len(lines)) if token[0] == "f" else place
    elif params.get("startFromHead"):
        start, end = 0, min(limit, len(lines))
    else:
        start, end = max(0, len(lines) - limit), len(lines)
    return {
        "events": [
            {"timestamp": at, "message": text, "ingestionTime": at} for at, text in lines[start:end]
        ],
        # The same token again says that there is nothing further.
        "nextForwardToken": f"f/{end:056d}",
        "nextBackwardToken": f"b/{start:056d}",
    }


@operation("logs", "FilterLogEvents")
def filter_events(cloud: Cloud, params: Row) -> Row:
    group = params["logGroupName"]
    if params.get("filterPattern"):
        raise RefusedError("InvalidParameterException", "filterPattern is not in the stand-in.")
    low, high = params.get("startTime", 0), params.get("endTime", 1 << 62)
    named = params.get("logStreamNames")
    rows: list[Row] = [
        {"logStreamName": stream, "timestamp": at, "message": text, "ingestionTime": at,
         "eventId": f"{at}-{index}"}
        for stream in cloud.logs.streams(group)
        if (named is None or stream in named)
        and stream.startswith(params.get("logStreamNamePrefix", ""))
        for index, (at, text) in enumerate(cloud.logs.lines[group, stream])
        if low <= at <= high
    ]  # fmt: skip
    rows.sort(key=lambda row: row["timestamp"])
    asked = {"NextToken": params.get("nextToken"), "MaxResults": params.get("limit", 10_000)}
    answer = paged(rows, asked, "events")
    return _renamed(answer)


@operation("logs", "DeleteLogGroup")
def delete_group(cloud: Cloud, params: Row) -> Row:
    """https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_DeleteLogGroup.html"""
    group = params["logGroupName"]
    for stream in cloud.logs.streams(group):
        del cloud.logs.lines[group, stream]
    return {}
