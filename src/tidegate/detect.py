"""Looking at a repository: what trains, on which data, and which columns are which.

Guesses, each with what it rests on, so that ``tidegate init`` can say why it wrote what it wrote.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from tidegate.errors import TidegateError
from tidegate.git import GitError, text
from tidegate.tables import read_table

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_SKIPPED = {".git", ".venv", "venv", "node_modules", ".tidegate", "tests", "site-packages"}
_FRAMEWORKS = ("sklearn", "xgboost", "lightgbm", "catboost", "torch", "tensorflow", "statsmodels")
_TARGETS = (
    "target", "label", "y", "y_true", "class", "outcome", "churn", "churned", "default", "defaulted",
    "late", "fraud", "is_fraud", "survived", "price",
)  # fmt: skip
_HOLDOUTS = ("holdout", "test", "valid", "eval")
_REQUIREMENTS = ("requirements.txt", "requirements.lock", "requirements/base.txt")
_USUAL_BRANCHES = ("main", "master", "trunk")
_REMOTE = re.compile(
    r"(?:https?://(?:[^/@]*@)?|ssh://(?:[^/@]*@)?|(?:[^/@:]*@))"
    r"(?P<host>[\w.-]+)(?::\d+)?[/:](?P<slug>[\w.-]+/[\w.-]+?)(?:\.git)?/?"
)
_ROWS_LOOKED_AT = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Guess:
    """A value and the reason for it; ``sure`` is False for a placeholder that must be changed."""

    value: str
    why: str
    sure: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where ``origin`` is: a host, and ``owner/name`` there."""

    host: str
    slug: str

    @property
    def github(self) -> bool:
        """Whether it is on github.com."""
        return self.host == "github.com"


def origin(repository: Path) -> Origin | None:
    """Return where the remote ``origin`` is; None without one, and for a plain folder."""
    # As git would use it (a shorthand of the user's is spelt out), and as it was written.
    for question in (("remote", "get-url", "origin"), ("config", "--get", "remote.origin.url")):
        try:
            address = text(repository, *question)
        except GitError:
            return None
        if found := _REMOTE.fullmatch(address):
            return Origin(host=found["host"].lower(), slug=found["slug"])
    return None


def default_branch(repository: Path) -> Guess:
    """Return the branch whose pushes deliver."""
    try:
        name = text(repository, "symbolic-ref", "--short", "refs/remotes/origin/HEAD")
        return Guess(value=name.removeprefix("origin/"), why="the default branch of origin")
    except GitError:
        pass
    try:
        name = text(repository, "symbolic-ref", "--short", "HEAD")
    except GitError:  # no branch is checked out, or this is no repository
        return Guess(value="main", why="the usual name of a default branch", sure=False)
    return Guess(value=name, why="the branch that is checked out", sure=name in _USUAL_BRANCHES)


def requirements(folder: Path, top: Path) -> Guess | None:
    """Return the file with the user's packages, relative to the repository's top; None without one."""
    for base in dict.fromkeys((folder, top)):
        for name in _REQUIREMENTS:
            if (base / name).is_file():
                path = (base / name).relative_to(top).as_posix()
                return Guess(value=path, why="your packages, installed for training and scoring")
        project = base / "pyproject.toml"
        if project.is_file() and re.search(
            r"^\[project\]", project.read_text(errors="replace"), re.MULTILINE
        ):
            path = project.relative_to(top).as_posix()
            return Guess(value=path, why="your packages: the dependencies of [project]")
    return None


def training_script(folder: Path) -> Guess:
    """Return the command that trains."""
    scripts = sorted(_files(folder, (".py",)), key=lambda p: (len(p.parts), str(p)))
    for script in scripts:
        if re.match(r"(train|fit)", script.stem):
            source = (folder / script).read_text(errors="replace")
            used = [f for f in _FRAMEWORKS if re.search(rf"^\s*(from|import) {f}\b", source, re.M)]
            logs = "logs a model to MLflow" if "log_model" in source or "autolog" in source else ""
            why = ", ".join([*used, *([logs] if logs else [])]) or "by its name"
            command = f"python {shlex.quote(script.as_posix())}"
            return Guess(value=command, why=f"{script}: {why}")
    return Guess(value="python train.py", why="no training script was found", sure=False)


def data_files(folder: Path) -> tuple[Guess, Guess]:
    """Return the training and the holdout table."""
    tables = sorted(_files(folder, (".parquet", ".csv")))
    held = [t for t in tables if any(word in t.stem.lower() for word in _HOLDOUTS)]
    train = [t for t in tables if "train" in t.stem.lower()] or [t for t in tables if t not in held]
    return (
        _file(train, "data/train.parquet", "training rows"),
        _file(held, "data/holdout.parquet", "rows that no training sees"),
    )


def _file(found: list[Path], otherwise: str, what: str) -> Guess:
    if found:
        return Guess(value=found[0].as_posix(), why=f"{what}, by its name")
    return Guess(value=otherwise, why=f"no table with {what} was found", sure=False)


def columns(table: Path) -> tuple[Guess, Guess, Guess]:
    """Return the id column, the target column and the task that the target suggests."""
    try:
        rows = read_table(table).slice(0, _ROWS_LOOKED_AT)
    except TidegateError as error:
        unknown = Guess(value="", why=str(error), sure=False)
        return (
            Guess(value="id", why=unknown.why, sure=False),
            Guess(value="target", why=unknown.why, sure=False),
            Guess(value="binary", why=unknown.why, sure=False),
        )
    target = _target(rows)
    return _id(rows), target, _task(rows, target)


def _id(rows: pa.Table) -> Guess:
    named = [c for c in rows.column_names if c.lower() == "id" or c.lower().endswith("_id")]
    for name in named:
        if not rows[name].null_count and pc.count_distinct(rows[name]).as_py() == rows.num_rows:
            return Guess(value=name, why="unique in every row")
    return Guess(value=named[0] if named else "id", why="no unique column was found", sure=False)


def _target(rows: pa.Table) -> Guess:
    names = {name.lower(): name for name in rows.column_names}
    for word in _TARGETS:
        if word in names:
            return Guess(value=names[word], why="by its name")
    last = rows.column_names[-1] if rows.column_names else "target"
    return Guess(value=last, why="the last column: nothing is named like a target", sure=False)


def _task(rows: pa.Table, target: Guess) -> Guess:
    if target.value not in rows.column_names:
        return Guess(value="binary", why="unknown", sure=False)
    values = set(pc.unique(rows[target.value]).to_pylist()[:3]) - {None}
    if values <= {0, 1}:
        return Guess(value="binary", why=f"{target.value} is 0 or 1", sure=target.sure)
    return Guess(value="regression", why=f"{target.value} takes many values", sure=target.sure)


def _files(folder: Path, suffixes: tuple[str, ...]) -> Iterable[Path]:
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        hidden = any(part in _SKIPPED or part.startswith(".") for part in inside.parts[:-1])
        if path.suffix.lower() in suffixes and not hidden and path.is_file():
            yield inside
