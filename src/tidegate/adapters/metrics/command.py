"""Counts that a command of the user's prints, from whatever monitoring there is."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.core.evidence import Arm
from tidegate.errors import NotJudgedError, OutsideError
from tidegate.process import run_command
from tidegate.strict import strict_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tidegate.ports import Measure

DELAY = 60.0  # seconds
TIMEOUT = 120.0  # seconds
_MOST_BYTES = 64_000_000
_KEYS = frozenset({"minute", "version", "requests", "errors", "slow"})


class CommandCounts:
    """Runs the command, which prints JSON Lines, one an interval and version that had requests::

        {"minute": 1763881200, "version": "7", "requests": 600, "errors": 4, "slow": 12}

    ``minute`` is the interval's beginning (epoch seconds); ``slow`` is null or left out where it is
    not measured. What is not printed was not observed; no line may repeat. Anything else that it has to
    say belongs on standard error.

    It is told TIDEGATE_FROM and TIDEGATE_TO (epoch seconds, multiples of TIDEGATE_INTERVAL, the end not
    included), TIDEGATE_VERSIONS (separated by spaces) and TIDEGATE_SLOWER_THAN (seconds; empty when
    nobody asks). It runs beside our credentials and sees none of them: the variables of the runner
    and the clouds are taken out of its environment, like those of every command of the user's. What
    it needs to log in somewhere must come under other names.

    Args:
        run: the shell command.
        folder: where it runs: of mlops.yaml.
        delay: seconds after its end by which an interval's counts are complete.
        timeout: seconds after which the command is ended.
    """

    # Seconds by which a request may be counted away from its arrival.
    blur = 5.0

    def __init__(
        self, run: str, folder: Path, *, delay: float = DELAY, timeout: float = TIMEOUT
    ) -> None:
        self._run = run
        self._folder = folder
        self._timeout = timeout
        self.delay = delay

    def counts(
        self, versions: Sequence[str], first: int, end: int, measure: Measure
    ) -> Mapping[tuple[int, str], Arm]:
        """Return (interval's index, version) -> counts, for first <= index < end.

        Raises:
            OutsideError: the command fails, takes too long, or prints what it must not.
        """
        slower = measure.slower_than
        env = {
            "TIDEGATE_FROM": f"{first * measure.interval:.15g}",
            "TIDEGATE_TO": f"{end * measure.interval:.15g}",
            "TIDEGATE_INTERVAL": f"{measure.interval:.15g}",
            "TIDEGATE_VERSIONS": " ".join(versions),
            "TIDEGATE_SLOWER_THAN": "" if slower is None else f"{slower:.15g}",
        }
        with tempfile.TemporaryDirectory(prefix="tidegate-counts-") as folder:
            printed = Path(folder) / "counts.jsonl"
            try:
                run_command(
                    # Standard error stays the log's. The newline ends a comment.
                    f'{{ {self._run}\n}} > "$TIDEGATE_COUNTS"',
                    what="The command of release.metrics",
                    folder=self._folder,
                    env={**env, "TIDEGATE_COUNTS": str(printed)},
                    timeout=self._timeout,
                )
                if printed.stat().st_size > _MOST_BYTES:
                    raise _wrong(f"more than {_MOST_BYTES:,} bytes")
                text = printed.read_bytes().decode()
            except NotJudgedError as error:
                raise OutsideError(str(error), remedy=error.remedy) from None
            except (OSError, UnicodeDecodeError) as error:
                raise _wrong(f"no text: {error}") from None
        return parse(text, versions, first, end, measure)


def parse(
    text: str, versions: Sequence[str], first: int, end: int, measure: Measure
) -> dict[tuple[int, str], Arm]:
    """Read what the command printed.

    Raises:
        OutsideError: a line is not as it must be; its number is in the message.
    """
    found: dict[tuple[int, str], Arm] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            key, arm = _line(strict_json(line), versions, measure)
            if not first <= key[0] < end:
                raise ValueError("`minute` was not asked for")  # noqa: TRY301
            if key in found:
                raise ValueError("this minute and version were there before")  # noqa: TRY301
        except (ValueError, RecursionError) as error:
            raise _wrong(f"line {number}: {error}") from None
        found[key] = arm
    return {key: arm for key, arm in found.items() if arm.requests}


def _line(document: Any, versions: Sequence[str], measure: Measure) -> tuple[tuple[int, str], Arm]:
    if not isinstance(document, dict):
        raise ValueError("no object")  # noqa: TRY004 (of what is read)
    if missing := sorted(_KEYS - {"slow"} - document.keys()):
        raise ValueError(f"`{missing[0]}` is missing")
    if extra := sorted(document.keys() - _KEYS):
        raise ValueError(f"unknown key {extra[0][:40]!r}")
    version = document["version"]
    if version not in versions:
        raise ValueError(f"version {version!r} was not asked for ({', '.join(versions)})")
    minute = document["minute"]
    if isinstance(minute, bool) or not isinstance(minute, int | float):
        raise ValueError("`minute` must be seconds")  # noqa: TRY004 (of what is read)
    index = round(minute / measure.interval)
    if index * measure.interval != minute:
        raise ValueError(f"`minute` must be a multiple of {measure.interval:g}")
    requests, errors = (_count(document, name) for name in ("requests", "errors"))
    slow = None if document.get("slow") is None else _count(document, "slow")
    for name, value in (("errors", errors), ("slow", slow)):
        if value is not None and value > requests:
            raise ValueError(f"more `{name}` than `requests`")
    if measure.slower_than is None:
        slow = None
    return (index, version), Arm(requests=requests, errors=errors, slow=slow)


def _count(document: Mapping[str, Any], name: str) -> int:
    value = document[name]
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"`{name}` must be a whole number of 0 or more, got {str(value)[:40]}")
    return value


def _wrong(what: str) -> OutsideError:
    return OutsideError(
        f"The command of release.metrics printed what it must not: {what}",
        remedy='It prints {"minute": ..., "version": ..., "requests": ..., "errors": ...} a line.',
    )
