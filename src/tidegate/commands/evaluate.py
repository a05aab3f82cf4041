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

from tidegate import bundles, run_record
from tidegate.cases import INPUT, Scored, read_scored
from tidegate.commands.context import Context, add_config, add_json
from tidegate.commands.prepare import LATENCY, build, classes_for, holdout, megabytes, references
from tidegate.errors import ConfigError, Exit, NotJudgedError
from tidegate.home import MEASUREMENTS, MODEL, PREDICTIONS, REFERENCE
from tidegate.score import column
from tidegate.scoring import ModelFailedError, score

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Mapping, Sequence

    from tidegate.cases import Case
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
        silent = _scored(context, case, folder, models)
        return collect(context, case, folder / "case", folder / "scores", silent=silent)


def _scored(
    context: Context, case: Case, folder: Path, models: Mapping[str, Path]
) -> tuple[str, ...]:
    """Let every model answer; return the roles of those that the candidate is compared with and that failed.

    Raises:
        NotJudgedError: the candidate failed.
    """
    left, silent = dict(models), []
    while left:
        try:
            score(
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
    return tuple(silent)


def collect(
    context: Context, case: Case, rows: Path, scores: Path, *, silent: Collection[str] = ()
) -> Evaluation:
    """Join the answers in ``scores/<role>`` with the truth; leave the table in the bundle.

    ``silent``: who of those that the candidate is compared with did not answer.

    Raises:
        NotJudgedError: answers are missing, or of other models or rows than the case is about.
    """
    bundle = context.bundle
    record = run_record.read(bundle)
    table = holdout(context)
    if (classes := classes_for(context, table)) != case.classes:
        raise NotJudgedError("the case is about other classes than those of the holdout's rows")
    digests = {"candidate": record.model_digest} | {
        role: reference.digest
        for role, reference in case.references.items()
        if role not in silent
    }
    scored = {
        role: read_scored(scores / role, role, digest, case, table.num_rows)
        for role, digest in digests.items()
    }
    _write_predictions(context, table, scored)
    _keep_parity(bundle, rows / INPUT, scored["candidate"], classes)
    bundles.keep_reference(rows / REFERENCE, bundle)
    sizes = {"candidate": megabytes(bundle / MODEL)} | {
        role: reference.size_mb for role, reference in case.references.items()
    }
    measurements: dict[str, dict[str, Any]] = {_SIZE: sizes}
    if case.timed:
        measurements[LATENCY] = {
            role: list(of.latency_ms) for role, of in scored.items() if of.latency_ms
        }
    done = Evaluation(
        candidate=record.model_digest,
        champion=case.champion.digest if case.champion else None,
        champion_version=case.champion.version if case.champion else None,
        anchor=case.anchor.digest if case.anchor else None,
        holdout=case.holdout,
        measurements=measurements,
        environments={r: of.environment_note for r, of in scored.items() if of.environment_note},
        reads=scored["candidate"].columns,
        silent=tuple(silent),
    )
    (bundle / MEASUREMENTS).write_text(json.dumps(asdict(done), indent=2) + "\n")
    return done


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


def _write_predictions(context: Context, rows: pa.Table, scored: Mapping[str, Scored]) -> None:
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
    pq.write_table(pa.table(columns), context.bundle / PREDICTIONS)
