"""Files that others wrote: bounded, and JSON taken as JSON and not as Python takes it."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from tidegate.errors import NotJudgedError

if TYPE_CHECKING:
    from pathlib import Path

_DIGITS = 19


def strict_json(text: str) -> Any:
    """Decode JSON whose numbers are finite: Python's reader also takes NaN, Infinity and 1e999.

    Raises:
        ValueError: it is not such JSON.
    """

    def finite(number: str) -> float:
        if math.isfinite(value := float(number)):
            return value
        raise ValueError(f"a number that is not finite: {number[:20]}")

    def whole(number: str) -> int:
        if len(number) < _DIGITS:
            return int(number)
        raise ValueError(f"a number that is no count: {number[:20]}")

    return json.loads(text, parse_float=finite, parse_constant=finite, parse_int=whole)


def bounded(path: Path, most: int) -> str:
    """Return a text that somebody else wrote.

    Raises:
        NotJudgedError: it is no regular file, or larger than ``most`` bytes.
        OSError, ValueError: it cannot be read, or is not UTF-8.
    """
    if path.exists() and not path.is_file():
        raise NotJudgedError(f"{path}: not a regular file")
    if path.stat().st_size > most:
        raise NotJudgedError(f"{path}: larger than {most:,} bytes")
    return path.read_text(encoding="utf-8")
