"""``python -m tests.smoke sagemaker|vertex``: a rollout on a real account, within a ceiling of dollars.

What is needed is told when it is missing. Everything that is made has the run's name, and is deleted
at the end, also after Ctrl-C, a failure or the ceiling; ``--sweep NAME`` deletes what a run left that
was killed. The same script runs against the stand-ins of ``tests/aws`` and ``tests/gcp``, by their
environment variables alone.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.aws.clock import Clock
from tests.smoke.bill import Bill, expected
from tests.smoke.journal import Journal
from tests.smoke.places import Time
from tests.smoke.settings import read
from tests.smoke.story import Options, Story
from tidegate.errors import ConfigError, Exit, TidegateError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from tests.smoke.places import Place

TRAINING = 0.5  # hours of a training job, at most, in the estimate
SWEPT = 3600.0  # seconds for taking everything down
LATE = 600.0  # seconds in which what was captured last may still arrive in the bucket


def main(argv: Sequence[str] | None = None) -> int:
    options = _arguments(argv)
    clock = Clock.read(os.environ)
    clocks = Time(clock.now, lambda seconds: time.sleep(clock.real(seconds)))
    try:
        given = read(options.cloud, options.settings, train=options.train)
        name = options.sweep or f"tidegate-smoke-{secrets.token_hex(3)}"
        place = _place(options.cloud)(given, name, clocks)
        if options.sweep:
            return _swept(place, clocks, f"Sweeping {name}")
        return _run(place, options, clocks)
    except TidegateError as error:
        print(f"{error}\n{error.remedy or ''}".rstrip(), file=sys.stderr)
        return int(error.exit_code)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.smoke", description=__doc__)
    parser.add_argument("cloud", choices=("sagemaker", "vertex"))
    parser.add_argument("--settings", type=Path, help="a TOML file with [sagemaker] or [vertex]")
    parser.add_argument("--ceiling", type=float, default=2.0, help="US dollars (default: 2.00)")
    parser.add_argument("--yes", action="store_true", help="do not ask before anything is made")
    parser.add_argument("--dead-man", action="store_true", help="wait until the switch fires")
    parser.add_argument("--train", action="store_true", help="run a training job, too")
    parser.add_argument("--sweep", metavar="NAME", help="only delete what a run of this name left")
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")
    parser.add_argument("--requests", type=int, default=Options.requests)
    parser.add_argument("--rate", type=float, default=Options.rate, help="requests a second")
    parser.add_argument(
        "--poll", type=float, default=Options.poll, help="seconds between two looks"
    )
    return parser.parse_args(argv)


def _place(cloud: str) -> Callable[..., Place]:
    if cloud == "sagemaker":
        from tests.smoke.sagemaker import OnSageMaker

        return OnSageMaker
    from tests.smoke.vertex import OnVertex

    return OnVertex


def _run(place: Place, options: argparse.Namespace, clocks: Time) -> int:
    parts = place.parts(dead_man=options.dead_man)
    hourly = place.compute()[1] if options.train else 0.0
    total = expected(parts, place.price, hourly * TRAINING)
    _announce(place, options, total, hourly)
    if total > options.ceiling:
        raise ConfigError(
            f"this run may cost ${total:.2f}, more than the ceiling of ${options.ceiling:.2f}",
            remedy="Raise --ceiling, or take a smaller machine.",
        )
    if not options.yes:
        if not sys.stdin.isatty():
            raise ConfigError("nobody is there to be asked", remedy="Say --yes if it shall begin.")
        if input("Go on? [y/N] ").strip().lower() != "y":
            return int(Exit.OK)
    bill = Bill(place.price, options.ceiling, clocks.now, since=clocks.now())
    journal = Journal(dict(place.rules()), bill, clocks.now, began=clocks.now())
    trouble = _play(place, journal, bill, options, clocks)
    left = _cleaned(place, journal, clocks)
    differing = [check.row for check in journal.checks if check.agrees is False]
    print(journal.table(), file=sys.stderr)
    print(f"\nspent: about ${bill.total:.2f}", file=sys.stderr)
    for line in (*([trouble] if trouble else []), *(f"STILL THERE: {one}" for one in left)):
        print(line, file=sys.stderr)
    good = trouble is None and not left and not differing
    print("All is well." if good else "NOT all is well.", file=sys.stderr)
    if options.json:
        document = journal.document(
            cloud=options.cloud, name=place.name, ok=good, trouble=trouble, left=left
        )
        print(json.dumps(document, indent=1))
    return int(Exit.OK if good else Exit.REJECTED)


def _announce(place: Place, options: argparse.Namespace, total: float, hourly: float) -> None:
    lines = ["This run makes, and deletes at its end:", *(f"  {one}" for one in place.creates())]
    if options.train:
        lines.append(
            f"  a training job of at most {TRAINING * 60:.0f} minutes, ${hourly:g} an hour"
        )
    lines += ["What it may cost, by generous guesses of how long things take:"]
    for part in place.parts(dead_man=options.dead_man):
        cost = f"${part.cost(place.price):.3f}"
        lines.append(f"  {cost}  {part.what} ({part.minutes:.0f} min x {part.machines})")
    lines.append(f"Together ${total:.2f} at most; it ends itself before ${options.ceiling:.2f}.")
    print("\n".join(lines), file=sys.stderr)


def _play(
    place: Place, journal: Journal, bill: Bill, options: argparse.Namespace, clocks: Time
) -> str | None:
    """Play the story, and return what went wrong."""
    wanted = Options(
        requests=options.requests, rate=options.rate, poll=options.poll,
        dead_man=options.dead_man, train=options.train,
    )  # fmt: skip
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    with tempfile.TemporaryDirectory(prefix="tidegate-smoke-") as folder:
        try:
            Story(place, journal, bill, clocks, Path(folder), wanted).play()
        except KeyboardInterrupt:
            return "interrupted"
        except TidegateError as error:
            return f"{error} {error.remedy or ''}".rstrip()
        except Exception as error:  # noqa: BLE001 (whatever it is: machines are running)
            return f"a mistake of the script: {type(error).__name__}: {error}"
    return None


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _cleaned(place: Place, journal: Journal, clocks: Time) -> list[str]:
    """Delete everything, whatever is pressed meanwhile, and return what is left."""

    def patient(number: int, frame: FrameType | None) -> None:
        print(f"still deleting; what stays costs money (--sweep {place.name})", file=sys.stderr)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, patient)
    left = ["nobody looked"]
    try:
        with journal.step("everything is deleted"):
            place.sweep(journal.waiting, SWEPT)
            journal.bill.run(0)
        with journal.step("nothing is left"):
            end = clocks.now() + LATE
            while True:
                left = place.left()
                quiet = clocks.now() > end - LATE + 120  # what was captured arrives late
                if (not left and quiet) or clocks.now() > end:
                    break
                clocks.sleep(30)
                if left:
                    place.sweep(journal.waiting, SWEPT)
    except TidegateError as error:
        left = [f"perhaps something of {place.name}: {error}"]
    return left


def _swept(place: Place, clocks: Time, line: str) -> int:
    print(line, file=sys.stderr)
    place.sweep(lambda text: print(f"  {text}", file=sys.stderr), SWEPT)
    left = place.left()
    for one in left:
        print(f"STILL THERE: {one}", file=sys.stderr)
    return int(Exit.REJECTED if left else Exit.OK)


if __name__ == "__main__":
    sys.exit(main())
