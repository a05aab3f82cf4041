"""`./dev test` never counts as passed what it could not run."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workflows.documents import ROOT

pytestmark = pytest.mark.real

NOTICE = "!!! NOT RUN"
COREUTILS = (
    "bash",
    "cat",
    "cut",
    "dirname",
    "mkdir",
    "mktemp",
    "rm",
    "sha256sum",
    "git",
)


class Machine:
    """A checkout whose tools only write down how they were called, on a machine of our choosing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        venv = folder / ".venv/bin"
        for each in (
            self.bin,
            venv,
            folder / "requirements",
            folder / "tests/workflows/node_modules",
        ):
            each.mkdir(parents=True)
        shutil.copy(ROOT / "dev", folder / "dev")
        (folder / "pyproject.toml").write_text("x")
        (folder / "requirements/a.txt").write_text("y")
        lock = folder / "tests/workflows/package-lock.json"
        lock.write_text("{}")
        (lock.parent / "node_modules/.tidegate-stamp").write_text(
            hashlib.sha256(b"{}").hexdigest()[:16]
        )
        (folder / ".venv/.tidegate-stamp").write_text(hashlib.sha256(b"xy").hexdigest()[:16])
        (folder / ".venv/.tidegate-installed").write_text("checkout")
        for name in ("ruff", "mypy", "lint-imports", "python", "uv"):
            self.tool(venv / name)
        self.tool(venv / "pytest", "echo PYTEST >&2; exit ${PYTEST_STATUS:-0}")
        (self.bin / "python3").symlink_to(Path(sys.executable).resolve())
        for name in COREUTILS:
            found = shutil.which(name)
            assert found, name
            (self.bin / name).symlink_to(Path(found).resolve())

    def tool(self, path: Path, body: str = "") -> None:
        log = self.folder / "called"
        path.write_text(f'#!/bin/bash\necho "{path.name} $*" >> {log}\n{body}\n')
        path.chmod(0o755)

    def dev(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.bin / "bash"), "dev", *arguments],
            cwd=self.folder,
            env={"PATH": str(self.bin), "HOME": str(self.folder), **env},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def called(self) -> list[str]:
        return (self.folder / "called").read_text().splitlines()

    @property
    def tests(self) -> list[str]:
        return [line for line in self.called if line.startswith("pytest")]


@pytest.fixture
def bare(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def equipped(bare: Machine) -> Machine:
    bare.tool(bare.bin / "node")
    bare.tool(bare.bin / "npm")
    bare.tool(bare.bin / "go", "echo go1.26.0")
    return bare


@pytest.mark.parametrize("status", [0, 1])
def test_without_node_and_go_it_says_so_before_and_after(bare: Machine, status: int) -> None:
    done = bare.dev("test", PYTEST_STATUS=str(status))
    assert done.returncode == status
    assert bare.tests == ["pytest -n 4 --dist worksteal -m not heavy and not workflows"]
    before, after = done.stderr.split("PYTEST")
    assert NOTICE in before
    assert NOTICE in after
    assert "./dev github" in after
    assert "passed" not in after


def test_where_they_are_required_nothing_is_run_without_them(bare: Machine) -> None:
    done = bare.dev("test", TIDEGATE_GITHUB="required")
    assert done.returncode == 2
    assert NOTICE in done.stderr
    assert not (bare.folder / "called").exists()


def test_an_old_go_is_none(equipped: Machine) -> None:
    equipped.tool(equipped.bin / "go", "echo go1.24.9")
    assert NOTICE in equipped.dev("test").stderr


def test_an_old_node_is_none(equipped: Machine) -> None:
    equipped.tool(equipped.bin / "node", "exit 1")
    assert NOTICE in equipped.dev("test").stderr


def test_with_node_and_go_everything_runs(equipped: Machine) -> None:
    done = equipped.dev("test")
    assert (done.returncode, NOTICE in done.stderr) == (0, False)
    assert "python -m tests.act.build" in equipped.called
    assert equipped.tests == [
        "pytest -n 4 --dist worksteal -m not heavy and not workflows",
        "pytest -n 2 --dist loadfile -m workflows and not heavy",
    ]


def test_a_tool_that_cannot_be_built_is_a_failure_not_a_gap(equipped: Machine) -> None:
    equipped.tool(equipped.folder / ".venv/bin/python", "exit 7")
    done = equipped.dev("github")
    assert done.returncode == 7
    assert equipped.tests == []


def test_github_runs_only_what_needs_them(equipped: Machine) -> None:
    assert equipped.dev("github", "-x").returncode == 0
    assert equipped.tests == ["pytest -n 2 --dist loadfile -m workflows -x"]


def test_installing_only_runs_nothing(equipped: Machine) -> None:
    assert equipped.dev("github", "--install").returncode == 0
    assert not equipped.tests


def test_every_command_has_one_line_of_help() -> None:
    done = subprocess.run(
        ["bash", str(ROOT / "dev")], capture_output=True, text=True, check=True, env={**os.environ}
    )
    shown = [line.split()[1] for line in done.stdout.splitlines()]
    assert set(shown) == {
        "demo", "test", "github", "lint", "bench", "heavy", "build", "lock", "smoke-sagemaker", "smoke-vertex",
    }  # fmt: skip
    assert len(shown) == len(set(shown))
