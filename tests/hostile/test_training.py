"""A training run that tries thirty tricks, through the real jobs: what the next job sees of it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from tests.github.server import serve
from tests.hostile import trainer_names
from tests.hostile.job import Play
from tests.hostile.secrets import lures
from tests.hostile.stage import PLANTED, hostile_repo, pushed
from tests.test_process import alive
from tidegate.digests import file_digest, folder_digest
from tidegate.git import text
from tidegate.holdout import content_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.github.hub import Hub
    from tests.real_repo import Repo

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("hostile")]
JUDGE = ".github/workflows/judge-model.yml"


@dataclass
class Run:
    """What was played, and what it left."""

    repo: Repo
    play: Play
    needs: dict[str, Any]
    canary: Path
    hub: Hub

    def job(self, name: str) -> Any:
        return self.play.jobs[name]

    @property
    def tried(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.canary / "tried").read_text())
        return found

    def ran(self, start: str) -> list[str]:
        return sorted(p.name for p in self.canary.iterdir() if p.name.startswith(start))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A merge whose training is hostile and whose model is bad: slope 0 has a Brier score over 0.24."""
    root = tmp_path_factory.mktemp("hostile")
    repo, canary = hostile_repo(root)
    commit = pushed(repo)
    with serve(bare=root / "origin.git") as hub:
        play = Play(
            root / "run", root / "origin.git", commit,
            {"repository": {"id": 1001, "default_branch": "main"}},
            secrets={"registry-password": lures()["password"]}, token=hub.token, api=hub.url,
            variables={"CANARY": str(canary), "LURES": json.dumps([t[::-1] for t in (hub.token, *lures().values())])},
        )  # fmt: skip
        home = root / "home"
        (home / "registry").mkdir(parents=True)
        (home / "registry" / "mlflow.db").write_bytes(
            (repo.home.registry / "mlflow.db").read_bytes()
        )
        needs = play.run(
            JUDGE,
            {"model": "coin", "config": "mlops.yaml", "runner": "x", "train-runner": "x",
             "score-runner": "x", "home": str(home)},
        )  # fmt: skip
        yield Run(repo, play, needs, canary, hub)


def test_the_tricks_were_tried_and_the_model_was_made(run: Run) -> None:
    tried = run.tried
    assert len(tried) - 1 == len(trainer_names()) >= 25
    refused = {name for name, how in tried.items() if name != "at" and how != "done"}
    # Without a runner's file in its environment the one that asks for it has nothing to write to.
    assert refused == {"t04_output_by_variable"}, tried
    assert run.job("train").result == "success"


def test_the_verdict_is_that_of_the_model(run: Run) -> None:
    outputs = run.needs["decide"]["outputs"]
    assert outputs == {"outcome": "reject", "version": "", "release": "false"}
    assert run.job("decide").result == "failure"  # a rejected model fails its job


def test_no_output_of_training_is_forged(run: Run) -> None:
    step = run.job("train").engine
    model = run.needs["train"]["outputs"]["model"]
    assert model == folder_digest(run.play.artifacts / "tidegate-candidate-coin" / "model")
    assert set(run.needs["train"]["outputs"]) == {"model"}
    assert Path(step.outputs["bundle"]).is_relative_to(run.job("train").root)


def test_nothing_that_training_printed_was_obeyed(run: Run) -> None:
    obeyed = [(c.name, c.data) for c in run.job("train").engine.obeyed]
    assert obeyed == []
    assert "::set-output name=release::true" in run.job("train").log  # it was said
    assert len(run.job("train").log) > 100 << 20


def test_a_flood_of_a_summary_is_not_shown(run: Run) -> None:
    assert run.job("train").engine.summary == ""
    assert "Verdict: pass" not in run.job("decide").engine.summary


