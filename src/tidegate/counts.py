"""Recorded counts of a rollout, from CSV or Parquet: the replay's only parse.

One row per minute and variant. ``minute, variant, requests, errors`` must be there; ``slow``,
``labelled``, ``mistakes``, ``loss_sum`` and ``loss_sum_sq`` may be. An empty cell of an optional
column means "not measured". Losses are divided by their bound before they are summed.
"""

from __future__ import annotations

import csv
import difflib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from tidegate.core.evidence import Arm, LabelArm, LabelStratum, Minute
from tidegate.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

REQUIRED = ("minute", "variant", "requests", "errors")
OPTIONAL = ("slow", "labelled", "mistakes", "loss_sum", "loss_sum_sq")
VARIANTS = ("champion", "candidate")
MOST_MINUTES = 25_000  # more than two weeks; an index further out is a typing mistake
_MOST_PROBLEMS = 20

Cell: TypeAlias = object
Row: TypeAlias = "tuple[int, Mapping[str, Cell]]"
"""Where a row stands in its file, for messages, and its cells by column."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """A recorded rollout. ``columns`` are the known ones that the file has."""

    minutes: tuple[Minute, ...]
    strata: tuple[LabelStratum, ...]
    columns: frozenset[str]


def read_counts(path: Path) -> Counts:
    """Read ``path``; Parquet is recognised by its first bytes, everything else is CSV.

    Raises:
        ConfigError: every problem found, each with file, line (Parquet: row), what was expected,
            and how to fix it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}.",
            remedy="Give --counts an existing CSV or Parquet file.",
        ) from error
    parquet = content[:4] == b"PAR1"
    header, rows = _parquet_rows(path, content) if parquet else _csv_rows(path, content)
    _check_header(path, header)
    reader = _Reader(path=path, unit="row " if parquet else "")
    for row in rows:
        reader.read(row)
    return reader.counts(header)


def _csv_rows(path: Path, content: bytes) -> tuple[list[str], Iterable[Row]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: is neither UTF-8 text nor Parquet.", remedy="Save the counts as CSV in UTF-8."
        ) from error
    lines = csv.reader(io.StringIO(text, newline=""))
    try:
        table = [(lines.line_num, cells) for cells in lines if cells]
    except csv.Error as error:
        raise ConfigError(
            f"{path}:{lines.line_num}: not CSV: {error}.", remedy="Save the counts as CSV again."
        ) from error
    if not table:
        return [], ()
    header = [name.strip() for name in table[0][1]]
    return header, [(line, dict(zip(header, cells, strict=False))) for line, cells in table[1:]]


