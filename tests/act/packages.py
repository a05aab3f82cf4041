"""The packages of our jobs as a runner of one's own has them from the second day on: downloaded and compiled.

Each job still makes its environment, with hashes, by our own ``install.py``; uv links its files from this
cache. Python's bytecode lies beside them there, so that it need not be made anew in each of a hundred jobs.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
INSTALL = ROOT / ".github" / "actions" / "engine" / "install.py"
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


def cached(environment: Mapping[str, str]) -> Path:
    """Return uv's cache, filled and compiled first where it is not there (a minute, once).

    Args:
        environment: the runner's, without a cache.
    """
    total = hashlib.sha256(f"{sys.base_prefix} {sys.version_info[:2]}".encode())
    for path in LOCKS:
        total.update(path.read_bytes())
    cache = ROOT / ".tools" / f"uv-{total.hexdigest()[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of another worker
        if not (cache / "complete").exists():
            for old in cache.parent.glob("uv-*"):
                if old != cache:
                    shutil.rmtree(old, ignore_errors=True)  # of other locked versions
            _fill(cache / "cache", environment)
            (cache / "complete").touch()
    return cache / "cache"


def _fill(cache: Path, environment: Mapping[str, str]) -> None:
    with tempfile.TemporaryDirectory(dir=cache.parent) as folder:
        job = {
            **environment, "HOME": folder, "UV_CACHE_DIR": str(cache), "RUNNER_TEMP": folder,
            "RUNNER_ENVIRONMENT": "github-hosted", "GITHUB_OUTPUT": str(Path(folder) / "output"),
        }  # fmt: skip
        subprocess.run([python(environment), "-I", str(INSTALL)], check=True, env=job)
    compiler = [python(environment), "-m", "compileall", "-q", "-j", str(os.cpu_count() or 1)]
    compiler += ["-x", r"\.data/scripts/"]  # uv takes no folder there
    # Its exit code tells of files that no Python can read: packages ship such as test data.
    subprocess.run(
        [*compiler, str(cache)], check=False, env=dict(environment),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def python(environment: Mapping[str, str]) -> str:
    """Return the ``python3`` that jobs find."""
    found = shutil.which("python3", path=environment["PATH"])
    assert found is not None
    return found
