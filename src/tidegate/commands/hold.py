"""``tidegate hold``: no step up, no promotion, no expiry until somebody resumes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tidegate.commands import operate
from tidegate.commands.context import Context, add_config, add_json, add_person
from tidegate.units import seconds

if TYPE_CHECKING:
    import argparse

    from tidegate.errors import Exit
    from tidegate.terminal import Terminal

SUMMARY = "keep the rollout where it is; evidence can still take it back"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_config(parser)
    add_json(parser)
    add_person(parser)
    parser.add_argument(
        "--for", dest="lasting", metavar="TIME", type=seconds, help="end by itself after, e.g., 2h"
    )
    parser.add_argument(
        "--hands-off", action="store_true", help="not even evidence of harm reverts: your watch"
    )


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Hold."""
    context = Context.of(args, terminal)
    until = time.time() + args.lasting if args.lasting is not None else None
    return operate.hold(context, until=until, hands_off=args.hands_off, reason=args.reason)
