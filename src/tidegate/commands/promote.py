"""``tidegate promote``: by hand what the machine does, within one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.commands import operate
from tidegate.commands.context import Context, add_config, add_json, add_person

if TYPE_CHECKING:
    import argparse

    from tidegate.errors import Exit
    from tidegate.terminal import Terminal

SUMMARY = "give the live candidate (or any registered version) all traffic now"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_config(parser)
    add_json(parser)
    add_person(parser)
    parser.add_argument(
        "version", nargs="?", help="a registered version (default: the live candidate)"
    )


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Do it."""
    return operate.promote(Context.of(args, terminal), args.version, args.reason)
