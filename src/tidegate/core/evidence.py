"""What was observed of live traffic: closed minutes and closed label strata, as plain counts.

A *minute* is one evidence interval (``canary.interval`` long, 60 s unless configured); its index
is ``floor(epoch seconds / interval)``. A minute is closed once, when the source's watermark has
passed it, and never reopened. An arm that is None was not observed: no data, never zero.
"""

from __future__ import annotations

from dataclasses import dataclass


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
