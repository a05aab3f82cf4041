"""What people read on GitHub: said once, kept up to date, never over somebody else's words."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.github.clock import Clock
from tests.github.scripted import scripted
from tests.github.server import serve
from tidegate.adapters.host.api import Api, ForbiddenError, NotFoundError
from tidegate.adapters.host.github import GitHubHost
from tidegate.adapters.host.reading import Artifact, GitHubReader, OpenPull
from tidegate.core.notices import (
    Annotation,
    Check,
    Comment,
    Conclusion,
    HostDeployment,
    Issue,
    Proposal,
    Serving,
    Severity,
)
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.github.hub import Hub
    from tidegate.ports import Host

pytestmark = pytest.mark.real

COMMIT = "c" * 40
MARKER = "<!-- tidegate:churn -->"
PULL = 1
BODY = f"{MARKER}\n## Passed"
COMMENT = Comment(pull=PULL, marker=MARKER, body=BODY)
ISSUE = Issue(marker=MARKER, title="Taken back", body=BODY, labels=("incident", "tidegate"))
DEPLOYMENT = HostDeployment(
    key="churn/r12",
    environment="production",
    commit=COMMIT,
    state=Serving.IN_PROGRESS,
    description="5 % of traffic",
    url="https://github.test/run/1",
)
PROPOSAL = Proposal(branch="tidegate/revert-r12", base="main", title="Revert", body="Because.")


def remarks(count: int) -> tuple[Annotation, ...]:
    return tuple(
        Annotation(
            path="mlops.yaml", line=i + 1, severity=Severity.WARNING, title="t", message=f"m{i}"
        )
        for i in range(count)
    )


CHECK = Check(
    name="tidegate / churn",
    commit=COMMIT,
    conclusion=Conclusion.FAILURE,
    title="Rejected",
    summary="AUC fell",
    annotations=remarks(3),
    url="https://github.test/run/1",
)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve() as hub:
        hub.add_pull(head="feature", sha=COMMIT)
        hub.state.refs["refs/heads/tidegate/revert-r12"] = "d" * 40
        yield hub


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def api(hub: Hub, clock: Clock) -> Api:
    return Api(hub.url, hub.token, sleep=clock.sleep, clock=clock.time)


@pytest.fixture
def host(hub: Hub, api: Api) -> Host:
    return GitHubHost(api, hub.repository, default_branch="main")


@pytest.fixture
def reader(hub: Hub, api: Api) -> GitHubReader:
    return GitHubReader(api, hub.repository)


def writes(hub: Hub) -> Counter[str]:
    """Return how often each method other than GET was asked for."""
    return Counter(method for method, _ in hub.requests if method != "GET")


# --- once, whatever happens to the answers --------------------------------------------------------

# Each way to say something -> (how it is said, the path that creates it, what it leaves).
SAYINGS: dict[str, tuple[Callable[[Host], object], str, Callable[[Hub], list[Any]]]] = {
    "comment": (lambda host: host.comment(COMMENT), "/comments$", lambda hub: hub.state.comments),
    "issue": (lambda host: host.issue(ISSUE), "/issues$", lambda hub: hub.state.issues),
    "check": (lambda host: host.check(CHECK), "/check-runs$", lambda hub: hub.state.checks),
    "deployment": (
        lambda host: host.deployment(DEPLOYMENT),
        "/deployments$",
        lambda hub: hub.state.deployments,
    ),
    "status": (
        lambda host: host.deployment(DEPLOYMENT),
        "/statuses$",
        lambda hub: hub.state.statuses,
    ),
    "proposal": (
        lambda host: host.propose(PROPOSAL),
        "/pulls$",
        lambda hub: hub.state.pulls[1:],
    ),
}


@pytest.mark.parametrize("what", SAYINGS)
def test_said_twice_there_is_one_of_it_and_nothing_is_written_again(
    hub: Hub, host: Host, what: str
) -> None:
    say, _, left = SAYINGS[what]
    first = say(host)
    assert len(left(hub)) == 1
    written = writes(hub)
    assert say(host) == first
    assert len(left(hub)) == 1
    assert writes(hub) == written


@pytest.mark.parametrize("status", [500, 502, 503, None], ids=str)
@pytest.mark.parametrize("apply", [True, False], ids=["it happened", "it did not happen"])
@pytest.mark.parametrize("what", SAYINGS)
def test_a_lost_answer_leaves_one_of_it(
    hub: Hub, host: Host, what: str, apply: bool, status: int | None
) -> None:
    say, path, left = SAYINGS[what]
    hub.fail_next("POST", path, status=status, apply=apply)
    say(host)
    assert len(left(hub)) == 1


@pytest.mark.parametrize("what", SAYINGS)
def test_the_third_lost_answer_in_a_row_is_an_error(hub: Hub, host: Host, what: str) -> None:
    say, path, left = SAYINGS[what]
    hub.fail_next("POST", path, times=99)
    with pytest.raises(OutsideError, match="may have happened"):
        say(host)
    assert left(hub) == []


@pytest.mark.parametrize("what", SAYINGS)
def test_a_limit_delays_and_changes_nothing(hub: Hub, host: Host, clock: Clock, what: str) -> None:
    say, path, left = SAYINGS[what]
    hub.fail_next("POST", path, status=403, headers={"retry-after": "30"}, times=2)
    say(host)
    assert clock.slept == [30, 30]
    assert len(left(hub)) == 1


# --- every refusal is an error with advice ----------------------------------------------------------

CALLS: dict[str, Callable[[Host], object]] = {
    "pull_of": lambda host: host.pull_of(COMMIT),
    "comment": lambda host: host.comment(COMMENT),
    "check": lambda host: host.check(CHECK),
    "deployment": lambda host: host.deployment(DEPLOYMENT),
    "issue": lambda host: host.issue(ISSUE),
    "propose": lambda host: host.propose(PROPOSAL),
    "dispatch": lambda host: host.dispatch("mlops.yml", {"command": "tick"}),
}


@pytest.mark.parametrize("status", [401, 403, 404, 422, 429, 500, 502, None], ids=str)
@pytest.mark.parametrize(
    ("call", "method"),
    [
        (call, method)
        for call in CALLS
        for method in ("GET", "POST")
        if (call, method) not in {("pull_of", "POST"), ("dispatch", "GET")}
    ],
)
def test_every_refusal_is_an_error_with_advice(
    hub: Hub, host: Host, call: str, method: str, status: int | None
) -> None:
    hub.fail_next(method, "/repos/", status=status, times=99)
    with pytest.raises(OutsideError) as told:
        CALLS[call](host)
    assert told.value.remedy
    assert hub.token not in f"{told.value!r}{told.value.remedy}"


@pytest.mark.parametrize(
    ("call", "granted", "missing"),
    [
        ("comment", {"pull_requests": "read"}, "`pull-requests: write`"),
        ("check", {"checks": "read"}, "`checks: write`"),
        ("deployment", {"deployments": "read"}, "`deployments: write`"),
        ("issue", {"issues": "read"}, "`issues: write`"),
        ("propose", {"pull_requests": "read"}, "`pull-requests: write`"),
        ("dispatch", {"actions": "read"}, "`actions: write`"),
        ("pull_of", {}, "`contents: read`"),
    ],
)
def test_a_missing_permission_is_named(
    hub: Hub, host: Host, call: str, granted: dict[str, str], missing: str
) -> None:
    hub.grant(granted)
    with pytest.raises(ForbiddenError) as told:
        CALLS[call](host)
    assert missing in told.value.remedy


READINGS: dict[str, Callable[[GitHubReader], object]] = {
    "minutes": lambda reader: reader.minutes(7, "churn"),
    "open_pull": lambda reader: reader.open_pull(**ASKED),
    "artifact": lambda reader: reader.artifact("a", 1),
    "newest_artifact": lambda reader: reader.newest_artifact("a", repository_id=1, branch="main"),
    "file": lambda reader: reader.file("a", "main"),
    "tree": lambda reader: reader.tree("main"),
    "environments": lambda reader: reader.settings(),
}
STRANGE = [b"[{}]", b"[7]", b"[null]", b'{"a": [{}]}', b'{"type": "file", "encoding": "base64"}']


@pytest.mark.parametrize("answer", STRANGE, ids=bytes.decode)
@pytest.mark.parametrize("call", [call for call in CALLS if call != "dispatch"])
def test_a_strange_answer_is_an_expected_error(call: str, answer: bytes) -> None:
    with scripted((200, {}, answer)) as (url, _):
        host = GitHubHost(Api(url, "t0ken"), "acme/churn", default_branch="main")
        with pytest.raises(OutsideError) as told:
            CALLS[call](host)
    assert told.value.remedy or "not a listing" in str(told.value)


@pytest.mark.parametrize("answer", STRANGE, ids=bytes.decode)
@pytest.mark.parametrize("call", READINGS)
def test_a_strange_answer_to_a_reading_is_an_expected_error(call: str, answer: bytes) -> None:
    with scripted((200, {}, answer)) as (url, _):
        reader = GitHubReader(Api(url, "t0ken"), "acme/churn")
        with pytest.raises(OutsideError):
            READINGS[call](reader)


@pytest.mark.parametrize("call", ["comment", "check", "deployment", "issue", "propose"])
@pytest.mark.parametrize("answer", [b"{}", b"", b"[]", b"7"], ids=bytes.decode)
def test_a_strange_answer_to_a_creation_is_an_expected_error(call: str, answer: bytes) -> None:
    with scripted((200, {}, b"[]"), (201, {}, answer)) as (url, _):
        host = GitHubHost(Api(url, "t0ken"), "acme/churn", default_branch="main")
        with pytest.raises(OutsideError, match="not what its description says"):
            CALLS[call](host)


# --- comments ---------------------------------------------------------------------------------------


def test_a_comment_is_edited_where_it_differs(hub: Hub, host: Host) -> None:
    url = host.comment(COMMENT)
    assert host.comment(replace(COMMENT, body=f"{BODY}\nmore")) == url
    assert [row["body"] for row in hub.state.comments] == [f"{BODY}\nmore"]
    assert writes(hub) == {"POST": 1, "PATCH": 1}


def test_line_ends_and_blanks_at_the_end_are_no_difference(hub: Hub, host: Host) -> None:
    host.comment(COMMENT)
    hub.state.comments[0]["body"] = BODY.replace("\n", "\r\n")
    host.comment(replace(COMMENT, body=f"{BODY}\n"))
    assert writes(hub) == {"POST": 1}


@pytest.mark.parametrize(
    ("login", "kind"),
    [("mona", "User"), ("github-actions[bot]", "User"), ("evil[bot]", "Bot")],
)
def test_a_marker_in_somebody_elses_comment_is_left_alone(
    hub: Hub, host: Host, login: str, kind: str
) -> None:
    theirs = hub.add_comment(PULL, f"{MARKER}\nforged", login=login, kind=kind)
    host.comment(COMMENT)
    assert theirs["body"] == f"{MARKER}\nforged"
    assert [row["user"]["login"] for row in hub.state.comments] == [login, "github-actions[bot]"]


@pytest.mark.parametrize("body", [f"x\n{MARKER}", f"{MARKER} x", f" {MARKER}", ""])
def test_our_other_comments_are_left_alone(hub: Hub, host: Host, body: str) -> None:
    other = hub.add_comment(PULL, body, login="github-actions[bot]", kind="Bot")
    host.comment(COMMENT)
    assert other["body"] == body
    assert len(hub.state.comments) == 2


def test_the_comment_is_found_behind_250_others(hub: Hub, host: Host) -> None:
    for i in range(250):
        hub.add_comment(PULL, f"talk {i}", login="mona")
    host.comment(COMMENT)
    host.comment(replace(COMMENT, body=f"{BODY}!"))
    assert len(hub.state.comments) == 251
    assert hub.state.comments[-1]["body"] == f"{BODY}!"


def test_of_two_equally_fast_comments_the_older_stays(hub: Hub, host: Host) -> None:
    for text in ("older", "younger"):
        hub.add_comment(PULL, f"{MARKER}\n{text}", login="github-actions[bot]", kind="Bot")
    host.comment(COMMENT)
    assert [(row["id"], row["body"]) for row in hub.state.comments] == [(2, BODY)]


def test_another_models_comment_is_another(hub: Hub, host: Host) -> None:
    host.comment(COMMENT)
    other = "<!-- tidegate:price -->"
    host.comment(Comment(pull=PULL, marker=other, body=f"{other}\n"))
    assert len(hub.state.comments) == 2


def test_a_comment_as_long_as_github_takes_is_written_and_a_longer_one_is_not(
    hub: Hub, host: Host
) -> None:
    longest = BODY + "é" * (65_536 - len(BODY))
    host.comment(replace(COMMENT, body=longest))
    with pytest.raises(OutsideError, match="65,537 characters; GitHub takes 65,536"):
        host.comment(replace(COMMENT, body=f"{longest}x"))
    assert hub.state.comments[0]["body"] == longest


@pytest.mark.parametrize("marker", ["", "two\nlines", "other"])
def test_a_comment_that_could_not_be_found_again_is_not_written(
    hub: Hub, host: Host, marker: str
) -> None:
    with pytest.raises(OutsideError, match="marker"):
        host.comment(replace(COMMENT, marker=marker))
    assert hub.requests == []


def test_a_comment_on_a_deleted_pull_request_is_an_error(host: Host) -> None:
    with pytest.raises(NotFoundError, match="/issues/99/comments: 404"):
        host.comment(replace(COMMENT, pull=99))


# --- checks -----------------------------------------------------------------------------------------


def test_a_check_is_finished_and_says_what_it_should(hub: Hub, host: Host) -> None:
    host.check(CHECK)
    (row,) = hub.state.checks
    assert (row["name"], row["head_sha"]) == (CHECK.name, COMMIT)
    assert (row["status"], row["conclusion"]) == ("completed", "failure")
    assert row["details_url"] == CHECK.url
    assert row["_annotations"][1] == {
        "path": "mlops.yaml",
        "start_line": 2,
        "end_line": 2,
        "annotation_level": "warning",
        "title": "t",
        "message": "m1",
    }


@pytest.mark.parametrize("count", [0, 50, 51, 120])
def test_all_annotations_arrive_in_order(hub: Hub, host: Host, count: int) -> None:
    host.check(replace(CHECK, annotations=remarks(count)))
    (row,) = hub.state.checks
    assert [item["message"] for item in row["_annotations"]] == [f"m{i}" for i in range(count)]


@pytest.mark.parametrize("apply", [True, False])
@pytest.mark.parametrize("status", [502, None], ids=str)
def test_no_annotation_is_shown_twice_when_an_answer_is_lost(
    hub: Hub, host: Host, apply: bool, status: int | None
) -> None:
    hub.fail_next("PATCH", "/check-runs/", status=status, apply=apply, times=2)
    host.check(replace(CHECK, annotations=remarks(120)))
    (row,) = hub.state.checks
    assert [item["message"] for item in row["_annotations"]] == [f"m{i}" for i in range(120)]


def test_annotations_that_were_cut_off_are_completed_by_the_next_call(hub: Hub, host: Host) -> None:
    check = replace(CHECK, annotations=remarks(60))
    hub.fail_next("PATCH", "/check-runs/", status=422)
    with pytest.raises(OutsideError):
        host.check(check)
    host.check(check)
    assert [len(row["_annotations"]) for row in hub.state.checks] == [60]


def test_a_check_without_annotations_is_replaced_in_place(hub: Hub, host: Host) -> None:
    url = host.check(replace(CHECK, annotations=()))
    passed = replace(CHECK, conclusion=Conclusion.SUCCESS, title="Passed")
    assert host.check(passed) == url
    (row,) = hub.state.checks
    assert row["conclusion"] == "success"
    assert row["output"]["title"] == "Passed"
    assert len(row["_annotations"]) == 3


def test_a_check_with_stale_annotations_is_replaced_by_a_new_run(hub: Hub, host: Host) -> None:
    """Annotations cannot be taken back, and GitHub shows the newest run of a name."""
    host.check(CHECK)
    passed = replace(CHECK, conclusion=Conclusion.SUCCESS, annotations=())
    for _ in range(2):
        host.check(passed)
    assert [row["conclusion"] for row in hub.state.checks] == ["failure", "success"]


@pytest.mark.parametrize("slug", ["github-actions", "somebody-else"])
def test_a_run_of_the_same_name_that_is_not_ours_is_left_alone(
    hub: Hub, host: Host, slug: str
) -> None:
    """A job has a check run of the same app; its external id is not of our making."""
    plain = replace(CHECK, annotations=())  # with some, a new run would be made anyway
    host.check(plain)
    job = hub.state.checks[0]
    job["app"] |= {"slug": slug}
    if slug == "github-actions":
        job["external_id"] = "6f1a3a4c-2f04-5bd3-8e68-9f7c7b3c0a55"
    before = deepcopy(job)
    host.check(replace(plain, title="New"))
    assert hub.state.checks[0] == before
    assert len(hub.state.checks) == 2


def test_another_name_or_commit_is_another_check(hub: Hub, host: Host) -> None:
    host.check(CHECK)
    host.check(replace(CHECK, name="tidegate / price"))
    host.check(replace(CHECK, commit="d" * 40))
    assert len(hub.state.checks) == 3


# --- deployments ------------------------------------------------------------------------------------


def test_a_deployment_is_told_once_per_change(hub: Hub, host: Host) -> None:
    steps = [
        DEPLOYMENT,
        DEPLOYMENT,
        replace(DEPLOYMENT, description="25 % of traffic"),
        replace(DEPLOYMENT, state=Serving.SUCCESS, description="25 % of traffic"),
        replace(DEPLOYMENT, state=Serving.SUCCESS, description="25 % of traffic"),
    ]
    for step in steps:
        host.deployment(step)
    (row,) = hub.state.deployments
    assert (row["task"], row["sha"]) == ("tidegate:churn/r12", COMMIT)
    assert row["environment"] == "production"
    assert [(s["state"], s["description"]) for s in hub.state.statuses] == [
        ("in_progress", "5 % of traffic"),
        ("in_progress", "25 % of traffic"),
        ("success", "25 % of traffic"),
    ]


def test_a_state_that_comes_back_is_told_again(hub: Hub, host: Host) -> None:
    paused = replace(DEPLOYMENT, state=Serving.QUEUED)
    for step in (DEPLOYMENT, paused, DEPLOYMENT):
        host.deployment(step)
    assert len(hub.state.statuses) == 3


def test_one_models_success_does_not_retire_the_other_model(hub: Hub, host: Host) -> None:
    """GitHub would set an environment's other deployments inactive unless told not to."""
    for key in ("churn/r12", "price/r3"):
        host.deployment(replace(DEPLOYMENT, key=key, state=Serving.SUCCESS))
    assert [row["state"] for row in hub.state.statuses] == ["success", "success"]


