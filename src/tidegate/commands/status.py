"""``tidegate status``: what serves, the live rollout, who holds what."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from tidegate.commands.context import Context, add_config, add_json
from tidegate.errors import Exit
from tidegate.render.status import status, summary

if TYPE_CHECKING:
    import argparse

    from tidegate.terminal import Terminal

SUMMARY = "what serves, since when, and where the live rollout stands"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_config(parser)
    add_json(parser)


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Show the state of the model."""
    context = Context.of(args, terminal)
    state = context.ledger().read().state
    endpoint = context.target().read()
    terminal.outputs(
        state=str(state.rollout.phase) if state.rollout else "idle",
        version=state.champion.version if state.champion else "",
    )
    terminal.emit({**summary(state, state.rollout), "endpoint": asdict(endpoint)})
    terminal.say(status(context.config.model.name, state, endpoint, time.time()))
    return Exit.OK