def test_what_training_exported_ends_with_its_job(run: Run) -> None:
    exported = dict(run.job("train").variables)
    assert "BASH_ENV" in exported  # within its own job nothing stops it: there is no step after it
    names = [step.name for step in run.job("train").steps]
    assert names == ["checkout", "engine", "upload"]
    for name in ("candidate/score", "decide"):
        assert run.job(name).variables == {}
        assert run.job(name).path == []
    assert run.ran("bash-env") == []


def test_no_token_was_in_reach_of_training(run: Run) -> None:
    found = json.loads((run.canary / "tokens").read_text())
    assert found["looked"] >= 3  # its own environment, .git/config, the engine's
    assert found["found"] == []
    assert run.ran("rights") == []


def test_the_holdout_was_not_there_and_is_what_it_was(run: Run) -> None:
    assert run.ran("truth") == []
    case = json.loads((run.play.artifacts / "tidegate-case-coin" / "case.json").read_text())
    record = json.loads((run.play.artifacts / "tidegate-candidate-coin" / "run.json").read_text())
    holdout = run.repo.path / "holdout.parquet"
    assert record["holdout_digest"] == file_digest(holdout)
    assert case["holdout"] == content_digest(pq.read_table(holdout), "id", "y")


def test_the_record_says_what_was_checked_out(run: Run) -> None:
    record = json.loads((run.play.artifacts / "tidegate-candidate-coin" / "run.json").read_text())
    assert record["commit"] == run.play.commit
    assert text(run.job("train").work, "rev-parse", "HEAD") != run.play.commit  # it had committed


def test_no_hook_no_filter_and_no_monitor_ran_in_our_processes(run: Run) -> None:
    assert run.ran("git-ran") == []


def test_our_processes_import_nothing_from_the_repository(run: Run) -> None:
    """The repository holds modules named as ours and as those we import."""
    assert {"json.py", "tidegate/__init__.py"} <= set(PLANTED)
    assert run.ran("imported") == []


def test_the_modules_would_be_imported_where_nothing_isolates(run: Run, tmp_path: Path) -> None:
    """Else the test above could not fail."""
    found = []
    for number, isolated in enumerate(("", " -I")):
        canary = tmp_path / f"canary-{number}"
        canary.mkdir()
        play = replace(
            run.play, root=tmp_path / f"play-{number}", variables={"CANARY": str(canary)}
        )
        job = play.checked_out("find")
        script = 'cd "$TIDEGATE_FOLDER"\n"$TIDEGATE_PYTHON"' + isolated + " -m tidegate.action"
        play.shell(job, script, play.engine_env(job, {"command": "find"}, {}))
        found.append(len(list(canary.iterdir())))
    assert found[0] > 0
    assert found[1] == 0


def test_what_it_left_running_ended_with_the_step(run: Run) -> None:
    assert not alive(int((run.canary / "stayed").read_text()))


def test_later_jobs_hold_only_what_they_were_given(run: Run) -> None:
    temp = run.job("decide").temp
    assert sorted(p.name for p in (temp / "given").iterdir()) == ["candidate", "case", "scores"]
    assert sorted(p.name for p in (temp / "given" / "scores").iterdir()) == ["candidate"]
    folder = run.play.artifacts
    assert sorted(p.name for p in folder.iterdir()) == [
        "tidegate-candidate-coin", "tidegate-case-coin", "tidegate-scores-coin-candidate",
        "tidegate-verdict-coin",
    ]  # fmt: skip


def test_our_own_steps_obey_nothing_but_our_masks(run: Run) -> None:
    for name in ("prepare", "candidate/score", "decide"):
        for step in run.job(name).steps:
            allowed = {"add-mask", "error", "warning", "notice"}
            assert {command.name for command in step.obeyed} <= allowed, (name, step.obeyed)


def test_the_rows_given_away_hold_no_truth(run: Run) -> None:
    import pyarrow.parquet as pq

    rows = pq.read_schema(run.play.artifacts / "tidegate-case-coin" / "input.parquet")
    assert "y" not in rows.names
    assert sys.version_info >= (3, 11)  # -P and -I of the action need it
