"""``tidegate tick``: one pass: read the ledger and the endpoint, decide, act."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tidegate.commands.context import Context, add_config, add_json
from tidegate.errors import Exit
from tidegate.perform import run_pass
from tidegate.render.status import line, summary
from tidegate.units import seconds

if TYPE_CHECKING:
    import argparse

    from tidegate.terminal import Terminal

SUMMARY = "one pass: read ledger and endpoint, decide, act; safe at any time, by anybody"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_config(parser)
    add_json(parser)
    parser.add_argument(
        "--every", metavar="TIME", type=seconds, help="tick again and again, e.g. every 15s"
    )
    parser.add_argument(
        "--until-idle", action="store_true", help="with --every: end when no rollout is live"
    )


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Tick once, or again and again."""
    context = Context.of(args, terminal)
    world = context.world()
    while True:
        done = run_pass(world)
        if args.every is None:
            break
        terminal.progress(line(done))
        if args.until_idle and done.wait.settled:
            break
        time.sleep(args.every)
    state = done.book.state
    terminal.emit({**summary(state, state.rollout), "doing": line(done)})
    terminal.say(line(done))
    return Exit.OK