def test_a_long_description_is_cut_and_stays_the_same(hub: Hub, host: Host) -> None:
    long = replace(DEPLOYMENT, description="é" * 141)
    host.deployment(long)
    host.deployment(long)
    assert [row["description"] for row in hub.state.statuses] == ["é" * 139 + "…"]


def test_another_environment_or_rollout_is_another_deployment(hub: Hub, host: Host) -> None:
    host.deployment(DEPLOYMENT)
    host.deployment(replace(DEPLOYMENT, environment="staging"))
    host.deployment(replace(DEPLOYMENT, key="churn/r13"))
    assert len(hub.state.deployments) == 3


# --- issues and pull requests -----------------------------------------------------------------------


def test_an_issue_carries_its_labels_and_ours_once(hub: Hub, host: Host) -> None:
    host.issue(ISSUE)
    (row,) = hub.state.issues
    assert [label["name"] for label in row["labels"]] == ["tidegate", "incident"]


def test_an_issue_that_was_closed_is_not_opened_again(hub: Hub, host: Host) -> None:
    url = host.issue(ISSUE)
    hub.state.issues[0]["state"] = "closed"
    assert host.issue(ISSUE) == url
    assert len(hub.state.issues) == 1


def test_an_issue_is_found_behind_150_others_of_ours(hub: Hub, host: Host) -> None:
    url = host.issue(ISSUE)
    for i in range(150):
        label = {"name": "tidegate"}
        hub.add_issue(f"{i}", "other", labels=[label])
    assert host.issue(ISSUE) == url


