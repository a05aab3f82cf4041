"""A model folder as MLflow writes it, without MLflow: its loader is a module beside it."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Answers x plus the version of the numpy that it runs on; prints, and fails or dies when told to.
PROBE = """\
import os
import numpy
class Model:
    def predict(self, frame, params=None):
        print("chatter")
        if (frame["x"] == -1).any():
            raise ValueError("told to fail")
        if (frame["x"] == -2).any():
            os._exit(7)
        return frame["x"].to_numpy() + 100 * float(".".join(numpy.__version__.split(".")[:2]))
def _load_pyfunc(path):
    return Model()
"""


def numpy_here() -> str:
    """Return this environment's numpy, as the probe model adds it."""
    return ".".join(version("numpy").split(".")[:2])


def probe(folder: Path, *lines: str, python: str = "", loader: str = PROBE) -> Path:
    """Return a model folder that records these requirements."""
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "tidegate_probe.py").write_text(loader)
    (folder / "MLmodel").write_text(
        "flavors:\n  python_function:\n    code: code\n    loader_module: tidegate_probe\n"
        f"mlflow_version: {version('mlflow')}\n"
    )
    python = python or platform.python_version()
    (folder / "python_env.yaml").write_text(
        f"python: {python}\nbuild_dependencies:\n- pip==23.2.1\ndependencies:\n- -r requirements.txt\n"
    )
    (folder / "requirements.txt").write_text("\n".join(lines))
    return folder


def skinny() -> str:
    """Return the requirement of the smallest MLflow that loads a model."""
    return f"mlflow-skinny=={version('mlflow')}"
