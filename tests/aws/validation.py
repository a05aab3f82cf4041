"""Requests and answers against botocore's service model.

Two kinds of fault. A *violation* is somebody's mistake, ours or the caller's: an unknown or missing
member, a wrong type, a value outside the model in an answer. A *constraint* (pattern, length, enum
of a request) is what AWS itself checks, and answers with ValidationException.
"""

from __future__ import annotations

import functools
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.validate import ParamValidator

if TYPE_CHECKING:
    from collections.abc import Iterator

# Checked for their form only: AWS adds instance types faster than clients are updated.
_INSTANCE_TYPES = {"ProductionVariantInstanceType", "TrainingInstanceType"}
_INSTANCE = re.compile(r"ml\.[a-z0-9-]+\.[a-z0-9]+")
# botocore fills these in the client; Java's character classes have no counterpart in re.
_JAVA = re.compile(r"\\p\{|\\P\{|\[\[:")


@functools.cache
def service_model(service: str) -> Any:
    """Return botocore's model of a service."""
    return botocore.session.get_session().get_service_model(service)


def shape_problems(shape: Any, value: Any) -> list[str]:
    """Return what botocore's validator finds: unknown and missing members, wrong types."""
    if shape is None:
        return [f"members where none are described: {sorted(value)}"] if value else []
    report = ParamValidator().validate(value, shape)
    found = report.generate_report().splitlines() if report.has_errors() else []
    return [line for line in found if "valid min" not in line]  # constraint_problems says these


def constraint_problems(shape: Any, value: Any, where: str = "") -> Iterator[str]:
    """Yield what AWS would say of values that break the model's constraints."""
    if shape is None or value is None:
        return
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        for name, inner in value.items():
            if name in shape.members:
                at = name[:1].lower() + name[1:]
                yield from constraint_problems(
                    shape.members[name], inner, f"{where}.{at}" if where else at
                )
    elif kind == "list" and isinstance(value, list):
        yield from _size(shape, len(value), value, where)
        for index, inner in enumerate(value, start=1):
            yield from constraint_problems(shape.member, inner, f"{where}.{index}.member")
    elif kind == "map" and isinstance(value, dict):
        yield from _size(shape, len(value), value, where)
        for key, inner in value.items():
            yield from constraint_problems(shape.key, key, where)
            yield from constraint_problems(shape.value, inner, f"{where}.{key}.member")
    elif kind in {"integer", "long", "float", "double"} and isinstance(value, (int, float)):
        yield from _range(shape, value, where)
    elif kind == "string" and isinstance(value, str):
        yield from _text(shape, value, where)


def _size(shape: Any, length: int, value: Any, where: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and length < low:
        yield _said(value, where, f"Member must have length greater than or equal to {low}")
    if high is not None and length > high:
        yield _said(value, where, f"Member must have length less than or equal to {high}")


def _range(shape: Any, value: float, where: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and value < low:
        yield _said(value, where, f"Member must have value greater than or equal to {low}")
    if high is not None and value > high:
        yield _said(value, where, f"Member must have value less than or equal to {high}")


def _text(shape: Any, value: str, where: str) -> Iterator[str]:
    yield from _size(shape, len(value), value, where)
    if shape.name in _INSTANCE_TYPES:
        if not _INSTANCE.fullmatch(value):
            yield _said(value, where, "Member must satisfy enum value set")
        return
    if shape.enum and value not in shape.enum:
        yield _said(value, where, f"Member must satisfy enum value set: {shape.enum}")
    pattern = shape.metadata.get("pattern")
    if pattern and not _JAVA.search(pattern) and not re.fullmatch(pattern, value):
        yield _said(value, where, f"Member must satisfy regular expression pattern: {pattern}")


def _said(value: Any, where: str, rule: str) -> str:
    return f"Value '{value}' at '{where}' failed to satisfy constraint: {rule}"


def dated(shape: Any, value: Any) -> Any:
    """Return a parsed body with the model's timestamps as dates."""
    if shape is None or value is None:
        return value
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        return {
            name: dated(shape.members.get(name), inner)
            for name, inner in value.items()
            if inner is not None
        }
    if kind == "list" and isinstance(value, list):
        return [dated(shape.member, inner) for inner in value]
    if kind == "map" and isinstance(value, dict):
        return {key: dated(shape.value, inner) for key, inner in value.items()}
    if kind == "timestamp" and isinstance(value, (int, float)):
        return datetime.fromtimestamp(value, UTC)
    if kind == "timestamp" and isinstance(value, str):
        return datetime.fromisoformat(value)
    return value
