"""``profile.json``: the columns of a version's training rows; and sketching a file's."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tidegate.core.profile import Column, ColumnKind, Profile, edges_of, kind_of
from tidegate.errors import NotJudgedError
from tidegate.load import violations
from tidegate.strict import bounded, strict_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tidegate.parts import Parts

_MOST_BYTES = 64_000_000
_VERSION = 1


def save(path: Path, profile: Profile) -> None:
    """Write a profile; the same one gives the same bytes."""
    columns = [{"name": name, **asdict(column)} for name, column in profile.columns.items()]
    told = {
        "version": _VERSION,
        "rows": profile.rows,
        "target": profile.target,
        "reads": profile.reads,
        "columns": columns,
    }
    text = json.dumps(told, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    path.write_text(text + "\n", encoding="utf-8")


def read(path: Path) -> Profile:
    """Read a profile.

    Raises:
        NotJudgedError: it is not what ``schemas/profile.schema.json`` demands, or does not add up.
    """
    try:
        data = strict_json(bounded(path, _MOST_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise NotJudgedError(f"{path}: {error}") from None
    if found := violations(data, "profile.schema.json"):
        raise NotJudgedError(f"{path}: {found[0]}")
    columns = {item["name"]: _column(path, item) for item in data["columns"]}
    reads = data["reads"]
    return Profile(
        rows=data["rows"],
        columns=columns,
        target=data["target"],
        reads=None if reads is None else tuple(reads),
    )


def _column(path: Path, data: dict[str, Any]) -> Column:
    column = Column(
        kind=ColumnKind(data["kind"]),
        rows=data["rows"],
        nulls=data["nulls"],
        low=data["low"],
        high=data["high"],
        edges=tuple(float(edge) for edge in data["edges"]),
        bins=tuple(data["bins"]),
        categories=tuple((text, count) for text, count in data["categories"]),
        other=data["other"],
    )
    counted = sum(column.bins) + sum(count for _, count in column.categories) + column.other
    sorted_edges = tuple(sorted(set(column.edges))) == column.edges
    fits = not column.bins or len(column.bins) == len(column.edges) + 1
    if column.nulls > column.rows or not sorted_edges or not fits or counted > column.filled:
        raise NotJudgedError(f"{path}: the counts of column {data['name']!r} do not add up")
    return column


def edges(
    parts: Parts, columns: Sequence[str], known: Profile | None
) -> dict[str, tuple[float, ...]]:
    """Return the edges of columns' bins: all those of ``known``, and of a sample where it has none.

    A profile can be compared with another in the same bins alone, so versions inherit them.
    """
    found = {
        name: column.edges
        for name, column in (known.columns if known else {}).items()
        if column.edges
    }
    new = [name for name in columns if name not in found]
    sample = parts.sample(new) if new else None
    for name in new:
        if sample is not None and _numeric(sample, name):
            found[name] = edges_of(sample[name])
    return found


def _numeric(sample: Any, name: str) -> bool:
    return kind_of(sample.schema.field(name).type) is ColumnKind.NUMBER
