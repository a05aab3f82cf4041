"""The flight-delays example and what others push: a worse model, words, a fork, forged results.

Told in order, in one world, like :mod:`tests.act.test_story`; here the better model was the first.
"""

from __future__ import annotations

import base64
import json
import random
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.act.flights import FORKS, Flights

if TYPE_CHECKING:
    from tests.act.act import Result
    from tests.act.events import Pull

pytestmark = [pytest.mark.workflows, pytest.mark.timeout(600), pytest.mark.usefixtures("in_order")]

JUDGE = "model[flight-delays,mlops.yaml]"


def test_1_the_better_model_is_the_first_one(flights: Flights) -> None:
    world = flights.world
    world.commit("Half a year and the weather", flights.first() | flights.overlay("2-better"))
    result = world.push()
    assert not result.red, result.failures()
    assert flights.book.state.champion is not None


def test_2_a_worse_model_is_rejected_and_production_is_not_touched(flights: Flights) -> None:
    world = flights.world
    before = flights.book.state
    world.branch("main")
    commit = world.commit("Drop the weather", flights.overlay("3-worse"))
    result = world.push()
    assert result.red
    decide = result.job(f"deliver/{JUDGE}/judge/decide")
    assert decide.result == "failure", result.failures()
    assert f"deliver/{JUDGE}/release" not in result.ran
    assert flights.check(commit)["conclusion"] == "failure"
    state = flights.book.state
    assert (state.champion, state.rollout) == (before.champion, None)
    assert len(world.hub.state.releases) == 1
    assert len(world.hub.state.deployments) == 1


def test_3_a_change_that_touches_no_model_passes_its_check_untrained(flights: Flights) -> None:
    world = flights.world
    world.branch("words")
    world.commit("Say more", {"README.md": "# Flights out of New York\n"})
    pull = world.propose("words", title="Say more")
    result = world.check(pull)
    assert not result.red, result.failures()
    assert _jobs(result) == ["check", "check/find", "check/verdict"]
    assert not flights.comments(pull.number)
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
    script = (clone / "train.py").read_text() + "\n# Mallory was here.\n"
    world.commit("Fewer trees", {"train.py": script}, clone=clone)
    pull = world.propose("main", title="`$(id)` ${{ github.token }}", head=head, author="mallory")
    return pull, world.check(pull)


def test_4_a_forks_verdict_is_published_by_the_second_workflow(
    flights: Flights, foreign: tuple[Pull, Result]
) -> None:
    world = flights.world
    pull, result = foreign
    assert (
        result.red
    )  # worse than what serves, which it knew from an artifact of the default branch
    assert result.job(f"check/{JUDGE}/champion").result == "success", result.failures()
    assert not flights.comments(pull.number)
    assert not [row for row in world.hub.state.checks if row["head_sha"] == pull.head_sha]
    looks = len(flights.book.chain)
    told = world.followed(result, pull, workflow=FORKS)
    assert not told.red, told.failures()
    (comment,) = flights.comments(pull.number)
    assert "roc_auc" in comment["body"]
    assert flights.check(pull.head_sha)["conclusion"] == "failure"
    assert len(flights.book.chain) == looks + 1  # the look at the holdout is counted


@pytest.mark.parametrize("forgery", ["a slice's name", "too large"])
def test_5_a_forged_result_is_refused_aloud_and_nothing_is_published(
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


def test_6_a_result_of_a_commit_that_no_pull_request_proposes_is_ignored(
    flights: Flights, foreign: tuple[Pull, Result]
) -> None:
    pull, result = foreign
    stale = replace(pull, head_sha="1" * 40)
    count = len(flights.world.hub.state.comments)
    told = flights.world.followed(result, stale, workflow=FORKS)
    assert "nothing to publish" in told.job("publish/publish").log
    assert len(flights.world.hub.state.comments) == count
