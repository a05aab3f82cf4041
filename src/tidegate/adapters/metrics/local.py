"""The embedded endpoint's counts, as closed minutes and label strata."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from tidegate.core.evidence import (
    Arm,
    LabelArm,
    LabelStratum,
    Minute,
    Series,
    configured_share,
)
from tidegate.core.model import Task
from tidegate.endpoint import control, measuring, spec
from tidegate.endpoint.layout import Folder
from tidegate.endpoint.store import Reader
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tidegate.ports import Measure, Window

PATIENCE = 10.0  # seconds for the collector to take up a new measure
# Seconds around a change of weights in which the share is not known: it is written down by one
# process and takes effect in another.
BLUR = 0.5


class LocalMetrics:
    """Reads what the supervisor of the endpoint in ``directory`` has counted."""

    def __init__(self, directory: Path) -> None:
        self._folder = Folder(directory.absolute())

    def observe(self, measure: Measure) -> None:
        """Count this way from now on; returns when the collector does.

        Raises:
            OutsideError: the collector does not take it up (no endpoint, no disk).
        """
        self._ensure()
        if measuring.read(self._folder) != measure:
            measuring.write(self._folder, measure)
        deadline = time.monotonic() + PATIENCE
        while not self._active(measure):
            if time.monotonic() > deadline:
                raise OutsideError(
                    "The endpoint's collector did not take up the new way of counting.",
                    remedy=f"See {self._folder.logs / 'supervisor.log'}.",
                )
            time.sleep(0.02)

    def read(self, window: Window, now: float) -> Series:
        """Return the closed minutes and label strata of a rollout, as of ``now`` (epoch seconds).

        A minute is closed once every request that arrived in it must have been answered, logged
        and read. A collector that lags behind closes nothing.

        Raises:
            OutsideError: there is no endpoint, or its store cannot be read.
        """
        wanted = self._ensure()
        measure = window.measure
        interval = measure.interval
        with self._open() as store:
            clock = min(now, store.ingested_to())
            closed = math.floor((clock - measuring.lag(wanted.timeout)) / interval)
            first = math.ceil(window.since / interval)
            way = measuring.traffic_key(measure)
            spans = store.spans(way)
            counts = store.traffic(way, first, closed)
            minutes = tuple(
                Minute(
                    index=index,
                    champion=_arm(counts.get((index, window.champion)), measure),
                    candidate=_arm(counts.get((index, window.candidate)), measure),
                    share=configured_share(
                        window.shares,
                        window.moving,
                        index * interval,
                        (index + 1) * interval,
                        blur=BLUR,
                    ),
                )
                for index in range(first, closed)
                if _counted(spans, index * interval, (index + 1) * interval)
            )
            labels = self._labels(store, window, first, closed, clock)
        return Series(minutes=minutes, labels=labels, closed=closed)

    def recent(self, measure: Measure, now: float, *, minutes: int = 60) -> tuple[int, Arm] | None:
        """Return (intervals, sum over them and all variants) of the newest closed traffic.

        None while nothing is counted this way. Intervals without a request are left out: an
        endpoint that sleeps at night is planned for as it is by day.
        """
        wanted = self._ensure()
        way = measuring.traffic_key(measure)
        with self._open() as store:
            clock = min(now, store.ingested_to()) - measuring.lag(wanted.timeout)
            closed = math.floor(clock / measure.interval)
            counts = store.traffic(way, closed - minutes, closed)
        if not counts:
            return None
        requests, errors, slow = (sum(column) for column in zip(*counts.values(), strict=True))
        return len({index for index, _ in counts}), Arm(requests=requests, errors=errors, slow=slow)

    def fill(self, version: str) -> Mapping[str, tuple[int, int]]:
        """Return column -> (rows seen, rows in which it was filled) of live requests."""
        self._ensure()
        with self._open() as store:
            return store.fills(version)

    def notes(self) -> Mapping[str, int]:
        """Return how many odd lines were met, by kind: malformed, late, duplicate."""
        self._ensure()
        with self._open() as store:
            return store.notes()

    def _labels(
        self, store: Reader, window: Window, first: int, closed: int, clock: float
    ) -> tuple[LabelStratum, ...]:
        measure = window.measure
        way = measuring.label_key(measure)
        last_bucket = math.floor(clock / measure.label_every) - 1
        spans = store.spans(way)
        strata = store.strata(way, first, closed, last_bucket)
        pairs = sorted({(minute, bucket) for minute, bucket, _ in strata})
        return tuple(
            LabelStratum(
                minute=minute,
                bucket=bucket,
                champion=_label_arm(strata.get((minute, bucket, window.champion)), measure),
                candidate=_label_arm(strata.get((minute, bucket, window.candidate)), measure),
            )
            for minute, bucket in pairs
            if _counted(spans, minute * measure.interval, (minute + 1) * measure.interval)
            and not {window.champion, window.candidate}.isdisjoint(
                version for m, b, version in strata if (m, b) == (minute, bucket)
            )
        )

    def _active(self, measure: Measure) -> bool:
        with self._open() as store:
            ways = (measuring.traffic_key(measure), measuring.label_key(measure))
            return all(any(until is None for _, until in store.spans(way)) for way in ways)

    def _open(self) -> Reader:
        """Open the store; a supervisor that has just been started for the first time makes it."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return Reader(self._folder.store)
            except OutsideError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.02)

    def _ensure(self) -> spec.Spec:
        wanted = spec.read(self._folder)
        if wanted is None:
            raise OutsideError(
                f"There is no endpoint in {self._folder.path}.", remedy="Deploy a version first."
            )
        control.ensure(self._folder)
        return wanted


def _arm(counts: tuple[int, ...] | None, measure: Measure) -> Arm | None:
    if counts is None:
        return None  # not observed is not zero
    requests, errors, slow = counts
    return Arm(requests=requests, errors=errors, slow=None if measure.slower_than is None else slow)


def _label_arm(counts: tuple[int, int, float, float] | None, measure: Measure) -> LabelArm | None:
    if counts is None:
        return None
    labelled, mistakes, total, squares = counts
    decided = measure.task in (Task.BINARY, Task.MULTICLASS)
    lossy = decided or (measure.task is Task.REGRESSION and measure.clip is not None)
    return LabelArm(
        labelled=labelled,
        mistakes=mistakes if decided else None,
        loss_sum=total if lossy else None,
        loss_sum_sq=squares if lossy else None,
    )


def _counted(spans: list[tuple[float, float | None]], begin: float, end: float) -> bool:
    """Whether traffic was counted this way through the whole minute."""
    return any(since <= begin and (until is None or end <= until) for since, until in spans)
