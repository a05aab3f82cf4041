"""The post-receive hook, with real git and real processes."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.endpoint.serving import wait_for
from tidegate.errors import ConfigError, OutsideError
from tidegate.git import text
from tidegate.hook import Box, install, push

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real

USER = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
# It loads, and its first check decides the push before anything is trained.
CONFIG = """\
version: 1
model: {{name: m, task: binary}}
data: {{train: train.csv, holdout: holdout.csv, target: y, id: id}}
checks: [{{run: "{check}"}}]
train: {{run: python train.py}}
gate: {{rules: [{{metric: roc_auc, at_least: 0.6}}]}}
"""


class Team:
    """A bare origin with the hook, and a clone."""

    def __init__(self, folder: Path) -> None:
        self.box = Box(bare=folder / "origin.git", runner=folder / "runner", home=folder / "home")
        self.work = folder / "work"
        text(folder, "init", "--quiet", "--bare", "--initial-branch", "main", str(self.box.bare))
        text(folder, "clone", "--quiet", str(self.box.bare), str(self.work))
        self.hook = install(self.box.bare, self.box.runner, self.box.home)

    def commit(self, check: str) -> str:
        (self.work / "mlops.yaml").write_text(CONFIG.format(check=check))
        for name in ("train.csv", "holdout.csv"):
            (self.work / name).write_text("id,y\n1,0\n")
        text(self.work, "add", "--all")
        text(self.work, *USER, "commit", "--quiet", "--allow-empty", "--message", check)
        return text(self.work, "rev-parse", "HEAD")

    def push(self, branch: str = "main") -> str:
        done = subprocess.run(
            ["git", "push", "origin", f"HEAD:refs/heads/{branch}"],
            cwd=self.work, capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
        return done.stderr


@pytest.fixture
def team(tmp_path: Path) -> Team:
    return Team(tmp_path)


def test_a_push_shows_what_the_box_does_and_how_it_ended(team: Team) -> None:
    commit = team.commit("echo checking $TIDEGATE_HOME; exit 3")

    shown = team.push()

    assert f"checking {team.box.home}" in shown
    assert "a check failed with exit code 3" in shown
    assert "this push ended with exit code 6" in shown
    place = team.box.place(commit)
    assert place.code == 6
    wait_for(lambda: not place.lives and not place.clone.exists())


def test_other_branches_and_deletions_run_nothing(team: Team) -> None:
    team.commit("exit 3")
    assert "tidegate" not in team.push("feature")
    text(team.box.bare, "config", "receive.denyDeleteCurrent", "ignore")
    team.push()
    done = subprocess.run(
        ["git", "push", "origin", ":main"],
        cwd=team.work,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "tidegate" not in done.stderr


def test_whoever_interrupts_the_push_does_not_stop_the_job(team: Team, tmp_path: Path) -> None:
    flag = tmp_path / "go"
    commit = team.commit(f"until test -e {flag}; do sleep 0.05; done; exit 3")
    place = team.box.place(commit)
    process = subprocess.Popen(
        ["git", "push", "origin", "HEAD:refs/heads/main"],
        cwd=team.work, start_new_session=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(lambda: place.log.exists() and "check:" in place.log.read_text())
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert place.lives

    flag.touch()
    wait_for(lambda: place.code == 6)


def test_a_killed_job_is_taken_up_again(team: Team, tmp_path: Path) -> None:
    flag = tmp_path / "go"
    commit = team.commit(f"test -e {flag} || kill -9 0")
    place = team.box.place(commit)
    team.commit("exit 3")  # a later commit on the branch does not matter
    text(team.work, "push", "--quiet", "origin", f"{commit}:refs/heads/other")

    process = subprocess.Popen(
        [sys.executable, "-c", _DIE.format(box=team.box, commit=commit)], stderr=subprocess.PIPE
    )
    wait_for((place.folder / "pid").exists)
    os.killpg(int((place.folder / "pid").read_text()), signal.SIGKILL)
    _, said = process.communicate(timeout=30)
    assert b"ended without a decision" in said
    assert place.code is None

    team.hook.chmod(0o755)
    flag.touch()
    out = io.BytesIO()
    assert push(team.box, commit, out) == 6, "its training fails: there is no train.py"
    assert push(team.box, commit, io.BytesIO()) == 6, "a decided push is not run twice"


_DIE = """
import sys
from pathlib import PosixPath
from tidegate.hook import Box, push
push({box!r}, "{commit}", sys.stdout.buffer)
"""


def test_installing_twice_is_fine_and_a_foreign_hook_stays(team: Team) -> None:
    before = team.hook.read_text()
    assert install(team.box.bare, team.box.runner, team.box.home).read_text() == before

    team.hook.write_text("#!/bin/sh\necho mine\n")
    with pytest.raises(ConfigError, match="not ours"):
        install(team.box.bare, team.box.runner, team.box.home)
    with pytest.raises(ConfigError, match="not a bare git repository"):
        install(team.work, team.box.runner, team.box.home)


def test_a_commit_that_is_not_there_is_an_outside_error(team: Team) -> None:
    team.commit("exit 3")
    out = io.BytesIO()
    assert push(team.box, "f" * 40, out) == OutsideError.exit_code
