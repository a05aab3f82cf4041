"""``tidegate measure``: compute the metrics that are functions of the user's own, in a job that holds nothing.

It sees the truth, as the job that decides does, and hands on raw floats. For a pull request the functions
are those of the base's commit: who wants a model in must not choose what it is held to.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate import own_metrics
from tidegate.cases import read_case, read_scored
from tidegate.commands.context import Context, add_config, add_json
from tidegate.commands.evaluate import joined, read_joined
from tidegate.commands.handed import check_case, check_scores, said_digests
from tidegate.commands.measuring import code_of
from tidegate.commands.prepare import classes_for, holdout
from tidegate.digests import folder_digest
from tidegate.errors import Exit, NotJudgedError
from tidegate.git import text
from tidegate.home import PREDICTIONS

if TYPE_CHECKING:
    import argparse

    from tidegate.terminal import Terminal

SUMMARY = "compute your own metrics on what the models answered (a job of its own, with the truth)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_config(parser)
    add_json(parser)
    parser.add_argument(
        "--case", type=Path, required=True, metavar="DIR", help="what `prepare` wrote"
    )
    parser.add_argument("--case-digest", metavar="SHA256", help="take this very case only")
    parser.add_argument(
        "--scores", type=Path, required=True, metavar="DIR", help="has a folder of answers per role"
    )
    parser.add_argument(
        "--scores-digest", action="append", default=[], metavar="ROLE=SHA256",
        help="take these very answers, of these roles (repeatable; an empty one did not answer)",
    )  # fmt: skip
    parser.add_argument(
        "--model-digest", required=True, metavar="SHA256", help="of the candidate that answered"
    )
    parser.add_argument(
        "--into",
        type=Path,
        required=True,
        metavar="DIR",
        help="gets measured.json and measured.f64",
    )
    parser.add_argument(
        "--base", metavar="COMMIT", help="a pull request: this commit's rules and functions"
    )


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Compute what the rules need.

    Raises:
        NotJudgedError: no rule needs a metric of the user's own; the case or the answers are other ones;
            a function failed.
    """
    context = Context.of(args, terminal, base=args.base)
    config, into = context.config, args.into.absolute()
    if not own_metrics.needed(config.gate):
        raise NotJudgedError(
            "no rule names a metric of your own: there is nothing to measure",
            remedy="`tidegate prepare` says with its output `measure` whether this job is needed.",
        )
    case = read_case(args.case, args.case_digest)
    check_case(context, case, args.base and text(context.repository, "rev-parse", args.base))
    models = {"candidate": args.model_digest} | {
        role: reference.digest for role, reference in case.references.items()
    }
    roles = [role for role in models if role in {"candidate", *said_digests(args.scores_digest)}]
    check_scores(args.scores, args.scores_digest, roles)
    rows = holdout(context)
    if classes_for(context, rows) != case.classes:
        raise NotJudgedError("the case is about other classes than those of the holdout's rows")
    scored = {
        role: read_scored(args.scores / role, role, models[role], case, rows.num_rows)
        for role in roles
    }
    with tempfile.TemporaryDirectory(prefix="tidegate-joined-") as temporary:
        joined(context, rows, scored, Path(temporary) / PREDICTIONS)
        table = read_joined(context, Path(temporary) / PREDICTIONS)
    shutil.rmtree(into, ignore_errors=True)
    with code_of(context) as code:
        about = own_metrics.About(
            holdout=case.holdout,
            rules=own_metrics.rules_of(config, code),
            models=tuple(models[role] for role in roles),
        )
        terminal.progress(f"compute own metrics of {case.model}: {', '.join(roles)}")
        own_metrics.measure(table, config, about, code=code, into=into)
    terminal.outputs(measured=str(into), digest=folder_digest(into))
    terminal.emit({"measured": str(into), "models": list(about.models), "rules": about.rules})
    terminal.say(f"measured on {table.n} rows -> {into}")
    return Exit.OK
