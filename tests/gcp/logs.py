"""Cloud Logging: https://cloud.google.com/logging/docs/reference/v2/rest/v2/entries/list"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.gcp import behaviour
from tests.gcp.clock import parse
from tests.gcp.filters import clauses
from tests.gcp.routing import method, refuse, sliced

if TYPE_CHECKING:
    from tests.gcp.cloud import Cloud
    from tests.gcp.routing import Request, Row


@method("logging.entries.list")
def _list(cloud: Cloud, request: Request) -> Any:
    body = request.body
    known = {f"projects/{cloud.project}", f"projects/{cloud.number}"}
    if strangers := set(body["resourceNames"]) - known:
        raise refuse("PERMISSION_DENIED", f"Permission denied on {sorted(strangers)}.")
    wanted = clauses(body.get("filter", ""))
    behaviour.apply("log-filter")
    limit = cloud.clock.time() - cloud.log_delay
    rows = [
        row
        for row in list(cloud.state.entries)
        if parse(row["timestamp"]) <= limit
        and all(clause.holds(_field(row, clause.field)) for clause in wanted)
    ]
    order = body.get("orderBy", "timestamp asc").split()
    if order[0] != "timestamp":
        raise refuse("INVALID_ARGUMENT", f"Invalid orderBy: {body['orderBy']}")
    rows.sort(key=lambda row: (row["timestamp"], row["insertId"]), reverse=order[-1] == "desc")
    size = int(body.get("pageSize", 0))
    return sliced("entries", rows, size, body.get("pageToken", ""), 50, 1000)


def _field(row: Row, path: str) -> str | None:
    found: Any = row
    for word in path.split("."):
        found = found.get(word) if isinstance(found, dict) else None
    return None if found is None else str(found)