def test_somebody_elses_issue_with_our_marker_does_not_silence_ours(hub: Hub, host: Host) -> None:
    hub.add_issue("Nothing happened", f"{MARKER}\n", labels=[{"name": "tidegate"}])
    host.issue(ISSUE)
    assert len(hub.state.issues) == 2


def test_a_proposal_that_was_closed_is_not_made_again(hub: Hub, host: Host) -> None:
    url = host.propose(PROPOSAL)
    hub.state.pulls[-1]["state"] = "closed"
    assert host.propose(PROPOSAL) == url
    assert len(hub.state.pulls) == 2


def test_a_forks_branch_of_that_name_is_not_our_proposal(hub: Hub, host: Host) -> None:
    theirs = hub.add_pull(
        head=PROPOSAL.branch, sha="e" * 40, head_repository="mona/churn", head_repository_id=5
    )
    assert host.propose(PROPOSAL) != theirs["html_url"]


@pytest.mark.parametrize(
    "head",
    [
        {"ref": "other", "repo": {"full_name": "acme/churn"}},
        {"ref": PROPOSAL.branch, "repo": {"full_name": "mona/churn"}},
        {"ref": PROPOSAL.branch, "repo": None},
    ],
    ids=str,
)
def test_another_branchs_pull_request_is_not_our_proposal(head: dict[str, Any]) -> None:
    """GitHub answers with every pull request where it does not understand the filter."""
    listed = json.dumps([{"html_url": "https://github.test/1", "head": head}]).encode()
    created = b'{"html_url": "https://github.test/2"}'
    with scripted((200, {}, listed), (201, {}, created)) as (url, _):
        host = GitHubHost(Api(url, "t0ken"), "acme/churn", default_branch="main")
        assert host.propose(PROPOSAL) == "https://github.test/2"


