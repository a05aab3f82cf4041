"""Whose rules judge: those of a pull request's base, with what the request changes named.

Who wants a model in must not choose what it is held to: thresholds, holdout and task are read where
they were agreed on before.
"""

from __future__ import annotations

import json
import os.path
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tidegate.errors import ConfigError, OutsideError
from tidegate.git import GitError, git, text
from tidegate.load import loads
from tidegate.render.report import RuleChange

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tidegate.core.config import Config
    from tidegate.load import Loaded

_JUDGING = ("model", "data", "gate", "predict", "registry")


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreed:
    """Where the rules stand that judge a pull request; ``folder`` is that of ``mlops.yaml``, from the top."""

    commit: str
    folder: str  # "" is the top


def judged_by(
    repository: Path, path: Path, own: Loaded, base: str | None
) -> tuple[Config, tuple[RuleChange, ...]]:
    """Return the configuration with the gate of ``base``, and what the checked-out file changes.

    Without a ``base``, or where that has no file of this model yet, the file's own rules hold.

    Raises:
        OutsideError: there is no such commit here, or its files cannot be read.
        ConfigError: the base's task is another one, so that its rules say nothing about this model.
    """
    if base is None:
        return own.config, ()
    commit = _commit(repository, base)
    name = path.relative_to(repository.resolve()).as_posix()
    found = _agreed(repository, commit, name, own.config.model.name)
    if found is None:
        return own.config, ()
    before, agreed = found
    if agreed is None:
        broken = RuleChange(key="mlops.yaml", before="does not load", after="loads: its own rules")
        return own.config, (broken,)
    moved: tuple[RuleChange, ...] = ()
    if before != name:
        moved = (RuleChange(key="the path of mlops.yaml", before=before, after=name),)
    changes = (*moved, *_changes(agreed.data, own.data))
    changes += tuple(_changed_rows(repository, path.parent, commit, own.config))
    places = (before.rpartition("/")[0], name.rpartition("/")[0])
    changes += tuple(_changed_functions(repository, commit, places, agreed.config))
    if agreed.config.model.task is not own.config.model.task:
        raise ConfigError(
            f"model.task is {own.config.model.task} here and {agreed.config.model.task} before: the "
            "agreed rules say nothing about such a model",
            remedy="Give the new task a model of its own: another model.name in another folder.",
        )
    judged = replace(
        own.config,
        model=replace(own.config.model, formats=agreed.config.model.formats),
        data=replace(
            own.config.data, group=agreed.config.data.group, weight=agreed.config.data.weight
        ),
        gate=agreed.config.gate,
        rules_digest=agreed.config.rules_digest,
    )
    return judged, changes


def agreed_at(repository: Path, path: Path, model: str, base: str) -> Agreed | None:
    """Return where the rules of :func:`judged_by` stand; None where the checked-out file's own hold.

    Raises:
        OutsideError: there is no such commit here, or its files cannot be read.
    """
    commit = _commit(repository, base)
    name = path.relative_to(repository.resolve()).as_posix()
    found = _agreed(repository, commit, name, model)
    if found is None or found[1] is None:
        return None
    return Agreed(commit=commit, folder=found[0].rpartition("/")[0])


def _agreed(
    repository: Path, commit: str, name: str, model: str
) -> tuple[str, Loaded | None] | None:
    """Return a commit's file of the model and what it says (None: it does not load); None: it has none."""
    files = _files(repository, commit)
    if name in files:
        return name, _loaded(repository, commit, name)
    # New, or moved here: a model takes its rules along.
    found = ((other, _loaded(repository, commit, other)) for other in files)
    return next(
        (
            (other, loaded)
            for other, loaded in found
            if loaded is not None and loaded.config.model.name == model
        ),
        None,
    )


def _commit(repository: Path, base: str) -> str:
    try:
        return text(
            repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}"
        )
    except GitError:
        raise OutsideError(
            f"the commit whose rules judge is not here: {base}",
            remedy="Fetch it first (actions/checkout: fetch-depth 2 or 0).",
        ) from None


def _files(repository: Path, commit: str) -> list[str]:
    """Return the paths of all ``mlops.yaml`` of a commit."""
    listed = git(repository, "ls-tree", "-r", "-z", "--name-only", "--full-tree", commit)
    names = listed.decode(errors="surrogateescape").split("\0")
    return [name for name in names if name.rpartition("/")[2] == "mlops.yaml"]


def _loaded(repository: Path, commit: str, name: str) -> Loaded | None:
    """Return what a commit's file says; None when it does not load."""
    before = git(repository, "show", "--end-of-options", f"{commit}:{name}")
    try:
        return loads(f"{commit[:12]}:{name}", before.decode(errors="replace"))
    except ConfigError:
        return None


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[RuleChange]:
    old, new = (
        _numbered(leaf for key in _JUDGING for leaf in _leaves(key, data.get(key)))
        for data in (before, after)
    )
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            yield RuleChange(key=key, before=old.get(key), after=new.get(key))


def _numbered(leaves: Iterator[tuple[str, str]]) -> dict[str, str]:
    """Return the leaves by key; two rules of one metric must not hide each other."""
    found: dict[str, str] = {}
    for key, value in leaves:
        number, name = 1, key
        while name in found:
            number, name = number + 1, f"{key} ({number + 1})"
        found[name] = value
    return found


def _leaves(key: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield dotted key and JSON text of each value; a rule or slice goes by its metric."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(f"{key}.{name}", inner)
    elif isinstance(value, list) and all(isinstance(item, dict) for item in value):
        for item in value:
            name = item.get("metric", "")
            by = "" if "by" not in item else " by " + ", ".join(map(str, item["by"]))
            rest = {k: v for k, v in item.items() if k not in ("metric", "by")}
            yield f"{key}[{name}{by}]", json.dumps(rest, sort_keys=True)
    elif value is not None:
        yield key, json.dumps(value)


def _changed_rows(
    repository: Path, folder: Path, base: str, config: Config
) -> Iterator[RuleChange]:
    """Tell when the holdout's rows themselves are other ones; only git can say what they were."""
    if "${" in config.data.holdout:
        return
    top, path = repository.resolve(), folder / config.data.holdout
    # As it is written, and where links lead: either may be what the request replaces.
    for place in dict.fromkeys((os.path.normpath(path), str(path.resolve()))):
        name = os.path.relpath(place, top)
        if name.startswith("../"):
            continue
        before, after = (_blob(repository, commit, name) for commit in (base, "HEAD"))
        if before is not None and before != after:
            yield RuleChange(
                key=f"the rows of {config.data.holdout}",
                before=before[:12],
                after=after[:12] if after else None,
            )
            return


def _changed_functions(
    repository: Path, base: str, folders: tuple[str, str], agreed: Config
) -> Iterator[RuleChange]:
    """Tell when the file of one of the agreed own metrics is another one; ``folders``: before, now."""
    used = {own.run.partition(":")[0] for own in agreed.gate.own if own.name in agreed.gate.metrics}
    for file in sorted(used):
        before, after = (
            _blob(repository, commit, f"{folder}/{file}" if folder else file)
            for commit, folder in zip((base, "HEAD"), folders, strict=True)
        )
        if before != after:
            yield RuleChange(
                key=f"the functions of {file}",
                before=before[:12] if before else None,
                after=after[:12] if after else None,
            )


def _blob(repository: Path, commit: str, name: str) -> str | None:
    try:
        return text(
            repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}:{name}"
        )
    except GitError:
        return None
