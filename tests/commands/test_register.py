"""tidegate register: only what the gate passed or a person let in, and each model once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.real_repo import Stage, training, two_releases
from tidegate.core.events import Overridden

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return two_releases(tmp_path, monkeypatch)


def prepare(stage: Stage, slope: float) -> int:
    """Train and judge a commit of this slope; return the gate's exit code."""
    stage.push(slope)
    assert stage.tidegate("train") == 0
    assert stage.tidegate("evaluate") == 0
    return stage.tidegate("gate")


def versions(stage: Stage) -> list[str]:
    return [model.version for model in stage.state.versions]


def test_step_by_step_a_passed_model_gets_one_version_however_often_it_is_asked_for(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    assert prepare(stage, 0.95) == 0
    capfd.readouterr()
    assert stage.tidegate("register", "--json") == 0
    first = json.loads(capfd.readouterr().out)
    assert stage.tidegate("register", "--json") == 0
    assert json.loads(capfd.readouterr().out) == first
    assert first["version"] == "3"
    assert first["commit"] == stage.repo.head
    assert versions(stage) == ["1", "2", "3"]


def test_a_version_carries_its_lineage(stage: Stage) -> None:
    from mlflow import MlflowClient

    assert prepare(stage, 0.95) == 0
    assert stage.tidegate("register") == 0
    client = MlflowClient(f"sqlite:///{stage.repo.home.registry / 'mlflow.db'}")
    tags = client.get_model_version("coin", "3").tags
    record = json.loads((stage.repo.bundle / "run.json").read_text())
    assert tags["tidegate.commit"] == stage.repo.head
    assert tags["tidegate.recipe"] == record["recipe"]
    assert tags["tidegate.config"] == record["config_digest"]
    assert tags["tidegate.train_data"] == record["train_digest"]
    assert tags["tidegate.holdout"] == record["holdout_digest"]
    assert tags["tidegate.by"] == "Ada"


def test_a_rejected_model_is_not_registered_until_a_person_overrides_with_name_and_reason(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    assert prepare(stage, 0.2) == 1
    assert stage.tidegate("register") == 1
    assert "the gate's verdict on model" in capfd.readouterr().err
    assert versions(stage) == ["1", "2"]

    reason = "known good: measured by hand"
    assert stage.tidegate("override", "--reason", reason, "--by", "Grace", "--json") == 0
    assert len(json.loads(capfd.readouterr().out)["overridden"]) == 1
    event = stage.repo.book.chain[-1]
    assert isinstance(event.payload, Overridden)
    assert (event.actor, event.human, event.payload.reason) == ("Grace", True, reason)
    assert stage.tidegate("register") == 0
    assert versions(stage) == ["1", "2", "3"]
    assert stage.tidegate("release", "--no-wait") == 0
    assert stage.state.rollout is not None
    assert stage.state.rollout.model.version == "3"


def test_there_is_nothing_to_override_where_nothing_was_judged_or_it_passed(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    assert stage.tidegate("override", "--reason", "why") == 1
    assert "the gate passed this model" in capfd.readouterr().err
    stage.push(0.3)
    assert stage.tidegate("override", "--reason", "why") == 1
    assert "no verdict on commit" in capfd.readouterr().err


def test_an_unjudged_model_is_not_registered(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    stage.push(0.95)
    assert stage.tidegate("register") == 6  # not even trained
    assert stage.tidegate("train") == 0
    assert stage.tidegate("register") == 1
    assert "has not been judged" in capfd.readouterr().err


def test_bytes_changed_after_the_verdict_are_not_registered(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    assert prepare(stage, 0.95) == 0
    (stage.repo.bundle / "model" / "slope.txt").write_text("0.0")
    assert stage.tidegate("register") == 1
    assert "was changed after it was judged" in capfd.readouterr().err
    assert versions(stage) == ["1", "2"]


@pytest.mark.parametrize("overridden", [False, True], ids=["passed", "overridden"])
def test_a_model_of_changed_files_is_never_registered(
    stage: Stage, overridden: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    stage.repo.write("train.sh", training(0.2 if overridden else 0.97))
    assert stage.tidegate("train") == 0
    assert stage.tidegate("evaluate") == 0
    assert stage.tidegate("gate") == (1 if overridden else 0)
    if overridden:
        assert stage.tidegate("override", "--reason", "why") == 0
    assert stage.tidegate("register") == 1
    assert "trained from files that differ from the commit" in capfd.readouterr().err
