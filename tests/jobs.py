"""The jobs of a workflow, each in a clone and a state directory of its own, as on GitHub.

What one hands to the next is copied, as artifacts are. Only the registry is one place for all, as a
server would be.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.real_repo import Repo, empty_store
from tests.runner_protocol import read_pairs
from tidegate.cli import main
from tidegate.git import text

if TYPE_CHECKING:
    from pathlib import Path

    from tests.github.hub import Hub

RUN = 4711


def push_event() -> dict[str, Any]:
    """Return the part of a push's event that anybody reads."""
    return {"repository": {"id": 1001, "default_branch": "main"}}


def pull_event(sha: str, *, number: int = 7, head: str = "acme/churn") -> dict[str, Any]:
    """Return the same of a pull request from a branch of the repository ``head``."""
    pull = {"number": number, "head": {"sha": sha, "repo": {"full_name": head}}}
    return {**push_event(), "pull_request": pull}


@dataclass
class Job:
    """One job: a checkout, a state directory, a runner's folder of temporary files."""

    root: Path
    repo: Repo
    event: dict[str, Any]
    hub: Hub | None = None
    more: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def temp(self) -> Path:
        return self.root / "temp"

    def environment(self) -> dict[str, str]:
        """Return what the runner and the action set."""
        found = {
            "GITHUB_ACTIONS": "true",
            "GITHUB_REPOSITORY": "acme/churn",
            "GITHUB_EVENT_NAME": "pull_request" if "pull_request" in self.event else "push",
            "GITHUB_EVENT_PATH": str(self.temp / "event.json"),
            "GITHUB_SHA": self.repo.head,
            "GITHUB_RUN_ID": str(RUN),
            "GITHUB_TRIGGERING_ACTOR": "mona",
            "GITHUB_OUTPUT": str(self.temp / "output"),
            "GITHUB_STEP_SUMMARY": str(self.temp / "summary"),
            "GITHUB_SERVER_URL": "https://github.test",
            "RUNNER_TEMP": str(self.temp),
            "RUNNER_ENVIRONMENT": "self-hosted",
            "TIDEGATE_HOME": str(self.home),
        }
        if self.hub is not None:
            found |= {"GITHUB_API_URL": self.hub.url, "TIDEGATE_GITHUB_TOKEN": self.hub.token}
        return found | self.more

    def tidegate(self, verb: str, *arguments: str) -> int:
        """Run a command as a step of this job and return its exit code."""
        (self.temp / "event.json").write_text(json.dumps(self.event))
        for name in ("output", "summary"):
            (self.temp / name).write_text("")
        config = () if verb in ("find", "score", "publish") else ("--config", str(self.repo.config))
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith(("GITHUB_", "RUNNER_"))]:
                patch.delenv(name)
            for name, value in self.environment().items():
                patch.setenv(name, value)
            patch.chdir(self.repo.path)
            return main([verb, *config, *arguments])

    @property
    def outputs(self) -> dict[str, str]:
        """What the newest step set; setting one twice is an error."""
        pairs = read_pairs((self.temp / "output").read_text())
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)


@dataclass
class Jobs:
    """The jobs of one run on one commit."""

    root: Path
    source: Repo  # its origin is cloned, its registry is everybody's
    commit: str
    event: dict[str, Any] = field(default_factory=push_event)
    hub: Hub | None = None
    count: int = 0

    def job(self, *, registry: bool = True, **more: str) -> Job:
        """Start a job: a fresh clone at the commit."""
        self.count += 1
        root = self.root / f"job-{self.count}"
        for name in ("home", "temp"):
            (root / name).mkdir(parents=True)
        origin = str(self.source.path.parent / "origin.git")
        text(root, "clone", "--quiet", "--no-checkout", origin, str(root / "work"))
        text(root / "work", "checkout", "--quiet", "--detach", self.commit)
        if registry:
            (root / "home" / "registry").symlink_to(self.source.home.registry)
        store = empty_store()
        (root / "home" / "tracking").mkdir()
        shutil.copyfile(store, root / "home" / "tracking" / store.name)
        return Job(root, Repo(root / "work"), self.event, self.hub, more)


@dataclass
class Given:
    """What the job that decides was handed: artifacts, and digests as the other jobs' outputs."""

    root: Path
    digests: dict[str, str]  # case, model, measured; by role: of the answers

    def copy(self, root: Path) -> Given:
        shutil.copytree(self.root, root)
        return Given(root, dict(self.digests))

    @property
    def case(self) -> Path:
        return self.root / "case"

    @property
    def candidate(self) -> Path:
        return self.root / "candidate"

    @property
    def scores(self) -> Path:
        return self.root / "scores"

    @property
    def measured(self) -> Path:
        return self.root / "measured"

    def arguments(self, into: Path) -> list[str]:
        """Return what the workflow calls `decide` with."""
        measured = self.digests.get("measured")
        return [
            *self.answered(into), f"--candidate={self.candidate}", f"--measured={self.measured}",
            *([f"--measured-digest={measured}"] if measured else []),
        ]  # fmt: skip

    def answered(self, into: Path) -> list[str]:
        """Return what the workflow calls `measure` with."""
        roles = [role for role in self.digests if role not in ("case", "model", "measured")]
        return [
            f"--case={self.case}", f"--case-digest={self.digests['case']}",
            f"--model-digest={self.digests['model']}", f"--scores={self.scores}", f"--into={into}",
            *(f"--scores-digest={role}={self.digests[role]}" for role in roles),
        ]  # fmt: skip


def hand_over(jobs: Jobs, *base: str, registry: bool = True, measured: bool = True) -> Given:
    """Run prepare, train, score and, where it is needed, measure, each in its job.

    Returns:
        What they hand on.
    """
    given = jobs.root / "given"
    prepare = jobs.job(registry=registry)
    assert prepare.tidegate("prepare", f"--into={prepare.temp / 'prepared'}", *base) == 0
    said = prepare.outputs
    assert said["work"] == "train"
    shutil.copytree(prepare.temp / "prepared" / "case", given / "case")
    train = jobs.job(registry=False)
    assert train.tidegate("train", "--hide-holdout") == 0
    model = train.outputs["model"]
    shutil.copytree(train.outputs["bundle"], given / "candidate")
    digests = {"case": said["case"], "model": model}
    wanted = {"candidate": model, "champion": said["champion"], "anchor": said["anchor"]}
    for role, digest in wanted.items():
        if not digest:
            continue
        folder = (
            given / "candidate" / "model"
            if role == "candidate"
            else prepare.temp / "prepared" / role
        )
        job = jobs.job(registry=False)
        assert job.tidegate(
            "score", role, f"--case={given / 'case'}", f"--case-digest={said['case']}",
            f"--model={folder}", f"--model-digest={digest}", f"--into={job.temp / 'scored'}",
        ) == 0  # fmt: skip
        shutil.copytree(job.outputs["scores"], given / "scores" / role)
        digests[role] = job.outputs["digest"]
    found = Given(given, digests)
    if said["measure"] == "true" and measured:
        job = jobs.job(registry=False)
        assert job.tidegate("measure", *found.answered(job.temp / "measured"), *base) == 0
        shutil.copytree(job.outputs["measured"], found.measured)
        digests["measured"] = job.outputs["digest"]
    return found
