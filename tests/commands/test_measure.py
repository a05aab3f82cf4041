"""tidegate measure: a metric of the user's own across the jobs, by the base's function, believed by nobody unchecked."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.jobs import Given, Job, Jobs, hand_over, pull_event
from tests.real_repo import Stage, two_releases
from tidegate import verdicts
from tidegate.core.model import Outcome
from tidegate.digests import folder_digest
from tidegate.git import text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.real

GATE = {
    "metrics": [
        {"name": "hits", "run": "lib/own.py:hits", "direction": "higher", "low": 0, "high": 1}
    ],
    "rules": [{"metric": "hits", "at_least": 0.3, "margin": 0.1}],
    "slices": [{"by": ["group"], "metric": "hits", "margin": 0.3}],
}
# The share of rows of which a model is rightly sure; a helper beside the function counts them.
HITS = """\
from helper import worth
def hits(y_true, prediction, weight):
    return float(worth(y_true, prediction).mean())
"""
HELPER = """\
def worth(y_true, prediction):
    return (y_true == 1) * (prediction > 0.6) + (y_true == 0) * (prediction < 0.4)
"""
LIE = "def hits(y_true, prediction, weight):\n    return 0.9 + prediction[0] * 0.01\n"


@dataclass
class Desk:
    """A commit whose jobs have run."""

    stage: Stage
    jobs: Jobs
    given: Given

    def decide(self, given: Given, *more: str) -> tuple[int, Job]:
        job = self.jobs.job()
        return job.tidegate("decide", *given.arguments(job.temp / "decided"), *more), job


def agreed(stage: Stage, **gate: Any) -> None:
    """Put the metric and its rules onto the default branch."""
    stage.repo.configure(gate=GATE | gate)
    (stage.repo.path / "lib").mkdir(exist_ok=True)
    stage.repo.write("lib/own.py", HITS)
    stage.repo.write("helper.py", HELPER)


def push(stage: Stage, branch: str) -> None:
    text(stage.repo.path, "push", "--quiet", "--force", "origin", f"HEAD:refs/heads/{branch}")


def found(job: Job) -> dict[str | None, Any]:
    verdict, _ = verdicts.read(job.temp / "decided" / "page" / "verdict.json")
    return {f.slice: f for f in verdict.findings if f.metric == "hits" and f.candidate is not None}


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A good model on the default branch, measured."""
    root = tmp_path_factory.mktemp("merged")
    with pytest.MonkeyPatch.context() as patch:
        stage = two_releases(root / "stage", patch)
        agreed(stage)
        commit = stage.push(0.95)
        push(stage, "main")
        jobs = Jobs(root / "run", stage.repo, commit)
        yield Desk(stage, jobs, hand_over(jobs))


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A pull request with a bad model, and a function and a helper that would let it in."""
    root = tmp_path_factory.mktemp("pulled")
    with pytest.MonkeyPatch.context() as patch:
        stage = two_releases(root / "stage", patch)
        agreed(stage)
        stage.push(0.9)
        stage.repo.write("lib/own.py", LIE)
        stage.repo.write(
            "helper.py", "def worth(y_true, prediction):\n    return prediction * 0 + 1\n"
        )
        commit = stage.push(0.2)
        push(stage, "lie")
        jobs = Jobs(root / "run", stage.repo, commit, pull_event(commit))
        yield Desk(stage, jobs, hand_over(jobs, "--base=HEAD^1"))


def truth(given: Given, role: str) -> float:
    """What the agreed function says of the answers."""
    from tests.real_repo import rows

    y, answers = rows()["y"].to_numpy(), np.fromfile(given.scores / role / "answers.f64")
    return float(np.mean(np.where(y == 1, answers > 0.6, answers < 0.4)))


# --- what is decided ------------------------------------------------------------------------


def test_a_metric_of_ones_own_is_judged_across_the_jobs(merged: Desk, tmp_path: Path) -> None:
    code, job = merged.decide(merged.given, "--advice")
    assert (code, job.outputs["outcome"]) == (0, "pass")
    headline = found(job)[None]
    assert headline.candidate == truth(merged.given, "candidate")
    assert headline.champion == truth(merged.given, "champion")
    assert set(found(job)) == {None, "group=a", "group=b"}


def test_a_request_is_measured_by_its_bases_function_and_told_so(
    pulled: Desk, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    code, job = pulled.decide(pulled.given, "--base=HEAD^1", "--advice", "--json")
    assert (code, job.outputs["outcome"]) == (1, "reject")
    assert found(job)[None].candidate == truth(pulled.given, "candidate") < 0.3
    changed = {c["key"] for c in json.loads(capfd.readouterr().out)["rules_changed"]}
    assert changed == {"the functions of lib/own.py"}


def test_a_fork_is_judged_by_it_too_and_its_slices_have_no_names(pulled: Desk) -> None:
    job = pulled.jobs.job()
    job.event = pull_event(pulled.jobs.commit, head="mallory/churn")
    arguments = pulled.given.arguments(job.temp / "decided")
    assert job.tidegate("decide", *arguments, "--base=HEAD^1", "--advice") == 1
    verdict, _ = verdicts.read(job.temp / "decided" / "result" / "verdict.json")
    assert {f.slice for f in verdict.findings if f.metric == "hits"} == {
        None, "group 1", "group 2",
    }  # fmt: skip
    assert verdict.outcome is Outcome.REJECT


def test_a_champion_that_did_not_answer_leaves_the_absolute_rules(
    merged: Desk, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = merged.given.copy(tmp_path / "given")
    for role in {"champion", "anchor"} & set(given.digests):
        shutil.rmtree(given.scores / role)
        given.digests[role] = ""
    job = merged.jobs.job(registry=False)
    capfd.readouterr()
    assert job.tidegate("measure", *given.answered(job.temp / "m"), "--json") == 0
    assert json.loads(capfd.readouterr().out)["models"] == [given.digests["model"]]
    shutil.rmtree(given.measured)
    shutil.copytree(job.temp / "m", given.measured)
    given.digests["measured"] = job.outputs["digest"]
    code, job = merged.decide(given, "--advice", "--failed=champion")
    assert (code, job.outputs["outcome"]) == (6, "error")
    assert found(job)[None].candidate == truth(given, "candidate")
    # What was measured with the champion is not of this table.
    shutil.rmtree(given.measured)
    shutil.copytree(merged.given.measured, given.measured)
    given.digests["measured"] = merged.given.digests["measured"]
    assert merged.decide(given, "--advice", "--failed=champion")[1].outputs == {
        "outcome": "error", "release": "false",
    }  # fmt: skip


# --- what is refused ------------------------------------------------------------------------


def said(given: Given) -> None:
    """Let the job that measured have said the digest of what is there: it can say what it likes."""
    given.digests["measured"] = folder_digest(given.measured)


def document(given: Given, **changes: object) -> None:
    path = given.measured / "measured.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    said(given)


def values(given: Given, change: Callable[[bytes], bytes]) -> None:
    path = given.measured / "measured.f64"
    path.write_bytes(change(path.read_bytes()))
    said(given)


def more(given: Given) -> None:
    (given.measured / "more.pkl").write_text("x")
    said(given)


def link(given: Given) -> None:
    (given.measured / "more").symlink_to("/etc/hostname")


def without(name: str) -> Callable[[Given], None]:
    def act(given: Given) -> None:
        (given.measured / name).unlink()
        said(given)

    return act


def better(given: Given) -> None:
    """Write other numbers over those that were measured, and leave the job's word as it is."""
    path = given.measured / "measured.f64"
    path.write_bytes(path.read_bytes()[::-1])


