"""``tidegate log``: what happened, from the ledger, its chain verified."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.commands.context import Context, add_config, add_json
from tidegate.core.events import Heartbeat
from tidegate.core.ledger import to_json
from tidegate.errors import Exit
from tidegate.render.ledger import log_line

if TYPE_CHECKING:
    import argparse

    from tidegate.terminal import Terminal

SUMMARY = "what happened, when, why and by whom: the ledger, verified"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_config(parser)
    add_json(parser)
    parser.add_argument("-n", type=int, metavar="N", help="only the newest N events")
    parser.add_argument("--all", action="store_true", help="heartbeats, too")


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Print the ledger."""
    context = Context.of(args, terminal)
    chain = context.ledger().read().chain
    shown = [e for e in chain if args.all or not isinstance(e.payload, Heartbeat)]
    shown = shown if args.n is None else shown[max(0, len(shown) - max(0, args.n)) :]
    terminal.emit([to_json(event) for event in shown])
    for event in shown:
        terminal.say(log_line(event))
    if not shown:
        terminal.say("nothing has happened yet")
    return Exit.OK
