"""Whose rules judge: those of a pull request's base, with what the request changes named.

Who wants a model in must not choose what it is held to: thresholds, holdout and task are read where
they were agreed on before.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tidegate.errors import ConfigError
from tidegate.git import GitError, git, text
from tidegate.load import loads
from tidegate.render.report import RuleChange

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tidegate.core.config import Config
    from tidegate.load import Loaded

_JUDGING = ("model", "data", "gate", "predict")


def judged_by(
    repository: Path, path: Path, own: Loaded, base: str | None
) -> tuple[Config, tuple[RuleChange, ...]]:
    """Return the configuration with the gate of ``base``, and what the checked-out file changes.

    Without a ``base``, or where it has no such file yet, the file's own rules hold.

    Raises:
        ConfigError: the base's task is another one, so that its rules say nothing about this model.
    """
    if base is None:
        return own.config, ()
    name = path.relative_to(repository.resolve()).as_posix()
    try:
        before = git(repository, "show", f"{base}:{name}").decode(errors="replace")
    except GitError:
        return own.config, ()
    try:
        agreed = loads(f"{base[:12]}:{name}", before)
    except ConfigError:
        broken = RuleChange(key="mlops.yaml", before="does not load", after="loads: its own rules")
        return own.config, (broken,)
    changes = tuple(_changes(agreed.data, own.data))
    changes += tuple(_changed_rows(repository, path.parent, base, own.config))
    if agreed.config.model.task is not own.config.model.task:
        raise ConfigError(
            f"model.task is {own.config.model.task} here and {agreed.config.model.task} before: the "
            "agreed rules say nothing about such a model",
            remedy="Give the new task a model of its own: another model.name in another folder.",
        )
    judged = replace(own.config, gate=agreed.config.gate, rules_digest=agreed.config.rules_digest)
    return judged, changes


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[RuleChange]:
    old, new = (
        dict(leaf for key in _JUDGING for leaf in _leaves(key, data.get(key)))
        for data in (before, after)
    )
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            yield RuleChange(key=key, before=old.get(key), after=new.get(key))


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
    path = (folder / config.data.holdout).resolve()
    if not path.is_relative_to(repository.resolve()):
        return
    name = path.relative_to(repository.resolve()).as_posix()
    blobs = [_blob(repository, commit, name) for commit in (base, "HEAD")]
    if blobs[0] is not None and blobs[0] != blobs[1]:
        before, after = (blob[:12] if blob else None for blob in blobs)
        yield RuleChange(key=f"the rows of {config.data.holdout}", before=before, after=after)


def _blob(repository: Path, commit: str, name: str) -> str | None:
    try:
        return text(repository, "rev-parse", "--verify", "--quiet", f"{commit}:{name}")
    except GitError:
        return None
