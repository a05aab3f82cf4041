"""``tidegate decide``: judge what other jobs made, and say so where it counts.

On the default branch the verdict goes into the ledger and an accepted model into the registry. For a
pull request it is advice. Nothing that comes from the jobs that ran the user's code is believed that
can be computed here: digests of model, code, data and configuration.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate import run_record
from tidegate.cases import read_case
from tidegate.commands.context import Context, add_config, add_json
from tidegate.commands.evaluate import collect
from tidegate.commands.gate import EXITS
from tidegate.commands.handed import REPLACED, check_case, check_scores
from tidegate.commands.judging import advise, judge_bundle, show
from tidegate.commands.measuring import take_measured
from tidegate.commands.prepare import megabytes
from tidegate.commands.register import register
from tidegate.commands.report import gather
from tidegate.commands.telling import cost, tell, tell_same
from tidegate.commands.train import recipe_of
from tidegate.core.anonymous import anonymous
from tidegate.core.model import Outcome
from tidegate.digests import file_digest, folder_digest
from tidegate.errors import Exit, NotJudgedError, OutsideError, TidegateError
from tidegate.git import text
from tidegate.home import MODEL, RUN, VERDICT
from tidegate.render.html import html
from tidegate.render.report import Report, Step, Unjudged
from tidegate.render.verdict import document

if TYPE_CHECKING:
    import argparse

    from tidegate.cases import Case
    from tidegate.core.model import Verdict, VersionRef
    from tidegate.run_record import RunRecord
    from tidegate.terminal import Terminal

SUMMARY = "judge what the other jobs made, and tell the pull request or the registry"

_PAGE = "report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_config(parser)
    add_json(parser)
    parser.add_argument(
        "--case", type=Path, required=True, metavar="DIR", help="what `prepare` wrote"
    )
    parser.add_argument("--case-digest", metavar="SHA256", help="take this very case only")
    parser.add_argument(
        "--candidate", type=Path, required=True, metavar="DIR", help="the bundle that `train` left"
    )
    parser.add_argument(
        "--scores", type=Path, required=True, metavar="DIR", help="has a folder of answers per role"
    )
    parser.add_argument(
        "--into", type=Path, required=True, metavar="DIR", help="gets verdict.json and report.html"
    )
    parser.add_argument("--model-digest", metavar="SHA256", help="take this very model only")
    parser.add_argument(
        "--scores-digest", action="append", default=[], metavar="ROLE=SHA256",
        help="take these very answers only (repeatable)",
    )  # fmt: skip
    parser.add_argument(
        "--measured", type=Path, metavar="DIR", help="what `measure` left, where the rules need it"
    )
    parser.add_argument("--measured-digest", metavar="SHA256", help="take this very folder only")
    parser.add_argument(
        "--allow-inconclusive", action="store_true",
        help="with --advice: a verdict that cannot tell is no failure",
    )  # fmt: skip
    parser.add_argument(
        "--base", metavar="COMMIT", help="a pull request: judge by this commit's rules"
    )
    parser.add_argument(
        "--failed", choices=[str(step) for step in Step], help="the step that failed before"
    )
    parser.add_argument(
        "--advice", action="store_true", help="a pull request: nothing is registered or released"
    )


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Judge, record, register, and tell.

    Raises:
        NotJudgedError: an earlier step failed, or left something else than what was asked for.
    """
    began = time.time()
    context = Context.of(args, terminal, base=args.base)
    into: Path = args.into / "page"
    into.mkdir(parents=True, exist_ok=True)
    try:
        silent = _silent(args)
        if args.failed and not silent:
            raise NotJudgedError(
                f"{args.failed}: that step failed", remedy="Its log says why; push a fix."
            )
        case = _taken(context, args, silent)
        if (champion := _same_as_champion(context)) is not None:
            return _nothing_new(context, champion)
        verdict = _judge(context, args, case, silent)
    except TidegateError as error:
        if isinstance(error, OutsideError):
            raise  # nothing is known yet; the same job again may work
        before = args.failed and not silent
        why = "" if before else str(error)
        step = Step(args.failed) if before else Step.JUDGE
        _tell_unjudged(context, Unjudged(step=step, why=why))
        terminal.outputs(outcome=str(Outcome.ERROR), release="false")
        raise
    version = ""
    if not args.advice and (verdict.outcome is Outcome.PASS or _overridden(context)):
        version = register(context).version
    report = replace(
        gather(context, context.bundle / VERDICT),
        own_rules=context.own_rules,
        seconds=time.time() - run_record.read(context.bundle).started_at,
        cost=cost(context),
    )
    shutil.copyfile(context.bundle / VERDICT, into / VERDICT)
    if terminal.runner and terminal.runner.from_fork:
        _leave_result(context, args.into / "result", verdict)
    (into / _PAGE).write_text(html(report), encoding="utf-8")
    terminal.outputs(
        outcome=str(verdict.outcome), version=version, release="true" if version else "false"
    )
    tell(context, report, config=args.config)
    show(context, verdict)
    terminal.emit({"outcome": str(verdict.outcome), "version": version or None,
                   "rules_changed": [asdict(change) for change in context.own_rules],
                   "seconds": round(time.time() - began, 1)})  # fmt: skip
    tolerated = args.advice and args.allow_inconclusive
    if version or (tolerated and verdict.outcome is Outcome.INCONCLUSIVE):
        return Exit.OK
    return EXITS[verdict.outcome]


