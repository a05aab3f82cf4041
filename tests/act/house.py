"""What stands in for GitHub's copies of repositories: ours as it is in this checkout, and the ``actions/*``.

Ours is copied to a folder with ``uses: $/path``, which act does not know, written as
``tidegate/tidegate/path@local``. Each ``uses:`` of an action in our files and in the user's is compared with
what was recorded of the real one (``tests/workflows/actions.json``): another commit, an input that it does not have, or
one that the stand-in does not carry out, is an error here.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
STAND_INS = Path(__file__).parent / "actions"
RECORDED = ROOT / "tests" / "workflows" / "actions.json"
OURS = "tidegate/tidegate"
LOCAL = f"{OURS}@local"
_LEFT_OUT = ("tests/", "benchmarks/", ".ci/")
# Keys newer than act's schema, of settings that act ignores altogether.
_UNKNOWN = re.compile(r", deployment: false(?=\})|^ +queue: max\n", re.MULTILINE)
_SELF = re.compile(r"(uses:\s*[\"']?)\$/([^\s\"'#]*)")
_USES = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?P<path>/[^@]*)?@(?P<ref>[^\s]+)")


class WrongUseError(AssertionError):
    """A workflow asks an action for something that the real action does not have."""


@dataclass(frozen=True)
class House:
    """Our repository as act is shown it."""

    folder: Path
    real: bool = False  # the copy of this checkout, and not a test's own few files

    @classmethod
    def copy(cls, folder: Path) -> House:
        """Copy what this checkout holds, committed or not."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        for name in filter(None, listed.split("\0")):
            source, target = ROOT / name, folder / name
            if name.startswith(_LEFT_OUT) or not source.is_file():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            shutil.copymode(source, target)
        return replace(cls.rewrite(folder), real=True)

    @classmethod
    def rewrite(cls, folder: Path) -> House:
        """Take a folder that is laid out like our repository, and rewrite its references to itself."""
        for path in _documents(folder):
            text = _SELF.sub(rf"\g<1>{OURS}/\g<2>@local", path.read_text())
            path.write_text(_UNKNOWN.sub("", text).replace(f"{OURS}/@", f"{OURS}@"))
        return cls(folder)

    @contextlib.contextmanager
    def passes_of(self, time: str) -> Iterator[None]:
        """Have a pass over a rollout hand over after this long, not after 50 minutes."""
        path = self.folder / ".github" / "workflows" / "watch-model.yml"
        text = path.read_text()
        assert text.count("for: 50m\n") == 1
        path.write_text(text.replace("for: 50m\n", f"for: {time}\n"))
        try:
            yield
        finally:
            path.write_text(text)

    def stand_ins(self, user: Path) -> dict[str, Path]:
        """Return what act uses for each ``owner/name@ref`` that our files or the user's name.

        Raises:
            WrongUseError: an action is used as the real one cannot be.
        """
        found = {LOCAL: self.folder}
        for folder in (self.folder, user):
            for path in _documents(folder):
                document = yaml.load(path.read_text(), Loader=yaml.BaseLoader)
                if folder is self.folder and not _for_others(document):
                    continue  # our own CI and releases
                for step in _users(document):
                    used = _USES.fullmatch(step["uses"])
                    if used is None:
                        raise WrongUseError(f"{path.name}: uses: {step['uses']}")
                    name, ref = used["name"], used["ref"]
                    if name == OURS:
                        found[f"{name}@{ref}"] = self.folder
                    else:
                        found[f"{name}@{ref}"] = _stand_in(path.name, step, name, ref)
        return found


def _stand_in(where: str, step: dict[str, Any], name: str, ref: str) -> Path:
    recorded = json.loads(RECORDED.read_text())
    if name not in recorded or ref != recorded[name]["commit"]:
        raise WrongUseError(f"{where}: {name}@{ref} is not the recorded one")
    folder = STAND_INS / name.removeprefix("actions/")
    if not folder.is_dir():
        raise WrongUseError(f"{where}: nothing stands in for {name}")
    real: dict[str, bool] = recorded[name]["inputs"]
    given = set(step.get("with") or {})
    mine = set(yaml.safe_load((folder / "action.yml").read_text())["inputs"])
    if unknown := given - set(real):
        raise WrongUseError(f"{where}: {name} has no input {', '.join(sorted(unknown))}")
    if missing := {key for key, required in real.items() if required} - given:
        raise WrongUseError(f"{where}: {name} needs {', '.join(sorted(missing))}")
    if undone := given - mine:
        raise WrongUseError(f"{where}: our {name} does not do {', '.join(sorted(undone))}")
    return folder


def _documents(folder: Path) -> Iterator[Path]:
    yield from (folder / ".github" / "workflows").glob("*.yml")
    yield from (folder / ".github" / "actions").glob("*/action.yml")
    yield from folder.glob("action.yml")


def _for_others(document: dict[str, Any]) -> bool:
    return "runs" in document or "workflow_call" in document["on"]


def _users(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every mapping with a ``uses:`` that names another repository."""
    if isinstance(node, dict):
        if isinstance(node.get("uses"), str) and not node["uses"].startswith("./"):
            yield node
        for value in node.values():
            yield from _users(value)
    elif isinstance(node, list):
        for value in node:
            yield from _users(value)
