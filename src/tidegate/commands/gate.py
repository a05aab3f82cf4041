"""``tidegate gate``: judge a ready-made table of predictions, or the checked-out commit's."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.core.config import Gate, Rule
from tidegate.core.model import Digests, Margin, Outcome, Task
from tidegate.errors import Exit

if TYPE_CHECKING:
    from tidegate.core.config import Config
    from tidegate.core.model import Verdict
    from tidegate.core.table import Predictions
    from tidegate.streamed import Source
    from tidegate.terminal import Terminal

SUMMARY = "compare two models on the same rows and say pass, inconclusive, reject or error"
_DEFAULT_FILE = Path("mlops.yaml")
EXITS = {
    Outcome.PASS: Exit.OK,
    Outcome.INCONCLUSIVE: Exit.INCONCLUSIVE,
    Outcome.REJECT: Exit.REJECTED,
    Outcome.ERROR: Exit.NOT_JUDGED,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument(
        "--predictions",
        type=Path,
        metavar="FILE",
        help="Parquet or CSV with id, y_true, candidate, champion (none on a first release), "
        "optionally anchor, group and weight, and any columns to slice by; multiclass: a list of "
        "probabilities a row, Parquet only (default: what `tidegate evaluate` left "
        "for the checked-out commit; that verdict goes into the ledger)",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="mlops.yaml with the rules (default: ./mlops.yaml; without one, default rules for "
        "the task that y_true suggests)",
    )
    parser.add_argument(
        "--measured",
        type=_measurement,
        action="append",
        default=[],
        metavar="NAME=NUMBER",
        help="a measurement that a rule is about, such as latency_p95_ms=12.5 (repeatable)",
    )
    parser.add_argument(
        "--explain",
        metavar="RULE",
        help="say what was tested, on what, how, and what would change it: RULE is a number of the table, "
        "a metric, or metric@slice such as roc_auc@region=north (without --predictions: of the verdict "
        "that the checked-out commit has, nothing is judged again)",
    )
    parser.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="write the verdict there as one self-contained page",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")


def _measurement(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        message = f"{text!r}: expected NAME=NUMBER, such as latency_p95_ms=12.5"
        raise argparse.ArgumentTypeError(message) from None


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Judge, report, and return the verdict as an exit code: 0, 1 (reject), 5 or 6 (error).

    Raises:
        ConfigError: the file of predictions or of rules is not what it must be.
    """
    # Here and not above: `tidegate --help` should not load numpy, nor a gate without a file of
    # rules the schema validator.
    if args.predictions is None:
        return _explain_commit(args, terminal) if args.explain else _judge_commit(args, terminal)
    from tidegate.render.verdict import document
    from tidegate.render.verdict_table import text

    path: Path | None = args.config or (_DEFAULT_FILE if _DEFAULT_FILE.exists() else None)
    case = _by_default(args.predictions) if path is None else _by_rules(args.predictions, path)
    verdict = _judge(case, dict(args.measured))
    name, notes, table, task = case.name, list(case.notes), case.table, case.task
    _tell_job(terminal, name, verdict, notes)
    drawn = None
    if table is not None and (args.html or args.explain):
        from tidegate.core.pictures import picture

        drawn = picture(table, task, names=case.classes)
    if args.html:
        from tidegate.commands.telling_one import write_page
        from tidegate.render.report import Report

        write_page(
            args.html, Report(model=name, verdict=verdict, notes=tuple(notes), pictures=drawn)
        )
    if args.explain:
        from tidegate.commands.telling_one import tell_rule
        from tidegate.render.explain import Known

        tell_rule(
            terminal, verdict, args.explain, Known(task=task, own=case.gate.own, pictures=drawn)
        )
    else:
        terminal.emit(document(verdict, notes))
        terminal.say(text(verdict, notes))
    return EXITS[verdict.outcome]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Case:
    """What is judged, and by what; one of ``table`` and ``large`` is there.

    Attributes:
        table: the predictions; None where they are larger than memory.
        large: the file then.
        digest: of the rules.
    """

    table: Predictions | None
    large: Source | None
    task: Task
    gate: Gate
    digest: str | None = None
    name: str = "predictions"
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _by_default(file: Path) -> _Case:
    from tidegate import streamed
    from tidegate.predictions import infer_task, read

    large = streamed.find(file)
    table = read(file) if large is None else None
    seen = table if large is None else large.first()
    assert seen is not None
    task = infer_task(seen)
    return _Case(
        table=table,
        large=large,
        task=task,
        gate=default_rules(task, seen),
        notes=(f"no mlops.yaml: default rules for {task}", *_told(large)),
    )


