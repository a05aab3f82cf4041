"""The flight-delays example with its endpoint in a cloud, from push to automatic revert: told once per cloud.

The real workflow files run on a runner of GitHub's: it has no credentials, and dies with the job. Each job
exchanges its own OpenID Connect token for the role that `tidegate doctor --policy` describes. Models are
packed, served by processes that load them with MLflow, and judged live by the cloud's own counts. The clock
of cloud and engine runs thirty times as fast as real time; nothing else about them is sped up.

Each test goes on where the one before it ended.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.act import doctoring, places
from tests.act.house import House
from tests.act.issuer import issuing
from tests.act.places import CloudFlights
from tests.act.world import World
from tidegate.core.events import ParityChecked, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.act.events import Pull

pytestmark = [pytest.mark.workflows, pytest.mark.timeout(900)]

CLOUDS: dict[str, Callable[[], Any]] = {"sagemaker": places.sagemaker, "vertex": places.vertex}
JUDGE = "model[flight-delays,mlops.yaml]"


# Either takes some minutes: every run plays the first, `./dev github` and `./dev heavy` both.
@pytest.fixture(
    scope="module", params=["sagemaker", pytest.param("vertex", marks=pytest.mark.heavy)]
)
def cloud(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def flights(cloud: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudFlights]:
    folder = tmp_path_factory.mktemp(cloud)
    house = House.copy(folder / "house")
    doctoring.clocked(house)
    with CLOUDS[cloud]() as place, issuing(places.pinned()) as issuer:
        given = doctoring.identified(house, issuer.url, issuer.bearer)
        assert {job for job in given if job[0] != "command.yml"} == {
            ("judge-model.yml", "prepare"), ("judge-model.yml", "train-cloud"),
            ("judge-model.yml", "decide"), ("watch-model.yml", "pass"),
        }  # fmt: skip
        place.trust(issuer)
        with World.made(folder, house) as world:
            world.machine = "github-hosted"
            world.env |= place.env()
            yield CloudFlights.told(world, place, issuer)


@pytest.fixture(autouse=True)
def _in_order(request: pytest.FixtureRequest, cloud: str) -> Iterator[None]:
    """Skip nothing in silence: what comes after a failure fails, too, and says why."""
    failed = request.session.testsfailed
    told: dict[str, str] = request.module.__dict__.setdefault("_BROKEN", {})
    if cloud in told:
        pytest.fail(f"the story broke at {told[cloud]}")
    yield
    if request.session.testsfailed > failed:
        told[cloud] = request.node.name


def _proposed(flights: CloudFlights, title: str, overlay: str, *, there: bool = False) -> Pull:
    """Grace proposes a model, ``there``: trained in the cloud; the proposal's check is another story's."""
    world = flights.world
    world.branch(overlay)
    more = flights.trained_there() if there else {}
    world.commit(title, {**flights.overlay(overlay), **more})
    return world.propose(overlay, title=title)


def _comment(flights: CloudFlights, pull: Pull) -> str:
    (row,) = [r for r in flights.world.hub.state.comments if r["_number"] == pull.number]
    return str(row["body"])


def _statuses(flights: CloudFlights, commit: str) -> list[str]:
    """Return the states of a commit's deployment, oldest first."""
    state = flights.world.hub.state
    (mine,) = [row["id"] for row in state.deployments if row["sha"] == commit]
    return [row["state"] for row in state.statuses if row["_deployment"] == mine]


def test_1_the_first_model_is_registered_and_serves(flights: CloudFlights, cloud: str) -> None:
    world = flights.world
    commit = world.commit("Predict late arrivals: January, three features", flights.first())
    result = world.push()
    assert not result.red, result.failures()
    state = flights.book.state
    assert state.champion is not None
    assert state.champion.commit == commit
    assert [r.phase for r in state.past] == [Phase.PROMOTED]
    assert flights.place.split() == {"1": 100}
    assert flights.place.left() == []
    assert _statuses(flights, commit)[-1] == "success"
    jobs = [
        (g["job_workflow_ref"].partition("@")[0].rpartition("/")[2]) for g in flights.issuer.given
    ]
    assert set(jobs) == {"judge-model.yml", "watch-model.yml"}


