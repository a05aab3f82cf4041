"""``tidegate revert``: by hand what the machine does, within one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.commands import operate
from tidegate.commands.context import Context, add_config, add_json, add_person

if TYPE_CHECKING:
    import argparse

    from tidegate.errors import Exit
    from tidegate.terminal import Terminal

SUMMARY = "take the live candidate back, or go back to the last healthy version"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_config(parser)
    add_json(parser)
    add_person(parser)
    parser.add_argument(
        "version", nargs="?", help="go back to this version (default: the last healthy one)"
    )


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Do it."""
    return operate.revert(Context.of(args, terminal), args.version, args.reason)
