"""``tidegate score``: one model answers a case's rows, in a job that holds nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.cases import ROLES, read_case
from tidegate.commands.context import add_json
from tidegate.digests import folder_digest
from tidegate.errors import Exit, NotJudgedError
from tidegate.home import Home
from tidegate.scoring import hide, score

if TYPE_CHECKING:
    import argparse

    from tidegate.terminal import Terminal

SUMMARY = "let one model answer a case's rows (a job of its own, without the truth)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_json(parser)
    parser.add_argument("role", choices=ROLES, help="whose answers these are")
    parser.add_argument("--case", type=Path, required=True, metavar="DIR", help="the case's folder")
    parser.add_argument("--case-digest", metavar="SHA256", help="take this very case only")
    parser.add_argument(
        "--model", type=Path, required=True, metavar="DIR", help="the model's folder"
    )
    parser.add_argument("--model-digest", metavar="SHA256", help="take this very model only")
    parser.add_argument("--into", type=Path, required=True, metavar="DIR", help="gets the answers")
    parser.add_argument(
        "--code", type=Path, default=Path(), metavar="DIR",
        help="the repository, where predict.run needs it (default: the current folder)",
    )  # fmt: skip


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Score one model.

    Raises:
        NotJudgedError: the case or the model is another one, or the model failed.
    """
    case = read_case(args.case, args.case_digest)
    found = folder_digest(args.model)
    if args.model_digest and found != args.model_digest:
        raise NotJudgedError(
            f"the {args.role} in {args.model} is {found[:12]}, not {args.model_digest[:12]}",
            remedy="Another job of this run replaced it. Look at what its code does.",
        )
    terminal.progress(f"score {case.model}: {args.role} {found[:12]}")
    if terminal.runner is not None and case.predict:
        hide(args.code.absolute(), case.hidden)
    into = args.into.absolute()
    code = (args.code / case.folder).absolute()
    home = Home.find(args.code.absolute())
    score(
        case, args.case.absolute(), {args.role: args.model.absolute()}, into, code,
        environments=home.environments, say=terminal.progress,
    )  # fmt: skip
    terminal.outputs(scores=str(into / args.role), digest=folder_digest(into / args.role))
    terminal.emit({"role": args.role, "model": found, "scores": str(into / args.role)})
    terminal.say(f"{args.role} {found[:12]} answered -> {into / args.role}")
    return Exit.OK