def _overridden(context: Context) -> bool:
    """Whether a person has let these very bytes through; the job that decides was run again."""
    digest = run_record.read(context.bundle).model_digest
    return digest in context.ledger().read().state.overridden


def _leave_result(context: Context, folder: Path, verdict: Verdict) -> None:
    """Leave what the publisher may show: numbers, and names that the agreed rules have."""
    folder.mkdir(parents=True, exist_ok=True)
    shown = document(anonymous(verdict, context.config))
    (folder / VERDICT).write_text(json.dumps(shown, allow_nan=False) + "\n")


def _same_as_champion(context: Context) -> VersionRef | None:
    champion = context.ledger().read().state.champion
    digest = run_record.read(context.bundle).model_digest
    return champion if champion is not None and champion.digest == digest else None


def _nothing_new(context: Context, champion: VersionRef) -> Exit:
    """Say that the model is, byte for byte, the one that serves: there is nothing to judge."""
    terminal = context.terminal
    terminal.outputs(outcome=str(Outcome.PASS), version=champion.version, release="false")
    terminal.emit({"outcome": str(Outcome.PASS), "version": champion.version, "same": True})
    terminal.say(f"this is version {champion.version}, which serves: nothing to do")
    tell_same(context, champion.version)
    return Exit.OK


def _silent(args: argparse.Namespace) -> frozenset[str]:
    """Return the roles of those that the candidate is compared with and that did not answer.

    The candidate is judged without them, and cannot pass.
    """
    if args.failed not in (Step.CHAMPION, Step.ANCHOR):
        return frozenset()
    others = {str(Step.CHAMPION), str(Step.ANCHOR)}
    return frozenset({args.failed, *(role for role in others if not (args.scores / role).is_dir())})


def _taken(context: Context, args: argparse.Namespace, silent: frozenset[str]) -> Case:
    """Take what the other jobs handed on, or nothing of it."""
    case = read_case(args.case, args.case_digest)
    check_case(context, case, args.base and text(context.repository, "rev-parse", args.base))
    taken = _take(context, args.candidate)
    if args.model_digest and taken.model_digest != args.model_digest:
        raise NotJudgedError("the candidate is not what the training job made", remedy=REPLACED)
    if args.scores_digest:
        answered = {"candidate", *case.references} - silent
        check_scores(args.scores, args.scores_digest, answered)
    take_measured(context, args.measured, args.measured_digest)
    return case


def _judge(
    context: Context, args: argparse.Namespace, case: Case, silent: frozenset[str]
) -> Verdict:
    collect(context, case, args.case, args.scores, silent=silent & set(case.references))
    if not args.advice:
        return judge_bundle(context)
    runner = context.terminal.runner
    pull = runner.pull if runner else None
    return advise(context, pull=pull, publish=not (runner and runner.from_fork))


def _take(context: Context, candidate: Path) -> RunRecord:
    """Take the bundle of the job that trained; whatever can be computed here must agree.

    Raises:
        NotJudgedError: the record claims another model, commit, recipe, configuration or data.
    """
    record = run_record.read(candidate)
    data = context.config.data
    try:
        model = folder_digest(candidate / MODEL)
    except OutsideError as error:
        raise NotJudgedError(f"the candidate cannot be taken: {error}") from None
    computed = {
        "model_digest": model,
        "commit": context.head,
        "recipe": recipe_of(context),
        "config_digest": context.config.digest,
        "train_digest": file_digest(context.path(data.train, "data.train")),
        "holdout_digest": file_digest(context.path(data.holdout, "data.holdout")),
    }
    for name, value in computed.items():
        if (claimed := getattr(record, name)) != value:
            raise NotJudgedError(
                f"{candidate / RUN} claims {name} {claimed[:12]}, but it is {value[:12]}",
                remedy="The training job handed on something else than it was asked for. Look at "
                "what its code writes.",
            )
    if record.dirty:
        raise NotJudgedError(
            "the model was trained from files that differ from the commit",
            remedy="Let training leave the files that git knows as they are: what serves must be what "
            "a commit makes.",
        )
    taken = replace(
        record,
        rules_digest=context.config.rules_digest,
        model_size_mb=megabytes(candidate / MODEL),
    )
    bundle = context.bundle
    shutil.rmtree(bundle, ignore_errors=True)
    bundle.mkdir(parents=True)
    shutil.copytree(candidate / MODEL, bundle / MODEL)
    run_record.save(bundle, taken)
    return taken


def _tell_unjudged(context: Context, unjudged: Unjudged) -> None:
    tell(context, Report.without_verdict(model=context.config.model.name, unjudged=unjudged,
                                         own_rules=context.own_rules))  # fmt: skip
