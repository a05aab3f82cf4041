"""The classes of a multiclass model: what they are called, and in which order they stand.

A class is known by its text, so that 3, 3.0 and "3" are one class: CSV, Parquet, ``mlops.yaml`` and a
model's own ``classes_`` write the same label in different types. Pure, no numpy.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_CLASSES = 1000


def label(value: object) -> str:
    """Return a class's text.

    Raises:
        ValueError: a missing value, NaN or infinity names no class.

    >>> label(3), label(3.0), label("3"), label(True), label(0.5)
    ('3', '3', '3', 'true', '0.5')
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"{value} names no class")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def ordered(values: Iterable[object]) -> tuple[str, ...]:
    """Return the classes that occur, in sorted order: numbers by size, anything else by its text.

    Raises:
        ValueError: a missing value, NaN or infinity is among them.

    >>> ordered([10, 9.0, 9]), ordered(["b", "a", "10"])
    (('9', '10'), ('10', 'a', 'b'))
    """
    found = list(values)
    if found and all(isinstance(v, int | float) and not isinstance(v, bool) for v in found):
        found.sort()
        return tuple(dict.fromkeys(label(value) for value in found))
    return tuple(sorted({label(value) for value in found}))
