"""From a cold runner to the action's first useful line: our install step, against pip and ``mlflow``.

Cold means empty package caches and no environment, as on a GitHub-hosted machine; the network is the
one at hand. The first useful line is ``tidegate validate`` of an example. The peers are what the
same lock costs with pip, and what ``pip install mlflow`` costs, which a hand-written workflow does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

TOP = Path(__file__).parent.parent
INSTALL = TOP / ".github" / "actions" / "engine" / "install.py"


def main() -> None:
    """Print seconds and ratios."""
    print("seconds, one cold run each")
    ours = _ours()
    locked = _pip(
        "--require-hashes", "--only-binary", ":all:", "-r", str(TOP / "requirements/engine.txt")
    )
    bare = _pip("mlflow")
    print(f"{'the action, to the first line of validate':<52}{ours:6.1f}")
    print(f"{'pip, the same lock':<52}{locked:6.1f}   {locked / ours:.1f}x")
    print(f"{'pip install mlflow, unlocked':<52}{bare:6.1f}   {bare / ours:.1f}x")


def _ours() -> float:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        env = {
            **_cold(folder),
            "GITHUB_REPOSITORY": "acme/churn",
            "RUNNER_ENVIRONMENT": "github-hosted",
            "RUNNER_TEMP": temporary,
            "GITHUB_OUTPUT": str(folder / "output"),
        }
        began = time.perf_counter()
        _run(sys.executable, str(INSTALL), env=env)
        outputs = dict(line.split("=", 1) for line in (folder / "output").read_text().splitlines())
        python = outputs["python"]
        example = str(TOP / "examples" / "flight-delays" / "mlops.yaml")
        _run(python, "-m", "tidegate", "validate", "--config", example, env=env)
        return time.perf_counter() - began


def _pip(*what: str) -> float:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        began = time.perf_counter()
        venv.create(folder / "venv", with_pip=True)
        python = str(folder / "venv" / "bin" / "python")
        _run(python, "-m", "pip", "install", "--quiet", "--no-cache-dir", *what, env=_cold(folder))
        return time.perf_counter() - began


def _cold(folder: Path) -> dict[str, str]:
    caches = {"UV_CACHE_DIR": str(folder / "uv"), "PIP_CACHE_DIR": str(folder / "pip")}
    return {**os.environ, **caches}


def _run(*command: str, env: dict[str, str]) -> None:
    subprocess.run(command, check=True, env=env, stdout=subprocess.DEVNULL)
