"""A repository full of traps: its training, its modules, its git files, its names."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.real_repo import PREDICT, Repo
from tidegate.git import text

if TYPE_CHECKING:
    from typing import Any

TRAINER = Path(__file__).with_name("trainer.py")
_TRAP = """import os
if "GITHUB_OUTPUT" in os.environ:
    open(os.environ["CANARY"] + "/imported-{name}", "w")
"""
_MODULES = (
    "json", "jinja2", "jsonschema", "requests", "yaml", "numpy", "mlflow", "pip", "uv", "typing", "argparse",
    "sitecustomize", "usercustomize", "readline", "antigravity",
)  # fmt: skip
# File -> content. What is committed is in every job's checkout.
PLANTED = {
    **{f"{name}.py": _TRAP.format(name=name) for name in _MODULES},
    "tidegate/__init__.py": _TRAP.format(name="tidegate"),
    "tidegate/action.py": _TRAP.format(name="tidegate.action"),
    "pyarrow/__init__.py": _TRAP.format(name="pyarrow"),
    "evil.pth": 'import os; open(os.environ["CANARY"] + "/imported-pth", "w")\n',
    "uv.toml": '[pip]\npython = "./python3"\nindex-url = "http://127.0.0.1:9/simple"\n',
    "pip.conf": "[global]\nindex-url = http://127.0.0.1:9/simple\n",
    ".gitattributes": "* filter=evil diff=evil merge=evil\n",
    ".gitmodules": '[submodule "-u"]\n\tpath = -u\n\turl = --upload-pack=touch\n',
    ".env": "MLFLOW_TRACKING_URI=http://127.0.0.1:9\nPYTHONPATH=.\n",
    "MLproject": "name: evil\n",
    "-rf": "a name that looks like an option\n",
    "--upload-pack=touch harm": "another\n",
    "a\n::set-output name=release::true\n": "a name with lines\n",
}
_EXECUTABLES = ("git", "python3", "python", "bash", "uv")


def hostile_repo(root: Path, *, trainer: str | None = None, **changes: Any) -> tuple[Repo, Path]:
    """Make the repository; return it and the folder where traps tell that they went off."""
    canary = root / "canary"
    canary.mkdir()
    python = f"{sys.executable} -P"
    told = {"train__run": f"{python} train.py", "predict__run": f"{python} predict.py"} | changes
    repo = Repo.make(root, **told)
    repo.write("train.py", TRAINER.read_text() if trainer is None else trainer)
    repo.write("predict.py", PREDICT)
    for name, content in PLANTED.items():
        (repo.path / name).parent.mkdir(exist_ok=True)
        (repo.path / name).write_text(content)
    for name in _EXECUTABLES:
        trap = repo.path / name
        trap.write_text(f'#!/bin/sh\n: > "$CANARY/imported-bin-{name}"\nexit 1\n')
        trap.chmod(0o755)
    return repo, canary


def pushed(repo: Repo) -> str:
    """Commit all of it, push it as the default branch, and return the commit."""
    commit = repo.commit()
    text(repo.path, "push", "--quiet", "--force", "origin", "HEAD:refs/heads/main")
    return commit