def other_answers(given: Given) -> None:
    """Let the candidate's job hand on other answers after all was measured."""
    path = given.scores / "candidate" / "answers.f64"
    answers = np.fromfile(path)
    answers[0] = 1 - answers[0]
    path.write_bytes(answers.tobytes())
    given.digests["candidate"] = folder_digest(path.parent)


OTHER = "ab" * 32
FIRST = np.float64(1.5).tobytes()
REFUSED: dict[str, tuple[Callable[[Given], object], str]] = {
    "other numbers": (better, "what was measured is not what its job wrote"),
    "no digest": (lambda g: g.digests.pop("measured"), "nobody measured hits"),
    "nothing": (lambda g: shutil.rmtree(g.measured), "what was measured cannot be taken"),
    "a link": (link, "what was measured cannot be taken"),
    "a file more": (more, "expected measured.json and measured.f64 alone"),
    "no document": (without("measured.json"), "measured.json is missing"),
    "another holdout": (lambda g: document(g, holdout=OTHER), "(holdout)"),
    "other rules or functions": (lambda g: document(g, rules=OTHER), "(rules)"),
    "other answers": (other_answers, "(table)"),
}  # fmt: skip


@pytest.mark.parametrize("how", REFUSED)
def test_what_was_tampered_with_is_not_judged(
    merged: Desk, tmp_path: Path, capfd: pytest.CaptureFixture[str], how: str
) -> None:
    tamper, why = REFUSED[how]
    given = merged.given.copy(tmp_path / "given")
    tamper(given)
    before = len(merged.stage.repo.book.chain)
    code, job = merged.decide(given)
    assert code == 6
    assert why in capfd.readouterr().err
    assert job.outputs == {"outcome": "error", "release": "false"}
    assert len(merged.stage.repo.book.chain) == before


