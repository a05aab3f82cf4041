"""``tidegate init``: write ``mlops.yaml`` for this repository, and say what it rests on."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate import detect
from tidegate.commands.context import add_json
from tidegate.detect import Guess
from tidegate.errors import ConfigError, Exit
from tidegate.git import GitError, text
from tidegate.load import load
from tidegate.render.starter import mlops_yaml

if TYPE_CHECKING:
    import argparse

    from tidegate.terminal import Terminal

SUMMARY = "write mlops.yaml for this repository, and say what was found"

_IGNORED = ".tidegate/"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_json(parser)
    parser.add_argument("--name", help="the model's name (default: the folder's)")
    parser.add_argument("--run", metavar="COMMAND", help="the command that trains")
    parser.add_argument("--train", metavar="FILE", help="the training table")
    parser.add_argument("--holdout", metavar="FILE", help="the holdout table")
    parser.add_argument("--target", metavar="COLUMN", help="the column with the truth")
    parser.add_argument("--id", metavar="COLUMN", help="the column that names a row")
    parser.add_argument("--force", action="store_true", help="overwrite an mlops.yaml")
    parser.add_argument(
        "--hook",
        metavar="ORIGIN.git",
        type=Path,
        help="one box without GitHub: make pushes to this bare repository run the pipeline here",
    )


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Write the file (and the hook)."""
    folder = Path.cwd()
    guesses = _guesses(args, folder)
    name = args.name or re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-")[:50] or "model"
    path = folder / "mlops.yaml"
    written: list[str] = []
    if not path.exists() or args.force:
        _write(path, mlops_yaml(name, guesses))
        written.append("mlops.yaml")
    elif not args.hook:
        raise ConfigError(f"{path} is there already", remedy="Use --force to write it anew.")
    if _ignore(folder):
        written.append(".gitignore")
    if args.hook:
        written.append(str(_hook(args.hook, folder)))
    unsure = [key for key, guess in guesses.items() if not guess.sure and "mlops.yaml" in written]
    terminal.emit(
        {
            "written": written,
            "guesses": {key: asdict(guess) for key, guess in guesses.items()},
            "change": unsure,
        }
    )
    terminal.say(f"wrote {', '.join(written) or 'nothing'}")
    for key, guess in guesses.items() if "mlops.yaml" in written else ():
        advice = "" if guess.sure else "CHANGE THIS: "
        terminal.say(f"  {key:<8} {guess.value:<28} {advice}{guess.why}")
    if args.hook:
        terminal.say(f"a push to {args.hook} now runs the pipeline on this machine; to look at it")
        terminal.say(f"from a clone: export TIDEGATE_HOME={_home(args.hook)}")
    else:
        terminal.say("next: `tidegate doctor`, then commit, then `tidegate run` (what a push runs)")
    return Exit.OK


def _write(path: Path, content: str) -> None:
    """Write a file that loads, or none: a name or a column may be one that no rule allows."""
    before = path.read_bytes() if path.exists() else None
    path.write_text(content)
    try:
        load(path)
    except ConfigError:
        path.unlink() if before is None else path.write_bytes(before)
        raise


def _guesses(args: argparse.Namespace, folder: Path) -> dict[str, Guess]:
    train, holdout = detect.data_files(folder)
    train, holdout = _told(args.train, train), _told(args.holdout, holdout)
    table = holdout if (folder / holdout.value).exists() else train
    name, target, task = detect.columns(folder / table.value)
    return {
        "run": _told(args.run, detect.training_script(folder)),
        "train": train,
        "holdout": holdout,
        "id": _told(args.id, name),
        "target": _told(args.target, target),
        "task": task,
    }


def _told(value: str | None, guess: Guess) -> Guess:
    return Guess(value=value, why="as you said") if value else guess


def _ignore(folder: Path) -> bool:
    """Keep the state directory out of git."""
    path = folder / ".gitignore"
    lines = path.read_text().splitlines() if path.exists() else []
    if _IGNORED in lines:
        return False
    path.write_text("\n".join([*lines, _IGNORED]) + "\n")
    return True


def _home(bare: Path) -> Path:
    """Return the state directory of a box: beside the repository it serves."""
    return bare.resolve().with_suffix(".tidegate")


def _hook(bare: Path, folder: Path) -> Path:
    from tidegate.hook import install

    try:
        top = Path(text(folder, "rev-parse", "--show-toplevel"))
    except GitError:
        raise ConfigError("not in a git repository", remedy="Run `git init` first.") from None
    home = _home(bare)
    return install(bare.resolve(), runner=home / "runner" / top.name, home=home)
