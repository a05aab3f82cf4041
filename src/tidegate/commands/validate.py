"""``tidegate validate``: is ``mlops.yaml`` right? All problems at once, with their places."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.errors import ConfigError, Exit
from tidegate.load import load_fully
from tidegate.problems import BadConfigError

if TYPE_CHECKING:
    import argparse

    from tidegate.terminal import Terminal

SUMMARY = "check mlops.yaml: every problem at once, as file:line:col"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("file", nargs="?", type=Path, help="the file (default: ./mlops.yaml)")
    parser.add_argument(
        "--config", type=Path, default=Path("mlops.yaml"), help="the same, by option"
    )
    parser.add_argument(
        "--env", action="store_true", help="also check that every ${VAR} in it is set"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Validate the file."""
    path: Path = args.file or args.config
    try:
        loaded = load_fully(path)
    except BadConfigError as error:
        terminal.emit({"valid": False, "problems": list(error.lines), "warnings": []})
        raise
    unset = [
        f"{path}: {key}: the environment variable {name} is not set"
        for key, name in loaded.variables
        if args.env and not os.environ.get(name)
    ]
    terminal.emit({"valid": not unset, "problems": unset, "warnings": list(loaded.warnings)})
    for warning in loaded.warnings:
        terminal.say(f"warning: {warning}")
    if unset:
        raise ConfigError("\n".join(unset), remedy="Set them, or write the values into the file.")
    terminal.say(f"{path}: valid")
    return Exit.OK
