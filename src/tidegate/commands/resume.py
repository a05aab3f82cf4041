"""``tidegate resume``: hand back to the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.commands import operate
from tidegate.commands.context import Context, add_config, add_json, add_person

if TYPE_CHECKING:
    import argparse

    from tidegate.errors import Exit
    from tidegate.terminal import Terminal

SUMMARY = "lift a hold, an alert or a person's pin: the machine decides again"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_config(parser)
    add_json(parser)
    add_person(parser)


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Resume."""
    return operate.resume(Context.of(args, terminal), args.reason)
