"""The flight-delays example under the workflows as users have them: told in order, in one world.

Each test goes on where the one before it ended. Jobs train and score for real, versions live in
the repository's releases, the ledger is pushed, and Envoy splits the passengers' requests.
"""

from __future__ import annotations

import base64
import json
import random
import re
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.act.flights import FORKS, Flights
from tests.act.house import House
from tests.act.world import World, git
from tidegate.core.events import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.act.act import Result
    from tests.act.events import Pull

pytestmark = [pytest.mark.workflows, pytest.mark.timeout(600), pytest.mark.xdist_group("act-story")]

JUDGE = "model[flight-delays,mlops.yaml]"


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flights]:
    folder = tmp_path_factory.mktemp("flights")
    with World.made(folder, House.copy(folder / "house")) as world:
        made = Flights.begun(world)
        try:
            yield made
        finally:
            made.end()


@pytest.fixture(autouse=True)
def _in_order(request: pytest.FixtureRequest) -> Iterator[None]:
    """Skip nothing in silence: what comes after a failure fails, too, and says why."""
    failed = request.session.testsfailed
    told: list[str] = request.module.__dict__.setdefault("_BROKEN", [])
    if told:
        pytest.fail(f"the story broke at {told[0]}")
    yield
    if request.session.testsfailed > failed:
        told.append(request.node.name)


def _check(flights: Flights, commit: str) -> dict[str, Any]:
    rows = [row for row in flights.world.hub.state.checks if row["head_sha"] == commit]
    assert [row["name"] for row in rows] == ["tidegate/flight-delays"]
    return rows[0]


def _comments(flights: Flights, number: int) -> list[dict[str, Any]]:
    return [row for row in flights.world.hub.state.comments if row["_number"] == number]


def _statuses(flights: Flights, commit: str) -> list[str]:
    """Return the states of a commit's deployment, oldest first."""
    state = flights.world.hub.state
    mine = [row["id"] for row in state.deployments if row["sha"] == commit]
    assert len(mine) == 1
    return [row["state"] for row in state.statuses if row["_deployment"] == mine[0]]


def test_1_the_first_model_is_trained_judged_registered_and_serves(flights: Flights) -> None:
    world = flights.world
    commit = world.commit("Predict late arrivals: January, three features", flights.first())
    result = world.push()
    assert not result.red, result.failures()
    state = flights.book.state
    assert state.champion is not None
    assert state.champion.commit == commit
    assert [r.phase for r in state.past] == [Phase.PROMOTED]
    assert [row["tag_name"] for row in world.hub.state.releases] == ["flight-delays-v1"]
    assert flights.ask()["predictions"][0] > 0
    assert _check(flights, commit)["conclusion"] == "success"
    assert _statuses(flights, commit)[-1] == "success"


@pytest.fixture(scope="module")
def better(flights: Flights) -> Pull:
    """Grace proposes the better model."""
    world = flights.world
    world.branch("weather")
    world.commit("Half a year and the weather", flights.overlay("2-better"))
    return world.propose("weather", title="Half a year and the weather")


def test_2_a_pull_request_gets_one_comment_and_a_check(flights: Flights, better: Pull) -> None:
    result = flights.world.check(better)
    assert not result.red, result.failures()
    (comment,) = _comments(flights, better.number)
    flights.keep("1-pull-request", comment["body"])
    assert comment["user"]["login"] == "github-actions[bot]"
    assert "roc_auc" in comment["body"]
    assert re.search(r"trained and judged in \d+ s; cost: `\d+ runner minutes`", comment["body"])
    assert _check(flights, better.head_sha)["conclusion"] == "success"
    assert len(flights.world.hub.state.releases) == 1
    assert flights.book.state.rollout is None


def test_3_pushed_again_with_rules_of_its_own_it_is_judged_by_the_bases(flights: Flights) -> None:
    world = flights.world
    before = world.hub.state.pulls[-1]["head"]["sha"]
    config = (world.work / "mlops.yaml").read_text()
    changed = config.replace("at_least: 0.6,", "at_least: 0.99,")
    assert changed != config
    world.commit("Raise the bar", {"mlops.yaml": changed})
    pull = world.propose("weather")
    result = world.check(pull, action="synchronize", before=before)
    assert not result.red, result.failures()  # 0.99 would have rejected it
    (comment,) = _comments(flights, pull.number)
    flights.keep("2-rules-changed", comment["body"])
    assert comment["_edits"] >= 1
    assert "changes its own rules" in comment["body"]
    assert "0.99" in comment["body"]
    assert _check(flights, pull.head_sha)["conclusion"] == "success"


