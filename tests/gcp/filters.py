"""Filters of Cloud Monitoring and Cloud Logging: comparisons joined by AND.

https://cloud.google.com/monitoring/api/v3/filters
https://cloud.google.com/logging/docs/view/logging-query-language
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.gcp.routing import refuse

if TYPE_CHECKING:
    from collections.abc import Callable

_CLAUSE = re.compile(
    r'\s*([\w.]+|[\w.]+"[^"]+")\s*(!=|>=|<=|=~|=|>|<|:)\s*'
    r'(one_of\((?P<many>[^)]*)\)|starts_with\("(?P<start>[^"]*)"\)|(?P<one>"[^"]*"|[^\s()"]+))\s*'
)
SEVERITIES = ("DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT")


@dataclass(frozen=True)
class Clause:
    """One comparison: a field, a sign, and the values it may have."""

    field: str
    sign: str
    values: tuple[str, ...]
    start: str | None

    def holds(self, found: str | None) -> bool:
        """Return whether a field's text satisfies the comparison; None: the field is not there."""
        if found is None:
            return self.sign == "!="
        if self.start is not None:
            return found.startswith(self.start) == (self.sign != "!=")
        if self.sign in {"=", "!="}:
            return (found in self.values) == (self.sign == "=")
        if self.sign == ":":
            return self.values[0] in found
        left, right = _ordered(found), _ordered(self.values[0])
        signs: dict[str, Callable[[], bool]] = {
            ">=": lambda: left >= right,
            "<=": lambda: left <= right,
            ">": lambda: left > right,
            "<": lambda: left < right,
        }
        if self.sign not in signs:
            raise refuse("UNIMPLEMENTED", f"The stand-in does not compare by {self.sign}.")
        return signs[self.sign]()


def _ordered(text: str) -> str:
    """Return what orders texts: severities by weight, time stamps by time."""
    if text in SEVERITIES:
        return str(SEVERITIES.index(text))
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?Z", text)
    return f"{match[1]}.{(match[2] or ''):0<9}" if match else text


def clauses(text: str) -> list[Clause]:
    """Return the comparisons of a filter.

    >>> clauses('metric.type = "a/b" AND x.y=one_of("1","2")')[1].values
    ('1', '2')
    """
    found = []
    for part in filter(None, re.split(r"\s+AND\s+|\n", text.strip())):
        match = _CLAUSE.fullmatch(part)
        if match is None:
            raise refuse("INVALID_ARGUMENT", f"The filter cannot be read: {part!r}")
        many = match["many"]
        one = (match["one"] or "").strip('"')
        values = tuple(re.findall(r'"([^"]*)"', many)) if many is not None else (one,)
        found.append(Clause(match[1].replace('"', ""), match[2], values, match["start"]))
    return found
