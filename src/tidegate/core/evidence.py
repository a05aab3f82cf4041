"""What was observed of live traffic: closed minutes and closed label strata, as plain counts.

A *minute* is one evidence interval (``canary.interval`` long, 60 s unless configured); its index
is ``floor(epoch seconds / interval)``. A minute is closed once, when the source's watermark has
passed it, and never reopened. An arm that is None was not observed: no data, never zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One variant's requests of one closed minute, counted at arrival."""

    requests: int
    errors: int  # 5xx, or no answer at all
    slow: int | None = None  # answers slower than the guard's limit; None: not measured


@dataclass(frozen=True, kw_only=True, slots=True)
class Minute:
    """One closed minute of both arms.

    ``share`` is the candidate's configured share of traffic; None when it was not the same
    throughout the minute, or is not known (a replay).
    """

    index: int
    champion: Arm | None
    candidate: Arm | None
    share: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelArm:
    """One variant's labelled answers of one label stratum."""

    labelled: int
    mistakes: int | None = None
    loss_sum: float | None = None  # losses divided by their bound B, so each is in [0, 1]
    loss_sum_sq: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelStratum:
    """Answers given in ``minute`` whose labels arrived in ``bucket``; both closed."""

    minute: int
    bucket: int
    champion: LabelArm | None
    candidate: LabelArm | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """Everything a metric source knows of one rollout, up to its watermark.

    ``closed`` is the index of the first minute that is *not* closed yet.
    """

    minutes: tuple[Minute, ...]
    labels: tuple[LabelStratum, ...]
    closed: int


def configured_share(
    shares: Sequence[tuple[float, float]],
    moving: Sequence[tuple[float, float]],
    begin: float,
    end: float,
    *,
    blur: float = 0.0,
) -> float | None:
    """Return the candidate's share of traffic from ``begin`` to ``end`` (epoch seconds).

    None unless it was known and the same throughout.

    Args:
        shares: (when it was read back, share) for every split so far.
        moving: (from, to) in which a change of the split was under way.
        begin: of the minute.
        end: of the minute.
        blur: seconds by which the moments in ``shares`` may be wrong.

    >>> configured_share([(0, 0.05), (60, 0.25)], [(50, 60)], 0, 30)
    0.05
    >>> configured_share([(0, 0.05), (60, 0.25)], [(50, 60)], 30, 60) is None
    True
    >>> configured_share([(0, 0.05), (60, 0.25)], [(50, 60)], 60, 90)
    0.25
    """
    if any(start < end + blur and begin - blur < stop for start, stop in moving):
        return None
    before = [share for moment, share in sorted(shares) if moment <= begin - blur]
    during = {share for moment, share in shares if begin - blur < moment < end + blur}
    return before[-1] if before and during <= {before[-1]} else None
