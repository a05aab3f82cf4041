"""Durations and percentages as ``mlops.yaml`` and the command line write them."""

from __future__ import annotations

import re

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_LONGEST = 1e9  # no clock, calendar or sleep is asked for more
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")


def seconds(text: str) -> float:
    """Read a duration.

    Raises:
        ValueError: not a number with one of the units ms, s, m, h, d, or over thirty years.

    >>> seconds("1.5h"), seconds("250ms")
    (5400.0, 0.25)
    """
    if not (found := _DURATION.fullmatch(text)):
        raise ValueError(f"not a duration such as 90s, 30m, 2h or 1d: {text!r}")
    if (length := float(found[1]) * _UNITS[found[2]]) > _LONGEST:
        raise ValueError(f"longer than thirty years: {text!r}")
    return length


def fraction(text: str) -> float:
    """Read a percentage as a fraction.

    >>> fraction("5%")
    0.05
    """
    return float(text.removesuffix("%")) / 100
