"""Schedules in unix-cron: https://cloud.google.com/scheduler/docs/configuring/cron-job-schedules"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_WORDS = (
    dict(
        zip(
            ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
            range(1, 13),
            strict=True,
        )
    ),
    dict(zip(["sun", "mon", "tue", "wed", "thu", "fri", "sat"], range(7), strict=True)),
)
_DAYS = 366 * 9  # the 29th of February comes within


@dataclass(frozen=True)
class Schedule:
    """The minutes at which something is due."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # 0: Sunday
    either: bool  # both days and weekdays are limited: one of them is enough
    zone: ZoneInfo

    def after(self, seconds: float) -> float:
        """Return the first time (Unix) later than another.

        Raises:
            ValueError: it never comes again.
        """
        first = datetime.fromtimestamp(seconds, self.zone).date()
        for number in range(_DAYS):
            day = first + timedelta(days=number)
            if self._on(day):
                for hour in self.hours:
                    for minute in self.minutes:
                        local = datetime.combine(day, time(hour, minute), self.zone)
                        # A time that a change to summer time leaves out does not come back.
                        there = local.astimezone(UTC).astimezone(self.zone)
                        if local.timestamp() > seconds and there.hour == hour:
                            return local.timestamp()
        raise ValueError("the schedule has no next time")

    def _on(self, day: date) -> bool:
        by_day, by_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        fits = (by_day or by_week) if self.either else (by_day and by_week)
        return fits and day.month in self.months


def schedule(text: str, zone: str) -> Schedule:
    """Return a schedule.

    Raises:
        ValueError: it is none, or the time zone is unknown.

    >>> schedule("30 6 24 12 *", "UTC").after(0) == datetime(1970, 12, 24, 6, 30, tzinfo=UTC).timestamp()
    True
    """
    fields = text.split()
    if len(fields) != 5:
        raise ValueError(f"{text!r} has {len(fields)} fields, not five")
    parts = [
        _field(field.lower(), low, high, number)
        for number, (field, (low, high)) in enumerate(zip(fields, _RANGES, strict=True))
    ]
    try:
        place = ZoneInfo("UTC" if zone.lower() == "utc" else zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"unknown time zone {zone!r}") from error
    return Schedule(
        minutes=tuple(sorted(parts[0])),
        hours=tuple(sorted(parts[1])),
        days=frozenset(parts[2]),
        months=frozenset(parts[3]),
        weekdays=frozenset(day % 7 for day in parts[4]),
        either="*" not in {fields[2][0], fields[4][0]},
        zone=place,
    )


def _field(text: str, low: int, high: int, number: int) -> set[int]:
    found: set[int] = set()
    words = _WORDS[number - 3] if number >= 3 else {}
    for part in text.split(","):
        match = re.fullmatch(r"(\*|(\w+)(?:-(\w+))?)(?:/(\d+))?", part)
        if match is None:
            raise ValueError(f"{part!r} is no part of a schedule")
        first, last = low, high
        if match[1] != "*":
            ends = [words.get(word, word) for word in (match[2], match[3] or match[2])]
            first, last = (int(end) for end in ends)
            last = high if match[4] and not match[3] else last
        if not low <= first <= last <= high:
            raise ValueError(f"{part!r} is not between {low} and {high}")
        found |= set(range(first, last + 1, int(match[4] or 1)))
    return found
