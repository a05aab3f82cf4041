"""``tidegate override``: a person lets a model through that the gate did not pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.commands import operate
from tidegate.commands.context import Context, add_config, add_json, add_person

if TYPE_CHECKING:
    import argparse

    from tidegate.errors import Exit
    from tidegate.terminal import Terminal

SUMMARY = "let a model through that the gate did not pass; name and reason stay in the ledger"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_config(parser)
    add_json(parser)
    add_person(parser)
    parser.add_argument("commit", nargs="?", help="whose verdict (default: the checked-out commit)")


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Override."""
    return operate.override(Context.of(args, terminal), args.commit, args.reason)