def test_where_workflows_may_not_open_pull_requests_there_is_none(hub: Hub, host: Host) -> None:
    hub.state.settings["can_approve_pull_request_reviews"] = False
    assert host.propose(PROPOSAL) is None


def test_a_proposal_from_a_branch_that_was_not_pushed_is_an_error(host: Host) -> None:
    with pytest.raises(OutsideError, match="head invalid"):
        host.propose(replace(PROPOSAL, branch="nowhere"))


def test_the_pull_request_of_a_commit_is_the_first_that_was_merged(hub: Hub, host: Host) -> None:
    merge = "f" * 40
    hub.add_pull(head="a", sha=merge)  # open
    hub.add_pull(head="b", sha="1" * 40, merge_commit=merge, base="develop")
    hub.add_pull(head="c", sha="2" * 40, merge_commit=merge)
    hub.add_pull(head="d", sha="3" * 40, merge_commit=merge)
    assert host.pull_of(merge) == 4
    assert host.pull_of("9" * 40) is None


def test_a_workflow_is_started_on_the_default_branch(hub: Hub, host: Host) -> None:
    host.dispatch("mlops.yml", {"command": "tick"})
    assert hub.state.dispatches == [
        {"workflow": "mlops.yml", "ref": "main", "inputs": {"command": "tick"}}
    ]