def _by_rules(file: Path, path: Path) -> _Case:
    from tidegate import streamed
    from tidegate.load import load
    from tidegate.predictions import read

    config = load(path)
    task, gate = config.model.task, config.gate
    group, weight = config.data.group is not None, config.data.weight is not None
    needs = streamed.needs(gate, task, group=group, weight=weight)
    large = streamed.find(file, by=gate.columns, whole=needs)
    table = None
    if large is None:
        classes = config.model.classes
        table = read(file, task=task, by=gate.columns, classes=classes, group=group, weight=weight)
        table = _with_own(file, table, config, path.parent)
    return _Case(
        table=table,
        large=large,
        task=task,
        gate=gate,
        digest=config.rules_digest,
        name=config.model.name,
        classes=config.model.classes,
        notes=_told(large),
    )


def _told(large: Source | None) -> tuple[str, ...]:
    return () if large is None else ("a large table: read in parts, without pictures",)


def _judge(case: _Case, numbers: dict[str, float]) -> Verdict:
    from tidegate.core.gate import judge
    from tidegate.core.system import Measurements

    measured, digests = Measurements(candidate=numbers), Digests(rules=case.digest)
    if case.table is None:
        assert case.large is not None
        return case.large.judge(case.gate, case.task, measured=measured, digests=digests)
    return judge(
        case.table,
        case.gate,
        task=case.task,
        measured=measured,
        digests=digests,
        first_release=case.table.champion is None,
    )


def _with_own(path: Path, table: Predictions, config: Config, code: Path) -> Predictions:
    """Have the user's own metrics computed, where a rule names one."""
    from tidegate import own_metrics

    if not own_metrics.needed(config.gate):
        return table
    import tempfile

    from tidegate.digests import file_digest

    digest = file_digest(path)
    models = sum(name != "y_true" for name, _ in table.columns())
    about = own_metrics.About(
        holdout=digest, rules=own_metrics.rules_of(config, code), models=(digest,) * models
    )
    with tempfile.TemporaryDirectory(prefix="tidegate-own-") as folder:
        into = Path(folder)
        own_metrics.measure(table, config, about, code=code, into=into)
        return own_metrics.with_measured(table, config.gate, into, about)


def _judge_commit(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Judge the candidate of the checked-out commit; the verdict counts."""
    from tidegate.commands.context import Context
    from tidegate.commands.judging import judge_bundle
    from tidegate.render.verdict import document
    from tidegate.render.verdict_table import text

    args.config = args.config or _DEFAULT_FILE
    context = Context.of(args, terminal)
    verdict = judge_bundle(context)
    if args.html:
        from tidegate.commands.report import gather
        from tidegate.commands.telling_one import write_page
        from tidegate.home import VERDICT

        write_page(args.html, gather(context, context.bundle / VERDICT))
    _tell_job(terminal, context.config.model.name, verdict, [])
    terminal.emit(document(verdict))
    terminal.say(text(verdict))
    return EXITS[verdict.outcome]


def _explain_commit(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Explain a rule of the verdict that stands beside the candidate; it is not judged again."""
    from tidegate.commands.context import Context
    from tidegate.commands.report import gather
    from tidegate.commands.telling_one import tell_rule, write_page
    from tidegate.home import VERDICT
    from tidegate.render.explain import Known

    args.config = args.config or _DEFAULT_FILE
    context = Context.of(args, terminal)
    report = gather(context, context.bundle / VERDICT)
    if args.html:
        write_page(args.html, report)
    config = context.config
    known = Known(task=config.model.task, own=config.gate.own, pictures=report.pictures)
    tell_rule(terminal, report.verdict, args.explain, known)
    return EXITS[report.verdict.outcome]


def _tell_job(terminal: Terminal, name: str, verdict: Verdict, notes: list[str]) -> None:
    """In a workflow: the step's output and the job's summary."""
    if terminal.runner is None:
        return
    from tidegate.render.comment import job_summary
    from tidegate.render.report import Report

    terminal.outputs(outcome=str(verdict.outcome))
    terminal.runner.summary(job_summary(Report(model=name, verdict=verdict, notes=tuple(notes))))


def default_rules(task: Task, table: Predictions) -> Gate:
    """Return the rules that apply without an ``mlops.yaml``: one margin on the usual metric.

    Binary: ``roc_auc`` within 0.005 of the champion's, or ``accuracy`` within 0.005 when the
    candidate's or the champion's predictions are all 0 or 1. Multiclass: ``accuracy`` within 0.005.
    Regression: ``rmse`` at most 1 % higher. Generic: ``mean`` at most 1 % lower. Confidence 95 %.
    """
    if task is Task.REGRESSION:
        rule = Rule(metric="rmse", margin=Margin(value=0.01, relative=True))
    elif task is Task.GENERIC:
        rule = Rule(metric="mean", margin=Margin(value=0.01, relative=True))
    elif task is Task.MULTICLASS:
        rule = Rule(metric="accuracy", margin=Margin(value=0.005))
    else:
        models = [m for m in (table.candidate, table.champion) if m is not None]
        decisions = any(((m == 0.0) | (m == 1.0)).all() for m in models)
        rule = Rule(metric="accuracy" if decisions else "roc_auc", margin=Margin(value=0.005))
    return Gate(rules=(rule,))
