"""tidegate release: what may go to the endpoint, and how a rollout's end is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.commands.test_register import prepare
from tests.real_repo import Stage, two_releases

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return two_releases(tmp_path, monkeypatch)


def register(stage: Stage, slope: float) -> None:
    assert prepare(stage, slope) == 0
    assert stage.tidegate("register") == 0


def test_a_good_version_is_promoted_with_exit_code_0(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    register(stage, 0.95)
    capfd.readouterr()
    assert stage.tidegate("release", "--json") == 0
    out = json.loads(capfd.readouterr().out)
    assert out["rollout"]["phase"] == "probation"
    assert stage.target.routed[-2:] == [{"3": 0.5, "2": 0.5}, {"3": 0.9, "2": 0.1}]
    assert stage.tidegate("release", "3", "--through-probation") == 0
    assert stage.outcomes()[-1] == ("3", "promoted")
    assert stage.target.read().traffic() == {"3": 1.0}


def test_a_harmful_version_is_taken_back_with_exit_code_1_and_quarantined(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    register(stage, 0.95)
    stage.metrics.rates = {"2": (0.01, 0.0), "3": (0.5, 0.0)}
    capfd.readouterr()
    assert stage.tidegate("release", "--json") == 1
    out = json.loads(capfd.readouterr().out)
    assert (out["champion"]["version"], out["rollout"]["phase"]) == ("2", "reverted")
    assert stage.target.read().traffic() == {"2": 1.0}
    record = json.loads((stage.repo.bundle / "run.json").read_text())
    assert {record["model_digest"], record["recipe"]} <= stage.state.quarantined

    # Neither the version nor another run of the same commit, nor the same bytes again.
    assert stage.tidegate("release", "3") == 1
    assert "version 3 is quarantined: it was taken back" in capfd.readouterr().err
    assert stage.tidegate("run") == 1
    assert "this commit's version 3 was taken back" in capfd.readouterr().err

    # Only a person, with a reason.
    assert stage.tidegate("release", "--retry", "3") == 2
    assert "Say why with --reason" in capfd.readouterr().err
    stage.metrics.rates = {}
    assert stage.tidegate("release", "--retry", "3", "--reason", "a broken disk") == 0
    assert stage.state.champion is not None
    assert stage.state.champion.version == "3"
    assert record["model_digest"] not in stage.state.quarantined
    asked = [e for e in stage.repo.book.chain if e.type == "requested"][-1]
    assert (asked.actor, asked.human) == ("Ada", True)


def test_quarantined_bytes_from_another_commit_stay_out(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    register(stage, 0.95)
    stage.metrics.rates = {"2": (0.01, 0.0), "3": (0.5, 0.0)}
    assert stage.tidegate("release") == 1
    stage.repo.write("notes.md", "another commit, the same model")
    stage.repo.commit()
    assert stage.tidegate("run") == 1
    assert "quarantined" in capfd.readouterr().err
    assert len(stage.state.versions) == 3
    assert stage.target.deployed.count("3") == 1


def test_an_accepted_recipe_under_quarantine_is_refused_before_it_is_trained(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    register(stage, 0.95)
    stage.metrics.rates = {"2": (0.01, 0.0), "3": (0.5, 0.0)}
    assert stage.tidegate("release") == 1
    stage.repo.commit()  # an empty commit: the same tree, the same recipe
    capfd.readouterr()
    assert stage.tidegate("run") == 1
    err = capfd.readouterr().err
    assert "a model of this very recipe (code, configuration, data) was taken back" in err
    assert "train:" not in err


def test_a_version_judged_against_another_champion_is_refused(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    register(stage, 0.95)  # 3, judged against 2
    waiting = stage.repo.head
    register(stage, 0.97)  # 4, too
    assert stage.tidegate("release", "--through-probation") == 0
    assert stage.tidegate("release", "3") == 1
    assert "judged against another champion than the one that serves" in capfd.readouterr().err
    assert waiting != stage.repo.head


def test_a_version_whose_newest_verdict_is_no_pass_is_refused(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    register(stage, 0.95)
    stage.repo.configure(gate__rules=[{"metric": "brier", "at_most": 0.01, "margin": 0.005}])
    assert stage.tidegate("gate") == 1  # the same bytes under stricter rules
    assert stage.tidegate("release", "3") == 1
    assert "newest verdict on version 3 is reject" in capfd.readouterr().err


def test_an_unknown_version_names_the_known_ones(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    assert stage.tidegate("release", "17") == 2
    assert "no registered version 17; known: 1, 2" in capfd.readouterr().err
    stage.push(0.5)
    assert stage.tidegate("release") == 2
    assert "no registered version of commit" in capfd.readouterr().err


def test_what_serves_already_needs_no_release(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    before = len(stage.repo.book.chain)
    assert stage.tidegate("release", "2", "--json") == 0
    assert json.loads(capfd.readouterr().out) == {"state": "nothing to do", "version": "2"}
    assert len(stage.repo.book.chain) == before


def test_no_wait_asks_once_and_whoever_ticks_does_it(stage: Stage) -> None:
    register(stage, 0.95)
    assert stage.tidegate("release", "--no-wait") == 0
    assert stage.tidegate("release", "--no-wait") == 0
    requests = [e for e in stage.repo.book.chain if e.type == "requested"]
    assert len(requests) == 3  # one a version
    assert stage.target.read().traffic() == {"2": 1.0}
    for _ in range(20):
        assert stage.tidegate("tick") == 0
        stage.clock.sleep(1)
    assert stage.outcomes()[-1] == ("3", "promoted")


def test_a_version_that_answers_otherwise_than_offline_gets_no_traffic(
    stage: Stage, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    register(stage, 0.95)
    ask = type(stage.target).ask
    monkeypatch.setattr(
        type(stage.target), "ask", lambda self, version, rows: ask(self, version, rows) + 1e-3
    )
    assert stage.tidegate("release") == 6
    assert stage.outcomes()[-1] == ("3", "refused")
    assert all("3" not in traffic for traffic in stage.target.routed)