def test_a_dispatch_whose_answer_is_lost_is_sent_again(hub: Hub, host: Host) -> None:
    """Two passes do no harm; none at all would."""
    hub.fail_next("POST", "/dispatches", status=None)
    host.dispatch("mlops.yml", {})
    assert len(hub.state.dispatches) == 1


def test_a_workflow_that_is_not_there_is_named(hub: Hub, host: Host) -> None:
    hub.state.settings["workflows"] = ["other.yml"]
    with pytest.raises(NotFoundError) as told:
        host.dispatch("mlops.yml", {})
    assert "workflow file mlops.yml" in told.value.remedy


# --- reading ----------------------------------------------------------------------------------------

FORK: dict[str, Any] = {
    "head": "patch",
    "sha": "e" * 40,
    "head_repository": "mona/churn",
    "head_repository_id": 5,
}
ASKED: dict[str, Any] = {
    "head_repository_id": 5,
    "owner": "mona",
    "branch": "patch",
    "sha": "e" * 40,
}


def test_the_open_pull_request_of_a_forks_run(hub: Hub, reader: GitHubReader) -> None:
    number = hub.add_pull(**FORK, base_sha="9" * 40)["number"]
    assert reader.open_pull(**ASKED) == OpenPull(number=number, base_sha="9" * 40)


