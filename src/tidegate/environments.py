"""Which Python a model runs in: the environment that it recorded, or the engine's.

The engine's own environment is the recorded one where it has what the model names, in those versions;
then nothing is built. Otherwise an environment is built once and kept (``environments_build``).
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tidegate.core.config import Environment
from tidegate.environments_build import built, code, ready
from tidegate.environments_recorded import differences, recorded, shown
from tidegate.errors import NotJudgedError, OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

ENGINE, RECORDED = "engine", "recorded"
# A model's own modules would be compiled into its folder, which then has another digest.
_UNCHANGED = {"PYTHONDONTWRITEBYTECODE": "1"}
_STRICT = (
    "predict.environment: recorded in mlops.yaml wants this model's own environment. Log the model "
    "with requirements that can be installed here, or write auto."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Interpreter:
    """How a module of the scoring code is run: ``[python, "-m", module]`` with ``variables``.

    Attributes:
        environment: :data:`RECORDED` or :data:`ENGINE`. An engine's environment that has all that the
            model recorded is the recorded one, by another name.
        note: why the model does not run in what it recorded; empty where it does.
        own: whether the interpreter is another one than this process's.
    """

    python: str
    environment: str
    variables: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    own: bool = False

    def command(self, module: str, *arguments: str) -> list[str]:
        """Return the command line that runs a module."""
        return [self.python, "-m", module, *arguments]


def interpreter(
    model: Path,
    wanted: Environment,
    cache: Path,
    *,
    say: Callable[[str], None] = lambda _: None,
    patience: float = 0.0,
) -> Interpreter:
    """Return what the MLflow model in ``model`` is to run in. Loads nothing of it.

    Args:
        model: the model's folder.
        wanted: ``predict.environment``.
        cache: the folder of built environments (:attr:`tidegate.home.Home.environments`).
        say: told when something is built, which takes a while.
        patience: a build that failed less than so many seconds ago is not tried again.

    Raises:
        NotJudgedError: ``wanted`` is ``recorded`` and that cannot be had; or the model's files cannot
            be read.
    """
    model, cache = model.absolute(), cache.absolute()  # what builds and what runs is elsewhere
    found = recorded(model)
    if found is None:
        if wanted is Environment.RECORDED:
            raise NotJudgedError(
                f"the model in {model} records no environment (requirements.txt, python_env.yaml)",
                remedy=_STRICT,
            )
        return _engine(model, "the model records no environment")
    different = differences(found)
    if not different:
        return replace(_engine(model, ""), environment=RECORDED)
    if wanted is Environment.ENGINE:
        return _engine(model, f"predict.environment is engine: {shown(different)}")
    try:
        if (python := ready(cache, found)) is None:
            say(f"build the model's environment: {shown(different)}")
            python = built(cache, found, model, patience=patience)
        modules = code(cache)
    except (NotJudgedError, OutsideError, OSError) as error:
        if wanted is Environment.RECORDED:
            raise NotJudgedError(
                f"the environment that the model in {model} recorded cannot be had: {error} "
                f"({shown(different)})",
                remedy=_STRICT,
            ) from None
        return _engine(model, f"{shown(different)}; its own environment cannot be built: {error}")
    return _own(python, modules)


def _engine(model: Path, note: str) -> Interpreter:
    variables = _UNCHANGED if any(model.rglob("*.py")) else {}
    return Interpreter(python=sys.executable, environment=ENGINE, variables=variables, note=note)


def _own(python: Path, modules: Path) -> Interpreter:
    before = os.environ.get("PYTHONPATH")
    path = os.pathsep.join((str(modules), *([before] if before else [])))
    variables = {"PYTHONPATH": path, "PYTHONNOUSERSITE": "1", **_UNCHANGED}
    return Interpreter(python=str(python), environment=RECORDED, variables=variables, own=True)
