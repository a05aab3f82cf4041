"""Durations and percentages as ``mlops.yaml`` and the command line write them."""

from __future__ import annotations

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def seconds(text: str) -> float:
    """Read a duration.

    >>> seconds("1.5h"), seconds("250ms")
    (5400.0, 0.25)
    """
    unit = text.lstrip("0123456789.")
    return float(text.removesuffix(unit)) * _UNITS[unit]


def fraction(text: str) -> float:
    """Read a percentage as a fraction.

    >>> fraction("5%")
    0.05
    """
    return float(text.removesuffix("%")) / 100