@pytest.mark.parametrize(
    "other",
    [{"head_repository_id": 6}, {"owner": "eve"}, {"branch": "patch2"}, {"sha": "d" * 40}],
    ids=str,
)
def test_a_run_that_is_not_the_pull_requests_newest_finds_none(
    hub: Hub, reader: GitHubReader, other: dict[str, Any]
) -> None:
    hub.add_pull(**FORK)
    assert reader.open_pull(**ASKED | other) is None


def test_a_closed_pull_request_is_not_published_to(hub: Hub, reader: GitHubReader) -> None:
    hub.add_pull(**FORK)["state"] = "closed"
    assert reader.open_pull(**ASKED) is None


def test_a_pull_request_whose_fork_was_deleted_is_not_found(hub: Hub, reader: GitHubReader) -> None:
    hub.add_pull(**FORK)["head"]["repo"] = None
    assert reader.open_pull(**ASKED) is None


def test_what_a_run_has_cost_a_model(hub: Hub, reader: GitHubReader) -> None:
    assert reader.minutes(7, "churn") is None
    for name, began, ended in (
        ("check / model (churn, a/mlops.yaml) / Train", "00:00:00", "00:04:10"),  # 5
        ("check / model (churn, a/mlops.yaml) / Score", "00:05:00", "00:05:01"),  # 1
        ("check / model (churn, a/mlops.yaml) / Decide", "00:06:00", None),  # still runs
        ("check / model (churn-2, b/mlops.yaml) / Train", "00:00:00", "01:00:00"),
    ):
        hub.add_job(7, name, f"2026-11-01T{began}Z", ended and f"2026-11-01T{ended}Z")
    hub.add_job(8, "check / model (churn, a/mlops.yaml) / Train", *["2026-11-01T00:00:00Z"] * 2)
    assert reader.minutes(7, "churn") == 6
    assert reader.minutes(7, "other") == 66
    assert reader.minutes(8, "churn") == 0


