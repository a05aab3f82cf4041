"""The flight-delays example under the workflows as users have them: told in order, in one world.

Each test goes on where the one before it ended. Jobs train and score for real, versions live in
the repository's releases, the ledger is pushed, and Envoy splits the passengers' requests.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

import pytest

from tests.act.world import git
from tidegate.core.events import Phase

if TYPE_CHECKING:
    from tests.act.events import Pull
    from tests.act.flights import Flights

pytestmark = [pytest.mark.workflows, pytest.mark.timeout(600), pytest.mark.usefixtures("in_order")]

JUDGE = "model[flight-delays,mlops.yaml]"


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
    assert flights.check(commit)["conclusion"] == "success"
    assert flights.statuses(commit)[-1] == "success"


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
    (comment,) = flights.comments(better.number)
    flights.keep("1-pull-request", comment["body"])
    assert comment["user"]["login"] == "github-actions[bot]"
    assert "roc_auc" in comment["body"]
    assert re.search(r"trained and judged in \d+ s; cost: `\d+ runner minutes`", comment["body"])
    assert flights.check(better.head_sha)["conclusion"] == "success"
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
    (comment,) = flights.comments(pull.number)
    flights.keep("2-rules-changed", comment["body"])
    assert comment["_edits"] >= 1
    assert "changes its own rules" in comment["body"]
    assert "0.99" in comment["body"]
    assert flights.check(pull.head_sha)["conclusion"] == "success"


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
    assert flights.statuses(merged)[-1] == "success"
    # The thread of the pull request follows to the end, in the comment that it had.
    (comment,) = flights.comments(pull.number)
    flights.keep("3-promoted", comment["body"])
    assert "promoted" in comment["body"].lower()
    assert flights.stage.replay.failed == 0
    assert not world.hub.state.issues


def _old(flights: Flights) -> str:
    return git(flights.world.work, "show", "main:mlops.yaml") + "\n"


def test_5_a_leaky_model_is_taken_back_by_itself_with_all_that_follows(flights: Flights) -> None:
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
    assert "failure" in flights.statuses(world.tip())
    (issue,) = world.hub.state.issues
    flights.keep("5-issue", f"# {issue['title']}\n\n{issue['body']}")
    assert "label_loss" in issue["body"]
    (comment,) = flights.comments(pull.number)
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


def test_5b_nothing_that_serves_knows_the_jobs_token(flights: Flights) -> None:
    token = flights.world.hub.token
    secrets = [token.encode(), base64.b64encode(f"x-access-token:{token}".encode())]
    environments = flights.environments()
    assert len(environments) >= 2
    assert not [env for env in environments for secret in secrets if secret in env]
    assert not [env for env in environments if b"extraheader" in env or b"GITHUB_TOKEN" in env]


def test_6_a_person_goes_back_to_the_version_before(flights: Flights) -> None:
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
    assert flights.statuses(second.commit)[-1] == "inactive"
