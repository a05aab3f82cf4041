"""tidegate decide: believes nothing that another job handed on, and never lets a doubt pass."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.github.server import serve
from tests.jobs import Given, Job, Jobs, hand_over, pull_event
from tests.real_repo import Stage, rows, two_releases
from tidegate import run_record, verdicts
from tidegate.cases import read_case, save_case
from tidegate.core.events import Looked
from tidegate.digests import folder_digest
from tidegate.git import text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.real

OTHER = "ab" * 32
BOMB = "[" * 200_000


@dataclass
class Desk:
    """A commit whose jobs have run, and the job that decides on it."""

    stage: Stage
    jobs: Jobs
    given: Given

    def decide(self, given: Given, *more: str, job: Job | None = None) -> tuple[int, Job]:
        job = job or self.jobs.job()
        return job.tidegate("decide", *given.arguments(job.temp / "decided"), *more), job


def push(stage: Stage, branch: str) -> None:
    text(stage.repo.path, "push", "--quiet", "--force", "origin", f"HEAD:refs/heads/{branch}")


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A good model on the default branch, ready to be decided on."""
    root = tmp_path_factory.mktemp("merged")
    with pytest.MonkeyPatch.context() as patch:
        stage = two_releases(root / "stage", patch)
        commit = stage.push(0.95)
        push(stage, "main")
        jobs = Jobs(root / "run", stage.repo, commit)
        yield Desk(stage, jobs, hand_over(jobs))


@pytest.fixture(scope="module")
def refusing(merged: Desk) -> Job:
    """One job for all that is refused: nothing that is refused may leave anything behind."""
    return merged.jobs.job()


# --- what is refused ------------------------------------------------------------------------


def record(given: Given, **changes: object) -> None:
    path = given.candidate / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def scored(given: Given, of: str, /, **changes: object) -> None:
    path = given.scores / of / "scored.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    said(given, of)


def said(given: Given, role: str) -> None:
    """Let the job that scored have said the digest of what is there: it can say what it likes."""
    given.digests[role] = folder_digest(given.scores / role)


def answers(given: Given, role: str, change: Callable[[bytes], bytes]) -> None:
    path = given.scores / role / "answers.f64"
    path.write_bytes(change(path.read_bytes()))
    said(given, role)


def case(given: Given, **changes: object) -> None:
    """Hand on another case, and let its digest fit."""
    found = replace(read_case(given.case), **changes)  # type: ignore[arg-type]
    given.digests["case"] = save_case(given.case, found)


def other_model(given: Given) -> None:
    (given.candidate / "model" / "slope.txt").write_text("1.0")
    record(given, model_digest=folder_digest(given.candidate / "model"))


def link(given: Given) -> None:
    (given.candidate / "model" / "more.txt").symlink_to("/etc/hostname")


def pipe(given: Given) -> None:
    import os

    os.mkfifo(given.candidate / "model" / "pipe")


def put(path: str, content: str) -> Callable[[Given], None]:
    def act(given: Given) -> None:
        (given.root / path).write_text(content)
        if path.startswith("scores/"):
            said(given, path.split("/")[1])

    return act


def not_text(given: Given) -> None:
    (given.scores / "candidate" / "scored.json").write_bytes(b"\xff\xfe")
    said(given, "candidate")


def swap(given: Given) -> None:
    """Give the champion the candidate's answers: as good as the candidate, and never better."""
    source = given.scores / "candidate" / "answers.f64"
    shutil.copyfile(source, given.scores / "champion" / "answers.f64")


