"""tidegate watch: it hands over exactly when somebody must look again soon, whatever GitHub does."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from tests.github.server import serve
from tests.jobs import Job, Jobs, push_event
from tests.real_repo import Stage, _two_releases, two_releases
from tidegate.commands import watch
from tidegate.commands.watch import _ending
from tidegate.core.events import Phase
from tidegate.errors import Exit, OutsideError
from tidegate.git import text
from tidegate.perform import run_pass

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.github.hub import Hub
    from tidegate.perform import Pass, World

pytestmark = pytest.mark.real


@dataclass
class Watched:
    stage: Stage
    job: Job

    def watch(self, lasting: str = "0s", *more: str) -> int:
        """Watch for some minutes of the stage's clock (one each time that anybody sleeps)."""
        return self.job.tidegate("watch", f"--for={lasting}", "--successor=mlops.yml", *more)

    @property
    def outputs(self) -> dict[str, str]:
        return self.job.outputs

    @property
    def handed_over(self) -> list[dict[str, object]]:
        assert self.job.hub is not None
        return list(self.job.hub.state.dispatches)


def begin(stage: Stage, monkeypatch: pytest.MonkeyPatch, root: Path, hub: Hub | None) -> Watched:
    stage.enter(monkeypatch)
    monkeypatch.setattr(watch, "time", stage.clock)
    return Watched(stage, Jobs(root, stage.repo, stage.repo.head, push_event(), hub).job())


