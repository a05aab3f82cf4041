"""``tidegate evaluate``: candidate, champion and anchor answer the same holdout rows.

Each model runs in a process of its own and sees the rows without the truth; the truth is joined
by id afterwards, here. On GitHub the same three parts run as jobs of their own: ``prepare``, ``score``
and ``decide``.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from tidegate import bundles, own_metrics, run_record
from tidegate.cases import INPUT, Scored, read_scored
from tidegate.commands.context import Context, add_config, add_json
from tidegate.commands.measuring import rules_of
from tidegate.commands.prepare import build, classes_for, holdout, megabytes, references
from tidegate.core.metrics.system import QUANTILES
from tidegate.errors import ConfigError, Exit, NotJudgedError
from tidegate.home import MEASUREMENTS, MODEL, PREDICTIONS, REFERENCE
from tidegate.predictions import read
from tidegate.score import column
from tidegate.scoring import ModelFailedError, score

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Mapping, Sequence

    from tidegate.cases import Case
    from tidegate.core.table import Predictions
    from tidegate.run_record import RunRecord
    from tidegate.terminal import Terminal

SUMMARY = "let candidate and champion answer the same holdout rows, each in its own process"

_TAKEN = ("id", "y_true", "candidate", "champion", "anchor")
_SIZE = "model_size_mb"


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What was scored, by digest, and what was measured while scoring: metric -> role -> value."""

    candidate: str
    champion: str | None
    champion_version: str | None
    anchor: str | None
    holdout: str
    measurements: Mapping[str, Mapping[str, Any]]
    file: str = ""  # digest of the holdout's file, whose features the models saw
    in_turns: bool = False  # candidate and champion were measured in turns on one machine
    environments: Mapping[str, str] = field(default_factory=dict)  # role -> why not the recorded
    reads: Sequence[str] | None = None  # columns, as the candidate said
    silent: Sequence[str] = ()  # roles of those that did not answer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_config(parser)
    add_json(parser)


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Evaluate the candidate of the checked-out commit."""
    context = Context.of(args, terminal)
    done = evaluate(context)
    terminal.emit({"predictions": str(context.bundle / PREDICTIONS), **asdict(done)})
    against = f"champion {done.champion_version}" if done.champion else "no champion yet"
    terminal.say(f"scored {done.candidate[:12]} and {against} -> {context.bundle / PREDICTIONS}")
    return Exit.OK


def evaluate(context: Context) -> Evaluation:
    """Score everybody and write the predictions table into the candidate's bundle.

    Raises:
        NotJudgedError: a model failed, missed a row or answered one twice; or the holdout is older
            than the training rows.
    """
    bundle = context.bundle
    run_record.read(bundle)
    (bundle / MEASUREMENTS).unlink(missing_ok=True)  # it says whose predictions stand beside it
    state = context.ledger().read().state
    with tempfile.TemporaryDirectory(prefix="tidegate-case-") as temporary:
        folder = Path(temporary)
        found = references(context, state)
        case, _ = build(context, state, found, folder / "case")
        models = {"candidate": bundle / MODEL} | {r: of / MODEL for r, of in found.items()}
        for role in models:
            context.terminal.progress(f"score the holdout: {role}")
        silent, in_turns = _scored(context, case, folder, models)
        done = collect(
            context, case, folder / "case", folder / "scores", silent=silent, in_turns=in_turns
        )
    if own_metrics.needed(context.config.gate):
        table = predictions(context)
        context.terminal.progress("compute own metrics")
        what = about(context, done, table)
        own_metrics.measure(table, context.config, what, code=context.folder, into=bundle)
    return done


def _scored(
    context: Context, case: Case, folder: Path, models: Mapping[str, Path]
) -> tuple[tuple[str, ...], bool]:
    """Let every model answer.

    Returns:
        Which of those that the candidate is compared with failed, and whether all were timed in turns.

    Raises:
        NotJudgedError: the candidate failed.
    """
    left, silent, in_turns = dict(models), [], False
    while left:
        try:
            in_turns = score(
                case, folder / "case", left, folder / "scores", context.folder,
                environments=context.home.environments, say=context.terminal.progress,
            )  # fmt: skip
        except ModelFailedError as error:
            if error.role == "candidate":
                raise
            context.terminal.progress(f"the {error.role} did not answer: {error}")
            silent.append(error.role)
            done = {role for role in left if (folder / "scores" / role).is_dir()}
            left = {role: of for role, of in left.items() if role not in {*done, *silent}}
        else:
            break
    return tuple(silent), in_turns and not silent


def collect(  # noqa: PLR0913 (what was asked, what came back, and how)
    context: Context,
    case: Case,
    rows: Path,
    scores: Path,
    *,
    silent: Collection[str] = (),
    in_turns: bool = False,
) -> Evaluation:
    """Join the answers in ``scores/<role>`` with the truth; leave the table in the bundle.

    ``silent``: who of those that the candidate is compared with did not answer. ``in_turns``: they were
    timed in turns on one machine.

    Raises:
        NotJudgedError: answers are missing, or of other models or rows than the case is about.
    """
    bundle = context.bundle
    record = run_record.read(bundle)
    table = holdout(context)
    if (classes := classes_for(context, table)) != case.classes:
        raise NotJudgedError("the case is about other classes than those of the holdout's rows")
    digests = {"candidate": record.model_digest} | {
        role: reference.digest for role, reference in case.references.items() if role not in silent
    }
    scored = {
        role: read_scored(scores / role, role, digest, case, table.num_rows)
        for role, digest in digests.items()
    }
    joined(context, table, scored, bundle / PREDICTIONS)
    _keep_parity(bundle, rows / INPUT, scored["candidate"], classes)
    bundles.keep_reference(rows / REFERENCE, bundle)
    sizes = {"candidate": megabytes(bundle / MODEL)} | {
        role: reference.size_mb for role, reference in case.references.items()
    }
    measurements = {_SIZE: sizes, **_measured(context, record, scored)}
    done = Evaluation(
        candidate=record.model_digest,
        champion=case.champion.digest if case.champion else None,
        champion_version=case.champion.version if case.champion else None,
        anchor=case.anchor.digest if case.anchor else None,
        holdout=case.holdout,
        measurements=measurements,
        file=record.holdout_digest,
        in_turns=in_turns,
        environments={r: of.environment_note for r, of in scored.items() if of.environment_note},
        reads=scored["candidate"].columns,
        silent=tuple(silent),
    )
    (bundle / MEASUREMENTS).write_text(json.dumps(asdict(done), indent=2) + "\n")
    return done


def predictions(context: Context) -> Predictions:
    """Return the table that :func:`collect` left in the bundle.

    Raises:
        ConfigError: it is not what it must be.
    """
    return read_joined(context, context.bundle / PREDICTIONS)


def read_joined(context: Context, path: Path) -> Predictions:
    """Return the table that :func:`joined` wrote.

    Raises:
        ConfigError: it is not what it must be.
    """
    config = context.config
    return read(
        path,
        task=config.model.task,
        by=config.gate.columns,
        classes=config.model.classes,
        group=config.data.group is not None,
        weight=config.data.weight is not None,
    )


def about(context: Context, done: Evaluation, table: Predictions) -> own_metrics.About:
    """Return what the user's own metrics are measured on."""
    digests = {"candidate": done.candidate, "champion": done.champion, "anchor": done.anchor}
    there = [name for name, _ in table.columns()]
    return own_metrics.About(
        holdout=done.holdout,
        rules=rules_of(context),
        models=tuple(digest for role, digest in digests.items() if digest and role in there),
    )


