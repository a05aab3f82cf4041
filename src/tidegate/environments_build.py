"""Building an environment with uv, once per machine, and the scoring code that is put beside it.

    environments/<key>/        a virtual environment, complete when it has its name
    environments/<key>.lock    held by who builds it
    environments/<key>.failed  why the last attempt failed
    environments/code-<...>/   the scoring modules of this package

A build runs whatever the model's requirements run when they are installed: it belongs where the model
itself may run, and its environment holds no credentials (:mod:`tidegate.process`).
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate import packing
from tidegate.endpoint.files import locked
from tidegate.environments_recorded import OLDEST, here
from tidegate.errors import NotJudgedError
from tidegate.process import started

if TYPE_CHECKING:
    from tidegate.environments_recorded import Recorded

LONGEST = 1800.0  # seconds that a build may take
MODULES = (*packing.MODULES, "score.py", "endpoint/worker.py")
_TELLING = ("error", "×", "╰─▶", "Caused by", "Because", "No solution")


def ready(cache: Path, wanted: Recorded) -> Path | None:
    """Return the interpreter of an environment that stands complete in the cache. Needs no network."""
    python = cache / wanted.key / "bin" / "python"
    return python if python.exists() else None  # a link to a Python that is gone does not exist


def built(cache: Path, wanted: Recorded, model: Path, *, patience: float = 0.0) -> Path:
    """Return the environment's interpreter, built if it is not there.

    Args:
        cache: the folder of all environments.
        wanted: what is to be in it.
        model: the folder that the lines of ``wanted`` may point into.
        patience: an attempt that failed less than so many seconds ago is not repeated.

    Raises:
        NotJudgedError: it cannot be built here; the message says why.
        OutsideError: another process has been building it for too long.
    """
    if tuple(map(int, wanted.python.split("."))) < OLDEST:
        least = ".".join(map(str, OLDEST))
        raise NotJudgedError(
            f"the scoring code needs Python {least}, the model has {wanted.python}"
        )
    cache.mkdir(parents=True, exist_ok=True)
    failed = cache / f"{wanted.key}.failed"
    with locked(cache / f"{wanted.key}.lock", patience=LONGEST + 60):
        if (python := ready(cache, wanted)) is not None:
            return python
        if failed.exists() and time.time() - failed.stat().st_mtime < patience:
            raise NotJudgedError(failed.read_text(encoding="utf-8"))
        try:
            _build(cache, wanted, model)
        except NotJudgedError as error:
            failed.write_text(str(error), encoding="utf-8")
            raise
        failed.unlink(missing_ok=True)
    return cache / wanted.key / "bin" / "python"


def code(cache: Path) -> Path:
    """Return a folder with the scoring modules alone, for interpreters that have no Tidegate."""
    package = Path(__file__).parent
    total = hashlib.sha256()
    for name in MODULES:
        total.update(f"{name}\0".encode() + (package / name).read_bytes())
    folder = cache / f"code-{total.hexdigest()[:24]}"
    if folder.is_dir():
        return folder
    temporary = cache / f".{folder.name}.{os.getpid()}.{time.time_ns()}"
    try:
        for name in MODULES:
            (temporary / "tidegate" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(package / name, temporary / "tidegate" / name)
        try:
            temporary.rename(folder)
        except OSError:  # somebody else was faster with the same bytes
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _build(cache: Path, wanted: Recorded, model: Path) -> None:
    """Build beside its place and rename: what has the name is complete. Called under the lock."""
    uv = _uv()
    for left in cache.glob(f".{wanted.key}.*"):  # of a build that was killed
        shutil.rmtree(left, ignore_errors=True)
    work = cache / f".{wanted.key}.{os.getpid()}"
    place = work / "environment"
    work.mkdir()
    try:
        listed = work / "requirements.txt"
        listed.write_text(wanted.requirements, encoding="utf-8")
        # This very Python where it is the right one: nothing has to be found or fetched.
        python = sys.executable if wanted.python == here() else wanted.python
        # No project's uv.toml or pyproject.toml bends what the model recorded.
        folder = Path("/") if wanted.plain else model
        venv = [*uv, "venv", "--quiet", "--no-project", "--relocatable", "--python", python]
        _run([*venv, str(place)], folder, work / "log")
        install = [
            *uv,
            "pip",
            "install",
            "--compile-bytecode",
            "--python",
            str(place / "bin/python"),
        ]
        try:
            _run([*install, "-r", str(listed)], folder, work / "log")
        except NotJudgedError as failure:
            try:  # without a network, uv's own cache may hold all of it
                _run([*install, "--offline", "-r", str(listed)], folder, work / "log")
            except NotJudgedError:
                raise failure from None
        target = cache / wanted.key
        shutil.rmtree(target, ignore_errors=True)  # its Python is gone
        place.rename(target)
    except OSError as error:
        raise NotJudgedError(f"{cache}: {error.strerror}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run(command: list[str], folder: Path, log: Path) -> None:
    quiet = {"UV_NO_PROGRESS": "1", "NO_COLOR": "1"}
    try:
        with started(
            command, what="uv", folder=folder, env=quiet, timeout=LONGEST, log=log
        ) as finish:
            finish()
    except NotJudgedError as error:
        raise NotJudgedError(_told(log) or str(error)) from None


def _told(log: Path) -> str:
    """Return what uv said was wrong, without what it said besides."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    first = next((i for i, line in enumerate(lines) if line.startswith(_TELLING)), None)
    if first is None:
        return ""
    return " ".join(line.lstrip("×╰─▶│ ") for line in lines[first:] if line)[:500]


def _uv() -> list[str]:
    """Return the command that runs uv.

    Raises:
        NotJudgedError: it is nowhere.
    """
    beside = Path(sys.executable).parent / "uv"
    if beside.is_file():
        return [str(beside)]
    if importlib.util.find_spec("uv") is not None:
        return [sys.executable, "-m", "uv"]
    if found := shutil.which("uv"):
        return [found]
    raise NotJudgedError("uv, which builds environments, is not installed (pip install uv)")
