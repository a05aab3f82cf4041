"""``tidegate anchor``: move the fixed model that guards against margin creep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.commands import operate
from tidegate.commands.context import Context, add_config, add_json, add_person

if TYPE_CHECKING:
    import argparse

    from tidegate.errors import Exit
    from tidegate.terminal import Terminal

SUMMARY = "make a version the fixed anchor that every candidate is also compared with"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_config(parser)
    add_json(parser)
    add_person(parser)
    parser.add_argument("version", help="a registered version")


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Move the anchor."""
    return operate.anchor(Context.of(args, terminal), args.version, args.reason)
