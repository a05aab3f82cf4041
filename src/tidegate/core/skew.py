"""Training-serving skew: columns that are filled in the holdout and empty in live requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

FILLED = 0.5  # a column counts as filled in the holdout above this share
EMPTY = 0.01  # and as empty in live requests at or under this one
LEAST = 100  # live requests needed to say so


def skewed(holdout: Mapping[str, float], live: Mapping[str, tuple[int, int]]) -> tuple[str, ...]:
    """Return the columns that the model learns from and will not get.

    Args:
        holdout: column -> share of the holdout rows in which it is filled.
        live: column -> (requests seen, requests in which it was filled).

    >>> skewed({"dep_delay": 0.98, "origin": 1.0}, {"dep_delay": (400, 0), "origin": (400, 400)})
    ('dep_delay',)
    """
    requests = max((seen for seen, _ in live.values()), default=0)
    if requests < LEAST:
        return ()
    return tuple(
        sorted(
            column
            for column, share in holdout.items()
            if share > FILLED and live.get(column, (requests, 0))[1] <= EMPTY * requests
        )
    )
