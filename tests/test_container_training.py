"""What runs in a training job's container, by itself, over a folder that stands for /opt/ml."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.endpoint.serving import wait_for
from tidegate.adapters.compute.parcels import program, receive
from tidegate.digests import file_digest, folder_digest
from tidegate.errors import NotJudgedError, OutsideError

pytestmark = pytest.mark.real

BARE = "-S"  # without installed packages, so without MLflow, which takes seconds
TWO_LINES = """\
import mlflow
mlflow.log_param("depth", 3)
mlflow.log_metric("auc", 0.5)
mlflow.log_metric("worst", float("nan"))
model = mlflow.initialize_logged_model("model")
import os
folder = model.artifact_location.removeprefix("file://")
os.makedirs(folder); open(folder + "/MLmodel", "w").write("a model")
mlflow.finalize_logged_model(model.model_id, "READY")
"""


def tar_of(files: dict[str, str]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content.encode())
            archive.addfile(info, io.BytesIO(content.encode()))
    return made.getvalue()


@dataclass
class Box:
    """A container's folder, and what its job is."""

    root: Path

    @property
    def channel(self) -> Path:
        return self.root / "input/data/tidegate"

    def fill(self, run: str, files: dict[str, str] | None = None, **more: Any) -> None:
        """Put a job into the input channels."""
        train = self.root / "input/data/train/train.csv"
        for folder in (self.channel, train.parent):
            folder.mkdir(parents=True, exist_ok=True)
        train.write_text("x,y\n1,2\n")
        code = tar_of({"models/coin/mlops.yaml": "", "README": "top", **(files or {})})
        (self.channel / "code.tar").write_bytes(code)
        (self.channel / "job.zip").write_bytes(program())
        job = {
            "version": 1, "job": "tidegate-coin", "folder": "models/coin", "checks": [], "run": run,
            "environment": {}, "train_name": "train.csv", "train_sha256": file_digest(train),
            "code_sha256": hashlib.sha256(code).hexdigest(), **more,
        }  # fmt: skip
        (self.channel / "job.json").write_text(json.dumps(job))

    def start(self, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *options, str(self.channel / "job.zip")], cwd=self.root, text=True,
            env={"PATH": os.environ["PATH"], "HOME": str(self.root), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def run(self, *options: str) -> tuple[int, str]:
        child = self.start(*options)
        out, _ = child.communicate(timeout=120)
        return child.returncode, out

    @property
    def failure(self) -> str:
        path = self.root / "output/failure"
        return path.read_text() if path.exists() else ""

    def left(self, into: Path) -> Path:
        """Unpack what it left as the runner does."""
        receive(self.root / "model/output.tar", self.root / "model/manifest.json", into, "here")
        return into


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "ml")


def test_a_saved_folder_comes_back_byte_for_byte_and_nothing_else_stays(
    box: Box, tmp_path: Path
) -> None:
    box.fill('cat ../../README "$TIDEGATE_TRAIN" > "$TIDEGATE_MODEL_DIR/model.txt"; pwd')
    code, out = box.run(BARE)
    assert code == 0, out
    assert "/code/models/coin" in out
    assert out.splitlines()[-1] == "tidegate: the job ends with exit code 0"
    left = box.left(tmp_path / "left")
    (tmp_path / "same").mkdir()
    (tmp_path / "same/model.txt").write_text("topx,y\n1,2\n")
    assert folder_digest(left / "model") == folder_digest(tmp_path / "same")
    assert sorted(p.name for p in (box.root / "model").iterdir()) == ["manifest.json", "output.tar"]
    assert not list(box.root.glob("tidegate-*"))
    told = json.loads((left / "manifest.json").read_text())
    assert told["job"] == "tidegate-coin"
    assert told["seconds"] >= 0
    assert told["cpus"].isdecimal()


def test_what_mlflow_is_told_is_read_by_the_image_s_own_mlflow(box: Box, tmp_path: Path) -> None:
    box.fill(f"{sys.executable} train.py", {"models/coin/train.py": TWO_LINES})
    code, out = box.run()
    assert code == 0, out
    left = box.left(tmp_path / "left")
    told = json.loads((left / "tracking.json").read_text())
    assert told["params"] == {"depth": "3"}
    assert told["metrics"] == {"auc": 0.5}
    (model,) = told["models"]
    kept = left / "tracking/artifacts/models" / model / "artifacts/MLmodel"
    assert kept.read_text() == "a model"
    assert not (left / "tracking/mlflow.db").exists()


def test_checks_run_first_and_one_that_fails_stops_the_job(box: Box) -> None:
    box.fill("echo trained", checks=["echo first", "echo wrong >&2; exit 3"])
    code, out = box.run()
    assert code == 3
    assert "trained" not in out.replace("echo trained", "")
    assert box.failure == "a check failed with exit code 3: echo wrong >&2; exit 3\nwrong"
    assert not (box.root / "model").exists()