REFUSED: dict[str, tuple[Callable[[Given], object], str]] = {
    "other bytes": (put("candidate/model/slope.txt", "1.0"), "claims model_digest"),
    "another file": (put("candidate/model/extra.pkl", "x"), "claims model_digest"),
    "another model": (other_model, "not what the training job made"),
    "commit": (lambda g: record(g, commit="c" * 40), "claims commit cccccccccccc, but it is"),
    "recipe": (lambda g: record(g, recipe=OTHER), "claims recipe"),
    "configuration": (lambda g: record(g, config_digest=OTHER), "claims config_digest"),
    "training data": (lambda g: record(g, train_digest=OTHER), "claims train_digest"),
    "holdout": (lambda g: record(g, holdout_digest=OTHER), "claims holdout_digest"),
    "dirty": (lambda g: record(g, dirty=True), "from files that differ from the commit"),
    "no model": (lambda g: shutil.rmtree(g.candidate / "model"), "no files"),
    "no bundle": (lambda g: shutil.rmtree(g.candidate), "run.json"),
    "link": (link, "regular files only"),
    "pipe": (pipe, "regular files only"),
    "record cut": (put("candidate/run.json", '{"version": 1'), "run.json"),
    "record bomb": (put("candidate/run.json", BOMB), "run.json"),
    "record of NaN": (lambda g: record(g, started_at=float("nan")), "run.json"),
    "record of a list": (put("candidate/run.json", "[]"), "run.json"),
    "record with more": (lambda g: record(g, trusted=True), "unknown key"),
    "another role": (lambda g: scored(g, "candidate", role="champion"), "is about a champion"),
    "of another model": (lambda g: scored(g, "candidate", model=OTHER), "is about a candidate"),
    "on other rows": (lambda g: scored(g, "champion", input=OTHER), "wanted: champion"),
    "fewer rows said": (lambda g: scored(g, "candidate", rows=3999), "3999 rows"),
    "rows as text": (lambda g: scored(g, "candidate", rows="4000"), "scored.json"),
    "fewer answers": (lambda g: answers(g, "candidate", lambda b: b[:-8]), "are not 4000 answers"),
    "more answers": (lambda g: answers(g, "candidate", lambda b: b + b[:8]), "are not 4000 answers"),
    "half an answer": (lambda g: answers(g, "champion", lambda b: b[:-3]), "are not 4000 answers"),
    "no answers": (lambda g: answers(g, "candidate", lambda _: b""), "are not 4000 answers"),
    "scored cut": (put("scores/candidate/scored.json", '{"ver'), "scored.json"),
    "scored bomb": (put("scores/candidate/scored.json", BOMB), "scored.json"),
    "scored not UTF-8": (not_text, "scored.json"),
    "latency of NaN": (
        lambda g: scored(g, "candidate", latency_ms=[float("nan")]), "scored.json"
    ),
    "latency beyond all numbers": (
        put("scores/candidate/scored.json", '{"latency_ms": [1e999]}'), "scored.json"
    ),
    "champion's answers swapped": (swap, "the champion's answers are not what its job wrote"),
    "no champion's answers": (lambda g: shutil.rmtree(g.scores / "champion"), "the champion's"),
    "no scores": (lambda g: shutil.rmtree(g.scores), "answers cannot be taken"),
    "case changed": (put("case/case.json", "{}"), "is not what the prepare job wrote"),
    "case missing": (lambda g: shutil.rmtree(g.case), "case.json is missing"),
    "rows changed": (put("case/input.parquet", "PAR1"), "holds other rows"),
    "another model's case": (lambda g: case(g, model="credit"), "the case is about credit"),
    "another commit's case": (lambda g: case(g, commit="d" * 40), "the case is about coin at dddd"),
    "another base's case": (lambda g: case(g, base="d" * 40), "under the rules of dddddddddddd"),
    "other holdout's case": (lambda g: case(g, holdout=OTHER), "about other holdout rows"),
    "case without champion": (lambda g: case(g, champion=None), "are of other models than"),
}  # fmt: skip


@pytest.mark.parametrize("how", REFUSED)
def test_what_was_tampered_with_is_not_judged_and_leaves_nothing_behind(
    merged: Desk, refusing: Job, tmp_path: Path, capfd: pytest.CaptureFixture[str], how: str
) -> None:
    tamper, why = REFUSED[how]
    given = merged.given.copy(tmp_path / "given")
    tamper(given)
    before = len(merged.stage.repo.book.chain)
    code, job = merged.decide(given, job=refusing)
    assert code == 6
    assert why in capfd.readouterr().err
    assert job.outputs == {"outcome": "error", "release": "false"}
    assert len(merged.stage.repo.book.chain) == before
    assert not (job.temp / "decided" / "result").exists()


def test_a_step_that_failed_before_is_not_judged(
    merged: Desk, refusing: Job, capfd: pytest.CaptureFixture[str]
) -> None:
    code, job = merged.decide(merged.given, "--failed=train", job=refusing)
    assert code == 6
    assert "train: that step failed" in capfd.readouterr().err
    assert job.outputs == {"outcome": "error", "release": "false"}
    assert "Training failed" in (job.temp / "summary").read_text()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.5, -0.1])
