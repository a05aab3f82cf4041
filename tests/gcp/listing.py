"""Filters of Vertex AI's listings: ``labels.a=b AND display_name="x"``, ``labels.a:*``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.gcp.description import camel
from tests.gcp.routing import refuse

if TYPE_CHECKING:
    from tests.gcp.routing import Row

_CLAUSE = re.compile(r'\s*([\w.\-]+)\s*(=|!=|:)\s*("[^"]*"|[\w.*/\-]+)\s*')


def matching(rows: list[Row], text: str) -> list[Row]:
    """Return the rows that a filter keeps.

    >>> rows = [{"labels": {"a": "1"}}, {"labels": {"b": "2"}}]
    >>> matching(rows, "labels.a=1"), len(matching(rows, "labels.b:*"))
    ([{'labels': {'a': '1'}}], 1)
    """
    for clause in filter(None, re.split(r"\s+AND\s+", text.strip())):
        match = _CLAUSE.fullmatch(clause)
        if not match:
            raise refuse("INVALID_ARGUMENT", f"The filter cannot be read: {clause!r}")
        field, sign, value = match[1], match[2], match[3].strip('"')
        rows = [row for row in rows if _holds(row, field, sign, value)]
    return rows


def _holds(row: Row, field: str, sign: str, value: str) -> bool:
    first, *rest = field.split(".")
    found: object = row.get(camel(first))
    if first in {"endpoint", "model"} and not rest:  # an id, not a name
        found = row["name"].rpartition("/")[2]
    for word in rest:
        found = found.get(word) if isinstance(found, dict) else None
    if sign == ":":
        return found is not None and value in {"*", found}
    return (str(found) == value) == (sign == "=")
