"""Endpoint-hours and dollars in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.render.words import lasting

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.core.spending import Spending


def words(spending: Spending, quote: Callable[[str], str] = str) -> str:
    """Return what a rollout costs beside what serves anyway; ``quote``: for the machine's name.

    >>> from tidegate.core.spending import Spending
    >>> words(Spending(machine="1 x ml.m5.large", canary=1.5, holdback=48, hourly=0.115))
    'one more variant (1 x ml.m5.large): 1 h 30 min of canary, 2 d of holdback, about $5.69'
    """
    parts = [f"{lasting(spending.canary * 3600)} of canary"]
    if spending.holdback > 0:
        parts.append(f"{lasting(spending.holdback * 3600)} of holdback")
    parts.append(dollars(spending.dollars))
    return f"one more variant ({quote(spending.machine)}): {', '.join(parts)}"


def dollars(amount: float | None) -> str:
    """Return an amount at list prices.

    >>> dollars(0.0042), dollars(12.3), dollars(None)
    ('about $0.0042', 'about $12.30', 'at an unknown price')
    """
    if amount is None:
        return "at an unknown price"
    return f"about ${amount:.2g}" if 0 < amount < 0.01 else f"about ${amount:,.2f}"