def test_4_merged_it_becomes_a_canary_and_is_promoted_while_passengers_ask(
    flights: Flights,
) -> None:
    world = flights.world
    world.commit("Lower the bar again", {"mlops.yaml": _old(flights)})
    pull = world.propose("weather", title="Half a year and the weather")
    with flights.passengers(), world.house.passes_of("8s"):
        result = world.merge(pull)
        assert not result.red, result.failures()
        passes = world.play_dispatches()  # the first pass was over before the canary
        state = flights.settled()
    assert passes
    assert not [run.failures() for run in passes if run.red]
    merged = world.tip()
    assert state.champion is not None
    assert state.champion.commit == merged
    assert [r.phase for r in state.past] == [Phase.PROMOTED, Phase.PROMOTED]
    assert _statuses(flights, merged)[-1] == "success"
    # The thread of the pull request follows to the end, in the comment that it had.
    (comment,) = _comments(flights, pull.number)
    flights.keep("3-promoted", comment["body"])
    assert "promoted" in comment["body"].lower()
    assert flights.stage.replay.failed == 0
    assert not world.hub.state.issues


def _old(flights: Flights) -> str:
    return git(flights.world.work, "show", "main:mlops.yaml") + "\n"


def test_5_a_worse_model_is_rejected_and_production_is_not_touched(flights: Flights) -> None:
    world = flights.world
    before = flights.book.state
    world.branch("main")
    commit = world.commit("Drop the weather", flights.overlay("3-worse"))
    result = world.push()
    assert result.red
    decide = result.job(f"deliver/{JUDGE}/judge/decide")
    assert decide.result == "failure", result.failures()
    assert f"deliver/{JUDGE}/release" not in result.ran
    assert _check(flights, commit)["conclusion"] == "failure"
    state = flights.book.state
    assert (state.champion, state.rollout) == (before.champion, None)
    assert len(world.hub.state.releases) == 2
    assert len(world.hub.state.deployments) == 2


def test_6_a_leaky_model_is_taken_back_by_itself_with_all_that_follows(flights: Flights) -> None:
    world = flights.world
    champion, before = flights.book.state.champion, world.tip()
    world.branch("delay")
    world.commit("Use the departure delay: AUC 0.93", flights.overlay("4-leaky"))
    pull = world.propose("delay", title="Use the departure delay: AUC 0.93")
    with flights.passengers():
        result = world.merge(pull)
    assert result.red
    assert result.job(f"deliver/{JUDGE}/judge/decide").result == "success", result.failures()
    assert result.job(f"deliver/{JUDGE}/watch/pass").result == "failure", result.failures()
    state = flights.book.state
    assert state.champion == champion
    assert state.past[-1].phase is Phase.REVERTED
    assert flights.ask()["predictions"][0] > 0
    assert "failure" in _statuses(flights, world.tip())
    (issue,) = world.hub.state.issues
    flights.keep("5-issue", f"# {issue['title']}\n\n{issue['body']}")
    assert "label_loss" in issue["body"]
    (comment,) = _comments(flights, pull.number)
    flights.keep("4-taken-back", comment["body"])
    assert "taken back" in comment["body"].lower()
    # The way back is there for a person to merge: the tree as it was.
    proposal = world.hub.state.pulls[-1]
    flights.keep("6-revert", f"# {proposal['title']}\n\n{proposal['body']}")
    assert proposal["user"]["login"] == "github-actions[bot]"
    assert proposal["html_url"] in issue["body"]
    branch = f"refs/heads/{proposal['head']['ref']}"
    assert branch.startswith("refs/heads/tidegate-revert/flight-delays-")
    assert git(world.bare, "rev-parse", f"{branch}^{{tree}}") == git(
        world.bare, "rev-parse", f"{before}^{{tree}}"
    )


def test_6b_nothing_that_serves_knows_the_jobs_token(flights: Flights) -> None:
    token = flights.world.hub.token
    secrets = [token.encode(), base64.b64encode(f"x-access-token:{token}".encode())]
    environments = flights.environments()
    assert len(environments) >= 2
    assert not [env for env in environments for secret in secrets if secret in env]
    assert not [env for env in environments if b"extraheader" in env or b"GITHUB_TOKEN" in env]


