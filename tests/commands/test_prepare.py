"""The jobs' road, from prepare to watch: what it comes to, and that it is the local road's end."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from tests.github.server import serve
from tests.jobs import Job, Jobs, hand_over
from tests.real_repo import Stage, two_releases
from tidegate.commands import watch
from tidegate.digests import file_digest, folder_digest
from tidegate.git import text

if TYPE_CHECKING:
    from pathlib import Path

    from tests.github.hub import Hub

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


# --- prepare by itself ----------------------------------------------------------------------


@dataclass
class Prepared:
    """A commit on the default branch, and the job that prepares it."""

    stage: Stage
    jobs: Jobs
    job: Job

    def prepare(self, *arguments: str, job: Job | None = None) -> int:
        job = job or self.job
        return job.tidegate("prepare", f"--into={job.temp / 'p'}", *arguments)


@pytest.fixture(scope="module")
def pushed_once(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    with pytest.MonkeyPatch.context() as patch:
        stage = two_releases(tmp_path_factory.mktemp("pushed"), patch)
        pushed(stage, 0.95)
        return stage


@pytest.fixture
def prepared(pushed_once: Stage, tmp_path: Path) -> Prepared:
    jobs = Jobs(tmp_path / "run", pushed_once.repo, pushed_once.repo.head)
    return Prepared(pushed_once, jobs, jobs.job())


def test_the_next_jobs_are_told_what_trains(prepared: Prepared) -> None:
    path = prepared.job.repo.config
    config = json.loads(path.read_text())
    config["train"] |= {
        "compute": "sagemaker",
        "sagemaker": {"image": "acme/train:1", "role": "train", "bucket": "s3://acme-train"},
    }
    path.write_text(json.dumps(config))
    assert prepared.prepare() == 0
    assert prepared.job.outputs["compute"] == "sagemaker"


def test_the_case_holds_no_truth_and_the_outputs_are_what_the_jobs_need(
    prepared: Prepared, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    assert prepared.prepare("--json") == 0
    said = json.loads(capfd.readouterr().out)
    folder = prepared.job.temp / "p"
    assert pq.read_schema(folder / "case" / "input.parquet").names == ["id", "x", "group"]
    champion = prepared.stage.state.champion
    assert champion is not None
    found = prepared.job.outputs
    assert found == {
        "work": "train", "compute": "runner", "champion": champion.digest, "anchor": found["anchor"], "code": "true",
        "measure": "false",
        "case": file_digest(folder / "case" / "case.json"),
    }  # fmt: skip
    assert folder_digest(folder / "champion") == champion.digest
    assert said["case"]["commit"] == prepared.jobs.commit
    assert said["case"]["champion"]["version"] == "2"
    assert {path.name for path in folder.iterdir()} <= {"case", "champion", "anchor"}


def test_what_serves_already_needs_no_job(prepared: Prepared) -> None:
    jobs = Jobs(prepared.jobs.root / "again", prepared.stage.repo, prepared.stage.repo.head)
    state = prepared.stage.state
    assert state.champion is not None
    jobs.commit = state.champion.commit
    text(
        prepared.stage.repo.path,
        "push",
        "--quiet",
        "--force",
        "origin",
        f"{jobs.commit}:refs/heads/old",
    )
    job = jobs.job()
    assert prepared.prepare(job=job) == 0
    assert job.outputs == {"work": "none", "reason": "version 2 of this commit is known: promoted"}
    text(job.repo.path, "config", "user.name", "Ada")
    text(job.repo.path, "config", "user.email", "ada@example.org")
    text(
        job.repo.path, "commit", "--quiet", "--allow-empty", "-m", "another commit, the same recipe"
    )
    assert prepared.prepare(job=job) == 0
    assert job.outputs["work"] == "none"
    assert job.outputs["reason"] == "version 2, which serves, is of this very recipe"
    assert prepared.prepare("--base=HEAD^1", job=job) == 0
    assert job.outputs["work"] == "train"  # a pull request is always told something


def test_a_recipe_that_was_taken_back_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stage = two_releases(tmp_path / "stage", monkeypatch)
    stage.metrics.rates = {"3": (0.9, 0.0), "2": (0.001, 0.0)}
    commit = pushed(stage, 0.95)
    assert stage.tidegate("run") == 1
    job = Jobs(tmp_path / "run", stage.repo, commit).job()
    assert job.tidegate("prepare", f"--into={tmp_path / 'p'}") == 1
    assert "was taken back" in capfd.readouterr().err
    assert job.outputs == {}


# --- what a job without credentials is compared with ----------------------------------------


def far(prepared: Prepared, hub: Hub) -> Job:
    """Return a job that reaches no registry."""
    prepared.jobs.hub = hub
    return prepared.jobs.job(registry=False, RUNNER_ENVIRONMENT="github-hosted")


def served(prepared: Prepared, content: bytes = b"0.9") -> dict[str, bytes]:
    state = prepared.stage.state
    assert state.champion is not None
    models = {state.champion.digest: content}
    if state.anchor is not None:
        models.setdefault(state.anchor.digest, b"0.8")
    return {f"{digest}/slope.txt": data for digest, data in models.items()}


def test_what_serves_comes_from_the_default_branchs_artifact_without_any_registry(
    prepared: Prepared,
) -> None:
    with serve() as hub:
        hub.add_artifact(1, "tidegate-serving-coin", served(prepared))
        job = far(prepared, hub)
        assert prepared.prepare("--base=HEAD^1", job=job) == 0
    state = prepared.stage.state
    assert state.champion is not None
    assert job.outputs["champion"] == state.champion.digest
    assert (job.temp / "p" / "champion" / "slope.txt").read_text() == "0.9"


def test_a_copy_that_was_cut_off_is_made_again(prepared: Prepared) -> None:
    state = prepared.stage.state
    assert state.champion is not None
    with serve() as hub:
        hub.add_artifact(1, "tidegate-serving-coin", served(prepared))
        job = far(prepared, hub)
        (job.home / "models" / state.champion.digest[:24] / "model").mkdir(parents=True)
        assert prepared.prepare("--base=HEAD^1", job=job) == 0
    assert job.outputs["champion"] == state.champion.digest


@pytest.mark.parametrize("how", ["fork", "branch", "bytes", "expired", "none", "nothing in it"])
def test_from_elsewhere_or_of_other_bytes_it_is_out_of_reach(prepared: Prepared, how: str) -> None:
    with serve() as hub:
        files = served(prepared, b"0.1" if how == "bytes" else b"0.9")
        if how == "nothing in it":
            files = {"x": b""}
        marks: dict[str, dict[str, Any]] = {
            "fork": {"head_repository_id": 2002},
            "branch": {"branch": "dev"},
            "expired": {"expired": True},
        }
        if how != "none":
            hub.add_artifact(1, "tidegate-serving-coin", files, **marks.get(how, {}))
        job = far(prepared, hub)
        assert prepared.prepare("--base=HEAD^1", job=job) == 0
    assert (job.outputs["work"], job.outputs["champion"]) == ("train", "")
    assert not (job.temp / "p" / "champion").exists()


def test_on_the_default_branch_a_registry_out_of_reach_is_an_error(prepared: Prepared) -> None:
    job = prepared.jobs.job(registry=False, RUNNER_ENVIRONMENT="github-hosted")
    assert prepared.prepare(job=job) == 2
    assert job.outputs == {}