def _measured(
    context: Context, record: RunRecord, scored: Mapping[str, Scored]
) -> dict[str, dict[str, Any]]:
    """Return what was measured of the metrics that rules name: metric -> role -> value or samples."""
    latency = {role: list(of.latency_ms) for role, of in scored.items() if of.latency_ms}
    memory = {
        role: of.peak_memory_mb for role, of in scored.items() if of.peak_memory_mb is not None
    }
    seconds = record.duration if record.billed_seconds is None else record.billed_seconds
    found: dict[str, dict[str, Any]] = {
        **dict.fromkeys(QUANTILES, latency),
        "peak_memory_mb": memory,
        "training_minutes": {"candidate": seconds / 60},
        "training_cost_usd": {} if record.cost_usd is None else {"candidate": record.cost_usd},
    }
    return {name: of for name, of in found.items() if name in context.config.gate.metrics}


def read_evaluation(bundle: Path) -> Evaluation:
    """Read what :func:`evaluate` left in a bundle.

    Raises:
        NotJudgedError: nothing was evaluated there.
    """
    try:
        return Evaluation(**json.loads((bundle / MEASUREMENTS).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise NotJudgedError(
            f"{bundle / MEASUREMENTS}: {error}", remedy="Run `tidegate evaluate` first."
        ) from None


def _keep_parity(bundle: Path, rows: Path, candidate: Scored, classes: Sequence[str]) -> None:
    """Keep a sample of the rows, with the columns that the model said it reads (or all of them)."""
    inputs = pq.ParquetFile(rows).read()
    named = dict.fromkeys(candidate.columns or ())
    used = [name for name in named if name in inputs.column_names] or inputs.column_names
    bundles.save_parity(bundle, inputs.select(used), candidate.answers, classes)


def joined(context: Context, rows: pa.Table, scored: Mapping[str, Scored], path: Path) -> None:
    """Write the holdout's truth, groups, weights and slices beside the answers, by role.

    Raises:
        ConfigError: a column that rules name is missing, or has the name of another.
    """
    data = context.config.data
    columns: dict[str, pa.ChunkedArray | pa.Array] = {"id": rows[data.id]}
    if data.target is not None:
        columns["y_true"] = rows[data.target]
    columns |= {role: column(of.answers) for role, of in scored.items()}
    roles = {"group": data.group, "weight": data.weight}
    columns |= {role: rows[name] for role, name in roles.items() if name is not None}
    taken = {*_TAKEN, *(role for role, name in roles.items() if name not in (None, role))}
    for name in context.config.gate.columns:
        if name not in rows.column_names:
            raise ConfigError(f"gate.slices or gate.gaps: the holdout has no column {name!r}")
        if name in taken:
            raise ConfigError(
                f"gate.slices or gate.gaps: {name!r} is also a column of the predictions table",
                remedy="Give the holdout's column another name.",
            )
        columns[name] = rows[name]
    pq.write_table(pa.table(columns), path)
