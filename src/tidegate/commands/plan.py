"""``tidegate plan``: what the holdout can show, how long a rollout takes and what it can see.

Before anything starts. With ``--label`` it is about one thing only: which rows to label.
"""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.commands.context import Context
from tidegate.commands.endpoints import machine_of
from tidegate.commands.planning import of_holdout, to_be_labelled
from tidegate.commands.replay import policy
from tidegate.core.config import Canary, GuardMetric
from tidegate.core.power import plan
from tidegate.core.simulation import Traffic
from tidegate.errors import ConfigError, Exit, OutsideError
from tidegate.load import load
from tidegate.render import plan_holdout
from tidegate.render.plan import document, expected, lines

if TYPE_CHECKING:
    from tidegate.terminal import Terminal

SUMMARY = "what the holdout can show, how long a rollout takes, and what a bad model can reach"

_PER_MINUTE = {"s": 60.0, "sec": 60.0, "min": 1.0, "m": 1.0, "h": 1 / 60.0, "hour": 1 / 60.0}
_TRAFFIC = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*/\s*(?P<unit>[a-z]+)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="take the canary's policy from here (default: ./mlops.yaml if it exists)",
    )
    parser.add_argument(
        "--traffic", metavar="N/min", help="requests to the endpoint: 600/min, 10/s, 5000/h"
    )
    for name, what in (
        ("error-rate", "the champion's errors (default 1%%)"),
        ("slow-rate", "its slow answers (default 1%%)"),
        ("label-error", "its mistakes, or its mean loss; without it label guards are left out"),
        ("labelled", "answers that get a label (default 100%%)"),
    ):
        parser.add_argument(f"--{name}", metavar="N%", help=what)
    parser.add_argument(
        "--disagreement",
        metavar="N%",
        help="answers that two models give differently (default: by the last verdict, else 10%%)",
    )
    parser.add_argument(
        "--verdict", type=Path, metavar="FILE",
        help="take each metric's spread from this verdict.json (default: the commit's own)",
    )  # fmt: skip
    parser.add_argument(
        "--label", type=Path, metavar="FILE",
        help="Parquet or CSV with id, candidate, champion of unlabelled rows: print the ids of those "
        "worth a label, one a line, and nothing else on standard output",
    )  # fmt: skip
    parser.add_argument(
        "--budget", type=_count, metavar="N", help="with --label: at most so many labels"
    )
    parser.add_argument(
        "--margin", type=float, metavar="M", help="with --label: say how many labels it needs"
    )
    parser.add_argument(
        "--labels", type=Path, metavar="FILE",
        help="with --label: Parquet or CSV with id, y_true: the difference by the labels so far",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")


def run(args: argparse.Namespace, terminal: Terminal, observed: Traffic | None = None) -> Exit:
    """Simulate and report. ``observed`` is the endpoint's own traffic, where there is one."""
    if args.label is not None:
        return _label(args, terminal)
    canary = policy(args.config)
    shown = of_holdout(args, terminal, _fraction(args.disagreement, "--disagreement"))
    traffic = expected_traffic(args, canary, observed or _observed(args, terminal))
    terminal.progress("simulating rollouts")
    result = plan(canary, traffic)
    spending = expected(result, *_machine(args))
    terminal.emit({"holdout": plan_holdout.document(shown), **document(result, spending)})
    for line in plan_holdout.lines(shown):
        terminal.say(line)
    for line in lines(result, spending):
        terminal.say(line)
    return Exit.OK


def _label(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Print which rows to label."""
    chosen, names, found, confidence = to_be_labelled(args)
    for line in plan_holdout.label_lines(chosen, args.margin, confidence, found):
        terminal.progress(line)
    terminal.emit(plan_holdout.label_document(chosen, names, confidence, found))
    for name in names:
        terminal.say(str(name))
    return Exit.OK


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1 on")
    return int(text)


def _machine(args: argparse.Namespace) -> tuple[str, float | None]:
    """Return what one more variant runs on and its price an hour, where a file says so."""
    path = args.config or Path("mlops.yaml")
    if not path.exists():
        return "", None
    return machine_of(load(path).release)


def _observed(args: argparse.Namespace, terminal: Terminal) -> Traffic | None:
    """Return what the model's own endpoint has counted lately, where there is one."""
    path = args.config or Path("mlops.yaml")
    if not path.exists() or args.traffic:
        return None
    context = Context.of(argparse.Namespace(config=path), terminal)
    release = context.config.release
    canary = release.canary
    if release.target == "local" and not context.home.endpoint(release.endpoint).is_dir():
        return None
    from tidegate.perform import measure_of

    measure = measure_of(canary, context.config.model.task, context.labels)
    try:
        recent = context.metrics().recent(measure, time.time())
    except OutsideError as error:
        terminal.progress(f"planned without the endpoint's own traffic: {error}")
        return None
    if recent is None:
        return None
    intervals, arm = recent
    rates = {
        GuardMetric.ERROR_RATE: arm.errors / arm.requests,
        GuardMetric.SLOW_REQUESTS: (arm.slow or 0) / arm.requests,
    }
    terminal.progress(f"observed: {arm.requests:,} requests in {intervals} intervals")
    return Traffic(per_minute=arm.requests / intervals * 60 / canary.interval, rates=rates)


def expected_traffic(
    args: argparse.Namespace, canary: Canary, observed: Traffic | None = None
) -> Traffic:
    """Return the traffic to plan for: what was asked, else what was observed, else a default.

    Raises:
        ConfigError: an argument cannot be read, or no guard is left to simulate.
    """
    asked = {
        GuardMetric.ERROR_RATE: _fraction(args.error_rate, "--error-rate"),
        GuardMetric.SLOW_REQUESTS: _fraction(args.slow_rate, "--slow-rate"),
        GuardMetric.LABEL_ERROR: _fraction(args.label_error, "--label-error"),
        GuardMetric.LABEL_LOSS: _fraction(args.label_error, "--label-error"),
    }
    default = {GuardMetric.ERROR_RATE: 0.01, GuardMetric.SLOW_REQUESTS: 0.01}
    known = default | dict(observed.rates if observed else {})
    known |= {metric: rate for metric, rate in asked.items() if rate is not None}
    rates = {guard.metric: known[guard.metric] for guard in canary.guards if guard.metric in known}
    if not rates:
        raise ConfigError(
            "No guard can be simulated: all of them need labels, and no base rate was given.",
            remedy="Add --label-error, for example --label-error 20%.",
        )
    labelled = _fraction(args.labelled, "--labelled")
    per_minute = observed.per_minute if observed else 600.0
    return Traffic(
        per_minute=per_minute if args.traffic is None else _per_minute(args.traffic),
        rates=rates,
        labelled=(observed.labelled if observed else 1.0) if labelled is None else labelled,
    )


def _per_minute(text: str) -> float:
    found = _TRAFFIC.fullmatch(text.strip())
    if found is None or found["unit"] not in _PER_MINUTE or float(found["number"]) <= 0:
        raise ConfigError(
            f"--traffic: got {text!r}, expected a number of requests per s, min or h.",
            remedy="Write for example --traffic 600/min.",
        )
    return float(found["number"]) * _PER_MINUTE[found["unit"]]


def _fraction(text: str | None, name: str) -> float | None:
    if text is None:
        return None
    try:
        value = float(text.strip().removesuffix("%")) / (100.0 if "%" in text else 1.0)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < 1.0 and not (name == "--labelled" and value == 1.0):
        raise ConfigError(
            f"{name}: got {text!r}, expected a percentage from 0% to below 100%.",
            remedy=f"Write for example {name} 1%.",
        )
    return value
