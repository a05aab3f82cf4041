"""JSON that others wrote, taken as JSON and not as Python takes it."""

from __future__ import annotations

import json
import math
from typing import Any

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