def origin(stage: Stage) -> Path:
    return stage.repo.path.parent / "origin.git"


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A stage on which version 3 was asked for, and nobody has made a pass yet."""
    with pytest.MonkeyPatch.context() as patch:
        stage = two_releases(tmp_path_factory.mktemp("asked"), patch)
        stage.push(0.95)
        text(stage.repo.path, "push", "--quiet", "origin", "HEAD:main")
        assert stage.tidegate("run", "--no-wait") == 0
        return stage


@pytest.fixture
def watched(asked: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    stage = asked.copy(tmp_path / "stage")
    with serve(bare=origin(stage)) as hub:
        hub.add_artifact(1, "tidegate-serving-coin", {"left": b"before"})
        yield begin(stage, monkeypatch, tmp_path / "run", hub)


TICK = {"command": "tick", "model": "coin"}


def test_a_canary_is_handed_over_when_the_time_is_over(watched: Watched) -> None:
    assert watched.watch() == 0
    assert watched.outputs == {"live": "true", "state": "canary"}
    (sent,) = watched.handed_over
    assert (sent["workflow"], sent["ref"], sent["inputs"]) == ("mlops.yml", "main", TICK)


def test_where_no_artifact_of_what_serves_is_left_the_next_pass_leaves_one(
    watched: Watched,
) -> None:
    assert watched.job.hub is not None
    watched.job.hub.state.artifacts.clear()
    assert watched.watch() == 0
    assert watched.outputs["serving"].endswith("/serving/coin")


def test_without_a_successor_nobody_is_started(watched: Watched) -> None:
    assert watched.job.tidegate("watch", "--for=0s") == 0
    assert watched.outputs["live"] == "true"
    assert watched.handed_over == []


def test_probation_is_left_to_the_schedule_unless_somebody_stays_for_it(watched: Watched) -> None:
    assert watched.watch("60m") == 0
    assert watched.outputs["live"] == "false"
    assert watched.outputs["state"] == "probation"
    assert watched.handed_over == []
    assert watched.watch("0s", "--through-probation") == 0
    assert watched.outputs["live"] == "true"
    assert len(watched.handed_over) == 1
    assert watched.watch("60m", "--through-probation", "--json") == 0
    assert watched.outputs == {"live": "false", "state": "promoted"}
    assert watched.stage.outcomes()[-1] == ("3", "promoted")


def test_the_new_champion_is_left_for_pull_requests_by_its_digest(
    watched: Watched, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    assert watched.watch("60m", "--json") == 0
    assert json.loads(capfd.readouterr().out)["live"] is False
    champion = watched.stage.state.champion
    assert champion is not None
    folder = watched.job.temp / "serving" / "coin"
    assert watched.outputs["serving"] == str(folder)
    assert (folder / champion.digest / "slope.txt").read_text() == "0.95"
    assert watched.watch() == 0
    assert "serving" not in watched.outputs  # nothing new


def test_a_rollout_that_was_taken_back_is_exit_1_and_told(watched: Watched) -> None:
    watched.stage.metrics.rates = {"3": (0.9, 0.0), "2": (0.001, 0.0)}
    assert watched.watch("60m") == 1
    assert watched.outputs == {"live": "false", "state": "reverted"}
    assert watched.handed_over == []
    hub = watched.job.hub
    assert hub is not None
    assert len(hub.state.issues) == 1
    (pull,) = hub.state.pulls
    assert pull["head"]["ref"].startswith("tidegate-revert/coin-")
    assert watched.watch("60m") == 0  # its end was told once, by whoever saw it


def test_a_hold_is_looked_at_again_and_a_persons_decision_is_not(watched: Watched) -> None:
    assert watched.watch() == 0
    assert watched.job.tidegate("hold", "--reason", "wait") == 0
    assert watched.watch("5m") == 0
    assert (watched.outputs["live"], watched.outputs["state"]) == ("true", "canary")
    assert watched.job.tidegate("resume", "--reason", "go on") == 0
    assert watched.job.tidegate("promote", "--reason", "known good") == 0
    count = len(watched.handed_over)
    assert watched.watch("60m") == 0
    assert watched.outputs["live"] == "false"
    assert len(watched.handed_over) == count


def test_what_a_person_took_back_is_not_watched(watched: Watched) -> None:
    assert watched.watch() == 0
    assert watched.job.tidegate("revert", "--reason", "not this one") == 0
    count = len(watched.handed_over)
    assert watched.watch("60m") == 0
    assert watched.outputs == {"live": "false", "state": "reverted"}
    assert len(watched.handed_over) == count


def test_a_rollout_that_waits_for_a_person_is_not_watched(watched: Watched) -> None:
    assert watched.watch("60m", "--through-probation") == 0
    assert watched.job.tidegate("promote", "2", "--reason", "the old one, for now") == 0
    stage = watched.stage
    stage.push(0.97)
    assert stage.tidegate("run", "--no-wait") == 0
    count, passes = len(watched.handed_over), stage.clock.passes
    assert watched.watch("60m") == 0
    assert watched.outputs["live"] == "false"
    assert watched.outputs["state"] == "requested"
    assert len(watched.handed_over) == count
    assert stage.clock.passes == passes


def test_nothing_live_is_nothing_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = _two_releases().copy(tmp_path / "stage")
    text(stage.repo.path, "push", "--quiet", "origin", "HEAD:main")
    idle = begin(stage, monkeypatch, tmp_path / "run", None)
    assert idle.watch("60m") == 0
    assert idle.outputs == {"live": "false", "state": "promoted"}
    assert stage.clock.passes == _two_releases().clock.passes


def test_with_github_down_the_decisions_and_the_exit_code_are_the_same(
    asked: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    chains = []
    for number, down in enumerate((False, True)):
        stage = asked.copy(tmp_path / f"stage-{number}")
        stage.metrics.rates = {"3": (0.9, 0.0), "2": (0.001, 0.0)}
        with serve(bare=origin(stage)) as hub:
            hub.add_artifact(1, "tidegate-serving-coin", {"left": b"before"})
            if down:
                for method in ("GET", "POST", "PATCH", "PUT", "DELETE"):
                    hub.fail_next(method, ".", status=403, times=10_000)
            job = begin(stage, monkeypatch, tmp_path / f"run-{number}", hub)
            capfd.readouterr()
            assert job.watch("60m") == 1
            assert job.outputs == {"live": "false", "state": "reverted"}
            assert ("could not be" in capfd.readouterr().err) == down
            assert bool(hub.state.deployments) != down
        chains.append([(e.type, e.at) for e in stage.repo.book.chain])
    assert chains[0] == chains[1]


def test_a_successor_that_cannot_be_started_changes_nothing(
    watched: Watched, capfd: pytest.CaptureFixture[str]
) -> None:
    hub = watched.job.hub
    assert hub is not None
    hub.fail_next("POST", "/dispatches", status=403, times=9)
    assert watched.watch() == 0
    assert "the next run could not be started" in capfd.readouterr().err
    assert watched.outputs["live"] == "true"


def test_a_champion_that_cannot_be_left_does_not_lose_the_end(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(watch, "leave", fail)
    assert watched.watch("60m") == 0
    assert watched.outputs == {"live": "false", "state": "probation"}
    assert "what serves was not left for pull requests" in capfd.readouterr().err


@pytest.mark.parametrize(("failures", "code"), [(3, 0), (10_000, 3)])
def test_passes_that_fail_are_made_again_for_minutes_and_not_for_ever(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, failures: int, code: int
) -> None:
    left = [failures]

    def flaky(world: World) -> Pass:
        if left[0]:
            left[0] -= 1
            raise OutsideError("the ledger does not answer")
        return run_pass(world)

    monkeypatch.setattr(watch, "run_pass", flaky)
    began = watched.stage.clock.now
    assert watched.watch("60m") == code
    if code:
        assert watched.stage.clock.now - began < 600
        assert watched.outputs == {}


def test_the_local_target_needs_a_machine_that_stays(
    watched: Watched, capfd: pytest.CaptureFixture[str]
) -> None:
    watched.job = replace(watched.job, more={"RUNNER_ENVIRONMENT": "github-hosted"})
    before = len(watched.stage.repo.book.chain)
    assert watched.watch("60m") == 2
    assert "this one is GitHub's" in capfd.readouterr().err
    assert len(watched.stage.repo.book.chain) == before
    assert watched.outputs == {}


@pytest.mark.parametrize(
    ("phases", "code"),
    [
        ([], Exit.OK),
        ([Phase.PROMOTED], Exit.OK),
        ([Phase.REVERTED, Phase.PROMOTED], Exit.REJECTED),
        ([Phase.PROMOTED, Phase.REVERTED], Exit.REJECTED),
        ([Phase.SUPERSEDED, Phase.PROMOTED], Exit.OK),
        ([Phase.WITHDRAWN], Exit.INCONCLUSIVE),
        ([Phase.REFUSED], Exit.NOT_JUDGED),
    ],
)
def test_no_later_success_hides_a_harm(phases: list[Phase], code: Exit) -> None:
    assert _ending(phases) is code
