"""tidegate run: what a push runs, once, however often it is run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.real_repo import Repo, Stage, training, two_releases
from tidegate.core.events import Judged

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return two_releases(tmp_path, monkeypatch)


def counts(stage: Stage) -> dict[str, int]:
    types = [event.type for event in stage.repo.book.chain]
    return {name: types.count(name) for name in ("judged", "registered", "requested", "routing")}


def test_a_push_is_trained_judged_registered_and_released(stage: Stage) -> None:
    stage.push(0.95)
    assert stage.tidegate("run", "--through-probation") == 0
    assert stage.outcomes() == [("1", "promoted"), ("2", "promoted"), ("3", "promoted")]
    assert stage.repo.context().registry().aliases("coin") == {"champion": "3"}


def test_run_again_on_the_same_commit_repeats_nothing(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    stage.push(0.95)
    assert stage.tidegate("run", "--through-probation") == 0
    before, deployed = counts(stage), list(stage.target.deployed)
    capfd.readouterr()
    assert stage.tidegate("run") == 0
    assert "train:" not in capfd.readouterr().err
    assert counts(stage) == before
    assert stage.target.deployed == deployed


def test_a_run_cut_off_before_the_release_goes_on_where_it_was(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    stage.push(0.95)
    assert stage.tidegate("run", "--no-release") == 0
    assert counts(stage)["registered"] == 2
    assert stage.target.read().traffic() == {"2": 1.0}
    capfd.readouterr()
    assert stage.tidegate("run", "--no-wait") == 0
    err = capfd.readouterr().err
    assert "this recipe is trained already" in err
    assert "judged already: pass" in err
    assert stage.state.rollout is not None
    assert stage.state.rollout.phase == "requested"
    capfd.readouterr()
    assert stage.tidegate("run", "--no-wait", "--json") == 0  # asked for already: no wait, either
    assert json.loads(capfd.readouterr().out)["rollout"] == stage.state.rollout.id
    assert stage.state.rollout.phase == "requested"
    assert stage.tidegate("run", "--through-probation") == 0  # follows the rollout asked for
    assert counts(stage)["requested"] == 3
    assert stage.outcomes()[-1] == ("3", "promoted")


def test_a_worse_model_is_rejected_and_production_untouched(stage: Stage) -> None:
    stage.push(0.2)
    assert stage.tidegate("run") == 1
    assert stage.tidegate("run") == 1
    assert len(stage.state.versions) == 2
    assert counts(stage)["requested"] == 2
    assert stage.target.read().traffic() == {"2": 1.0}


def test_the_same_model_again_is_nothing_to_do(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    before = counts(stage)
    stage.repo.write("notes.md", "nothing that trains")
    stage.repo.commit()
    assert stage.tidegate("run", "--json") == 0
    assert json.loads(capfd.readouterr().out) == {"state": "nothing to do", "version": "2"}
    assert counts(stage) == before


def test_a_verdict_under_other_rules_is_not_used_again(stage: Stage) -> None:
    stage.push(0.95)
    assert stage.tidegate("run", "--no-release") == 0
    stage.repo.configure(gate__rules=[{"metric": "brier", "at_most": 0.01, "margin": 0.005}])
    stage.repo.commit()  # the same bytes, stricter rules
    assert stage.tidegate("run", "--no-release") == 1
    stage.repo.configure()
    stage.repo.write("notes.md", "back to the rules of before")
    stage.repo.commit()
    assert stage.tidegate("run", "--no-release") == 0


def test_a_verdict_on_other_holdout_rows_is_not_used_again(stage: Stage) -> None:
    import pyarrow.parquet as pq

    from tests.real_repo import rows

    stage.push(0.95)
    assert stage.tidegate("run", "--no-release") == 0
    pq.write_table(rows(60, 9), stage.repo.path / "holdout.parquet")
    stage.repo.commit()
    assert stage.tidegate("run", "--no-release") == 0
    judged = [e.payload for e in stage.repo.book.chain if isinstance(e.payload, Judged)]
    assert len({payload.holdout for payload in judged}) == 2
    assert len({payload.candidate for payload in judged[-2:]}) == 1


def test_a_newer_push_supersedes_a_waiting_rollout_cleanly(stage: Stage) -> None:
    stage.push(0.95)
    assert stage.tidegate("run", "--no-wait") == 0
    first = stage.repo.head
    stage.push(0.97)
    assert stage.tidegate("run", "--through-probation") == 0
    assert stage.outcomes()[2:] == [("3", "superseded"), ("4", "promoted")]
    from tidegate.git import text

    text(stage.repo.path, "checkout", "--quiet", first)
    assert stage.tidegate("run") == 5  # its end is known: superseded


def test_the_ledger_lives_at_origin_and_a_fresh_clone_knows_everything(
    stage: Stage, tmp_path: Path
) -> None:
    from tidegate.git import text

    origin = stage.repo.path.parent / "origin.git"
    text(stage.repo.path, "push", "--quiet", "origin", "HEAD:main")
    text(tmp_path, "clone", "--quiet", "--branch", "main", str(origin), str(tmp_path / "clone"))
    clone = Repo(tmp_path / "clone")
    assert clone.state == stage.state
    branches = text(origin, "for-each-ref", "--format=%(refname:short)").split()
    assert "tidegate-ledger/coin" in branches
    page = text(origin, "show", "tidegate-ledger/coin:README.md")
    assert "coin" in page


def test_a_failed_training_is_6_and_leaves_no_trace_in_ledger_or_registry(stage: Stage) -> None:
    before = counts(stage)
    stage.repo.commit("exit 1\n")
    assert stage.tidegate("run") == 6
    assert counts(stage) == before
    stage.repo.commit(training(0.95))
    assert stage.tidegate("run") == 0
