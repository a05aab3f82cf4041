"""What a model recorded about the environment that it was made in, and how this one differs from it.

MLflow writes ``requirements.txt`` and ``python_env.yaml`` beside every model:
https://mlflow.org/docs/latest/ml/model/dependencies/
"""

from __future__ import annotations

import hashlib
import platform
import re
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from tidegate import packing
from tidegate.digests import folder_digest
from tidegate.errors import NotJudgedError
from tidegate.strict import bounded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from packaging.requirements import Requirement

OLDEST = (3, 11)  # what the scoring code is written in
_FILES = ("MLmodel", "requirements.txt", "python_env.yaml")
_MOST_BYTES = 1_000_000
_MOST_SHOWN = 6
_PYTHON = re.compile(
    r"^\s*(?:python|python_version):\s*['\"]?(\d{1,2}\.\d{1,3})[0-9A-Za-z.]*['\"]?\s*$",
    re.MULTILINE,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """An environment as a model folder describes it.

    Attributes:
        python: major and minor version, as "3.12".
        requirements: lines for an installer: the model's own, and what the scoring code needs.
        key: digest of all that the environment is made of.
        plain: whether every line names a package; others (paths, options) have a meaning beside the
            model's other files only.
    """

    python: str
    requirements: str
    key: str
    plain: bool


def recorded(model: Path) -> Recorded | None:
    """Return what a model folder records; None when it records no requirements or no Python.

    Raises:
        NotJudgedError: its files cannot be read, or are larger than anybody's.
    """
    texts = {name: _text(model / name) for name in _FILES}
    found = _PYTHON.search(texts["python_env.yaml"]) or _PYTHON.search(texts["MLmodel"])
    if not texts["MLmodel"] or not texts["requirements.txt"].strip() or found is None:
        return None
    requirements = packing.requirements(model)
    plain = all(_parsed(line) is not None for line in _lines(requirements))
    machine = " ".join((platform.system(), platform.machine(), *platform.libc_ver()))
    parts = (found[1], requirements, machine, "" if plain else folder_digest(model))
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
    return Recorded(python=found[1], requirements=requirements, key=key, plain=plain)


def differences(wanted: Recorded) -> tuple[str, ...]:
    """Return how this process's environment differs from the recorded one: wanted, and what is here.

    Empty only when every line names a package that is here in a version that the line allows, and the
    Python is of the same minor version.
    """
    return tuple(_differences(wanted))


def shown(different: tuple[str, ...]) -> str:
    """Return differences as one phrase, the first few of them."""
    more = len(different) - _MOST_SHOWN
    return "; ".join(different[:_MOST_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def here() -> str:
    """Return this Python's major and minor version."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _differences(wanted: Recorded) -> Iterator[str]:
    if wanted.python != here():
        yield f"python {wanted.python}, here {here()}"
    for line in _lines(wanted.requirements):
        requirement = _parsed(line)
        if requirement is None:
            yield f"{line.split()[0][:40]}: not a package's name and version"
            continue
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        if requirement.extras:
            yield f"{requirement}: extras are not compared"
            continue
        try:
            have = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield f"{requirement}, here none"
            continue
        if not requirement.specifier.contains(have, prereleases=True):
            yield f"{requirement}, here {have}"


def _lines(text: str) -> list[str]:
    stripped = (re.sub(r"(^|\s)#.*$", "", line).strip() for line in text.splitlines())
    return [line for line in stripped if line]


def _parsed(line: str) -> Requirement | None:
    """Return a line's name and versions; None when it is an option, a path or an address."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        found = Requirement(line)
    except InvalidRequirement:
        return None
    return None if found.url else found


def _text(path: Path) -> str:
    try:
        return bounded(path, _MOST_BYTES)
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise NotJudgedError(
            f"{path}: {error}", remedy="Log the model again with MLflow; it writes this file."
        ) from None
