"""A model folder as the archive that a cloud's container serves: the judged bytes, and code to answer.

model/                 the MLflow model, byte for byte
code/inference.py      the hooks of AWS's inference containers
code/server.py         a server for every other image
code/tidegate/         the modules that score offline and locally, copied
code/tidegate.json     the model's digest, which the container checks before it loads, and its task
code/requirements.txt  the model's own, and what the scoring code needs beside them

https://docs.aws.amazon.com/sagemaker/latest/dg/adapt-inference-container.html
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.digests import folder_digest
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.core.model import Task

NAME = "model.tar.gz"

# What the container imports of this package, and nothing else of it.
MODULES = (
    "__init__.py",
    "container/__init__.py",
    "container/answering.py",
    "core/__init__.py",
    "core/classes.py",
    "core/model.py",
    "digests.py",
    "endpoint/__init__.py",
    "endpoint/batch.py",
    "endpoint/protocol.py",
    "endpoint/scorer.py",
    "errors.py",
    "git.py",
    "redact.py",
)
_SCRIPTS = ("inference.py", "server.py")
_NEEDS = ("mlflow", "numpy", "pandas", "pyarrow")
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_MLFLOW_VERSION = re.compile(
    r"^mlflow_version:\s*['\"]?([0-9][0-9A-Za-z.]*)['\"]?\s*$", re.MULTILINE
)


def pack_sagemaker(
    model_dir: Path, digest: str, task: Task, into: Path, classes: Sequence[str] = ()
) -> Path:
    """Write ``model.tar.gz`` into the folder ``into`` and return its path.

    The same model and the same version of this package give the same bytes.

    Raises:
        OutsideError: the folder is not what was judged, holds odd files, or cannot be read.
    """
    _verify(model_dir, digest)
    into.mkdir(parents=True, exist_ok=True)
    done = into / NAME
    partial = into / f"{NAME}.part-{os.getpid()}"
    try:
        # Level 1: weights hardly shrink, and packing gigabytes takes its time. No name, no time.
        with (
            partial.open("xb") as raw,
            gzip.GzipFile("", mode="wb", fileobj=raw, compresslevel=1, mtime=0) as zipped,
        ):
            _write(zipped, model_dir, _manifest(digest, task, classes))
        # The files may have changed while they were read.
        _verify(model_dir, digest)
        partial.replace(done)
    except OSError as error:
        raise OutsideError(f"{model_dir} cannot be packed: {error}") from None
    finally:
        partial.unlink(missing_ok=True)
    return done


def pack_vertex(
    model_dir: Path, digest: str, task: Task, into: Path, classes: Sequence[str] = ()
) -> Path:
    """Write the same archive as :func:`pack_sagemaker`: unpacked, ``python code/server.py`` serves it."""
    return pack_sagemaker(model_dir, digest, task, into, classes)


def code_digest() -> str:
    """Return the SHA-256 of the code that travels with every model."""
    package = Path(__file__).parent
    total = hashlib.sha256()
    for name in (*(f"container/{name}" for name in _SCRIPTS), *MODULES):
        total.update(
            f"{name}\0{hashlib.sha256((package / name).read_bytes()).hexdigest()}\n".encode()
        )
    return total.hexdigest()


def requirements(model_dir: Path) -> str:
    """Return the text of code/requirements.txt: the model's own, and what is missing in them."""
    try:
        given = (model_dir / "requirements.txt").read_text(encoding="utf-8")
    except FileNotFoundError:
        given = ""
    lines = [line.rstrip() for line in given.splitlines()]
    names = {_normal(found[1]) for line in lines if (found := _REQUIREMENT.match(line))}
    if "mlflow-skinny" in names:
        names.add("mlflow")
    missing = [name for name in _NEEDS if name not in names]
    pinned = {"mlflow": _mlflow(model_dir)}
    return "\n".join([*lines, *(pinned.get(name, name) for name in missing)]) + "\n"


def _manifest(digest: str, task: Task, classes: Sequence[str]) -> str:
    ordered = {"classes": list(classes)} if classes else {}
    return json.dumps({"digest": digest, "task": str(task), **ordered}, sort_keys=True)


def _write(stream: gzip.GzipFile, model_dir: Path, manifest: str) -> None:
    package = Path(__file__).parent
    files: dict[str, Path | bytes] = {
        "code/requirements.txt": requirements(model_dir).encode(),
        "code/tidegate.json": manifest.encode(),
        **{f"code/{name}": package / "container" / name for name in _SCRIPTS},
        **{f"code/tidegate/{name}": package / name for name in MODULES},
        **{
            f"model/{path.relative_to(model_dir).as_posix()}": path
            for path in model_dir.rglob("*")
            if path.is_file()
        },
    }
    with tarfile.open(
        fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT, encoding="utf-8"
    ) as tar:
        for name in sorted(files, key=os.fsencode):
            _add(tar, name, files[name])


def _add(tar: tarfile.TarFile, name: str, content: Path | bytes) -> None:
    info = tarfile.TarInfo(name)  # mtime, uid and gid are 0, the names of user and group empty
    info.mode = 0o644
    if isinstance(content, bytes):
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
        return
    with content.open("rb") as file:
        info.size = os.fstat(file.fileno()).st_size
        tar.addfile(info, file)


def _verify(model_dir: Path, digest: str) -> None:
    if (found := folder_digest(model_dir)) != digest:
        raise OutsideError(
            f"{model_dir} is not what was judged: digest {found[:12]}, wanted {digest[:12]}.",
            remedy="Somebody changed its files. Fetch the version from the registry again.",
        )


def _mlflow(model_dir: Path) -> str:
    """Return the requirement of the MLflow that saved the model."""
    try:
        found = _MLFLOW_VERSION.search((model_dir / "MLmodel").read_text(encoding="utf-8"))
    except (FileNotFoundError, UnicodeDecodeError):
        return "mlflow"
    return f"mlflow=={found[1]}" if found else "mlflow"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
