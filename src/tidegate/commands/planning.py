"""The parts of ``tidegate plan`` that are about the holdout: what it can show, and what to label."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from tidegate.core.model import Task
from tidegate.core.power_of_holdout import Counts, assumed, seen_in, supported
from tidegate.core.reuse import each
from tidegate.errors import ConfigError, NotJudgedError
from tidegate.home import VERDICT
from tidegate.load import expand, load
from tidegate.tables import read_table

if TYPE_CHECKING:
    import argparse

    import numpy.typing as npt
    import pyarrow as pa

    from tidegate.core.config import Config
    from tidegate.core.labelling import Difference, ToLabel
    from tidegate.core.model import Verdict
    from tidegate.core.power_of_holdout import Supported
    from tidegate.terminal import Terminal

DISAGREEMENT = 0.1  # share of answers that two models in a row are assumed to give differently
_FILE = Path("mlops.yaml")


def of_holdout(
    args: argparse.Namespace, terminal: Terminal, disagreement: float | None
) -> tuple[Supported, ...]:
    """Return what the holdout supports of each margin; empty where there is none to read."""
    path: Path = args.config or _FILE
    if not path.exists():
        return ()
    config = load(path)
    try:
        raw = expand(config.data.holdout, os.environ, key="data.holdout")
        rows = _columns(path.resolve().parent / raw, config)
    except ConfigError as error:
        terminal.progress(f"planned without the holdout: {error}")
        return ()
    counts = _counts(rows, config)
    gate = each(config.gate)
    spreads = {}
    for metric in sorted(gate.metrics):
        share = DISAGREEMENT if disagreement is None else disagreement
        for label, own in counts.items():
            if (spread := assumed(metric, own, share)) is not None:
                spreads[metric, label] = spread
    if disagreement is None and (verdict := _verdict(args, terminal)) is not None:
        spreads |= seen_in(verdict)
    return tuple(supported(gate, counts, spreads))


def _columns(path: Path, config: Config) -> pa.Table:
    wanted = [config.data.id, config.data.target, *config.gate.columns]
    return read_table(path, [name for name in dict.fromkeys(wanted) if name])


def _counts(rows: pa.Table, config: Config) -> dict[str | None, Counts]:
    """Return how many rows every group has, and how many of the rarest class where there are classes."""
    target = config.data.target
    classes = config.model.task in (Task.BINARY, Task.MULTICLASS) and target is not None
    counts: dict[str | None, Counts] = {None: _count(rows, target if classes else None)}
    for by in config.gate.groupings:
        complete = rows
        for name in by:
            complete = complete.filter(pc.is_valid(complete[name]))
        for group in complete.group_by(list(by)).aggregate([]).to_pylist():
            part = complete
            for name in by:
                part = part.filter(pc.equal(part[name], group[name]))
            label = ", ".join(f"{name}={_text(group[name])}" for name in by)
            counts[label] = _count(part, target if classes else None)
    return counts


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _count(rows: pa.Table, target: str | None) -> Counts:
    if target is None:
        return Counts(rows=rows.num_rows)
    found = pc.value_counts(rows[target].combine_chunks()).field("counts").to_pylist()
    return Counts(rows=rows.num_rows, rarest=min(found) if len(found) > 1 else 0)


def _verdict(args: argparse.Namespace, terminal: Terminal) -> Verdict | None:
    """Return the verdict that was named, or else the checked-out commit's, if there is one."""
    import argparse

    from tidegate import verdicts
    from tidegate.commands.context import Context

    if args.verdict is not None:
        return verdicts.read(args.verdict)[0]
    try:
        context = Context.of(argparse.Namespace(config=args.config or _FILE), terminal)
        return verdicts.read(context.bundle / VERDICT)[0]
    except (ConfigError, NotJudgedError):
        return None


# --- labels ---------------------------------------------------------------------------------


def to_be_labelled(args: argparse.Namespace) -> tuple[ToLabel, list[Any], Difference | None, float]:
    """Choose rows of a table of unlabelled answers; with labels, estimate the difference from them.

    Raises:
        ConfigError: a column is missing, ids repeat, or answers are not finite.
    """
    import hashlib

    import numpy as np

    from tidegate.core.labelling import to_label
    from tidegate.predictions import read

    path: Path = args.config or _FILE
    confidence = each(load(path).gate).confidence if path.exists() else 0.95
    ids = read_table(args.label, ["id", "candidate", "champion"])["id"]
    table = read(args.label, task=Task.GENERIC)
    if table.champion is None or table.n == 0:
        raise ConfigError(f"{args.label}: no rows, or no column 'champion'")
    if not (np.isfinite(table.candidate).all() and np.isfinite(table.champion).all()):
        raise ConfigError(f"{args.label}: an answer is missing, NaN or infinite")
    order = table.candidate.tobytes() + table.champion.tobytes()
    chosen = to_label(
        table.candidate,
        table.champion,
        budget=args.budget,
        margin=args.margin,
        confidence=confidence,
        seed=int.from_bytes(hashlib.sha256(order).digest()[:8], "big"),
    )
    names = ids.take(chosen.rows).to_pylist()
    found = None
    if args.labels is not None:
        found = _estimated(args.labels, ids, table.candidate, table.champion)
    return chosen, names, found, confidence


def _estimated(
    labels: Path, ids: pa.ChunkedArray, candidate: npt.NDArray[Any], champion: npt.NDArray[Any]
) -> Difference | None:
    import numpy as np

    from tidegate.core.labelling import difference, differing

    given = read_table(labels, ["id", "y_true"])
    place = pc.index_in(ids.combine_chunks(), value_set=given["id"].cast(ids.type).combine_chunks())
    rows = differing(candidate, champion)
    known = rows[place.is_valid().to_numpy(zero_copy_only=False)[rows]]
    truth = given["y_true"].take(place.take(known)).to_numpy().astype(np.float64)
    if not np.isin(truth, (0.0, 1.0)).all():
        raise ConfigError(
            f"{labels}: y_true must be 0 or 1",
            remedy="Labels of several classes are not estimated here.",
        )
    right = (candidate[known] >= 0.5) == (truth == 1.0)
    steps = np.where(right, 1.0, -1.0)
    return difference(steps, differ=len(rows), n=len(candidate))