def test_an_artifact_of_a_run(hub: Hub, reader: GitHubReader) -> None:
    hub.add_artifact(4, "result", {"a": b"other run"})
    hub.add_artifact(5, "result", {"a": b"first attempt"})
    hub.add_artifact(5, "other", {"a": b"other name"})
    row = hub.add_artifact(5, "result", {"a": b"second attempt"})
    assert reader.artifact("result", 5) == Artifact(
        id=row["id"], size=row["size_in_bytes"], digest=row["digest"]
    )
    assert reader.artifact("result", 6) is None
    assert reader.artifact("resul", 5) is None


def test_an_expired_artifact_is_none(hub: Hub, reader: GitHubReader) -> None:
    hub.add_artifact(5, "result", {}, expired=True)
    assert reader.artifact("result", 5) is None


def test_an_artifact_without_a_digest_is_refused(hub: Hub, reader: GitHubReader) -> None:
    hub.add_artifact(5, "result", {})["digest"] = None
    with pytest.raises(OutsideError, match="no digest"):
        reader.artifact("result", 5)


def test_the_newest_artifact_comes_from_the_default_branch_of_this_repository(
    hub: Hub, reader: GitHubReader
) -> None:
    """A fork's branch may be called main too."""
    good = hub.add_artifact(1, "champion", {"a": b"1"})
    hub.add_artifact(2, "champion", {"a": b"2"}, branch="feature")
    hub.add_artifact(3, "champion", {"a": b"3"}, head_repository_id=5)
    hub.add_artifact(4, "champion", {"a": b"4"}, expired=True)
    found = reader.newest_artifact("champion", repository_id=hub.repository_id, branch="main")
    assert found is not None
    assert found.id == good["id"]
    assert reader.newest_artifact("champion", repository_id=5, branch="main") is None


