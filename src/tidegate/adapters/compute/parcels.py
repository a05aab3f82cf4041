"""What travels to a training job and back: uploaded once, and believed by its digest alone.

Under the bucket's folder: ``jobs/<job>/input/`` (what runs), ``data/<digest>/`` (training rows, shared by
jobs), and the output where each service puts it.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import shutil
import zipfile
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from tidegate.archives import unpack_tar
from tidegate.digests import file_digest
from tidegate.errors import NotJudgedError, OutsideError
from tidegate.strict import strict_json

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.ports import ObjectStore, TrainingJob

MOST_BYTES = 20 << 30  # of an output
MOST_FILES = 200_000
PROGRAM, MANIFEST, OUTPUT = "job.zip", "manifest.json", "output.tar"
_MODULES = ("running.py", "storage.py", "tracking.py", "training.py")
_MAIN = b"""import runpy
runpy.run_module("tidegate.container.training", run_name="__main__")
"""
_MOST_MANIFEST = 1 << 20
_ENDING = re.compile(
    r"(\.[A-Za-z0-9]{1,12}){0,3}", re.ASCII
)  # of the rows' file: it says what they are


class GoneError(OutsideError):
    """A job's output is not there any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parcel:
    """Where a job's input stands, as keys of the bucket's folder."""

    code: str  # of the folder with job.zip, job.json and code.tar
    train: str  # of the folder with the rows
    train_name: str
    program: str  # SHA-256 of job.zip


def program() -> bytes:
    """Return what runs in the container: a zip that Python starts, byte for byte the same always.

    https://docs.python.org/3/library/zipapp.html
    """
    source = resources.files("tidegate.container")
    files = {f"tidegate/container/{name}": (source / name).read_bytes() for name in _MODULES}
    packages = ("tidegate/__init__.py", "tidegate/container/__init__.py")
    files |= dict.fromkeys(packages, b"") | {"__main__.py": _MAIN}
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name), files[name])
    return made.getvalue()


def send(store: ObjectStore, bucket: str, job: TrainingJob) -> Parcel:
    """Upload a job's input, what is there already excepted.

    Args:
        store: the bucket's folder.
        bucket: its address, without a slash at the end.
        job: what is to run.

    Raises:
        OutsideError: the store or the disk fails.
    """
    code, train = file_digest(job.code), file_digest(job.train)
    ending = "".join(job.train.suffixes)
    name = f"train{ending}" if _ENDING.fullmatch(ending) else "train"
    parcel = Parcel(
        code=f"jobs/{job.name}/input/",
        train=f"data/{train}/",
        train_name=name,
        program=hashlib.sha256(program()).hexdigest(),
    )
    told = {
        "version": 1,
        "job": job.name,
        "folder": job.folder,
        "checks": list(job.checks),
        "run": job.run,
        "environment": dict(job.environment),
        "code_sha256": code,
        "train_sha256": train,
        "train_name": name,
        "train_uri": f"{bucket}/{parcel.train}{name}",
    }
    text = json.dumps(told, sort_keys=True).encode()
    _send(store, f"{parcel.train}{name}", job.train, train)
    _send(store, f"{parcel.code}code.tar", job.code, code)
    _send(store, f"{parcel.code}{PROGRAM}", program(), parcel.program)
    _send(store, f"{parcel.code}job.json", text, hashlib.sha256(text).hexdigest())
    return parcel


def _send(store: ObjectStore, key: str, source: Path | bytes, sha256: str) -> None:
    found = store.head(key)
    if found is None or found.sha256 != sha256:
        store.put(key, source, sha256=sha256)


def receive(output: Path, manifest: Path, into: Path, where: str) -> float:
    """Unpack a job's output into the new folder ``into``, once it is what the job made.

    Returns:
        The seconds that the training command took.

    Args:
        output: the packed output, as it arrived.
        manifest: what the job said about it, likewise.
        into: ``model/``, ``tracking/``, ``tracking.json`` and the manifest go there.
        where: its address, for people.

    Raises:
        OutsideError: it is damaged.
        NotJudgedError: it holds what no model folder may hold.
    """
    told = _manifest(manifest, where)
    if file_digest(output) != told["sha256"]:
        raise OutsideError(
            f"{where} is not what the job made: its SHA-256 differs",
            remedy="Delete it and train again.",
        )
    try:
        unpack_tar(output, into, most_bytes=MOST_BYTES, most_files=MOST_FILES)
    except OutsideError as error:
        raise NotJudgedError(
            f"what the job left cannot be kept: {error}",
            remedy="Give the files of the model plain names.",
        ) from None
    shutil.copyfile(manifest, into / MANIFEST)
    return float(told["seconds"])


def _manifest(path: Path, where: str) -> dict[str, Any]:
    damaged = OutsideError(
        f"the manifest of {where} is damaged", remedy="Delete it and train again."
    )
    if path.stat().st_size > _MOST_MANIFEST:
        raise damaged
    try:
        told = strict_json(path.read_text(encoding="utf-8"))
        seconds = float(told["seconds"])
        whole = all(isinstance(told[key], str) for key in ("sha256", "python", "platform", "cpus"))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise damaged from None
    if not whole or told.get("version") != 1 or not math.isfinite(seconds) or seconds < 0:
        raise damaged
    found: dict[str, Any] = told
    return found