def test_an_answer_that_is_no_probability_is_an_error_and_registers_nothing(
    merged: Desk, tmp_path: Path, value: float
) -> None:
    given = merged.given.copy(tmp_path / "given")
    answers(given, "candidate", lambda b: np.float64(value).tobytes() + b[8:])
    code, job = merged.decide(given, "--advice")
    assert code == 6
    assert job.outputs == {"outcome": "error", "version": "", "release": "false"}
    assert [v.version for v in merged.stage.state.versions] == ["1", "2"]


def test_the_models_size_is_measured_and_not_believed(merged: Desk, tmp_path: Path) -> None:
    given = merged.given.copy(tmp_path / "given")
    record(given, model_size_mb=0.0, rules_digest=OTHER)
    code, job = merged.decide(given, "--advice")
    assert code == 0
    taken = run_record.read(job.home / "bundles" / merged.jobs.commit[:12])
    assert taken.model_size_mb == 4e-6  # the four bytes of 0.95
    assert taken.rules_digest != OTHER


# --- pull requests --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A pull request with a bad model, and rules that would let it in."""
    root = tmp_path_factory.mktemp("pulled")
    with pytest.MonkeyPatch.context() as patch:
        stage = two_releases(root / "stage", patch)
        stage.repo.configure(
            gate__rules=[{"metric": "brier", "at_most": 0.99}],
            gate__slices=[{"by": ["group"], "metric": "brier", "margin": 0.5}],
        )
        commit = stage.push(0.2)
        push(stage, "lower")
        jobs = Jobs(root / "run", stage.repo, commit, pull_event(commit))
        yield Desk(stage, jobs, hand_over(jobs, "--base=HEAD^1"))


ADVICE = ("--base=HEAD^1", "--advice")


def looks(stage: Stage) -> list[Looked]:
    return [e.payload for e in stage.repo.book.chain if isinstance(e.payload, Looked)]


def test_a_pull_request_is_judged_by_its_bases_rules_told_once_and_counted_once(
    pulled: Desk, capfd: pytest.CaptureFixture[str]
) -> None:
    stage = pulled.stage
    with serve() as hub:
        number = hub.add_pull(head="lower", sha=pulled.jobs.commit)["number"]
        pulled.jobs.hub, pulled.jobs.event = hub, pull_event(pulled.jobs.commit, number=number)
        for _ in range(2):
            capfd.readouterr()
            code, job = pulled.decide(pulled.given, *ADVICE, "--json")
            assert code == 1
        pulled.jobs.hub = None
        (comment,) = hub.state.comments
        assert all(row["conclusion"] == "failure" for row in hub.state.checks)
        assert {row["head_sha"] for row in hub.state.checks} == {pulled.jobs.commit}
    said = json.loads(capfd.readouterr().out)
    assert (said["outcome"], said["version"]) == ("reject", None)
    changed = {
        change["key"]: (change["before"], change["after"]) for change in said["rules_changed"]
    }
    assert changed == {
        "gate.rules[brier]": ('{"at_most": 0.24, "margin": 0.005}', '{"at_most": 0.99}'),
        "gate.slices[brier by group]": (None, '{"margin": 0.5}'),
    }
    assert "0.99" in comment["body"]
    assert job.outputs == {"outcome": "reject", "version": "", "release": "false"}
    (look,) = looks(stage)
    assert (look.outcome, look.commit, look.pull) == ("reject", pulled.jobs.commit, number)
    assert "judged" not in [e.type for e in stage.repo.book.chain[-1:]]


