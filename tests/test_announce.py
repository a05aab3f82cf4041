"""What the code host is told, over whole rollouts: once, in order, and never in the way."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.github.server import serve
from tests.render.samples import AUC, verdict
from tests.render.stories import Play
from tidegate.adapters.host.api import Api
from tidegate.adapters.host.github import GitHubHost
from tidegate.announce import Announcer
from tidegate.commands.report import told
from tidegate.core.events import Heartbeat, Mode, Ordered, Phase, Requested, Resumed
from tidegate.core.notices import Serving
from tidegate.errors import NotJudgedError, OutsideError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.github.hub import Hub
    from tidegate.book import Book
    from tidegate.core.model import VersionRef
    from tidegate.core.notices import Check, Comment, HostDeployment, Issue, Proposal
    from tidegate.ports import Host
    from tidegate.render.issue import TakenBack
    from tidegate.render.report import Report

METHODS = ("pull_of", "comment", "deployment", "issue", "propose")


@dataclass
class FakeHost:
    """Keeps what it is told; the methods in ``broken`` fail."""

    calls: list[str] = field(default_factory=list)
    pulls: dict[str, int] = field(default_factory=dict)
    comments: dict[tuple[int, str], list[str]] = field(default_factory=dict)
    statuses: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    issues: dict[str, Issue] = field(default_factory=dict)
    proposals: dict[str, Proposal] = field(default_factory=dict)
    broken: dict[str, Exception] = field(default_factory=dict)
    may_propose: bool = True

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.broken:
            raise self.broken[name]

    def pull_of(self, commit: str) -> int | None:
        self._call("pull_of")
        return self.pulls.get(commit)

    def comment(self, comment: Comment) -> str:
        self._call("comment")
        kept = self.comments.setdefault((comment.pull, comment.marker), [])
        if kept[-1:] != [comment.body]:
            kept.append(comment.body)
        return "https://github.com/acme/churn/pull/1#c"

    def check(self, check: Check) -> str:
        raise NotImplementedError

    def deployment(self, deployment: HostDeployment) -> None:
        self._call("deployment")
        kept = self.statuses.setdefault(deployment.key, [])
        said = (str(deployment.state), deployment.description)
        if kept[-1:] != [said]:
            kept.append(said)

    def issue(self, issue: Issue) -> str:
        self._call("issue")
        self.issues.setdefault(issue.marker, issue)
        return "https://github.com/acme/churn/issues/9"

    def propose(self, proposal: Proposal) -> str | None:
        self._call("propose")
        if not self.may_propose:
            return None
        self.proposals.setdefault(proposal.branch, proposal)
        return "https://github.com/acme/churn/pull/13"

    def dispatch(self, workflow: str, inputs: Mapping[str, str]) -> None:
        raise NotImplementedError


def report_of(book: Book, model: VersionRef) -> Report:
    """Return the report of a version that passed."""
    judged = verdict(AUC)
    digests = replace(judged.digests, candidate=model.digest)
    return told("m", replace(judged, digests=digests), (), Path("no/bundle"), book)


@dataclass
class Stage:
    """A play, and somebody who announces it."""

    play: Play
    host: Host
    announcer: Announcer = field(init=False)
    said: list[str] = field(default_factory=list)
    asked: int = 0  # how often a report was made

    def __post_init__(self) -> None:
        self.again()

    def again(self, **more: Any) -> None:
        """Let a new process announce from now on."""
        self.announcer = Announcer(
            self.host, repository="acme/churn", server="https://github.com", model="m",
            environment="production", tell=self.said.append, ledger_branch="tidegate-ledger/m",
            clock=lambda: self.play.engine.now, **more,
        )  # fmt: skip

    def announce(self) -> None:
        book = self.play.engine.ledger.read()

        def report(model: VersionRef) -> Report:
            self.asked += 1
            return report_of(book, model)

        self.announcer.announce(book, report)

    def until(self, phase: Phase, *, step: int = 0) -> None:
        """Pass and announce every minute."""
        for _ in range(120):
            self.play.engine.tick(1)
            self.announce()
            rollouts = [*self.play.engine.state.past, self.play.engine.state.rollout]
            for rollout in rollouts:
                if rollout is None or rollout.model != self.play.candidate:
                    continue
                if (rollout.phase, rollout.applied) == (phase, True) and rollout.step >= step:
                    return
        raise AssertionError(f"never {phase}")


def _stage(tmp_path: Path, *, bad: bool = False, **more: Any) -> tuple[Stage, FakeHost]:
    play = Play.begin(tmp_path / "play", bad=bad)
    host = FakeHost(pulls={play.candidate.commit: 12, f"{1:040x}": 11})
    stage = Stage(play, host)
    stage.again(**more)
    return stage, host


def _key(stage: Stage) -> str:
    state = stage.play.engine.state
    every = [*state.past, *([state.rollout] if state.rollout else [])]
    return f"m/{next(r.id for r in every if r.model == stage.play.candidate)}"


def test_a_rollout_is_one_comment_that_follows_it_to_its_end(tmp_path: Path) -> None:
    stage, host = _stage(tmp_path)
    stage.announce()
    stage.until(Phase.PROMOTED)
    bodies = host.comments.pop((12, "<!-- tidegate:m -->"))
    titles = [body.splitlines()[2].split("**")[1] for body in bodies]
    assert list(dict.fromkeys(titles)) == [
        "`m`: passed, to be released.",
        "`m`: passed, now in canary at 5 %.",
        "`m`: passed, now in canary at 25 %.",
        "`m`: passed, then promoted, in probation.",
        "`m`: passed, then promoted.",
    ]
    assert list(host.comments) == [(11, "<!-- tidegate:m -->")]  # the first release's own
    assert stage.said == []


def test_a_rollout_is_one_deployment_with_a_status_a_phase(tmp_path: Path) -> None:
    stage, host = _stage(tmp_path)
    stage.announce()
    stage.until(Phase.PROMOTED)
    assert host.statuses.pop(_key(stage)) == [
        ("queued", "version 2 waits to be started"),
        ("in_progress", "version 2 canary at 5 %"),
        ("in_progress", "version 2 canary at 25 %"),
        ("success", "version 2 promoted, in probation"),
        ("success", "version 2 serves"),
    ]
    (first,) = host.statuses.values()
    assert first == [("success", "version 1 serves"), ("inactive", "version 1 served before")]
    assert host.issues == {}


def test_a_model_taken_back_fails_and_the_old_one_still_serves(tmp_path: Path) -> None:
    stage, host = _stage(tmp_path, bad=True)
    stage.announce()
    stage.until(Phase.REVERTED)
    stage.announce()
    said = host.statuses.pop(_key(stage))
    assert said[-1] == (
        "failure", "version 2 taken back: a guard shows harm beyond its margin"
    )  # fmt: skip
    (first,) = host.statuses.values()
    assert first == [("success", "version 1 serves")]
    (issue,) = host.issues.values()
    assert issue.title == "m version 2 was taken back: error_rate"
    assert "[Press Revert on the merged pull request](https://github.com/acme/churn/pull/12)" in (
        issue.body
    )
    assert host.comments[12, "<!-- tidegate:m -->"][-1].count("passed, then taken back") == 1


def test_the_merge_is_taken_back_by_a_proposal_where_that_is_allowed(tmp_path: Path) -> None:
    cases: list[TakenBack] = []

    def propose(case: TakenBack) -> str:
        cases.append(case)
        return "tidegate-revert/m-r12"

    stage, host = _stage(tmp_path, bad=True, propose=propose)
    stage.until(Phase.REVERTED)
    stage.announce()
    stage.announce()
    assert len(cases) == 1
    assert host.proposals["tidegate-revert/m-r12"].title.startswith("Revert #12: m version 2")
    (issue,) = host.issues.values()
    assert "(https://github.com/acme/churn/pull/13)" in issue.body


def test_where_proposals_are_forbidden_the_issue_has_the_prefilled_link(tmp_path: Path) -> None:
    stage, host = _stage(tmp_path, bad=True, propose=lambda _: "tidegate-revert/m-r12")
    host.may_propose = False
    stage.until(Phase.REVERTED)
    stage.announce()
    (issue,) = host.issues.values()
    assert "/compare/main...tidegate-revert/m-r12?expand=1&title=" in issue.body


def test_a_person_who_takes_it_back_gets_no_issue(tmp_path: Path) -> None:
    stage, host = _stage(tmp_path)
    stage.until(Phase.CANARY)
    rollout = stage.play.engine.state.rollout
    assert rollout is not None
    order = Ordered(verb="revert", rollout=rollout.id, reason="pager")
    stage.play.engine.append(order, human=True)
    stage.until(Phase.REVERTED)
    stage.announce()
    assert host.issues == {}
    assert host.statuses[_key(stage)][-1] == (
        "failure", "version 2 taken back: a person decided"
    )  # fmt: skip


def test_a_promotion_that_a_person_undoes_is_told_in_its_thread(tmp_path: Path) -> None:
    stage, host = _stage(tmp_path)
    stage.until(Phase.PROMOTED)
    engine = stage.play.engine
    old = engine.state.versions[0]
    back = Requested(
        model=old, mode=Mode.DIRECT, judged_against=None, policy={}, task="binary",
        loss_center=None, reason="pager", quarantine=True,
    )  # fmt: skip
    engine.append(back, human=True)
    for _ in range(3):
        engine.tick(1)
        stage.announce()
    assert engine.state.champion == old
    text = host.comments[12, "<!-- tidegate:m -->"][-1]
    assert "> [!CAUTION]\n> **`m`: passed, promoted, then taken back by a person.**" in text
    serving = [key for key, said in host.statuses.items() if said[-1][0] == Serving.SUCCESS]
    assert len(serving) == 1
    assert host.statuses[serving[0]][-1] == ("success", "version 1 serves")


def test_nothing_new_costs_no_call(tmp_path: Path) -> None:
    stage, host = _stage(tmp_path)
    stage.until(Phase.CANARY)
    calls, asked = len(host.calls), stage.asked
    for _ in range(5):
        stage.play.engine.now += 3600
        stage.announce()
    assert (len(host.calls), stage.asked) == (calls, asked)


def test_within_a_phase_the_comment_is_edited_at_most_every_interval(tmp_path: Path) -> None:
    stage, host = _stage(tmp_path, every=600.0)
    stage.until(Phase.CANARY)
    edits = host.calls.count("comment")
    first = stage.play.engine.now
    while stage.play.engine.now < first + 540:  # heartbeats, seconds apart
        stage.play.engine.now += 5
        stage.play.engine.append(_heartbeat(stage))
        stage.announce()
    assert host.calls.count("comment") == edits
    stage.play.engine.now += 60
    stage.announce()
    assert host.calls.count("comment") == edits + 1


def _heartbeat(stage: Stage) -> Any:
    rollout = stage.play.engine.state.rollout
    assert rollout is not None
    return Heartbeat(rollout=rollout.id, closed=0)


def test_a_second_process_adds_nothing(tmp_path: Path) -> None:
    stage, host = _stage(tmp_path, bad=True)
    stage.until(Phase.REVERTED)
    stage.announce()
    before = (dict(host.issues), {k: list(v) for k, v in host.comments.items()},
              {k: list(v) for k, v in host.statuses.items()})  # fmt: skip
    stage.again()
    stage.announce()
    assert (host.issues, host.comments, host.statuses) == before


def test_a_process_that_died_before_it_told_is_made_good_by_the_next(tmp_path: Path) -> None:
    stage, host = _stage(tmp_path, bad=True)
    stage.play.until(Phase.REVERTED)  # nobody announced
    stage.announce()
    assert len(host.issues) == 1
    assert [said[-1][0] for said in host.statuses.values()] == ["failure", "success"]
    assert len(host.comments[12, "<!-- tidegate:m -->"]) == 1


def test_an_endpoint_that_needs_a_person_opens_one_issue_until_somebody_answers(
    tmp_path: Path,
) -> None:
    stage, host = _stage(tmp_path)
    stage.play.engine.target.broken = "UpdateRollbackFailed"
    for _ in range(3):
        stage.play.engine.tick(1)
        stage.announce()
    (issue,) = host.issues.values()
    assert "needs a person" in issue.title
    assert "repair it" in issue.body
    stage.play.engine.target.broken = None
    stage.play.engine.append(Resumed(reason="repaired"), human=True)
    stage.play.engine.tick(1)
    stage.announce()
    assert len(host.issues) == 1
    stage.play.engine.target.broken = "Failed"
    stage.play.engine.tick(1)
    stage.announce()
    assert len(host.issues) == 2, "another alert, another issue"


def test_an_old_revert_is_no_news(tmp_path: Path) -> None:
    stage, host = _stage(tmp_path, bad=True)
    stage.play.until(Phase.REVERTED)
    stage.play.engine.now += 2 * 86_400
    stage.announce()
    assert host.issues == {}


def test_a_commit_without_a_pull_request_gets_no_comment_and_no_report(tmp_path: Path) -> None:
    stage, host = _stage(tmp_path)
    host.pulls.clear()
    stage.until(Phase.CANARY)
    assert (host.comments, stage.asked) == ({}, 0)
    assert host.calls.count("pull_of") == 2


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("error", [OutsideError("GitHub is down"), KeyError("a bug")], ids=repr)
def test_whatever_fails_the_rest_is_said_and_it_is_tried_again(
    method: str, error: Exception, tmp_path: Path
) -> None:
    stage, host = _stage(tmp_path, bad=True, propose=lambda _: "tidegate-revert/m-r12")
    host.broken = {method: error}
    stage.until(Phase.REVERTED)
    stage.announce()
    assert stage.said
    others = {
        "comment": host.comments, "deployment": host.statuses, "issue": host.issues,
    }  # fmt: skip
    for name, kept in others.items():
        needs_pull = method == "pull_of" and name == "comment"
        assert bool(kept) == (name != method and not needs_pull), name
    host.broken = {}
    stage.announce()
    assert host.comments
    assert host.issues
    assert host.statuses[_key(stage)][-1][0] == "failure"


def test_a_report_that_cannot_be_made_is_told_and_stops_nothing(tmp_path: Path) -> None:
    stage, host = _stage(tmp_path)

    def broken(_: VersionRef) -> Report:
        raise NotJudgedError("verdict.json: not JSON")

    stage.announcer.announce(stage.play.engine.ledger.read(), broken)
    assert host.comments == {}
    assert len(host.statuses) == 2
    assert stage.said[0].startswith("the comment on version 2 could not be brought up to date:")


def test_a_version_that_nobody_judged_gets_no_comment(tmp_path: Path) -> None:
    stage, host = _stage(tmp_path)
    stage.announcer.announce(stage.play.engine.ledger.read(), lambda _: None)
    assert host.comments == {}
    assert stage.said == []


def test_a_slow_host_does_not_hold_the_rollout_up(tmp_path: Path) -> None:
    stage, host = _stage(tmp_path)
    plain = host._call

    def slow(name: str) -> None:
        stage.play.engine.now += 20
        plain(name)

    host._call = slow  # type: ignore[method-assign]
    began = stage.play.engine.now
    stage.announce()
    assert stage.play.engine.now - began <= 60
    missing = len(host.statuses)
    for _ in range(4):
        stage.announce()
    assert missing < len(host.statuses) == 2
    assert host.comments


# --- GitHub itself, on the loopback ---------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize("bad", [False, True], ids=["promoted", "taken back"])
def test_on_github_a_rollout_leaves_one_of_everything(tmp_path: Path, *, bad: bool) -> None:
    play = Play.begin(tmp_path / "play", bad=bad)
    with serve() as hub:
        host = GitHubHost(Api(hub.url, hub.token), hub.repository, default_branch="main")
        number = _merged(hub, play.candidate.commit)
        stage = Stage(play, host)
        stage.announce()
        stage.until(Phase.REVERTED if bad else Phase.PROMOTED)
        stage.announce()
        stage.again()
        stage.announce()
        assert stage.said == []
        assert len(hub.state.comments) == 1
        assert ("then taken back" if bad else "then promoted") in hub.state.comments[0]["body"]
        assert number == 1
        assert len(hub.state.deployments) == 2
        states = [row["state"] for row in hub.state.statuses]
        assert states.count("queued") == 1
        assert states.count("failure") == bad
        assert states.count("success") == (1 if bad else 3)
        issues = [row for row in hub.state.issues if "pull_request" not in row]
        assert len(issues) == bad


@pytest.mark.real
def test_without_permissions_everything_is_told_and_nothing_raised(tmp_path: Path) -> None:
    play = Play.begin(tmp_path / "play", bad=True)
    with serve() as hub:
        host = GitHubHost(Api(hub.url, hub.token), hub.repository, default_branch="main")
        _merged(hub, play.candidate.commit)
        hub.grant({})
        stage = Stage(play, host)
        play.until(Phase.REVERTED)
        stage.announce()
        assert len(stage.said) >= 3
        assert not any(hub.token in line for line in stage.said)
        hub.grant(None)
        stage.announce()
        assert len(hub.state.comments) == 1


def _merged(hub: Hub, commit: str) -> int:
    """Put a merged pull request on the hub that brought a commit."""
    hub.state.refs["refs/heads/main"] = commit
    number = hub.add_pull(head="change", sha=commit, merge_commit=commit)["number"]
    return int(number)
