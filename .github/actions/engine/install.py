"""Make the engine's own environment on a runner: locked by hash, wheels only, nothing built.

Standard library only: it runs with whatever Python 3.11 or newer the machine has. The package itself
is not installed but read from the action's own checkout, so what runs is the commit that was pinned.

Where a machine of one's own serves (the local target), the endpoint's processes outlive the job, and
what they run from must, too: there the environment, with a copy of the package, stands in the state
directory.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ENGINE = Path(__file__).resolve().parents[3]
LOCKS = [ENGINE / "requirements" / name for name in ("bootstrap.txt", "engine.txt")]
CHECKED = ("--require-hashes", "--only-binary", ":all:")
SERVING = {
    "watch",
    "promote",
    "revert",
    "hold",
    "resume",
    "release",
    "retry",
}  # they may start an endpoint


def main() -> None:
    """Make the environment, unless it is there, and tell where it and the state directory are."""
    if sys.version_info < (3, 11):  # noqa: UP036 (the machine's own Python may be older)
        sys.exit("::error::Tidegate needs Python 3.11 or newer; set the input `python` to one.")
    own_machine = os.environ.get("RUNNER_ENVIRONMENT") != "github-hosted"
    home = home_of(own_machine=own_machine)
    stays = own_machine and os.environ.get("TIDEGATE_COMMAND") in SERVING
    folder = place(home / "engine" if stays else Path(os.environ["RUNNER_TEMP"]), stays=stays)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            make(folder, copied=stays)
    if requirements := os.environ.get("TIDEGATE_REQUIREMENTS"):
        # Only where the user's code runs: beside the engine, and it may replace what the lock says.
        uv(folder, "-r", requirements)
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as file:
        file.write(f"python={folder / 'bin' / 'python'}\nhome={home}\n")


def home_of(*, own_machine: bool) -> Path:
    """Return the state directory: the one that was asked for, or one that lasts as the machine does."""
    if told := os.environ.get("TIDEGATE_HOME"):
        return Path(told).absolute()
    if own_machine:
        return Path.home() / ".tidegate" / os.environ["GITHUB_REPOSITORY"]
    return Path(os.environ["RUNNER_TEMP"]) / "tidegate"


def place(parent: Path, *, stays: bool) -> Path:
    """Return the environment's folder, named after all that is in it."""
    total = hashlib.sha256(f"{sys.version_info[:2]}{'' if stays else ENGINE}".encode())
    for path in [*LOCKS, *(sorted((ENGINE / "src").rglob("*.*")) if stays else ())]:
        if path.is_file() and "__pycache__" not in path.parts:
            total.update(path.relative_to(ENGINE).as_posix().encode() + b"\0" + path.read_bytes())
    return parent / f"tidegate-engine-{total.hexdigest()[:16]}"


def make(folder: Path, *, copied: bool) -> None:
    """Make the environment; ``copied``: with the package in it, not in the action's checkout."""
    try:
        import ensurepip
    except ImportError:  # Debian and Ubuntu ship Python without it
        sys.exit("::error::this Python makes no environments: apt-get install python3-venv")
    bundled = next((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"), None)
    venv.create(folder, clear=True, with_pip=bundled is None)
    pip = ["-m", "pip"] if bundled is None else [str(bundled / "pip")]
    python = str(folder / "bin" / "python")
    # Isolated, and not in the checkout: a pip.py or a uv.toml there is not ours.
    quiet = ("install", "--quiet", "--disable-pip-version-check")
    run(python, "-I", *pip, *quiet, *CHECKED, "-r", str(LOCKS[0]), cwd=folder)
    uv(folder, *CHECKED, "-r", str(LOCKS[1]), cwd=folder)
    source = ENGINE
    if copied:
        source = folder / "tidegate"
        for part in ("src", "schemas"):
            shutil.copytree(ENGINE / part, source / part)
    site = next((folder / "lib").glob("python*/site-packages"))
    (site / "tidegate.pth").write_text(f"{source / 'src'}\n", encoding="utf-8")
    (folder / "complete").touch()


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
