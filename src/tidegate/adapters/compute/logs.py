"""The lines that a training job writes, as Amazon's and Google's logs give them: each line once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tidegate.adapters.cloud.aws import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tidegate.adapters.cloud.aws import Aws
    from tidegate.adapters.cloud.google import Google

_GROUP = "/aws/sagemaker/TrainingJobs"
_LOGGING = "https://logging.googleapis.com/v2/entries:list"
_OVERLAP = timedelta(seconds=60)  # log entries may arrive out of order


class CloudWatchLines:
    """The new lines of an attempt's streams; a spot job that was interrupted has several.

    https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_GetLogEvents.html
    https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_DescribeLogStreams.html
    """

    def __init__(self, aws: Aws, attempt: str) -> None:
        self._aws = aws
        self._prefix = f"{attempt}/"
        self._tokens: dict[str, str] = {}

    def lines(self) -> Iterator[str]:
        """Yield what has come since the last call."""
        try:
            streams = list(
                self._aws.pages(
                    "logs", "describe_log_streams", "logStreams",
                    logGroupName=_GROUP, logStreamNamePrefix=self._prefix,
                )
            )  # fmt: skip
        except AwsError as error:
            if error.code == "ResourceNotFoundException":  # nobody has written anything yet
                return
            raise
        for stream in sorted(streams, key=lambda one: one.get("creationTime", 0)):
            yield from self._new(stream["logStreamName"])

    def _new(self, stream: str) -> Iterator[str]:
        while True:
            token = self._tokens.get(stream)
            further: dict[str, Any] = {"nextToken": token} if token else {}
            page = self._aws.call(
                "logs", "get_log_events", logGroupName=_GROUP, logStreamName=stream,
                startFromHead=True, **further,
            )  # fmt: skip
            for event in page.get("events", ()):
                yield str(event.get("message", "")).rstrip("\n")
            following = page.get("nextForwardToken")
            if following:
                self._tokens[stream] = following
            if following is None or following == token:
                return


class CloudLoggingLines:
    """The new lines of a job's containers, by when they were written.

    ``identity`` returns the number by which Google's log knows the job, or raises OutsideError.
    https://cloud.google.com/logging/docs/reference/v2/rest/v2/entries/list
    """

    def __init__(self, google: Google, project: str, identity: Callable[[], str]) -> None:
        self._google = google
        self._project = project
        self._identity = identity
        self._id = ""
        self._since: datetime | None = None
        self._seen: set[str] = set()

    def lines(self) -> Iterator[str]:
        """Yield what has come since the last call; what came late, too."""
        if not self._id:
            self._id = self._identity()
        wanted = [
            'resource.type="ml_job"',
            f'resource.labels.job_id="{self._id}"',
        ]
        if self._since is not None:
            wanted.append(f'timestamp>="{(self._since - _OVERLAP).strftime("%Y-%m-%dT%H:%M:%SZ")}"')
        for entry in self._entries(" AND ".join(wanted)):
            if entry.get("insertId", "") in self._seen:
                continue
            self._seen.add(entry.get("insertId", ""))
            if "timestamp" in entry:
                at = time_of(entry["timestamp"])
                self._since = at if self._since is None else max(self._since, at)
            text = (entry.get("jsonPayload") or {}).get("message") or entry.get("textPayload") or ""
            yield from str(text).rstrip("\n").split("\n")

    def _entries(self, wanted: str) -> Iterator[dict[str, Any]]:
        """Yield the log's entries that a filter keeps, oldest first."""
        token = None
        while True:
            page = self._google.post(
                _LOGGING,
                {
                    "resourceNames": [f"projects/{self._project}"],
                    "filter": wanted,
                    "orderBy": "timestamp asc",
                    "pageSize": 1000,
                    **({"pageToken": token} if token else {}),
                },
                repeat=True,
            )
            yield from page.get("entries") or ()
            token = page.get("nextPageToken")
            if not token:
                return


def time_of(text: str) -> datetime:
    """Return a time of Google's, which may have nanoseconds."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    micro = int((fraction + "000000")[:6])
    return datetime.fromisoformat(whole).replace(microsecond=micro, tzinfo=UTC)