@pytest.mark.parametrize(
    ("run", "code", "says"),
    [
        ("seq 1 400; exit 7", 7, "training failed with exit code 7: seq 1 400; exit 7\n376\n"),
        ("kill -9 $$", 137, "training failed with signal 9"),
        ("ln -s /etc/passwd $TIDEGATE_MODEL_DIR/x", 70, "model/x: a model folder holds regular files"),
        ("mkfifo $TIDEGATE_MODEL_DIR/x", 70, "regular files only"),
    ],
    ids=["exit code and last lines", "signal", "link", "pipe"],
)  # fmt: skip
def test_what_goes_wrong_is_told_where_the_service_looks(
    box: Box, run: str, code: int, says: str
) -> None:
    box.fill(run)
    ended, out = box.run(BARE)
    assert (ended, says in box.failure) == (code, True), out
    assert len(box.failure) < 1000
    assert out.splitlines()[-1] == f"tidegate: the job ends with exit code {code}"
    assert not (box.root / "model").exists()


@pytest.mark.parametrize("name", ["tidegate/code.tar", "train/train.csv"])
def test_input_that_is_not_what_was_sent_is_not_run(box: Box, name: str) -> None:
    box.fill("echo trained > ran")
    path = box.root / "input/data" / name
    path.write_bytes(path.read_bytes() + b" ")
    code, out = box.run()
    assert code == 70
    assert "is not what was sent: its SHA-256 differs" in box.failure
    assert "training:" not in out


def _is_over(process: int) -> bool:
    """Whether a process is gone, or only waits for whoever takes note of its end."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state in {"Z", "X"}


def test_sigterm_reaches_the_user_s_processes_and_leaves_none(box: Box) -> None:
    box.fill(
        "trap 'echo saved > ../../../../saved; exit 0' TERM\n"
        "sleep 600 & echo $! > ../../../../child; wait"
    )
    child = box.start(BARE)
    started = box.root / "child"
    wait_for(lambda: started.exists() and bool(started.read_text().strip()))
    os.kill(child.pid, signal.SIGTERM)
    out, _ = child.communicate(timeout=30)
    assert child.returncode == 143, out
    assert (box.root / "saved").exists()
    assert box.failure == "the job was stopped"
    assert not (box.root / "model").exists()
    wait_for(lambda: _is_over(int(started.read_text())))


def test_an_image_without_mlflow_can_still_save_a_folder(box: Box, tmp_path: Path) -> None:
    box.fill('echo 1 > "$TIDEGATE_MODEL_DIR/model"')
    code, out = box.run(BARE)
    assert code == 0, out
    assert "no MLflow in this image" in out
    assert not (box.left(tmp_path / "left") / "tracking.json").exists()


def test_output_that_changed_on_its_way_is_refused(box: Box, tmp_path: Path) -> None:
    box.fill('echo 1 > "$TIDEGATE_MODEL_DIR/model"')
    assert box.run(BARE)[0] == 0
    output = box.root / "model/output.tar"
    output.write_bytes(output.read_bytes().replace(b"1\n", b"2\n"))
    with pytest.raises(OutsideError, match="SHA-256 differs"):
        box.left(tmp_path / "left")
    assert not (tmp_path / "left").exists()


@pytest.mark.parametrize(
    "text", ["", "[]", '{"version": 1}', '{"version": 1, "sha256": 3, "seconds": NaN}', "{" * 9999]
)
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    (tmp_path / "output.tar").write_bytes(b"")
    with pytest.raises(OutsideError, match="damaged"):
        receive(tmp_path / "output.tar", tmp_path / "manifest.json", tmp_path / "left", "there")


def test_names_that_mean_another_place_are_not_unpacked(tmp_path: Path) -> None:
    data = tar_of({"../evil": "x"})
    (tmp_path / "output.tar").write_bytes(data)
    told = {"version": 1, "sha256": hashlib.sha256(data).hexdigest(), "seconds": 1,
            "python": "3", "platform": "Linux", "cpus": "2"}  # fmt: skip
    (tmp_path / "manifest.json").write_text(json.dumps(told))
    with pytest.raises(NotJudgedError, match="cannot be kept"):
        receive(tmp_path / "output.tar", tmp_path / "manifest.json", tmp_path / "left", "there")
    assert not (tmp_path / "evil").exists()


def test_the_program_is_the_same_bytes_always_and_needs_no_tidegate(tmp_path: Path) -> None:
    assert program() == program()
    with zipfile.ZipFile(io.BytesIO(program())) as archive:
        names = archive.namelist()
        sources = {name: archive.read(name).decode() for name in names}
    assert "__main__.py" in names
    wanted = {
        line.split()[1] for source in sources.values() for line in source.splitlines()
        if line.startswith("from tidegate")
    }  # fmt: skip
    assert {f"{module.replace('.', '/')}.py" for module in wanted} <= set(names)
