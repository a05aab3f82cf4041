"""A request that brings its own measure, through our real workflow: it is held to the base's, which sees no token."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.github.server import serve
from tests.hostile.job import Play
from tests.hostile.secrets import lures
from tests.hostile.stage import hostile_repo, pushed
from tests.jobs import pull_event

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.real, pytest.mark.heavy, pytest.mark.xdist_group("hostile")]
JUDGE = ".github/workflows/judge-model.yml"
TRAINER = """\
import os, pathlib
(pathlib.Path(os.environ["TIDEGATE_MODEL_DIR"]) / "slope.txt").write_text("0.25")
"""
# The base's: it measures, and it tells what it could see and say.
HITS = """\
import os, pathlib
import numpy as np
seen = pathlib.Path(os.environ["CANARY"]) / "measured-by-base"
def hits(y_true, prediction, weight):
    if not seen.exists():
        seen.write_text("\\n".join(f"{k}={v}" for k, v in os.environ.items()))
        print("::set-output name=digest::0", flush=True)
    return float(np.mean(np.where(y_true == 1, prediction > 0.6, prediction < 0.4)))
"""
LIE = """\
import os
open(os.environ["CANARY"] + "/measured-by-request", "w")
def hits(y_true, prediction, weight):
    return 0.9 + prediction[0] * 0.01
"""
OWN = {"name": "hits", "run": "own.py:hits", "direction": "higher", "low": 0, "high": 1}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Play, Path]]:
    root = tmp_path_factory.mktemp("own-metric")
    repo, canary = hostile_repo(
        root,
        trainer=TRAINER,
        gate={"metrics": [OWN], "rules": [{"metric": "hits", "at_least": 0.3}]},
    )
    repo.write("own.py", HITS)
    repo.commit()
    repo.write("own.py", LIE)
    commit = pushed(repo)
    with serve(bare=root / "origin.git") as hub:
        number = hub.add_pull(head="main", sha=commit)["number"]
        tokens = [hub.token, *lures().values()]
        play = Play(
            root / "run", root / "origin.git", commit, pull_event(commit, number=number),
            secrets={"registry-password": lures()["password"]}, token=hub.token, api=hub.url,
            variables={"CANARY": str(canary)},
        )  # fmt: skip
        home = root / "home"
        (home / "registry").mkdir(parents=True)
        (home / "registry" / "mlflow.db").write_bytes(
            (repo.home.registry / "mlflow.db").read_bytes()
        )
        play.run(
            JUDGE,
            {"model": "coin", "config": "mlops.yaml", "runner": "x", "train-runner": "x",
             "score-runner": "x", "home": str(home), "base": "HEAD^1", "advice": True},
        )  # fmt: skip
        (canary / "tokens").write_text(json.dumps(tokens))
        yield play, canary


def test_the_bases_function_rejects_what_the_requests_would_let_in(run: tuple[Play, Path]) -> None:
    play, canary = run
    assert play.jobs["measure"].result == "success", play.jobs["measure"].log
    assert play.jobs["decide"].outputs["outcome"] == "reject", play.jobs["decide"].log
    verdict = json.loads((play.artifacts / "tidegate-verdict-coin" / "verdict.json").read_text())
    assert [f["outcome"] for f in verdict["findings"] if f["metric"] == "hits"] == ["reject"]
    assert (canary / "measured-by-base").exists()
    assert not (canary / "measured-by-request").exists()
    assert "the functions of own.py" in play.jobs["decide"].engine.summary


def test_the_function_sees_no_token_and_nothing_it_says_is_obeyed(run: tuple[Play, Path]) -> None:
    play, canary = run
    seen = (canary / "measured-by-base").read_text()
    assert not [token for token in json.loads((canary / "tokens").read_text()) if token in seen]
    assert not [line for line in seen.splitlines() if line.startswith("GITHUB_OUTPUT=")]
    job = play.jobs["measure"]
    assert [(c.name, c.data) for c in job.engine.obeyed] == []
    assert set(job.outputs) == {"digest"}
    assert sorted(p.name for p in (play.artifacts / "tidegate-measured-coin").iterdir()) == [
        "measured.f64", "measured.json",
    ]  # fmt: skip


def test_the_job_is_given_no_token(run: tuple[Play, Path]) -> None:
    play, _ = run
    given = play.jobs["measure"].engine
    assert "github-token" not in given.given
    assert given.env == {}
