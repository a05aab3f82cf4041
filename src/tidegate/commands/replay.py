"""``tidegate replay``: what the canary would have decided on recorded counts, minute by minute."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.core.canary import Action, Decision
from tidegate.core.config import Canary, GuardMetric
from tidegate.core.replay import replay
from tidegate.counts import Counts, read_counts
from tidegate.errors import Exit
from tidegate.render.decision import document, notes, sentence

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from tidegate.terminal import Terminal

SUMMARY = "replay recorded counts through the canary's rules"

_EXITS = {
    Action.PROMOTE: Exit.OK,
    Action.REVERT: Exit.REJECTED,
    Action.EXPIRE: Exit.INCONCLUSIVE,
    Action.HOLD: Exit.INCONCLUSIVE,
    Action.STEP_UP: Exit.INCONCLUSIVE,  # the file ends just after a step
}

_COLUMNS = {
    GuardMetric.ERROR_RATE: ("errors",),
    GuardMetric.SLOW_REQUESTS: ("slow",),
    GuardMetric.LABEL_ERROR: ("labelled", "mistakes"),
    GuardMetric.LABEL_LOSS: ("labelled", "loss_sum", "loss_sum_sq"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--counts",
        type=Path,
        required=True,
        metavar="FILE",
        help="CSV or Parquet: minute, variant (champion or candidate), requests, errors; "
        "optional slow, labelled, mistakes, loss_sum, loss_sum_sq",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="take the canary's policy from here (default: ./mlops.yaml if it exists, "
        "else the shipped policy)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Replay, report, and return the outcome's exit code."""
    canary = policy(args.config)
    counts = read_counts(args.counts)
    decisions = replay(canary, counts.minutes, counts.strata)
    last = decisions[-1]
    outcome = Action.HOLD if last.action is Action.STEP_UP else last.action
    exposed = sum(
        minute.candidate.requests
        for minute in counts.minutes
        if minute.candidate is not None and minute.index <= last.minute
    )
    remarks = [*notes(canary), *_unmeasured(canary, counts)]
    terminal.emit(
        {
            "outcome": str(outcome),
            "minute": last.minute,
            "reason": sentence(last),
            "requests_exposed": exposed,
            "notes": remarks,
            "decisions": [document(decision) for decision in decisions],
        }
    )
    for line in _story(decisions):
        terminal.say(line)
    for remark in remarks:
        terminal.say(f"Note: {remark}")
    terminal.say(
        f"Outcome: {outcome} at minute {last.minute}; the candidate answered {exposed:,} requests."
    )
    return _EXITS[last.action]


def policy(config: Path | None) -> Canary:
    """Return the canary's policy: of ``config``, of ``./mlops.yaml``, or the shipped one."""
    path = config or Path("mlops.yaml")
    if config is None and not path.exists():
        return Canary()
    from tidegate.load import load

    return load(path).release.canary


def _unmeasured(canary: Canary, counts: Counts) -> Iterable[str]:
    for guard in canary.guards:
        missing = [name for name in _COLUMNS[guard.metric] if name not in counts.columns]
        if missing:
            blocks = not guard.needs_labels or canary.labels.required
            end = "so nothing can be promoted" if blocks else "so it can revert nothing"
            yield f"{guard.metric}: the counts have no column {', '.join(missing)}, {end}."


def _story(decisions: Iterable[Decision]) -> Iterable[str]:
    """Yield one line wherever the action or its cause changes."""
    before = None
    for decision in decisions:
        if (now := (decision.action, decision.cause)) != before:
            yield f"minute {decision.minute:>5}  {decision.action:<8}  {sentence(decision)}"
        before = now