def _parquet_rows(path: Path, content: bytes) -> tuple[list[str], Iterable[Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(content))
    except pa.ArrowException as error:
        raise ConfigError(
            f"{path}: is not readable Parquet: {error}.", remedy="Write the file again."
        ) from error
    known = [name for name in table.column_names if name in REQUIRED + OPTIONAL]
    return list(table.column_names), enumerate(table.select(known).to_pylist(), start=1)


def _check_header(path: Path, header: list[str]) -> None:
    problems = []
    for name in REQUIRED:
        if name not in header:
            close = difflib.get_close_matches(name, header, n=1)
            hint = f" Did you mean it by {close[0]!r}?" if close else ""
            problems.append(f"{path}:1: column {name!r} is missing.{hint}")
    problems += [
        f"{path}:1: column {name!r} appears twice."
        for name in REQUIRED + OPTIONAL
        if header.count(name) > 1
    ]
    if "loss_sum" in header and "loss_sum_sq" not in header:
        problems.append(f"{path}:1: column 'loss_sum' needs 'loss_sum_sq' beside it.")
    if {"mistakes", "loss_sum"} & set(header) and "labelled" not in header:
        problems.append(f"{path}:1: 'mistakes' and 'loss_sum' need a column 'labelled'.")
    _raise(problems)


class _Wrong(Exception):  # noqa: N818 (never leaves this module)
    """A cell that is not what it must be."""


class _Reader:
    """Collects rows and everything that is wrong with them."""

    def __init__(self, *, path: Path, unit: str) -> None:
        self._path, self._unit = path, unit
        self._problems: list[str] = []
        self._arms: dict[int, dict[str, tuple[Arm, LabelArm | None]]] = {}

    def read(self, row: Row) -> None:
        """Take one row in, or note what is wrong with it."""
        number, cells = row
        try:
            self._take(cells)
        except _Wrong as wrong:
            self._problems.append(f"{self._path}:{self._unit}{number}: {wrong}.")

    def _take(self, cells: Mapping[str, Cell]) -> None:
        minute, variant = _whole(cells, "minute"), _variant(cells)
        arms = self._arms.setdefault(minute, {})
        if variant in arms:
            raise _Wrong(
                f"minute {minute} of {variant!r} appears twice, expected one row per minute and "
                "variant. Fix: add the counts up, or remove one row"
            )
        arms[variant] = (_arm(cells), _label_arm(cells))

    def counts(self, header: list[str]) -> Counts:
        """Return everything read, or raise all problems at once."""
        _raise(self._problems)
        if not self._arms:
            raise ConfigError(
                f"{self._path}: has no rows.", remedy="Give one row per minute and variant."
            )
        if max(self._arms) - min(self._arms) > MOST_MINUTES:
            raise ConfigError(
                f"{self._path}: minutes run from {min(self._arms)} to {max(self._arms)}, expected "
                f"at most {MOST_MINUTES} of them.",
                remedy="Number the minutes of one rollout in steps of one.",
            )
        minutes, strata = [], []
        for index, arms in sorted(self._arms.items()):
            champion, candidate = (arms.get(variant, (None, None)) for variant in VARIANTS)
            minutes.append(Minute(index=index, champion=champion[0], candidate=candidate[0]))
            if champion[1] or candidate[1]:
                labels = {"champion": champion[1], "candidate": candidate[1]}
                strata.append(LabelStratum(minute=index, bucket=index, **labels))
        known = frozenset(header) & frozenset(REQUIRED + OPTIONAL)
        return Counts(minutes=tuple(minutes), strata=tuple(strata), columns=known)


def _raise(problems: list[str]) -> None:
    if problems:
        more = len(problems) - _MOST_PROBLEMS
        shown = problems[:_MOST_PROBLEMS] + ([f"... and {more} more."] if more > 0 else [])
        raise ConfigError(
            "\n".join(shown),
            remedy=f"Columns: {', '.join(REQUIRED)}; optional: {', '.join(OPTIONAL)}.",
        )


def _variant(cells: Mapping[str, Cell]) -> str:
    value = cells.get("variant")
    text = value.strip() if isinstance(value, str) else value
    if text not in VARIANTS:
        close = difflib.get_close_matches(str(text).lower(), VARIANTS, n=1)
        hint = f"write {close[0]}" if close else "name the two variants so"
        raise _Wrong(f"variant: got {value!r}, expected champion or candidate. Fix: {hint}")
    return str(text)


def _number(cells: Mapping[str, Cell], name: str) -> float | None:
    """Return a finite number of at least 0; None where an optional cell is empty."""
    value = cells.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        if name in OPTIONAL:
            return None
        raise _Wrong(f"{name}: is empty, expected a number. Fix: leave the whole row out")
    try:
        number = float(value)  # type: ignore[arg-type]  # whatever float() refuses is reported
    except (TypeError, ValueError):
        number = float("nan")
    if not 0.0 <= number < float("inf") or isinstance(value, bool):
        raise _Wrong(f"{name}: got {value!r}, expected a number of at least 0. Fix: correct it")
    return number


def _whole(cells: Mapping[str, Cell], name: str) -> int:
    number = _optional_whole(cells, name)
    assert number is not None
    return number


def _optional_whole(cells: Mapping[str, Cell], name: str) -> int | None:
    number = _number(cells, name)
    if number is None:
        return None
    if number != int(number) or number > 2**53:
        raise _Wrong(f"{name}: got {cells[name]!r}, expected a whole number. Fix: give counts")
    return int(number)


def _at_most(name: str, value: int | None, limit_name: str, limit: int) -> None:
    if value is not None and value > limit:
        raise _Wrong(
            f"{name}: got {value}, expected at most {limit_name} ({limit}). "
            f"Fix: count each of the {limit_name} once"
        )


def _arm(cells: Mapping[str, Cell]) -> Arm:
    requests, errors = _whole(cells, "requests"), _whole(cells, "errors")
    slow = _optional_whole(cells, "slow")
    _at_most("errors", errors, "requests", requests)
    _at_most("slow", slow, "requests", requests)
    return Arm(requests=requests, errors=errors, slow=slow)


def _label_arm(cells: Mapping[str, Cell]) -> LabelArm | None:
    labelled, mistakes = (_optional_whole(cells, name) for name in ("labelled", "mistakes"))
    total, squares = _number(cells, "loss_sum"), _number(cells, "loss_sum_sq")
    if labelled is None:
        if (mistakes, total, squares) != (None, None, None):
            raise _Wrong("labelled: is empty, expected a number beside mistakes and losses")
        return None
    _at_most("mistakes", mistakes, "labelled", labelled)
    if (total is None) is not (squares is None):
        raise _Wrong("loss_sum, loss_sum_sq: got one of them, expected both or neither")
    if total is not None and squares is not None:
        slack = 1e-9 * max(labelled, 1)
        if squares > total + slack or total * total > labelled * (squares + slack):
            raise _Wrong(
                f"loss_sum_sq: got {squares:g} with loss_sum {total:g} of {labelled} labelled, "
                "expected loss_sum^2 / labelled <= loss_sum_sq <= loss_sum. Fix: divide each loss "
                "by its bound, so that it lies between 0 and 1, before summing"
            )
    return LabelArm(labelled=labelled, mistakes=mistakes, loss_sum=total, loss_sum_sq=squares)
