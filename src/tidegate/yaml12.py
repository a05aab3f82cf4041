"""Strict YAML: what YAML 1.2's core schema says, and nothing clever.

PyYAML reads YAML 1.1 (``no`` is false, ``012`` is ten, ``1e-3`` is text), takes duplicate keys in
silence and expands aliases without bound. This reader builds plain data from PyYAML's event
stream instead, with a mark for every key and value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

import yaml

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32

Path: TypeAlias = tuple[str | int, ...]

_INT = re.compile(r"[-+]?[0-9]+$|0o[0-7]+$|0x[0-9a-fA-F]+$")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_MAX_DIGITS = 40
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the file, counted from 1."""

    line: int
    column: int


class YamlError(Exception):
    """The file is not YAML that we accept: ``mark`` tells where."""

    def __init__(self, message: str, mark: Mark) -> None:
        super().__init__(message)
        self.mark = mark


@dataclass(slots=True)
class Document:
    """The data, and where each key and each value stands."""

    data: Any
    keys: dict[Path, Mark] = field(default_factory=dict)
    values: dict[Path, Mark] = field(default_factory=dict)


def parse(text: str) -> Document:
    """Parse one strict YAML document.

    Raises:
        YamlError: not YAML, or aliases, anchors, tags, merge keys, duplicate or non-text keys,
            several documents, ``.nan`` or ``.inf``, deeper than 32 levels, over 256 KiB.

    >>> parse("a: 1e-3").data
    {'a': 0.001}
    """
    if len(text.encode()) > MAX_BYTES:
        raise YamlError(f"the file is over {MAX_BYTES // 1024} KiB", Mark(1, 1))
    try:
        return _Builder(yaml.parse(text, Loader=yaml.CSafeLoader)).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = Mark(mark.line + 1, mark.column + 1) if mark else Mark(1, 1)
        raise YamlError(f"not valid YAML: {error.problem or error.context}", where) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(f"not valid YAML: {error.reason}", Mark(line, 1)) from None


class _Builder:
    """Builds plain data from PyYAML's events, recursively to at most MAX_DEPTH levels."""

    def __init__(self, events: Any) -> None:
        self._events = events
        self._result = Document(data=None)

    def document(self) -> Document:
        self._next()  # stream start
        if isinstance(self._next(), yaml.StreamEndEvent):
            raise YamlError("the file is empty", Mark(1, 1))
        self._result.data = self._value(self._next(), ())
        self._next()  # document end
        if not isinstance(event := self._next(), yaml.StreamEndEvent):
            self._refuse(event, "a second document: one file describes one model")
        return self._result

    def _next(self) -> Any:
        return next(self._events)

    def _value(self, event: Any, path: Path) -> Any:
        self._result.values[path] = _mark(event)
        if isinstance(event, yaml.AliasEvent):
            self._refuse(event, "an alias (*name): write the value out")
        if event.anchor is not None:
            self._refuse(event, "an anchor (&name): write the value out")
        if event.tag is not None:
            self._refuse(event, f"a tag ({event.tag}): plain values only")
        if len(path) > MAX_DEPTH:
            self._refuse(event, f"nesting deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        return self._mapping(path)

    def _sequence(self, path: Path) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._value(event, (*path, len(items))))
        return items

    def _mapping(self, path: Path) -> dict[str, Any]:
        items: dict[str, Any] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._key(event)
            here = (*path, key)
            if key in items:
                first = self._result.keys[here]
                self._refuse(event, f"the key {key!r} a second time (first on line {first.line})")
            self._result.keys[here] = _mark(event)
            items[key] = self._value(self._next(), here)
        return items

    def _key(self, event: Any) -> str:
        if not isinstance(event, yaml.ScalarEvent) or event.anchor or event.tag:
            self._refuse(event, "a key that is not plain text")
        if event.value == "<<":
            self._refuse(event, "a merge key (<<): write the values out")
        return str(event.value)

    def _scalar(self, event: Any) -> Any:
        text = event.value
        if not event.implicit[0]:  # quoted or block: always text
            return text
        if text in _WORDS:
            return _WORDS[text]
        if text.lower().lstrip("+-") in (".nan", ".inf"):
            self._refuse(event, f"{text}: numbers must be finite")
        if (_INT.match(text) or _FLOAT.match(text)) and len(text) > _MAX_DIGITS:
            self._refuse(event, f"a number of more than {_MAX_DIGITS} digits")
        if _INT.match(text):
            return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
        if _FLOAT.match(text):
            number = float(text)
            if number in (float("inf"), float("-inf")):
                self._refuse(event, f"{text}: numbers must be finite")
            return number
        return text

    def _refuse(self, event: Any, what: str) -> NoReturn:
        raise YamlError(f"got {what}", _mark(event))


def _mark(event: Any) -> Mark:
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)
