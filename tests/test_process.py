"""Running the user's commands: how they end, and that nothing of them is left."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.endpoint.serving import wait_for
from tidegate import process
from tidegate.errors import ConfigError, Exit, NotJudgedError
from tidegate.process import run_command

pytestmark = pytest.mark.real


def run(command: str, folder: Path, *, timeout: float = 20.0) -> float:
    return run_command(
        command, what="training", folder=folder, env={"WORD": "a b"}, timeout=timeout
    )


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_GRACE", 0.5)


@pytest.mark.parametrize("job", ["decide", "train"])
def test_no_command_of_the_users_runs_beside_a_cloud_role(
    job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEGATE_JOB", job)
    with pytest.raises(ConfigError, match=f"job {job}, which may take a cloud role"):
        run("touch ran", tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("job", ["", "operate"])
def test_elsewhere_it_does(job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where traffic is moved: a metric source may be a command, with a clean environment."""
    monkeypatch.setenv("TIDEGATE_JOB", job)
    run('[ -z "$TIDEGATE_JOB" ] && touch ran', tmp_path)
    assert (tmp_path / "ran").exists()


def test_a_command_runs_in_the_folder_with_the_environment_and_tells_its_duration(
    tmp_path: Path,
) -> None:
    took = run('printf %s "$WORD" > said; sleep 0.2', tmp_path)
    assert (tmp_path / "said").read_text() == "a b"
    assert 0.2 <= took < 60


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("exit 7", "training failed with exit code 7: exit 7"),
        ("kill -9 $$", "training failed with signal 9"),
        ("no-such-program-at-all", "exit code 127"),
    ],
    ids=["exit code", "signal", "no such program"],
)
def test_a_failing_command_tells_how_it_ended(tmp_path: Path, command: str, says: str) -> None:
    with pytest.raises(NotJudgedError, match="training failed") as caught:
        run(command, tmp_path)
    assert says in str(caught.value)
    assert str(tmp_path) in caught.value.remedy
    assert caught.value.exit_code == Exit.NOT_JUDGED


def test_a_hanging_command_ends_at_its_timeout_with_children_and_grandchildren(
    tmp_path: Path,
) -> None:
    stubborn = f"{sys.executable} -S -c 'import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)'"
    (tmp_path / "tree.sh").write_text(
        f"sh -c '{stubborn.replace(chr(39), chr(34))} & echo $! > grandchild; wait' & echo $! > child\nwait\n"
    )
    began = time.monotonic()
    with pytest.raises(NotJudgedError, match="took longer than 1 s and was ended"):
        run("sh tree.sh", tmp_path, timeout=1.0)
    assert time.monotonic() - began < 60
    for name in ("child", "grandchild"):
        pid = int((tmp_path / name).read_text())
        wait_for(lambda pid=pid: not alive(pid))  # type: ignore[misc]


def test_what_a_good_command_leaves_in_the_background_is_ended_too(tmp_path: Path) -> None:
    run("sleep 600 & echo $! > left", tmp_path)
    pid = int((tmp_path / "left").read_text())
    wait_for(lambda: not alive(pid))


def test_a_signal_while_the_command_is_being_started_ends_it_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    born: list[int] = []

    class Slow(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **settings)
            born.append(self.pid)
            signal.raise_signal(signal.SIGTERM)  # nobody holds the process yet

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", Slow)
    before = signal.signal(signal.SIGTERM, interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            run("sleep 600", tmp_path)
        assert signal.getsignal(signal.SIGTERM) is interrupted
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not alive(born[0])


def test_output_arrives_while_the_command_still_runs(tmp_path: Path) -> None:
    # The command goes on only when somebody has read its first line.
    (tmp_path / "wait.sh").write_text("echo first\nwhile [ ! -e go ]; do sleep 0.05; done\n")
    call = "run_command('sh wait.sh', what='it', folder=Path('.'), env={}, timeout=20)"
    code = f"from pathlib import Path; from tidegate.process import run_command; {call}"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as runner:
        assert runner.stderr is not None
        assert runner.stderr.readline() == "first\n"
        (tmp_path / "go").touch()
    assert runner.returncode == 0


def test_a_command_that_reads_its_input_gets_none(tmp_path: Path) -> None:
    run("cat > got", tmp_path)
    assert (tmp_path / "got").read_text() == ""
