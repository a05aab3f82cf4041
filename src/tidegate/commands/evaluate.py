"""``tidegate evaluate``: candidate, champion and anchor answer the same holdout rows.

Each model runs in a process of its own and sees the rows without the truth; the truth is joined
by id afterwards, here. On GitHub the same three parts run as jobs of their own: ``prepare``, ``score``
and ``decide``.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from tidegate import bundles, run_record
from tidegate.cases import INPUT, Scored, read_scored
from tidegate.commands.context import Context, add_config, add_json
from tidegate.commands.prepare import LATENCY, build, holdout, megabytes, references
from tidegate.errors import ConfigError, Exit, NotJudgedError
from tidegate.home import MEASUREMENTS, MODEL, PREDICTIONS
from tidegate.scoring import score

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

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
        score(
            case, folder / "case", models, folder / "scores", context.folder,
            environments=context.home.environments, say=context.terminal.progress,
        )  # fmt: skip
        return collect(context, case, folder / "case", folder / "scores")


def collect(context: Context, case: Case, rows: Path, scores: Path) -> Evaluation:
    """Join the answers in ``scores/<role>`` with the truth; leave the table in the bundle.

    Raises:
        NotJudgedError: answers are missing, or of other models or rows than the case is about.
    """
    bundle = context.bundle
    record = run_record.read(bundle)
    table = holdout(context)
    digests = {"candidate": record.model_digest} | {
        role: reference.digest for role, reference in case.references.items()
    }
    scored = {
        role: read_scored(scores / role, role, digest, case, table.num_rows)
        for role, digest in digests.items()
    }
    _write_predictions(context, table, scored)
    _keep_parity(bundle, rows / INPUT, scored["candidate"])
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


def _keep_parity(bundle: Path, rows: Path, candidate: Scored) -> None:
    """Keep a sample of the rows, with the columns that the model said it reads (or all of them)."""
    inputs = pq.ParquetFile(rows).read()
    named = dict.fromkeys(candidate.columns or ())
    used = [name for name in named if name in inputs.column_names] or inputs.column_names
    bundles.save_parity(bundle, inputs.select(used), candidate.answers)


def _write_predictions(context: Context, rows: pa.Table, scored: Mapping[str, Scored]) -> None:
    data = context.config.data
    columns: dict[str, pa.ChunkedArray | pa.Array] = {"id": rows[data.id]}
    if data.target is not None:
        columns["y_true"] = rows[data.target]
    columns |= {role: pa.array(of.answers) for role, of in scored.items()}
    for rule in context.config.gate.slices:
        for name in rule.by:
            if name not in rows.column_names:
                raise ConfigError(f"gate.slices: the holdout has no column {name!r}")
            if name in _TAKEN:
                raise ConfigError(
                    f"gate.slices: {name!r} is also a column of the predictions table",
                    remedy="Give the holdout's column another name.",
                )
            columns[name] = rows[name]
    pq.write_table(pa.table(columns), context.bundle / PREDICTIONS)
