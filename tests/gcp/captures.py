"""Request-response logging: rows for a table in BigQuery.

https://cloud.google.com/vertex-ai/docs/predictions/online-prediction-logging
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from typing import TYPE_CHECKING, Any

from tests.gcp import behaviour

if TYPE_CHECKING:
    from tests.gcp.cloud import Cloud
    from tests.gcp.routing import Row

# Name, type, mode of each column.
COLUMNS = (
    ("endpoint", "STRING", "NULLABLE"),
    ("deployed_model_id", "STRING", "NULLABLE"),
    ("logging_time", "TIMESTAMP", "NULLABLE"),
    ("request_id", "NUMERIC", "NULLABLE"),
    ("request_payload", "STRING", "REPEATED"),
    ("response_payload", "STRING", "REPEATED"),
)


def table_of(endpoint: Row) -> str | None:
    """Return project.dataset.table of an endpoint's log; None: it does not log."""
    config = endpoint.get("predictRequestResponseLoggingConfig") or {}
    if not config.get("enabled"):
        return None
    uri = (config.get("bigqueryDestination") or {}).get("outputUri", "")
    project, _, rest = str(uri).removeprefix("bq://").partition(".")
    dataset, _, table = rest.partition(".")
    title = re.sub(r"\W", "_", endpoint.get("displayName", ""))
    dataset = dataset or f"logging_{title}_{endpoint['name'].rpartition('/')[2]}"
    return f"{project}.{dataset}.{table or 'request_response_logging'}"


class Captures:
    """Rows by table (project.dataset.table), each with the time from which it can be read."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._rows: dict[str, list[tuple[float, Row]]] = {}
        self._ids = itertools.count(1_700_000_000_000_000_001)
        self._lock = threading.Lock()

    def sample(self, endpoint: Row, deployed: str, request: Any, response: Any) -> None:
        """Log a request just answered, if the endpoint's sampling wants it."""
        rate = (endpoint.get("predictRequestResponseLoggingConfig") or {}).get("samplingRate", 0)
        if table_of(endpoint) and self._cloud.random.random() < rate:
            self.add(endpoint, deployed, self._cloud.clock.time(), request, response)

    def add(self, endpoint: Row, deployed: str, when: float, request: Any, response: Any) -> None:
        behaviour.apply("request-logging")
        table = table_of(endpoint)
        assert table, "the endpoint logs nothing"
        row = {
            "endpoint": endpoint["name"].rpartition("/")[2],
            "deployed_model_id": deployed,
            "logging_time": round(when, 6),  # a TIMESTAMP holds whole microseconds
            "request_id": str(next(self._ids)),
            "request_payload": self._payload(request, "instances"),
            "response_payload": self._payload(response, "predictions"),
        }
        with self._lock:
            self._rows.setdefault(table, []).append((when + self._cloud.log_delay, row))

    def _payload(self, body: Any, key: str) -> list[str]:
        """Return the texts of a REPEATED column: the body, or one text for each of its items."""
        behaviour.apply("payload-form")
        if self._cloud.log_items and isinstance(body, dict) and isinstance(body.get(key), list):
            return [json.dumps(item) for item in body[key]]
        return [json.dumps(body)]

    def visible(self, table: str) -> list[Row] | None:
        """Return the rows that can be read now; None: there is no such table yet."""
        now = self._cloud.clock.time()
        with self._lock:
            rows = self._rows.get(table)
            return None if rows is None else [row for at, row in rows if at <= now]
