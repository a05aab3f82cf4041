"""BigQuery, for one kind of table: https://cloud.google.com/bigquery/docs/reference/rest"""

from __future__ import annotations

import itertools
import json
import re
import sqlite3
from typing import TYPE_CHECKING, Any

from tests.gcp import behaviour
from tests.gcp.captures import COLUMNS
from tests.gcp.clock import parse, stamp
from tests.gcp.routing import method, missing, refuse, sliced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.gcp.cloud import Cloud
    from tests.gcp.routing import Request, Row

_FIELDS = {name: {"name": name, "type": kind, "mode": mode} for name, kind, mode in COLUMNS}
_ids = itertools.count(1)


def _table(cloud: Cloud, request: Request) -> tuple[str, list[Row]]:
    params = request.params
    dataset, table = params["datasetsId"], params["tablesId"]
    rows = cloud.captures.visible(f"{cloud.project}.{dataset}.{table}")
    if rows is None:
        raise missing(f"Table {cloud.project}:{dataset}.{table}")
    return f"{cloud.project}:{dataset}.{table}", rows


@method("bigquery.tables.get")
def _get(cloud: Cloud, request: Request) -> Any:
    name, rows = _table(cloud, request)
    return {
        "kind": "bigquery#table",
        "id": name,
        "tableReference": {
            "projectId": cloud.project,
            "datasetId": request.params["datasetsId"],
            "tableId": request.params["tablesId"],
        },
        "schema": {"fields": list(_FIELDS.values())},
        "numRows": str(len(rows)),
        "type": "TABLE",
        "location": cloud.region,
    }


@method("bigquery.tabledata.list")
def _data(cloud: Cloud, request: Request) -> Any:
    _, rows = _table(cloud, request)
    names = [name for name in request.one("selectedFields").split(",") if name] or list(_FIELDS)
    if strangers := set(names) - _FIELDS.keys():
        raise refuse("INVALID_ARGUMENT", f"There are no fields {sorted(strangers)}.")
    form = _form(
        request.one("formatOptions.useInt64Timestamp") == "true",
        request.one("formatOptions.timestampOutputFormat"),
    )
    start = int(request.one("startIndex", "0"))
    # Fields come in the table's order, whatever the order asked for.
    chosen = [name for name in _FIELDS if name in names]
    shown = [_row([row[name] for name in chosen], chosen, form) for row in rows[start:]]
    token, size = request.one("pageToken"), int(request.one("maxResults", "0"))
    body = sliced("rows", shown, size, token, 1000, 100_000)
    if "nextPageToken" in body:
        body["pageToken"] = body.pop("nextPageToken")
    return {"kind": "bigquery#tableDataList", "totalRows": str(len(rows)), **body}


# --- queries ------------------------------------------------------------------------------------


@method("bigquery.jobs.query")
def _query(cloud: Cloud, request: Request) -> Any:
    given = request.body
    if given.get("useLegacySql", True):
        raise refuse("INVALID_ARGUMENT", "The stand-in knows GoogleSQL only: useLegacySql: false.")
    behaviour.apply("query-parameters")
    names, found = _selected(cloud, given)
    options = given.get("formatOptions") or {}
    form = _form(bool(options.get("useInt64Timestamp")), options.get("timestampOutputFormat", ""))
    rows = [_row(values, names, form) for values in found]
    job = f"job_loopback{next(_ids)}"
    cloud.results[job] = (names, rows)
    body = _results(cloud, job, given.get("maxResults", 0), "")
    return {**body, "kind": "bigquery#queryResponse"}


@method("bigquery.jobs.getQueryResults")
def _more(cloud: Cloud, request: Request) -> Any:
    job = request.params["queriesId"]
    if job not in cloud.results:
        raise missing(f"Job {cloud.project}:{job}")
    return _results(cloud, job, int(request.one("maxResults", "0")), request.one("pageToken"))


def _results(cloud: Cloud, job: str, size: int, token: str) -> Row:
    names, rows = cloud.results[job]
    body = sliced("rows", rows, size, token, 10_000, 100_000)
    if "nextPageToken" in body:
        body["pageToken"] = body.pop("nextPageToken")
    other = {"type": "STRING", "mode": "NULLABLE"}
    fields = [_FIELDS.get(name, {"name": name, **other}) for name in names]
    return {
        "kind": "bigquery#getQueryResultsResponse",
        "schema": {"fields": fields},
        "jobReference": {"projectId": cloud.project, "jobId": job, "location": cloud.region},
        "totalRows": str(len(rows)),
        "jobComplete": True,
        "cacheHit": False,
        "totalBytesProcessed": "0",
        **body,
    }


def _selected(cloud: Cloud, given: Row) -> tuple[list[str], list[Any]]:
    """Return the columns and rows that a query selects; SQLite reads the simple ones as they are."""
    sql = given["query"]
    named = re.search(r"\bFROM\s+`([^`]+)`", sql, re.IGNORECASE)
    if named is None:
        raise refuse("INVALID_ARGUMENT", "The query names no table in backticks.")
    rows = cloud.captures.visible(named[1].replace(cloud.number, cloud.project))
    if rows is None:
        raise missing(f"Table {named[1]}")
    values = {one["name"]: _parameter(one) for one in given.get("queryParameters", [])}
    with sqlite3.connect(":memory:") as base:
        columns = ", ".join(_FIELDS)
        base.execute(f"CREATE TABLE `{named[1]}` ({columns})")
        marks = ", ".join("?" * len(_FIELDS))
        base.executemany(f"INSERT INTO `{named[1]}` VALUES ({marks})", map(_flat, rows))
        try:
            cursor = base.execute(sql, values)
        except sqlite3.Error as error:
            raise refuse("UNIMPLEMENTED", f"The stand-in cannot run this query: {error}") from error
        return [column[0] for column in cursor.description], cursor.fetchall()


def _flat(row: Row) -> list[Any]:
    micros = round(row["logging_time"] * 1e6)
    return [
        micros if name == "logging_time" else json.dumps(v) if isinstance(v, list) else v
        for name, v in row.items()
    ]


def _parameter(one: Row) -> Any:
    kind, value = one["parameterType"]["type"], (one.get("parameterValue") or {}).get("value")
    if value is None:
        return None
    if kind == "TIMESTAMP":
        return round(parse(value.replace(" UTC", "+00:00")) * 1e6)
    return int(value) if kind == "INT64" else float(value) if kind == "FLOAT64" else value


def _form(micros: bool, named: str) -> str:
    return named or ("INT64" if micros else "FLOAT64")


def _row(values: Sequence[Any], names: Sequence[str], form: str) -> Row:
    return {"f": [{"v": _cell(v, name, form)} for v, name in zip(values, names, strict=True)]}


def _cell(value: Any, name: str, form: str) -> Any:
    _, kind, mode = next((c for c in COLUMNS if c[0] == name), (name, "STRING", "NULLABLE"))
    if mode == "REPEATED":
        items = json.loads(value) if isinstance(value, str) else value
        return [{"v": item} for item in items]
    if kind == "TIMESTAMP" and value is not None:
        seconds = value / 1e6 if isinstance(value, int) else value
        forms = {"INT64": str(round(seconds * 1e6)), "ISO8601_STRING": stamp(seconds)}
        return forms.get(form, repr(seconds))
    return None if value is None else str(value)