def test_an_artifact_is_downloaded_within_its_size(
    hub: Hub, reader: GitHubReader, tmp_path: Path
) -> None:
    row = hub.add_artifact(1, "a", {"x": b"1" * 100})
    reader.download_artifact(row["id"], tmp_path / "a", at_most=row["size_in_bytes"])
    assert (tmp_path / "a").stat().st_size == row["size_in_bytes"]
    with pytest.raises(OutsideError, match="larger"):
        reader.download_artifact(row["id"], tmp_path / "b", at_most=10)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A bare repository with three files on ``main``."""
    work = tmp_path / "work"
    (work / "src").mkdir(parents=True)
    (work / "mlops.yaml").write_text("version: 1\n")
    (work / "src" / "tr än#?.py").write_bytes(b"\x00\xff\r\n")
    (work / "large.bin").write_bytes(b"x" * 1_100_000)
    for arguments in (
        ["init", "-q", "-b", "main", str(work)],
        ["-C", str(work), "add", "."],
        ["-C", str(work), "-c", "user.name=n", "-c", "user.email=e", "commit", "-qm", "m"],
        ["clone", "-q", "--bare", str(work), str(tmp_path / "bare")],
    ):
        subprocess.run(["git", *arguments], check=True, capture_output=True)
    return tmp_path / "bare"


@pytest.fixture
def cloned(bare: Path) -> Iterator[GitHubReader]:
    with serve(bare=bare) as hub:
        yield GitHubReader(Api(hub.url, hub.token), hub.repository)


def test_files_are_read_without_a_checkout(cloned: GitHubReader) -> None:
    assert cloned.file("mlops.yaml", "main") == b"version: 1\n"
    assert cloned.file("src/tr än#?.py", "main") == b"\x00\xff\r\n"
    assert cloned.file("large.bin", "main") == b"x" * 1_100_000
    assert sorted(cloned.tree("main")) == ["large.bin", "mlops.yaml", "src/tr än#?.py"]


@pytest.mark.parametrize("path", ["no.txt", "src", "src/../mlops.yaml", "/mlops.yaml", ""])
def test_what_is_not_a_file_is_an_error(cloned: GitHubReader, path: str) -> None:
    with pytest.raises(OutsideError):
        cloned.file(path, "main")


def test_a_tree_that_github_cuts_short_is_an_error(bare: Path) -> None:
    with serve(bare=bare) as hub:
        hub.state.settings["truncate_trees"] = True
        with pytest.raises(OutsideError, match="more files"):
            GitHubReader(Api(hub.url, hub.token), hub.repository).tree("main")


# --- settings ---------------------------------------------------------------------------------------


def test_the_settings_that_a_token_may_see(hub: Hub, reader: GitHubReader) -> None:
    hub.state.settings |= {"allowed_actions": "selected", "patterns_allowed": ["acme/*"]}
    found = reader.settings()
    assert found.repository is not None
    assert found.repository["default_branch"] == "main"
    assert found.workflow == {
        "default_workflow_permissions": "read",
        "can_approve_pull_request_reviews": True,
    }
    assert found.actions is not None
    assert found.actions["allowed_actions"] == "selected"
    assert found.selected_actions is not None
    assert found.selected_actions["patterns_allowed"] == ["acme/*"]


def test_what_a_token_may_not_see_is_none_and_not_fine(hub: Hub, reader: GitHubReader) -> None:
    hub.grant({"contents": "read"})
    found = reader.settings()
    assert found.repository is not None
    assert (found.workflow, found.actions, found.selected_actions) == (None, None, None)
    assert found.environments is None


def test_settings_do_not_hide_an_outage(hub: Hub, reader: GitHubReader) -> None:
    hub.fail_next("GET", "/permissions", times=99)
    with pytest.raises(OutsideError, match="failed 5 times"):
        reader.settings()


def test_the_rules_of_a_branch_that_does_not_exist_yet(hub: Hub, reader: GitHubReader) -> None:
    rule = {"ruleset_source_type": "Repository", "ruleset_source": "acme/churn", "ruleset_id": 7}
    hub.state.rules += [
        {"type": "non_fast_forward", **rule, "_branches": "tidegate-ledger/"},
        {"type": "deletion", **rule, "_branches": "main"},
    ]
    found = reader.branch_rules("tidegate-ledger/churn")
    assert found is not None
    assert [row["type"] for row in found] == ["non_fast_forward"]
    assert reader.branch_rules("feature") == ()
    hub.fail_next("GET", "/rules/", status=403)
    assert reader.branch_rules("feature") is None


def test_environments_say_who_must_approve_and_from_where(hub: Hub, reader: GitHubReader) -> None:
    reviewers = {"id": 1, "node_id": "", "type": "required_reviewers", "reviewers": []}
    wait = {"id": 2, "node_id": "", "type": "wait_timer", "wait_timer": 30}
    branch = {"id": 3, "node_id": "", "type": "branch_policy"}
    custom = {"protected_branches": False, "custom_branch_policies": True}
    hub.state.environments += [
        {"name": "production", "protection_rules": [reviewers, wait]},
        {
            "name": "production-operate",
            "protection_rules": [branch],
            "deployment_branch_policy": custom,
        },
    ]
    hub.state.branch_policies += [
        {"id": 1, "node_id": "", "name": "main", "_environment": "production-operate"},
        {"id": 2, "node_id": "", "name": "v*", "type": "tag", "_environment": "production-operate"},
    ]
    found = reader.settings().environments
    assert found is not None
    first, second = found
    assert (first.name, first.reviewers, first.wait_minutes) == ("production", True, 30)
    assert first.branches is None
    assert (second.reviewers, second.branches, second.other_rules) == (False, ("main",), ())
