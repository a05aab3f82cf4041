"""``tidegate find``: which models a change touches, or which have a live rollout."""

from __future__ import annotations

import json
import os.path
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.commands.context import Context, add_json
from tidegate.errors import ConfigError, Exit
from tidegate.git import GitError, git, text
from tidegate.load import load
from tidegate.problems import BadConfigError
from tidegate.render.check import problem_annotations

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from tidegate.core.config import Config
    from tidegate.terminal import Terminal

SUMMARY = "which models a change touches, or which have a live rollout"

_FILE = "mlops.yaml"
IGNORED = ("**/*.md", "docs/**", ".github/**", "**/LICENSE*", "**/.gitignore")


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A model of the repository; ``config`` is its file's path from the repository's top."""

    config: str
    settings: Config

    @property
    def name(self) -> str:
        """The model's name."""
        return self.settings.model.name

    @property
    def folder(self) -> str:
        """The folder of its file; empty at the repository's top."""
        folder = Path(self.config).parent.as_posix()
        return "" if folder == "." else folder

    @property
    def data(self) -> tuple[str, ...]:
        """The files of its rows, from the repository's top, wherever a path says where they are."""
        paths = (self.settings.data.train, self.settings.data.holdout)
        inside = [os.path.normpath(f"{self.folder or '.'}/{path}") for path in paths]
        return tuple(
            name for name in inside if "${" not in name and not name.startswith(("../", "/"))
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_json(parser)
    parser.add_argument("--base", metavar="COMMIT", help="only models that differ from this commit")
    parser.add_argument(
        "--ignore", action="append", metavar="GLOB",
        help=f"files that touch no model (default: {' '.join(IGNORED)}; repeatable)",
    )  # fmt: skip
    parser.add_argument("--model", metavar="NAME", help="only this model")
    parser.add_argument("--one", action="store_true", help="more than one model is an error")
    parser.add_argument("--live", action="store_true", help="only models with a live rollout")


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Find models and tell their names and files.

    Raises:
        ConfigError: an ``mlops.yaml`` is wrong, or two have one name.
    """
    repository = _top()
    models = _all(repository, terminal)
    if args.model:
        models = [model for model in models if model.name == args.model]
        if not models:
            raise ConfigError(f"no model is named {args.model!r} here")
    if args.one and len(models) > 1:
        names = ", ".join(model.name for model in models)
        raise ConfigError(f"which model? {names}", remedy="Name one of them as `model`.")
    if args.base:
        ignored = [glob for glob in args.ignore or () if glob] or IGNORED
        models = [m for m in models if _touched(repository, m, models, args.base, ignored)]
    if args.live:
        models = [model for model in models if _live(repository / model.config, terminal)]
    found = [{"model": model.name, "config": model.config} for model in models]
    terminal.outputs(models=json.dumps(found), count=str(len(found)))
    terminal.emit(found)
    terminal.say("\n".join(f"{m.name:<24} {m.config}" for m in models) or "no model is touched")
    return Exit.OK


def _top() -> Path:
    try:
        return Path(text(Path.cwd(), "rev-parse", "--show-toplevel"))
    except GitError:
        raise ConfigError("not in a git repository", remedy="Check the code out first.") from None


def _all(repository: Path, terminal: Terminal) -> list[Found]:
    """Return every model of the repository; all bad files are told at once."""
    listed = git(repository, "ls-files", "-z", "--", _FILE, f"**/{_FILE}")
    names = listed.decode(errors="backslashreplace").split("\0")  # such a name is then not found
    models: list[Found] = []
    problems: list[str] = []
    for name in names:
        if name.rpartition("/")[2] != _FILE:
            continue
        try:
            models.append(Found(config=name, settings=load(repository / name)))
        except BadConfigError as error:
            problems += [problem.replace(f"{repository}/", "", 1) for problem in error.lines]
            if (runner := terminal.runner) is not None:
                for annotation in problem_annotations(error, name):
                    runner.annotate(annotation)
    if problems:
        raise BadConfigError(problems)
    if not models:
        raise ConfigError(
            f"no {_FILE} in this repository",
            remedy="Write one with `tidegate init`, and commit it.",
        )
    seen: dict[str, str] = {}
    for model in models:
        if (other := seen.setdefault(model.name, model.config)) != model.config:
            raise ConfigError(
                f"{other} and {model.config} both name the model {model.name}",
                remedy="Each model of a repository needs a name of its own.",
            )
    return models


def _touched(
    repository: Path, model: Found, models: Sequence[Found], base: str, ignored: Sequence[str]
) -> bool:
    """Tell whether anything that the model is made of differs from ``base``; git matches the globs.

    What the file itself names (its data, ``train.paths``) counts wherever it is, ignored or not.
    """
    exclude = [f":(top,exclude,glob){glob}" for glob in ignored]
    if ignored is IGNORED and _is_ignored(repository, model.config, exclude):
        exclude = []  # a model below docs/, say
    inside = f"{model.folder}/" if model.folder else ""
    others = [
        other.folder
        for other in models
        if other.folder != model.folder and other.folder.startswith(inside)
    ]
    folder = [
        f":(top,literal){model.folder}" if model.folder else ":(top)",  # a literal "." is nothing
        *exclude,
        *(f":(top,exclude,literal){folder}" for folder in others),
    ]
    named = [
        *(f":(top,literal){name}" for name in model.data),
        *(f":(top,glob){path}" for path in model.settings.train.paths),
    ]
    try:
        return any(
            git(repository, "diff", "--name-only", "-z", "--end-of-options", base, "HEAD", "--", *p)
            for p in (folder, named)
            if p
        )
    except GitError:  # a commit that is not here (a first push, a shallow clone): better too much
        return True


def _is_ignored(repository: Path, name: str, exclude: Sequence[str]) -> bool:
    # By `diff`, whose pathspecs count here; those of ls-files differ in what they exclude.
    nothing = text(repository, "hash-object", "-t", "tree", "--stdin")
    own = f":(top,literal){name}"
    return not git(repository, "diff", "--name-only", "-z", nothing, "HEAD", "--", own, *exclude)


def _live(config: Path, terminal: Terminal) -> bool:
    state = Context.of(Namespace(config=config), terminal).ledger().read().state
    return state.rollout is not None or bool(state.queue)