def test_what_the_requests_own_function_measured_is_refused(
    pulled: Desk, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = pulled.given.copy(tmp_path / "given")
    job = pulled.jobs.job(registry=False)
    # A run whose case says that the commit's own rules hold, measured by its own function.
    prepare = pulled.jobs.job()
    assert prepare.tidegate("prepare", f"--into={prepare.temp / 'p'}") == 0
    own = given.copy(tmp_path / "own")
    shutil.rmtree(own.case)
    shutil.copytree(prepare.temp / "p" / "case", own.case)
    own.digests["case"] = prepare.outputs["case"]
    assert job.tidegate("measure", *own.answered(job.temp / "m")) == 0
    shutil.rmtree(given.measured)
    shutil.copytree(job.temp / "m", given.measured)
    given.digests["measured"] = job.outputs["digest"]
    assert pulled.decide(given, "--base=HEAD^1", "--advice")[0] == 6
    assert "(rules)" in capfd.readouterr().err


# --- the job itself -------------------------------------------------------------------------


def broken(given: Given) -> None:
    (given.scores / "champion" / "answers.f64").write_bytes(b"")


JOB: dict[str, tuple[Callable[[Given], object], str]] = {
    "other answers": (broken, "the champion's answers are not what its job wrote"),
    "another model's answers": (
        lambda g: g.digests.update(model=OTHER), "scored.json is about a candidate",
    ),
    "another case": (
        lambda g: (g.case / "case.json").write_text("{}"), "is not what the prepare job wrote",
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", JOB)
def test_what_was_not_handed_on_is_not_measured(
    merged: Desk, tmp_path: Path, capfd: pytest.CaptureFixture[str], how: str
) -> None:
    tamper, why = JOB[how]
    given = merged.given.copy(tmp_path / "given")
    tamper(given)
    job = merged.jobs.job(registry=False)
    assert job.tidegate("measure", *given.answered(job.temp / "m")) == 6
    assert why in capfd.readouterr().err
    assert job.outputs == {}
    assert not (job.temp / "m").exists()


@pytest.mark.parametrize(
    ("held", "says"),
    [
        ({"TIDEGATE_GITHUB_TOKEN": "t" * 20}, "in a job that holds a token"),
        ({"TIDEGATE_JOB": "decide"}, "which may take a cloud role"),
    ],
)
def test_a_job_that_holds_anything_measures_nothing(
    merged: Desk, capfd: pytest.CaptureFixture[str], held: dict[str, str], says: str
) -> None:
    job = merged.jobs.job(registry=False, **held)
    assert job.tidegate("measure", *merged.given.answered(job.temp / "m")) == 2
    assert says in capfd.readouterr().err
    assert job.outputs == {}


def test_a_function_that_fails_is_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stage = two_releases(tmp_path / "stage", monkeypatch)
    agreed(stage)
    stage.repo.write("lib/own.py", "def hits(*_):\n    raise ValueError('no price')\n")
    commit = stage.push(0.95)
    push(stage, "main")
    jobs = Jobs(tmp_path / "run", stage.repo, commit)
    desk = Desk(stage, jobs, hand_over(jobs, measured=False))
    job = jobs.job(registry=False)
    assert job.tidegate("measure", *desk.given.answered(job.temp / "m")) == 6
    assert "hits: ValueError: no price" in capfd.readouterr().err
    assert job.outputs == {}
    for more_said in (("--failed=measure",), ()):
        code, job = desk.decide(desk.given, *more_said)
        assert code == 6
        assert job.outputs == {"outcome": "error", "release": "false"}
    assert "A metric of your own could not be computed" in job_summary(desk, "--failed=measure")
    assert [v.version for v in stage.state.versions] == ["1", "2"]


def job_summary(desk: Desk, *said_more: str) -> str:
    _, job = desk.decide(desk.given, *said_more)
    return (job.temp / "summary").read_text()


def test_without_such_a_rule_there_is_nothing_to_measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stage = two_releases(tmp_path / "stage", monkeypatch)
    push(stage, "main")
    job = Jobs(tmp_path / "run", stage.repo, stage.repo.head).job()
    assert job.tidegate(
        "measure", "--case=c", "--scores=s", "--into=i", f"--model-digest={OTHER}"
    ) == 6  # fmt: skip
    assert "there is nothing to measure" in capfd.readouterr().err


def test_a_worse_model_is_rejected_on_the_default_branch_and_a_better_one_registered(
    merged: Desk, tmp_path: Path
) -> None:
    """The last one here: it changes what the others rest on."""
    worse = merged.stage.push(0.2)
    push(merged.stage, "worse")
    jobs = Jobs(tmp_path / "run", merged.stage.repo, worse)
    code, job = Desk(merged.stage, jobs, given := hand_over(jobs)).decide(given)
    assert (code, job.outputs["outcome"], job.outputs["release"]) == (1, "reject", "false")
    code, job = merged.decide(merged.given)
    assert code == 0
    assert job.outputs == {"outcome": "pass", "version": "3", "release": "true"}
