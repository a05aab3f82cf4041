"""``tidegate prepare``: what the other jobs need to train and score, and whether they have to."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.compute as pc
import pyarrow.parquet as pq

from tidegate import bundles, columns, own_metrics
from tidegate.cases import INPUT, Case, Reference, save_case
from tidegate.commands.context import Context, add_config, add_json
from tidegate.commands.serving import serving
from tidegate.commands.train import recipe_of
from tidegate.core.events import Phase
from tidegate.core.metrics.system import QUANTILES
from tidegate.core.model import Task
from tidegate.digests import file_digest, folder_digest
from tidegate.errors import ConfigError, Exit, NotJudgedError, RefusedError, TidegateError
from tidegate.git import text
from tidegate.holdout import content_digest
from tidegate.home import MODEL, PROFILE
from tidegate.tables import read_table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    import pyarrow as pa

    from tidegate.core.model import VersionRef
    from tidegate.core.state import State
    from tidegate.terminal import Terminal

SUMMARY = "what the jobs that train and score need: rows without the truth, champion and anchor"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_config(parser)
    add_json(parser)
    parser.add_argument(
        "--into", type=Path, required=True, metavar="DIR",
        help="gets case/ (case.json, input.parquet), champion/ and anchor/ (model folders)",
    )  # fmt: skip
    parser.add_argument(
        "--base", metavar="COMMIT", help="judge by this commit's rules (a pull request's base)"
    )


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Write the case and the models it is about."""
    context = Context.of(args, terminal, base=args.base)
    state = context.ledger().read().state
    if reason := settled(context, state, pull_request=args.base is not None):
        terminal.outputs(work="none", reason=reason)
        terminal.emit({"work": "none", "reason": reason})
        terminal.say(f"nothing to do: {reason}")
        return Exit.OK
    into: Path = args.into
    found = within_reach(context, state) if args.base else references(context, state)
    case, digest = build(context, state, found, into / "case", base=args.base)
    for role, bundle in found.items():
        (into / role).parent.mkdir(parents=True, exist_ok=True)
        _copied(bundle / MODEL, into / role)
    terminal.outputs(
        work="train",
        compute=str(context.config.train.compute),
        case=digest,
        champion=case.champion.digest if case.champion else "",
        anchor=case.anchor.digest if case.anchor else "",
        code="true" if case.predict else "false",
        measure="true" if own_metrics.needed(context.config.gate) else "false",
    )
    terminal.emit(
        {"work": "train", "compute": str(context.config.train.compute), "case": asdict(case)}
    )
    against = f"version {case.champion.version}" if case.champion else "nothing"
    terminal.say(f"{case.model}: to be compared with {against}")
    return Exit.OK


def settled(context: Context, state: State, *, pull_request: bool) -> str:
    """Return why the checked-out commit needs no training; empty when it does.

    Raises:
        RefusedError: on the default branch, a recipe that was taken back.
    """
    if pull_request:
        return ""
    rollouts = (*((state.rollout,) if state.rollout else ()), *reversed(state.past))
    mine = next((r for r in rollouts if r.model.commit == context.head), None)
    recipe = recipe_of(context)
    refuse_quarantined(state, recipe)
    if mine is not None and mine.phase not in (Phase.WITHDRAWN, Phase.REFUSED):
        return f"version {mine.model.version} of this commit is known: {mine.phase}"
    if state.champion is not None and state.champion.recipe == recipe:
        return f"version {state.champion.version}, which serves, is of this very recipe"
    return ""


def refuse_quarantined(state: State, recipe: str) -> None:
    """Let nothing be trained again that was taken back.

    Raises:
        RefusedError: the recipe is in quarantine.
    """
    if recipe in state.quarantined:
        raise RefusedError(
            "a model of this very recipe (code, configuration, data) was taken back",
            remedy="Change something that matters. Only a person lifts a quarantine: "
            "`tidegate release --retry VERSION --reason ...`.",
        )


def build(
    context: Context,
    state: State,
    found: Mapping[str, Path],
    folder: Path,
    *,
    base: str | None = None,
) -> tuple[Case, str]:
    """Write the case of the checked-out commit into ``folder``; return it and its digest.

    ``found`` holds the bundles of what it is compared with, by role; ``base``: whose rules judge.

    Raises:
        NotJudgedError: the holdout's ids are not unique, or it is older than the training rows.
        ConfigError: a column is missing.
    """
    config = context.config
    rows = holdout(context)
    # The weight, too: it may follow from the truth (rows of a rare class count more).
    hidden = [c for c in (config.data.target, config.data.weight) if c and c in rows.column_names]
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows.drop_columns(hidden), folder / INPUT)
    champion = found.get("champion")
    bundles.keep_reference(champion / PROFILE if champion else None, folder)
    models = compared_with(state)
    compared = {
        role: Reference(
            version=models[role].version,
            digest=models[role].digest,
            size_mb=megabytes(bundle / MODEL),
        )
        for role, bundle in found.items()
    }
    case = Case(
        model=config.model.name,
        task=config.model.task,
        id=config.data.id,
        folder=context.folder.relative_to(context.repository).as_posix(),
        commit=context.head,
        base=text(context.repository, "rev-parse", base) if base else None,
        input=file_digest(folder / INPUT),
        holdout=content_digest(rows, config.data.id, config.data.target),
        predict=config.predict.run,
        hidden=tuple(_within(context, raw) for raw in (config.data.train, config.data.holdout)),
        timeout=config.predict.timeout,
        timed=not config.gate.metrics.isdisjoint(QUANTILES),
        champion=compared.get("champion"),
        anchor=compared.get("anchor"),
        environment=str(config.predict.environment),
        classes=classes_for(context, rows),
    )
    return case, save_case(folder, case)


