"""The user's workflow files, read as what they call of ours and what they grant it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tidegate.errors import ConfigError
from tidegate.pin import REPOSITORY
from tidegate.yaml12 import YamlError, parse

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ".github/workflows"
_CALL = re.compile(rf"{REPOSITORY}/\.github/workflows/(?P<file>[\w.-]+)@(?P<pin>\S+)")
_EVERYTHING = {"read-all": "read", "write-all": "write"}
_HOSTED = re.compile(r"(ubuntu|windows|macos)-[\w.-]+")
_EXPRESSION = "${{"


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A job that calls one of our workflows."""

    where: str  # file: job
    file: str  # of ours: "deliver.yml"
    pin: str
    permissions: Mapping[str, str] | None  # None: nothing is said, the repository's setting counts
    everything: str | None = None  # "read" or "write" for all scopes
    inputs: Mapping[str, str] = field(default_factory=dict)
    secrets: frozenset[str] = frozenset()
    inherits: bool = False

    def grants(self, scope: str) -> str:
        """Return ``none``, ``read`` or ``write``."""
        return self.everything or (self.permissions or {}).get(scope, "none")

    def runner(self, name: str) -> str:
        """Return the labels that a job of ours runs on."""
        return self.inputs.get(name) or self.inputs.get("runner") or "ubuntu-latest"


@dataclass(frozen=True, kw_only=True, slots=True)
class Flow:
    """One workflow file that calls ours."""

    path: str
    name: str
    events: Mapping[str, Any]
    calls: tuple[Call, ...]

    def branches(self) -> list[str] | None:
        """Return the branches whose pushes start it; None where every branch does."""
        push = self.events.get("push")
        listed = push.get("branches") if isinstance(push, Mapping) else None
        return [str(branch) for branch in listed] if isinstance(listed, list) else None


def hosted(labels: str) -> bool | None:
    """Whether GitHub's own machines, which die with the job, run these labels; None: cannot be told."""
    if _EXPRESSION in labels:
        return None
    try:
        given = json.loads(labels)
    except ValueError:
        given = labels
    names = given if isinstance(given, list) else [given]
    return any(isinstance(name, str) and _HOSTED.fullmatch(name) for name in names)


def flows(top: Path) -> list[Flow]:
    """Return the workflow files of a repository that call ours.

    Raises:
        ConfigError: one that calls ours cannot be read.
    """
    found = []
    for path in sorted((top / FOLDER).glob("*.y*ml")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if f"{REPOSITORY}/" in text:
            found.append(flow(path.relative_to(top).as_posix(), text))
    return [each for each in found if each.calls]


def flow(path: str, text: str) -> Flow:
    """Read one workflow file.

    Raises:
        ConfigError: it is not strict YAML, or not a workflow.
    """
    try:
        data = parse(text).data
    except YamlError as error:
        where = f"{path}:{error.mark.line}:{error.mark.column}"
        raise ConfigError(f"{where}: {error}", remedy="Write it as plain YAML.") from None
    if not isinstance(data, dict) or not isinstance(data.get("jobs"), dict):
        raise ConfigError(
            f"{path}: not a workflow", remedy="Delete it; `tidegate init` writes one."
        )
    calls = [
        _call(f"{path}: {name}", match, job, data)
        for name, job in data["jobs"].items()
        if isinstance(job, dict) and (match := _CALL.fullmatch(str(job.get("uses", ""))))
    ]
    return Flow(
        path=path,
        name=str(data.get("name") or path),
        events=_events(data.get("on")),
        calls=tuple(calls),
    )


def _call(where: str, match: re.Match[str], job: dict[str, Any], top: dict[str, Any]) -> Call:
    said = job.get("permissions", top.get("permissions"))
    secrets, inputs = job.get("secrets"), job.get("with")
    return Call(
        where=where,
        file=match["file"],
        pin=match["pin"],
        permissions={str(k): str(v) for k, v in said.items()} if isinstance(said, dict) else None,
        everything=_EVERYTHING.get(said) if isinstance(said, str) else None,
        inputs={str(k): str(v) for k, v in inputs.items()} if isinstance(inputs, dict) else {},
        secrets=frozenset(map(str, secrets)) if isinstance(secrets, dict) else frozenset(),
        inherits=secrets == "inherit",
    )


def _events(said: Any) -> dict[str, Any]:
    if isinstance(said, str):
        return {said: None}
    if isinstance(said, list):
        return {str(event): None for event in said}
    return {str(event): options for event, options in said.items()} if said else {}
