"""One line of a log -> one record. Pure; a line that is none of ours is None."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidegate.endpoint.joining import Answer, Label
from tidegate.endpoint.layout import version_of
from tidegate.endpoint.xds import INVOCATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate.core.losses import Prediction

_LONGEST = 4096  # characters of a class


@dataclass(frozen=True, slots=True)
class Access:
    """One request as Envoy saw it. Times in seconds."""

    arrived: float
    variant: str
    status: int  # 0: no answer
    took: float

    @property
    def error(self) -> bool:
        """5xx, or no answer at all. A 4xx is the client's."""
        return self.status == 0 or self.status >= 500


@dataclass(frozen=True, slots=True)
class Fills:
    """Rows seen by a model server, and per column in how many of them it was filled."""

    seen: int
    filled: Mapping[str, int]


class Ignored:
    """A well-formed line that counts for nothing: a health check, a request nobody served."""


def access(line: bytes) -> Access | Ignored | None:
    """Read a line of Envoy's access log (fields: :mod:`tidegate.endpoint.xds`)."""
    document = _object(line)
    if document is None or not {"route", "t", "variant", "status", "ms"} <= document.keys():
        return None
    if document["route"] != INVOCATIONS or document["variant"] is None:
        return Ignored()
    try:
        return Access(
            arrived=float(document["t"]),
            variant=version_of(document["variant"]),
            status=int(document["status"] or 0),
            took=float(document["ms"]) / 1000,
        )
    except (TypeError, ValueError, AttributeError):
        return None


def answer(line: bytes, variant: str) -> Answer | Fills | None:
    """Read a line of a model server's log (written by :mod:`tidegate.endpoint.answers`)."""
    document = _object(line)
    try:
        if document is None:
            return None
        if "seen" in document:
            return Fills(int(document["seen"]), dict(document["filled"]))
        prediction = document["p"]
        if isinstance(prediction, list):
            answered: Prediction = tuple(_finite(one) for one in prediction)
        else:
            answered = _finite(prediction)
        return Answer(str(document["id"]), float(document["t"]), variant, answered)
    except (KeyError, TypeError, ValueError):
        return None


def label(line: bytes, seen: float) -> Label | None:
    """Read a line of the user's labels: ``{"id": ..., "label": ..., "at": epoch seconds}``."""
    document = _object(line)
    try:
        if document is None or not isinstance(document["id"], (str, int)):
            return None
        at = document.get("at")
        return Label(
            str(document["id"]),
            _label(document["label"]),
            None if at is None else _finite(at),
            seen,
        )
    except (KeyError, TypeError, ValueError):
        return None


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(line)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _label(value: object) -> float | str:
    """Return a label: a number, or the text of a class."""
    if isinstance(value, str) and 0 < len(value) <= _LONGEST:
        return value
    return _finite(value)


def _finite(value: object) -> float:
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"not a finite number: {value!r}")
    return float(value)
