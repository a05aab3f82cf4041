"""What a SageMaker endpoint was asked and answered, from its Data Capture.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
"""

from __future__ import annotations

import base64
import binascii
import json
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.adapters.answers.rows import read_predictions, read_request, rows
from tidegate.adapters.target.sagemaker_names import ASKED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tidegate.ports import Answered, ObjectStore

DELAY = 600.0  # seconds; AWS speaks of a couple of minutes
_HOUR = timedelta(hours=1)
_MOST_BYTES = 1_000_000_000  # of one file
_NOWHERE = (float("-inf"), float("-inf"))


class DataCapture:
    """JSON Lines under ``<endpoint>/v<version>/yyyy/mm/dd/hh/``, of requests with their answers.

    A request's id is the ``InferenceId`` that its caller sent with InvokeEndpoint; see
    :mod:`.rows` for the ids of rows. Capture a share, not all, and answers outside it wait for
    labels in vain; both arms alike.

    Args:
        store: the folder that the endpoint captures to (``DestinationS3Uri``).
        endpoint: its name.
        id_column: the column that names a row, ``data.id``.
        delay: seconds after which a capture is there to be read.
    """

    def __init__(
        self,
        store: ObjectStore,
        endpoint: str,
        *,
        id_column: str | None = None,
        delay: float = DELAY,
    ) -> None:
        self._store = store
        self._endpoint = endpoint
        self._id_column = id_column
        self.delay = delay
        self._spans: dict[str, tuple[float, float]] = {}  # first and last moment in a read file
        self.notes: Counter[str] = Counter()

    def answers(self, versions: Sequence[str], since: float, until: float) -> Iterator[Answered]:
        """Yield everything answered in [since, until) by these versions.

        Only the hours in question are listed, and the one before and after: a file is named for when
        it was begun. Files never change; one that was read and holds nothing of interest is not read
        again. Lines are read one at a time. A request that failed is captured without an answer, and
        left out.

        Raises:
            OutsideError: the store fails.
        """
        for version in versions:
            for key in self._keys(version, since, until):
                begin, end = self._spans.get(key, (since, until))
                if begin < until and since <= end:
                    yield from self._file(key, version, since, until)

    def _keys(self, version: str, since: float, until: float) -> Iterator[str]:
        hour = datetime.fromtimestamp(since, UTC) - _HOUR
        hour = hour.replace(minute=0, second=0, microsecond=0)
        last = datetime.fromtimestamp(until, UTC) + _HOUR
        while hour <= last:
            prefix = f"{self._endpoint}/v{version}/{hour:%Y/%m/%d/%H}/"
            yield from (key for key in self._store.list(prefix) if key.endswith(".jsonl"))
            hour += _HOUR

    def _file(self, key: str, version: str, since: float, until: float) -> Iterator[Answered]:
        begin, end = float("inf"), float("-inf")
        with tempfile.TemporaryDirectory(prefix="tidegate-captures-") as folder:
            path = Path(folder) / "captures.jsonl"
            self._store.get(key, path, _MOST_BYTES)
            with path.open("rb") as file:
                for line in file:
                    if not line.strip():
                        continue
                    try:
                        at, found = self._line(line, version)
                    except (
                        ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError
                    ):  # fmt: skip
                        self.notes["malformed captures"] += 1
                        continue
                    begin, end = min(begin, at), max(end, at)
                    if since <= at < until:
                        yield from found
        self._spans[key] = (begin, end) if begin <= end else _NOWHERE

    def _line(self, line: bytes, version: str) -> tuple[float, list[Answered]]:
        document = json.loads(line)
        event, data = document["eventMetadata"], document["captureData"]
        at = _moment(event["inferenceTime"])
        if "endpointOutput" not in data or "endpointInput" not in data:
            self.notes["captures without a request or an answer"] += 1
            return at, []
        if event.get("inferenceId") == ASKED:
            return at, []  # our own questions before a version gets traffic
        asked, answered = data["endpointInput"], data["endpointOutput"]
        kinds = [str(part.get("observedContentType", "")) for part in (asked, answered)]
        predictions = read_predictions(_body(answered), kinds[1])
        found = rows(
            read_request(_body(asked), kinds[0], len(predictions)),
            predictions,
            request_id=event.get("inferenceId") or None,
            at=at,
            version=version,
            id_column=self._id_column,
        )
        return at, list(found)


def _body(part: Mapping[str, Any]) -> bytes:
    """Return a body as it was sent: text under JSON and CSV, else base64."""
    data, encoding = part["data"], part["encoding"]
    if encoding in {"JSON", "CSV"}:
        return str(data).encode()
    if encoding == "BASE64":
        try:
            return base64.b64decode(data, validate=True)
        except binascii.Error as error:
            raise ValueError(f"no base64: {error}") from None
    raise ValueError(f"unknown encoding {encoding!r}")


def _moment(text: str) -> float:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()
