"""``tidegate``: argv to one command to an exit code. Heavy imports happen inside the commands."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from tidegate import __version__
from tidegate.errors import Exit, TidegateError
from tidegate.redact import redact
from tidegate.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType


class Command(Protocol):
    """What a module in :mod:`tidegate.commands` offers."""

    SUMMARY: str

    # Describe the command line.
    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...  # noqa: D102
    # Do it.
    def run(self, args: argparse.Namespace, terminal: Terminal) -> Exit: ...  # noqa: D102


# Verb -> one line of help, in the order in which a newcomer meets them. The modules' own
# SUMMARY says the same (a test holds them together); importing them all would cost a second.
GROUPS: dict[str, dict[str, str]] = {
    "every day": {
        "init": "write mlops.yaml and the GitHub workflow, and say what was found",
        "validate": "check mlops.yaml: every problem at once, as file:line:col",
        "plan": "what the holdout can show, how long a rollout takes, and what a bad model can reach",
        "run": "what a push runs: check, train, evaluate, gate, register, release",
        "status": "what serves, since when, and where the live rollout stands",
        "revert": "take the live candidate back, or go back to the last healthy version",
    },
    "by hand": {
        "promote": "give the live candidate (or any registered version) all traffic now",
        "hold": "keep the rollout where it is; evidence can still take it back",
        "resume": "lift a hold, an alert or a person's pin: the machine decides again",
        "override": "let a model through that the gate did not pass; name and reason stay in the ledger",
        "anchor": "make a version the fixed anchor that every candidate is also compared with",
    },
    "look": {
        "log": "what happened, when, why and by whom: the ledger, verified",
        "report": "a verdict as a pull-request comment, a job summary or an HTML page",
        "replay": "replay recorded counts through the canary's rules",
        "doctor": "find what would fail in the first hour, and say how to fix it",
        "demo": "watch five pushes on real data: two promoted, one rejected, two taken back",
    },
    "one step at a time (what `run` does)": {
        "train": "run your checks and your training command, and keep the one model it made",
        "evaluate": "let candidate and champion answer the same holdout rows, each in its own process",
        "gate": "compare two models on the same rows and say pass, inconclusive, reject or error",
        "register": "register the accepted candidate: one version per model digest, lineage in its tags",
        "release": "send a registered version to the endpoint, step by step, until it is decided",
        "tick": "one pass: read ledger and endpoint, decide, act; safe at any time, by anybody",
    },
    "the jobs on GitHub": {
        "find": "which models a change touches, or which have a live rollout",
        "prepare": "what the jobs that train and score need: rows without the truth, champion and anchor",
        "score": "let one model answer a case's rows (a job of its own, without the truth)",
        "measure": "compute your own metrics on what the models answered (a job of its own, with the truth)",
        "decide": "judge what the other jobs made, and tell the pull request or the registry",
        "watch": "tick for a while, tell GitHub, and hand over to the next run",
        "publish": "publish a fork's verdict, from its artifact, with nothing of it believed",
    },
}
VERBS = {verb: text for group in GROUPS.values() for verb, text in group.items()}

_EPILOG = """\
exit codes: 0 passed, promoted, done; 1 rejected or taken back; 2 mlops.yaml or usage;
3 an outside system; 4 a bug; 5 inconclusive, held, expired or superseded; 6 could not be judged
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the process's exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal without these letters is no bug
        sys.stdout.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _terminated)
    try:
        parser = _parser(arguments)
        args = parser.parse_args(arguments)
        if args.verb is None:
            parser.print_help()
            return Exit.USAGE
        return int(args.command.run(args, Terminal(as_json=getattr(args, "json", False))))
    except TidegateError as error:
        _complain(str(error), error.remedy)
        return error.exit_code
    except KeyboardInterrupt:
        _complain("interrupted", "Run the same command again: it continues where it was.")
        return Exit.INTERRUPTED
    except BrokenPipeError:  # whoever read went away: no verdict is a pass just because of that
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OUTSIDE
    except OSError as error:  # a full disk, a folder that may not be written
        _complain(
            redact(str(error), os.environ),
            "Nothing was decided. Repair it and run the same command again.",
        )
        return Exit.OUTSIDE
    except Exception as error:  # noqa: BLE001 (the one catch: whatever is left is our bug)
        return _bug(error)


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Build the parser; only the command that was asked for is imported."""
    parser = argparse.ArgumentParser(
        prog="tidegate",
        usage="tidegate COMMAND [options]      (tidegate COMMAND --help tells more)",
        description=_description(),
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"tidegate {__version__}")
    parser.set_defaults(verb=None)
    verbs = parser.add_subparsers(dest="verb", metavar="COMMAND", help=argparse.SUPPRESS)
    asked = next((a for a in arguments if not a.startswith("-")), None)
    # A parser for each verb costs as much as validating a file: make the one that is needed.
    for verb, text in {asked: VERBS[asked]}.items() if asked in VERBS else VERBS.items():
        sub = verbs.add_parser(
            verb, prog=f"tidegate {verb}", help=text, description=text, allow_abbrev=False
        )
        if verb == asked:
            command: Any = import_module(f"tidegate.commands.{verb}")
            sub.description = f"{text[0].upper()}{text[1:]}."
            command.add_arguments(sub)
            sub.set_defaults(command=command)
    return parser


def _description() -> str:
    lines = ["Train, gate, canary and take back models, from one mlops.yaml.", ""]
    for group, verbs in GROUPS.items():
        lines += [f"{group}:", *(f"  {verb:<10} {text}" for verb, text in verbs.items()), ""]
    return "\n".join(lines)


def _terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _complain(message: str, remedy: str) -> None:
    sys.stderr.write(f"tidegate: {message}\n")
    if remedy:
        sys.stderr.write(f"  {remedy}\n")


def _bug(error: Exception) -> int:
    import traceback

    sys.stderr.write(redact("".join(traceback.format_exception(error)), os.environ))
    _complain(
        f"this is a bug in Tidegate {__version__}: {type(error).__name__}",
        "Nothing was decided. Please report it with the lines above.",
    )
    return Exit.BUG


if __name__ == "__main__":
    sys.exit(main())