def _within(context: Context, raw: str) -> str:
    """Return a data file's path from the repository's top (wherever it leads)."""
    path = context.path(raw, "data")
    return Path(os.path.relpath(path, context.repository)).as_posix()


def compared_with(state: State) -> dict[str, VersionRef]:
    """Return champion and anchor; an anchor that is the champion is not scored twice."""
    roles = {"champion": state.champion, "anchor": state.anchor}
    if state.anchor == state.champion:
        roles.pop("anchor")
    return {role: model for role, model in roles.items() if model is not None}


def references(context: Context, state: State) -> dict[str, Path]:
    """Return role -> bundle folder of what the candidate is compared with, fetched and verified."""
    versions: Mapping[str, VersionRef] = compared_with(state)
    if not versions:
        return {}
    registry, name = context.registry(), context.config.model.name
    trust = context.trust(state)
    return {
        role: bundles.fetch(context.home, registry, name, model, trust)
        for role, model in versions.items()
    }


def within_reach(context: Context, state: State) -> dict[str, Path]:
    """Return the bundles that a pull request's job can have: it is given no credentials.

    First what the default branch's runs left as an artifact, then the registry, if it answers anyone;
    whichever it is, the bytes must be those that the ledger names. All of them, or none.
    """
    versions = compared_with(state)
    if not versions:
        return {}
    try:
        serving(context, versions)
    except TidegateError as error:
        context.terminal.progress(f"no artifact of what serves: {error}")
    try:
        return _at_hand(context, state, versions) or references(context, state)
    except TidegateError as error:
        context.terminal.progress(f"production's model is out of reach here: {error}")
        return {}


def _at_hand(
    context: Context, state: State, versions: Mapping[str, VersionRef]
) -> dict[str, Path] | None:
    """Return the bundles when all of them are on this machine: then no registry need be there.

    Raises:
        OutsideError: one is not signed as ``mlops.yaml`` demands.
    """
    trust, name = context.trust(state), context.config.model.name
    found = {role: context.home.fetched(model.digest) for role, model in versions.items()}
    for role, model in versions.items():
        model_folder = found[role] / MODEL
        if not model_folder.is_dir() or folder_digest(model_folder) != model.digest:
            return None
        trust.check(name, model)
    return found


def holdout(context: Context) -> pa.Table:
    """Return the holdout rows, checked: ids, truth, and not older than the training rows."""
    data = context.config.data
    path = context.path(data.holdout, "data.holdout")
    rows = read_table(path)
    for key in ("id", "target", "time", "group", "weight"):
        column = getattr(data, key)
        if column is not None and column not in rows.column_names:
            raise ConfigError(f"{path}: no column {column!r} (data.{key} in mlops.yaml)")
    ids = rows[data.id]
    if rows.num_rows == 0:
        raise NotJudgedError(f"{path}: no rows")
    if ids.null_count or pc.count_distinct(ids).as_py() != rows.num_rows:
        raise NotJudgedError(f"{path}: the ids in {data.id!r} are not unique, or some are missing")
    if data.time is not None:
        _check_time(context, rows, data.time)
    if data.group is not None:
        columns.groups(path, rows[data.group], data.group)
    if data.weight is not None:
        columns.weights(path, rows[data.weight], data.weight)
    return rows


def classes_for(context: Context, rows: pa.Table) -> tuple[str, ...]:
    """Return a multiclass model's classes: as ``mlops.yaml`` names them, or those of the holdout.

    Raises:
        ConfigError: a holdout row is of no class, or of one that ``mlops.yaml`` does not name.
    """
    data, model = context.config.data, context.config.model
    if model.task is not Task.MULTICLASS or data.target is None:
        return ()
    path = context.path(data.holdout, "data.holdout")
    if not model.classes:
        return columns.classes_of(path, rows[data.target], data.target)
    columns.class_codes(path, rows[data.target], data.target, model.classes)
    return model.classes


def _check_time(context: Context, rows: pa.Table, column: str) -> None:
    train = read_table(context.path(context.config.data.train, "data.train"), [column])
    newest, oldest = pc.max(train[column]), pc.min(rows[column])
    if newest.type != oldest.type:
        raise NotJudgedError(
            f"{column} is {newest.type} in the training rows and {oldest.type} in the holdout",
            remedy="Write both with the same type: their order cannot be checked.",
        )
    if newest.as_py() is None or oldest.as_py() is None or oldest.as_py() < newest.as_py():
        raise NotJudgedError(
            f"the holdout begins at {oldest} and the training rows end at {newest}",
            remedy=f"No holdout row may be older than a training row ({column}): "
            "such a comparison flatters whoever saw the future.",
        )


def megabytes(folder: Path) -> float:
    """Return the size of a folder's files in megabytes (10**6 bytes)."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6


def _copied(model: Path, into: Path) -> None:
    shutil.rmtree(into, ignore_errors=True)
    shutil.copytree(model, into)
