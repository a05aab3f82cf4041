"""The names that GitHub's expressions use, found in a parsed workflow or action."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_WRAPPED = re.compile(r"\$\{\{((?:[^'}]|'[^']*'|\}(?!\}))*)\}\}")
_INDEX = re.compile(r"\[\s*'([^']+)'\s*\]")
_QUOTED = re.compile(r"'(?:[^']|'')*'")
_ACCESS = re.compile(r"(?<![\w.-])([A-Za-z_][\w-]*(?:\.(?:[A-Za-z_][\w-]*|\*))+)")


def in_text(text: str) -> Iterator[str]:
    """Every expression inside ``${{ }}``."""
    yield from (match[1] for match in _WRAPPED.finditer(text))


def inside(value: object, *, key: str = "") -> Iterator[str]:
    """Every expression anywhere below ``value``; an ``if`` is one without ``${{ }}``."""
    if isinstance(value, dict):
        for name, below in value.items():
            yield from inside(below, key=name)
    elif isinstance(value, list):
        for below in value:
            yield from inside(below, key=key)
    elif isinstance(value, str):
        found = list(in_text(value))
        yield from found or ([value] if key == "if" else [])


def accesses(expression: str) -> Iterator[tuple[str, ...]]:
    """Every dotted access, as its parts: ``needs.a['outputs'].b`` is (needs, a, outputs, b)."""
    plain = _QUOTED.sub("''", _INDEX.sub(r".\1", expression))
    yield from (tuple(match[1].split(".")) for match in _ACCESS.finditer(plain))


def names(value: Any, context: str) -> Iterator[tuple[str, ...]]:
    """Every access to ``context`` below ``value``, without the context's own name."""
    for expression in inside(value):
        for access in accesses(expression):
            if access[0].lower() == context:
                yield access[1:]
