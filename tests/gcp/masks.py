"""Partial updates: a field mask applied to a resource."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from tests.gcp import behaviour
from tests.gcp.description import camel

if TYPE_CHECKING:
    from tests.gcp.routing import Row

_MAPS = {"labels", "metadata", "trafficSplit"}  # their keys are names that somebody chose


def masked(row: Row, update: Row, mask: str, *, ignored: frozenset[str] = frozenset()) -> Row:
    """Return a row with the fields of a mask taken from an update; what it lacks is cleared.

    >>> masked({"a": 1, "labels": {"x": "1", "y": "2"}}, {"labels": {"x": "3"}}, "labels.x")
    {'a': 1, 'labels': {'x': '3', 'y': '2'}}
    >>> masked({"a": 1, "b": 2}, {"b": 3}, "a")
    {'b': 2}
    """
    behaviour.apply("update-mask")
    changed = copy.deepcopy(row)
    for path in filter(None, mask.split(",")):
        first, *rest = path.split(".")
        chosen = camel(first) in _MAPS
        words = [camel(first), *(rest if chosen else map(camel, rest))]
        if words[0] in ignored:
            continue
        into, source = changed, update
        for word in words[:-1]:
            into = into.setdefault(word, {})
            source = source.get(word) or {}
        if source.get(words[-1]) is None:
            into.pop(words[-1], None)
        else:
            into[words[-1]] = copy.deepcopy(source[words[-1]])
    return changed