def test_2_a_better_model_trained_there_is_promoted_by_the_clouds_own_counts(
    flights: CloudFlights, cloud: str
) -> None:
    world = flights.world
    pull = _proposed(flights, "Half a year and the weather", "2-better", there=True)
    with flights.passengers():
        result = world.merge(pull)
        assert not result.red, result.failures()
        assert f"deliver/{JUDGE}/judge/train" not in result.ran
        state = flights.settled()
    assert state.champion is not None
    assert state.champion.commit == world.tip()
    assert [r.phase for r in state.past] == [Phase.PROMOTED, Phase.PROMOTED]
    assert [share for _, share in state.past[-1].routes] == [0.5, 0.9, 1.0]
    assert flights.place.split() == {"2": 100}
    assert flights.place.left() == []
    tally = flights.tally
    assert not [key for key in tally["counts"] if key.startswith("failed")], tally
    assert len(tally["by"]) == 2  # both have answered
    assert _statuses(flights, world.tip())[-1] == "success"
    body = _comment(flights, pull)
    flights.keep(f"{cloud}-1-promoted", body)
    assert "promoted" in body.lower()
    assert re.search(rf"trained in .* on `{cloud} [\w.-]+`, (.* billed, )?about \$", body)
    assert re.search(
        r"one more variant \(`1 x [\w.-]+`\): .* of canary, .* of holdback, about \$", body
    )
    assert not world.hub.state.issues


def test_3_a_model_that_fails_for_new_routes_is_taken_back_by_itself(
    flights: CloudFlights, cloud: str
) -> None:
    world = flights.world
    champion = flights.book.state.champion
    pull = _proposed(flights, "Look the planned minutes up", "5-brittle")
    with flights.passengers():
        result = world.merge(pull)
    assert result.red
    assert result.job(f"deliver/{JUDGE}/judge/decide").result == "success", result.failures()
    assert result.job(f"deliver/{JUDGE}/watch/pass").result == "failure", result.failures()
    state = flights.book.state
    assert state.champion == champion
    bad = state.past[-1]
    assert (bad.phase, bad.cause) == (Phase.REVERTED, "harm")
    assert bad.model.commit == world.tip()
    assert bad.model.digest in state.quarantined
    assert flights.place.split() == {"2": 100}
    assert flights.place.left() == []
    # Weights moved up and back; nobody noticed but those whom the bad model could not answer.
    counts = flights.tally["counts"]
    assert counts["failed_new"] > 0
    assert "failed_old" not in counts, flights.tally
    assert _statuses(flights, world.tip())[-1] == "failure"
    (issue,) = world.hub.state.issues
    flights.keep(f"{cloud}-2-issue", f"# {issue['title']}\n\n{issue['body']}")
    assert "error_rate" in issue["body"]
    body = _comment(flights, pull)
    flights.keep(f"{cloud}-3-taken-back", body)
    assert "taken back" in body.lower()
    assert "one more variant" in body


def test_4_each_job_did_what_its_policy_lets_it_with_tokens_that_nobody_saw(
    flights: CloudFlights,
) -> None:
    flights.place.assert_permitted()
    checked = [e.payload for e in flights.book.chain if isinstance(e.payload, ParityChecked)]
    assert [(parity.ok, parity.rows) for parity in checked] == [(True, 300)] * 3
    issuer = flights.issuer
    assert {
        (g["environment"], g["job_workflow_ref"].partition("@")[0].rpartition("/")[2])
        for g in issuer.given
    } == {
        ("production-operate", "judge-model.yml"),
        ("training", "judge-model.yml"),
        ("production-operate", "watch-model.yml"),
    }
    # The command itself is shown to nobody on GitHub: act writes it down.
    logs = [
        line
        for run in flights.world.runs
        for line in run.raw.splitlines()
        if "::add-mask::" not in line
    ]
    secrets = (*flights.place.secrets(), *issuer.tokens, issuer.bearer)
    assert not [line for line in logs for secret in secrets if secret in line]
    assert len(issuer.tokens) == len(set(issuer.tokens)) >= 8
