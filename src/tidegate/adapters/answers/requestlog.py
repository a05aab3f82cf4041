"""What a Vertex AI endpoint was asked and answered, from its log in BigQuery.

https://cloud.google.com/vertex-ai/docs/predictions/online-prediction-logging#request-response-logging

*Cost.* One query a reading, of five columns between two times. BigQuery bills the bytes of the
columns that it scans, at least 10 MB a query, and no query is run that would scan more than
``at_most``. In a table without partitions every query scans all rows ever logged: partition it by day
of ``logging_time`` (Vertex AI writes into the table that it is given), and a query scans the days that it
asks for. Listing rows (tabledata.list) would be free, and would read the whole table at each pass, in no
certain order. https://cloud.google.com/bigquery/pricing#on_demand_pricing
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from tidegate.adapters.answers.rows import read_predictions, read_request, rows
from tidegate.adapters.cloud.google_errors import GoogleError
from tidegate.endpoint.protocol import FORMATS
from tidegate.errors import ConfigError, OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tidegate.adapters.cloud.google import Google
    from tidegate.ports import Answered

DELAY = 600.0  # seconds; Google documents none
AT_MOST = 50_000_000_000  # bytes that one query may scan
PATIENCE = 300.0  # seconds for a query
_API = "https://bigquery.googleapis.com/bigquery/v2"
_ASK = 20_000  # milliseconds that one call waits for the query
_PAGE = 10_000  # rows
_TABLE = re.compile(r"bq://(?P<project>[^.`\s]+)\.(?P<dataset>\w+)\.(?P<table>[\w$-]+)")
# Values are parameters; the table's name was checked, and cannot be one.
_QUERY = """\
SELECT logging_time, endpoint, deployed_model_id, request_payload, response_payload
FROM `TABLE`
WHERE logging_time >= @since AND logging_time < @until AND deployed_model_id IN (MODELS)"""
_COLUMNS = ("logging_time", "endpoint", "deployed_model_id", "request_payload", "response_payload")


class RequestLog:
    """Rows of an endpoint's request-response log.

    A request's id is ``parameters.id`` of its body, where the log has the whole body; see
    :mod:`.rows` for the ids of rows. The table's own ``request_id`` is not used: callers never learn
    it. Vertex AI makes the table with the first row; until then nothing was answered.

    Args:
        google: the session.
        table: ``bq://project.dataset.table``.
        endpoint: the endpoint's id.
        deployed: version -> id of its deployed model.
        id_column: the column that names a row, ``data.id``.
        delay: seconds after which a request is there to be read.
        at_most: bytes that one query may scan.
    """

    def __init__(  # noqa: PLR0913 (an endpoint and its log)
        self,
        google: Google,
        table: str,
        endpoint: str,
        *,
        deployed: Callable[[str], str],
        id_column: str | None = None,
        delay: float = DELAY,
        at_most: int = AT_MOST,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if (match := _TABLE.fullmatch(table)) is None:
            raise ConfigError(
                f"release.vertex.log_table: got {table!r}, expected bq://project.dataset.table"
            )
        self._google = google
        self._table = ".".join(match.group("project", "dataset", "table"))
        self._endpoint = endpoint
        self._deployed = deployed
        self._id_column = id_column
        self._at_most = at_most
        self._sleep = sleep
        self.delay = delay
        self.notes: Counter[str] = Counter()

    def answers(self, versions: Sequence[str], since: float, until: float) -> Iterator[Answered]:
        """Yield everything answered in [since, until) by these versions.

        Raises:
            OutsideError: BigQuery fails, or the query would cost more than is allowed.
        """
        if since >= until:
            return
        named = {self._deployed(version): version for version in versions}
        for cells in self._query(tuple(named), since, until):
            if str(cells["endpoint"]).rpartition("/")[2] != self._endpoint:
                continue  # one table may hold the logs of several
            try:
                logged = int(cells["logging_time"])
                version = named[cells["deployed_model_id"]]
                found = list(self._row(logged / 1e6, version, cells))
            except (
                ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError
            ):  # fmt: skip
                self.notes["malformed log rows"] += 1
                continue
            # In whole microseconds, as the log has them: no row falls between two readings.
            if round(since * 1e6) <= logged < round(until * 1e6):
                yield from found

    def _row(self, at: float, version: str, cells: Mapping[str, Any]) -> Iterator[Answered]:
        asked = _whole(cells["request_payload"], "instances", FORMATS)
        answered = _whole(cells["response_payload"], "predictions", ("predictions",))
        predictions = read_predictions(json.dumps(answered).encode(), "application/json")
        return rows(
            read_request(json.dumps(asked).encode(), "application/json", len(predictions)),
            predictions,
            request_id=_request_id(asked),
            at=at,
            version=version,
            id_column=self._id_column,
        )

    def _query(
        self, models: tuple[str, ...], since: float, until: float
    ) -> Iterator[dict[str, Any]]:
        """Yield each row by column.

        https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/query
        """
        wanted = {f"model{index}": model for index, model in enumerate(models)}
        query = _QUERY.replace("TABLE", self._table)
        body = {
            "query": query.replace("MODELS", ", ".join(f"@{name}" for name in wanted)),
            "useLegacySql": False,
            "parameterMode": "NAMED",
            "queryParameters": [
                _parameter("since", "TIMESTAMP", _timestamp(since)),
                _parameter("until", "TIMESTAMP", _timestamp(until)),
                *(_parameter(name, "STRING", model) for name, model in wanted.items()),
            ],
            "formatOptions": {"useInt64Timestamp": True},
            "maximumBytesBilled": str(self._at_most),
            "maxResults": _PAGE,
            "timeoutMs": _ASK,
        }
        project = self._google.project or self._table.split(".")[0]
        # A query reads only: asking it twice changes nothing.
        try:
            page = self._google.post(f"{_API}/projects/{project}/queries", body, repeat=True)
        except GoogleError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            self.notes["no log table"] += 1
            return
        deadline = time.monotonic() + PATIENCE
        seen: set[str] = set()
        while True:
            if page.get("errors"):
                raise OutsideError(
                    f"BigQuery: {page['errors'][0].get('message', 'the query fails')}"
                )
            token = page.get("pageToken")
            if page.get("jobComplete") is not True:
                if time.monotonic() > deadline:
                    raise OutsideError(f"BigQuery: no answer within {PATIENCE:g} s")
                self._sleep(1.0)
            else:
                yield from (_cells(row) for row in page.get("rows") or ())
                if not token:
                    return
                if token in seen:
                    raise OutsideError("BigQuery: the same page twice")
                seen.add(token)
            page = self._more(project, page, token)

    def _more(self, project: str, page: Mapping[str, Any], token: str | None) -> dict[str, Any]:
        """Return the next page, or the first one of a query that was not done.

        https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/getQueryResults
        """
        job = page.get("jobReference") or {}
        if "jobId" not in job:
            raise OutsideError("BigQuery: a query without a job")
        query = {"location": job.get("location"), "maxResults": _PAGE, "timeoutMs": _ASK}
        return self._google.get(
            f"{_API}/projects/{project}/queries/{job['jobId']}",
            **{key: value for key, value in query.items() if value is not None},
            **({"pageToken": token} if token else {}),
            **{"formatOptions.useInt64Timestamp": True},
        )


def _cells(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return one row by column; a REPEATED cell is a list of cells."""
    values = [cell["v"] for cell in row["f"]]
    if len(values) != len(_COLUMNS):
        raise OutsideError(f"BigQuery: {len(values)} columns, expected {len(_COLUMNS)}")
    return dict(zip(_COLUMNS, values, strict=True))


def _whole(cell: object, key: str, bodies: Sequence[str]) -> dict[str, Any]:
    """Return a payload as the body it was: one text, or one for each instance."""
    texts = [one["v"] for one in cell] if isinstance(cell, list) else [cell]
    parts = [json.loads(str(text)) for text in texts]
    if len(parts) == 1 and isinstance(parts[0], dict) and not parts[0].keys().isdisjoint(bodies):
        return parts[0]
    return {key: parts}


def _request_id(body: Mapping[str, Any]) -> str | None:
    parameters = body.get("parameters")
    name = parameters.get("id") if isinstance(parameters, dict) else None
    return name if isinstance(name, str) and name else None


def _parameter(name: str, kind: str, value: str) -> dict[str, Any]:
    return {"name": name, "parameterType": {"type": kind}, "parameterValue": {"value": value}}


def _timestamp(moment: float) -> str:
    whole, micros = divmod(round(moment * 1e6), 1_000_000)
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(whole)) + f".{micros:06d} UTC"
