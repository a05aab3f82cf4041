"""The jobs' road, from prepare to watch: what it comes to, and that it is the local road's end."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.jobs import Given, Job, Jobs, hand_over
from tests.real_repo import Stage, training, two_releases
from tidegate.commands import watch
from tidegate.digests import folder_digest
from tidegate.git import text

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real


def pushed(stage: Stage, slope: float | str) -> str:
    """Commit, and push to the default branch."""
    commit = stage.push(slope)
    text(stage.repo.path, "push", "--quiet", "--force", "origin", "HEAD:main")
    return commit


def news(stage: Stage, since: int) -> list[dict[str, Any]]:
    """Return what the ledger's newest events say; times and names of people are the machine's."""
    return [{"type": e.type, **asdict(e.payload)} for e in stage.repo.book.chain[since:]]


def same_but_for_time(event: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in event.items() if k not in ("at", "seconds", "evidence")}


def test_the_jobs_come_to_the_same_verdict_version_and_end_as_one_run_on_one_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = two_releases(tmp_path / "here", monkeypatch)
    assert here.tidegate("anchor", "1", "--reason", "the first of all") == 0
    there = here.copy(tmp_path / "there")
    commit = pushed(here, 0.95)
    text(there.repo.path, "pull", "--quiet", str(here.repo.path), "main")
    text(there.repo.path, "push", "--quiet", "origin", "HEAD:main")
    assert there.repo.head == commit
    since = len(here.repo.book.chain)

    here.enter(monkeypatch)
    monkeypatch.setattr(watch, "time", here.clock)
    jobs = Jobs(tmp_path / "run", here.repo, commit)
    given = hand_over(jobs)
    assert set(given.digests) == {"case", "model", "candidate", "champion", "anchor"}
    decide = jobs.job()
    assert decide.tidegate("decide", *given.arguments(decide.temp / "decided")) == 0
    assert decide.outputs == {"outcome": "pass", "version": "3", "release": "true"}
    release = jobs.job()
    assert release.tidegate("release", "3", "--no-wait") == 0
    job = jobs.job()
    assert job.tidegate("watch", "--for=300m", "--through-probation") == 0
    assert job.outputs["state"] == "promoted"
    assert job.outputs["live"] == "false"

    there.enter(monkeypatch)
    assert there.tidegate("run", "--through-probation") == 0
    assert here.outcomes() == there.outcomes()
    ours, theirs = news(here, since), news(there, since)
    assert [e["type"] for e in ours] == [e["type"] for e in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert same_but_for_time(one) == same_but_for_time(other)


@dataclass
class Prepared:
    stage: Stage
    jobs: Jobs
    job: Job

    def prepare(self, *arguments: str) -> int:
        return self.job.tidegate("prepare", f"--into={self.job.temp / 'p'}", *arguments)


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepared:
    stage = two_releases(tmp_path / "stage", monkeypatch)
    commit = pushed(stage, 0.95)
    jobs = Jobs(tmp_path / "run", stage.repo, commit)
    return Prepared(stage, jobs, jobs.job())
