"""A model that recorded another environment than the engine's is served from it, and killed with its server."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from tests.contracts.target_contract import until_ready
from tests.endpoint.serving import free_port, processes_of, wait_for
from tests.models import numpy_here, probe
from tidegate.adapters.target.local import LocalTarget
from tidegate.core.config import Environment
from tidegate.core.model import Task
from tidegate.endpoint import control
from tidegate.environments_recorded import recorded
from tidegate.errors import NotJudgedError
from tidegate.ports import Deployment

pytestmark = pytest.mark.real


def workers(folder: Path) -> list[int]:
    """Return the process ids of the endpoint's workers."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_text() if entry.name.isdigit() else ""
        except (OSError, ProcessLookupError):
            continue
        if "tidegate.endpoint.worker" in command and str(folder) in command:
            found.append(int(entry.name))
    return found


def test_the_model_answers_from_its_own_environment_and_comes_back_when_it_dies(
    tmp_path: Path,
) -> None:
    model = probe(tmp_path / "model", "numpy==0.0.1")
    wanted = recorded(model)
    assert wanted is not None
    # As if it had been built: another interpreter's path, this one's packages.
    python = tmp_path / "environments" / wanted.key / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    folder = tmp_path / "endpoint"
    target = LocalTarget(
        folder, port=free_port(), timeout=5.0,
        environment=Environment.RECORDED, environments=tmp_path / "environments",
    )  # fmt: skip
    deployment = Deployment(version="1", digest="sha256:1", model_dir=model, task=Task.REGRESSION)
    rows, answer = pa.table({"x": [1.0, 2.0]}), [x + 100 * float(numpy_here()) for x in (1.0, 2.0)]
    try:
        target.deploy(deployment, generation=1)
        until_ready(target, "1")
        assert target.ask("1", rows).tolist() == answer
        with pytest.raises(NotJudgedError, match="told to fail"):
            target.ask("1", pa.table({"x": [-1.0]}))
        (worker,) = workers(folder)
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: workers(folder) not in ([], [worker]))
        until_ready(target, "1")
        assert target.ask("1", rows).tolist() == answer
    finally:
        control.stop(folder)
    assert processes_of(folder) == []
    assert not list((folder / "models").rglob("__pycache__"))
