"""What a training job's container runs: the user's checks and training, and what they left, packed.

Sent to the cloud as ``job.zip``, with what it imports, and run there by the image's own Python: 3.9
or newer, standard library only. On SageMaker it stands in an input channel and writes to ``/opt/ml/model``; on Vertex AI it
fetches its input from Cloud Storage (``TIDEGATE_JOB``) and writes to ``AIP_MODEL_DIR``.

In:  ``job.json`` (what to run, and the digests of the rest), ``code.tar``, the training rows.
Out: ``output.tar`` (``model/``, ``tracking/``), then ``manifest.json`` with its SHA-256.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-dockerfile.html
https://cloud.google.com/vertex-ai/docs/training/code-requirements
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import pkgutil
import platform
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from tidegate.container.running import FAILED, Commands, JobError, say, told
from tidegate.container.storage import Storage

END = "tidegate: the job ends with exit code"  # the log's last line begins so
_EXPECTED = (JobError, OSError, tarfile.TarError, ValueError, KeyError)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            total.update(block)
    return total.hexdigest()


# --- one job ----------------------------------------------------------------------------------


def perform(job: dict[str, Any], code: Path, train: Path, work: Path, commands: Commands) -> Path:
    """Run a job in ``work`` and return the folder with ``output.tar`` and ``manifest.json``.

    Raises:
        JobError: the input is not what was sent, a command failed, or what it left cannot be kept.
    """
    for path, wanted in ((code, job["code_sha256"]), (train, job["train_sha256"])):
        if digest(path) != wanted:
            raise JobError(f"{path.name} is not what was sent: its SHA-256 differs")
    tree, left, out = work / "code", work / "left", work / "output"
    for folder in (tree, left / "model", left / "tracking", out):
        folder.mkdir(parents=True)
    with tarfile.open(code) as archive:  # git made it, and its digest was checked
        trusting = {"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}
        archive.extractall(tree, **trusting)  # type: ignore[arg-type]  # noqa: S202
    folder = tree / job["folder"]
    environment = {**os.environ, **job["environment"]}
    for check in job["checks"]:
        commands.run(check, "a check", folder, environment)
    opened = open_tracking(left / "tracking", work / "opened.json")
    environment.update(
        {**opened, "TIDEGATE_TRAIN": str(train), "TIDEGATE_MODEL_DIR": str(left / "model")}
    )
    seconds = commands.run(job["run"], "training", folder, environment)
    if opened:
        tracking("read", work / "opened.json", left / "tracking.json")
    pack(left, out / "output.tar")
    manifest = {
        "version": 1,
        "job": job["job"],
        "sha256": digest(out / "output.tar"),
        "size": (out / "output.tar").stat().st_size,
        "seconds": seconds,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": str(os.cpu_count()),
    }
    (out / "manifest.json").write_text(json.dumps(manifest))
    return out


def open_tracking(folder: Path, opened: Path) -> dict[str, str]:
    """Open an MLflow run in a fresh store; return what a command needs to write into it.

    Nothing where the image has no MLflow: then the command saves a model folder.
    """
    if importlib.util.find_spec("mlflow") is None:
        say("no MLflow in this image: only a model saved at $TIDEGATE_MODEL_DIR is found")
        return {}
    tracking("open", folder, opened)
    found = json.loads(opened.read_text())
    return {
        "MLFLOW_TRACKING_URI": found["uri"],
        "MLFLOW_REGISTRY_URI": found["uri"],
        "MLFLOW_RUN_ID": found["run"],
        "MLFLOW_EXPERIMENT_NAME": "tidegate",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }


def tracking(verb: str, first: Path, second: Path) -> None:
    """Run a verb of :mod:`tidegate.container.tracking` with the image's MLflow.

    Raises:
        JobError: it failed.
    """
    script = (pkgutil.get_data("tidegate.container", "tracking.py") or b"").decode()
    done = subprocess.run(
        [sys.executable, "-c", script, verb, str(first), str(second)],
        capture_output=True, check=False, env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
    )  # fmt: skip
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise JobError(f"the run's MLflow store cannot be used: {lines[-1] if lines else '?'}")


def pack(folder: Path, into: Path) -> None:
    """Write what is judged as a tar: the model folders and what MLflow was told.

    Raises:
        JobError: a model folder holds something else than regular files.
    """
    models = folder / "tracking" / "artifacts" / "models"
    paths = [path for top in (folder / "model", models) for path in top.rglob("*")]
    if (folder / "tracking.json").exists():
        paths.append(folder / "tracking.json")
    with tarfile.open(into, "w", format=tarfile.PAX_FORMAT, encoding="utf-8") as tar:
        for path in sorted(paths):
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                continue
            name = path.relative_to(folder).as_posix()
            if not stat.S_ISREG(mode):
                raise JobError(
                    f"the model cannot be kept: {name}: a model folder holds regular files only"
                )
            info = tarfile.TarInfo(name)
            info.size = path.stat().st_size
            with path.open("rb") as file:
                tar.addfile(info, file)
        # An archive is never empty, and says that it is ours.
        tar.addfile(tarfile.TarInfo("left"))


# --- SageMaker --------------------------------------------------------------------------------


def on_sagemaker(channel: Path, commands: Commands) -> None:
    """Run the job of an input channel: ``<root>/input/data/<channel>``, where root is ``/opt/ml``.

    https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-output.html
    """
    root = channel.parents[2]
    work = Path(tempfile.mkdtemp(prefix="tidegate-", dir=root))
    try:
        job = json.loads((channel / "job.json").read_text())
        train = channel.parent / "train" / job["train_name"]
        out = perform(job, channel / "code.tar", train, work, commands)
        model = root / "model"
        model.mkdir(exist_ok=True)
        for name in ("output.tar", "manifest.json"):
            shutil.move(str(out / name), str(model / name))
    except _EXPECTED as error:
        failure = root / "output" / "failure"
        failure.parent.mkdir(exist_ok=True)
        failure.write_text(told(error), errors="replace")  # the API shows 1,024 characters
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


# --- Vertex AI --------------------------------------------------------------------------------


def on_vertex(source: str, target: str, commands: Commands) -> None:
    """Run the job whose input stands under ``source``; its output goes under ``target``."""
    storage = Storage()
    source, target = source.rstrip("/"), target.rstrip("/")
    work = Path(tempfile.mkdtemp(prefix="tidegate-"))
    try:
        storage.get(f"{source}/job.json", work / "job.json")
        job = json.loads((work / "job.json").read_text())
        code, train = work / "code.tar", work / "train" / job["train_name"]
        train.parent.mkdir()
        storage.get(f"{source}/code.tar", code)
        storage.get(job["train_uri"], train)
        out = perform(job, code, train, work, commands)
        for name in ("output.tar", "manifest.json"):  # the manifest last: it says that all is there
            storage.put(f"{target}/{name}", out / name)
    except _EXPECTED as error:
        (work / "failure").write_text(told(error), errors="replace")
        storage.put(f"{target}/failure", work / "failure")
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def main() -> int:
    """Run the job of this container and return its exit code.

    On SageMaker, the script that was started stands in the channel.
    """
    commands = Commands()
    try:
        commands.listen()
        if source := os.environ.get("TIDEGATE_JOB"):
            on_vertex(source, os.environ["AIP_MODEL_DIR"], commands)
        else:
            on_sagemaker(Path(sys.argv[0]).resolve().parent, commands)
        code = 0
    except _EXPECTED as error:
        say(told(error))
        code = error.code if isinstance(error, JobError) else FAILED
    sys.stdout.buffer.write(f"{END} {code}\n".encode())
    sys.stdout.buffer.flush()
    return code


if __name__ == "__main__":
    sys.exit(main())
