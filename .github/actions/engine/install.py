"""Make the engine's own environment on a runner: locked by hash, wheels only, nothing built.

Standard library only: it runs with whatever Python 3.11 or newer the machine has. The package itself
is not installed but read from the action's own checkout, so what runs is the commit that was pinned.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ENGINE = Path(__file__).resolve().parents[3]
LOCKS = [ENGINE / "requirements" / name for name in ("bootstrap.txt", "engine.txt")]
CHECKED = ("--require-hashes", "--only-binary", ":all:")


def main() -> None:
    """Make the environment, unless an earlier step of this job did, and tell where it is."""
    if sys.version_info < (3, 11):  # noqa: UP036 (the machine's own Python may be older)
        sys.exit("::error::Tidegate needs Python 3.11 or newer; set the input `python` to one.")
    stamp = hashlib.sha256(
        b"".join([bytes(ENGINE), *(lock.read_bytes() for lock in LOCKS)])
    ).hexdigest()[:16]
    folder = Path(os.environ["RUNNER_TEMP"]) / f"tidegate-engine-{stamp}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        venv.create(folder, clear=True, with_pip=True)
        # Isolated, and not in the checkout: a pip.py or a uv.toml there is not ours.
        run(
            str(python),
            "-I",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            *CHECKED,
            "-r",
            str(LOCKS[0]),
            cwd=folder,
        )
        uv(folder, *CHECKED, "-r", str(LOCKS[1]), cwd=folder)
        site = next((folder / "lib").glob("python*/site-packages"))
        (site / "tidegate.pth").write_text(f"{ENGINE / 'src'}\n", encoding="utf-8")
        (folder / "complete").touch()
    if requirements := os.environ.get("TIDEGATE_REQUIREMENTS"):
        # Only where the user's code runs: beside the engine, and it may replace what the lock says.
        uv(folder, "-r", requirements)
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as file:
        file.write(f"python={python}\n")


def uv(folder: Path, *arguments: str, cwd: Path | None = None) -> None:
    """Install into the environment; several times faster than pip."""
    environment = {**os.environ, "VIRTUAL_ENV": str(folder)}
    own = str(folder / "bin" / "uv")
    run(own, "pip", "install", "--quiet", *arguments, env=environment, cwd=cwd)


def run(*command: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> None:
    """Run a command; its failure is ours."""
    if code := subprocess.run(command, check=False, env=env, cwd=cwd).returncode:
        sys.exit(code)


if __name__ == "__main__":
    main()