def test_7_a_change_that_touches_no_model_passes_its_check_untrained(flights: Flights) -> None:
    world = flights.world
    world.branch("words")
    world.commit("Say more", {"README.md": "# Flights out of New York\n"})
    pull = world.propose("words", title="Say more")
    result = world.check(pull)
    assert not result.red, result.failures()
    assert _jobs(result) == ["check", "check/find", "check/verdict"]
    assert not _comments(flights, pull.number)
    queued = world.queue(pull)
    assert not queued.red, queued.failures()
    assert _jobs(queued) == ["check", "check/find", "check/verdict"]


def _jobs(result: Result) -> list[str]:
    return sorted(result.ran)


@pytest.fixture(scope="module")
def foreign(flights: Flights) -> tuple[Pull, Result]:
    """Mallory's fork proposes a model, with a hostile title, and its unprivileged run has ended."""
    world = flights.world
    head = world.fork("mallory")
    clone = world.folder / "mallory"
    world.commit("Fewer trees", flights.overlay("3-worse"), clone=clone)
    pull = world.propose("main", title="`$(id)` ${{ github.token }}", head=head, author="mallory")
    return pull, world.check(pull)


def test_8_a_forks_verdict_is_published_by_the_second_workflow(
    flights: Flights, foreign: tuple[Pull, Result]
) -> None:
    world = flights.world
    pull, result = foreign
    assert (
        result.red
    )  # worse than what serves, which it knew from an artifact of the default branch
    assert result.job(f"check/{JUDGE}/champion").result == "success", result.failures()
    assert not _comments(flights, pull.number)
    assert not [row for row in world.hub.state.checks if row["head_sha"] == pull.head_sha]
    looks = len(flights.book.chain)
    told = world.followed(result, pull, workflow=FORKS)
    assert not told.red, told.failures()
    (comment,) = _comments(flights, pull.number)
    assert "roc_auc" in comment["body"]
    assert _check(flights, pull.head_sha)["conclusion"] == "failure"
    assert len(flights.book.chain) == looks + 1  # the look at the holdout is counted


@pytest.mark.parametrize("forgery", ["a slice's name", "too large"])
def test_9_a_forged_result_is_refused_aloud_and_nothing_is_published(
    flights: Flights, foreign: tuple[Pull, Result], forgery: str
) -> None:
    world = flights.world
    pull, result = foreign
    real = world.artifacts / result.id / "tidegate-result-flight-delays.zip"
    with zipfile.ZipFile(real) as archive:
        (name,) = archive.namelist()
        verdict = json.loads(archive.read(name))
    if forgery == "too large":
        verdict["note"] = base64.b64encode(random.Random(0).randbytes(80_000)).decode()
    else:
        verdict["findings"][-1]["slice"] = "[click](https://evil.example) <img src=x>"
    said = (
        [dict(row) for row in world.hub.state.comments],
        [dict(r) for r in world.hub.state.checks],
    )
    run = world.forged(pull, "tidegate-result-flight-delays", {name: json.dumps(verdict)})
    told = world.followed(run, pull, workflow=FORKS)
    assert told.red, told.told()
    assert "refused" in told.job("publish/publish").log
    assert (world.hub.state.comments, world.hub.state.checks) == said


def test_9b_a_result_of_a_commit_that_no_pull_request_proposes_is_ignored(
    flights: Flights, foreign: tuple[Pull, Result]
) -> None:
    pull, result = foreign
    stale = replace(pull, head_sha="1" * 40)
    count = len(flights.world.hub.state.comments)
    told = flights.world.followed(result, stale, workflow=FORKS)
    assert "nothing to publish" in told.job("publish/publish").log
    assert len(flights.world.hub.state.comments) == count


def test_9c_a_person_goes_back_to_the_version_before(flights: Flights) -> None:
    world = flights.world
    (first, second) = (r.model for r in flights.book.state.past if r.phase is Phase.PROMOTED)
    assert flights.book.state.champion == second
    result = world.dispatch(command="revert", reason="The new one is late on Sundays")
    assert not result.red, result.failures()
    assert flights.settled().champion == first
    (event,) = [
        e for e in flights.book.chain if getattr(e.payload, "reason", "").endswith("Sundays")
    ]
    assert (event.actor, event.human) == ("ada", True)
    assert flights.ask()["predictions"][0] > 0
    assert _statuses(flights, second.commit)[-1] == "inactive"