def test_a_pull_requests_verdict_lets_nobody_register_or_release(
    merged: Desk, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, job = merged.decide(merged.given, "--advice")
    assert code == 0  # a pass, and only advice
    assert job.outputs == {"outcome": "pass", "version": "", "release": "false"}
    assert job.tidegate("register") == 1
    assert "has not been judged" in capfd.readouterr().err
    assert job.tidegate("release", "--no-wait") == 2
    assert [v.version for v in merged.stage.state.versions] == ["1", "2"]
    assert merged.stage.state.verdicts.keys() & {merged.given.digests["model"]} == set()


def test_a_fork_gets_numbers_and_no_names_and_writes_nothing_anywhere(pulled: Desk) -> None:
    event = pull_event(pulled.jobs.commit, head="mallory/churn")
    job = pulled.jobs.job()
    job.event = event
    before = len(pulled.stage.repo.book.chain)
    with serve() as hub:
        hub.grant({"contents": "read", "actions": "read"})
        job.hub = hub
        code, job = pulled.decide(pulled.given, *ADVICE, job=job)
        assert [request for request in hub.requests if request[0] != "GET"] == []
    assert code == 1
    assert len(pulled.stage.repo.book.chain) == before
    result = job.temp / "decided" / "result"
    assert [path.name for path in result.iterdir()] == ["verdict.json"]
    verdict, notes = verdicts.read(result / "verdict.json")
    assert notes == ()
    assert {f.slice for f in verdict.findings} == {None}
    assert len((result / "verdict.json").read_bytes()) < 64_000
    page = (job.temp / "decided" / "page" / "report.html").read_text(encoding="utf-8")
    assert "<h2>Both models</h2>" in page
    assert "<h2>Worst rows</h2>" not in page


def test_a_champion_out_of_reach_is_inconclusive_and_absolute_rules_alone_count(
    pulled: Desk, tmp_path: Path
) -> None:
    far = {"RUNNER_ENVIRONMENT": "github-hosted"}  # the embedded registry is not there
    job = pulled.jobs.job(registry=False, **far)
    assert job.tidegate("prepare", f"--into={tmp_path / 'p'}", "--base=HEAD^1") == 0
    assert job.outputs["champion"] == job.outputs["anchor"] == ""
    given = pulled.given.copy(tmp_path / "given")
    shutil.rmtree(given.case)
    shutil.copytree(tmp_path / "p" / "case", given.case)
    shutil.rmtree(given.scores / "champion")
    given.digests = {
        "case": job.outputs["case"], "model": given.digests["model"],
        "candidate": given.digests["candidate"],
    }  # fmt: skip
    # Who breaks the ceiling is rejected: that needs no comparison. Who keeps it is not shown good.
    x = rows()["x"].to_numpy()
    answers(given, "candidate", lambda _: (1 - x).astype("<f8").tobytes())
    assert pulled.decide(given, *ADVICE)[0] == 1
    answers(given, "candidate", lambda _: x.astype("<f8").tobytes())
    code, job = pulled.decide(given, *ADVICE)
    assert code == 5
    assert job.outputs == {"outcome": "inconclusive", "version": "", "release": "false"}
    code, _ = pulled.decide(given, *ADVICE, "--allow-inconclusive")
    assert code == 0


def test_only_advice_may_be_inconclusive(merged: Desk, tmp_path: Path) -> None:
    given = merged.given.copy(tmp_path / "given")
    case(given, champion=None, anchor=None)
    shutil.rmtree(given.scores / "champion")
    given.digests.pop("champion")
    code, _ = merged.decide(given, "--allow-inconclusive")
    assert code == 6


def test_a_pass_on_the_default_branch_registers_one_version(merged: Desk) -> None:
    """The last one here: it changes what the others rest on."""
    for _ in range(2):
        code, job = merged.decide(merged.given)
        assert code == 0
        assert job.outputs == {"outcome": "pass", "version": "3", "release": "true"}
    types = [e.type for e in merged.stage.repo.book.chain]
    assert types.count("registered") == 3
    assert types.count("judged") == 3
    assert sorted(p.name for p in (job.temp / "decided" / "page").iterdir()) == [
        "report.html", "verdict.json",
    ]  # fmt: skip


def test_what_a_person_let_through_is_registered_when_the_job_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = two_releases(tmp_path / "stage", monkeypatch)
    commit = stage.push(0.2)
    push(stage, "main")
    desk = Desk(stage, jobs := Jobs(tmp_path / "run", stage.repo, commit), hand_over(jobs))
    code, job = desk.decide(desk.given)
    assert (code, job.outputs["release"]) == (1, "false")
    assert stage.tidegate("override", "--reason=the feed was down", "--by=Ada") == 0
    code, job = desk.decide(desk.given)
    assert (code, job.outputs["release"], job.outputs["version"]) == (0, "true", "3")
    assert job.outputs["outcome"] == "reject"
