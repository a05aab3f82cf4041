"""tidegate score: this very model answers this very case, and the job hands on nothing else."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.jobs import Job, Jobs
from tests.real_repo import PREDICT, Repo, rows
from tidegate.digests import folder_digest
from tidegate.git import text

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real


@dataclass
class Scoring:
    """A prepared case, a model of slope 0.8, and a job."""

    job: Job
    given: Path
    case: str

    @property
    def model(self) -> Path:
        return self.given / "model"

    def score(self, *more: str, case: str = "", model: str = "") -> int:
        return self.job.tidegate(
            "score", "candidate", f"--case={self.given / 'case'}", f"--model={self.model}",
            f"--case-digest={case or self.case}", f"--into={self.job.temp / 'scored'}",
            f"--model-digest={model or folder_digest(self.given / 'model')}", *more,
        )  # fmt: skip

    @property
    def answers(self) -> Path:
        return self.job.temp / "scored" / "candidate"


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Jobs, Path, str]:
    root = tmp_path_factory.mktemp("score")
    repo = Repo.make(root / "repo")
    text(repo.path, "push", "--quiet", "origin", "HEAD:main")
    jobs = Jobs(root / "run", repo, repo.head)
    job = jobs.job()
    assert job.tidegate("prepare", f"--into={root / 'given'}") == 0
    (root / "given" / "model").mkdir()
    (root / "given" / "model" / "slope.txt").write_text("0.8")
    return jobs, root / "given", job.outputs["case"]


@pytest.fixture
def scoring(first: tuple[Jobs, Path, str], tmp_path: Path) -> Scoring:
    jobs, given, case = first
    shutil.copytree(given, tmp_path / "given")
    return Scoring(jobs.job(registry=False), tmp_path / "given", case)


def test_the_answers_are_one_float_a_row_in_the_rows_order(
    scoring: Scoring, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    assert scoring.score("--json") == 0
    said = json.loads(capfd.readouterr().out)
    assert said == {
        "role": "candidate", "model": folder_digest(scoring.model), "scores": str(scoring.answers),
    }  # fmt: skip
    answers = np.fromfile(scoring.answers / "answers.f64", dtype="<f8")
    x = rows()["x"].to_numpy()
    assert np.allclose(answers, 0.5 + 0.8 * (x - 0.5), rtol=0, atol=1e-12)
    assert scoring.job.outputs == {
        "scores": str(scoring.answers), "digest": folder_digest(scoring.answers),
    }  # fmt: skip


@pytest.mark.parametrize("how", ["model", "case", "rows", "no model", "link"])
def test_anything_else_than_what_was_handed_over_is_not_scored(
    scoring: Scoring, how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    digest, says = folder_digest(scoring.model), ""
    if how == "model":
        (scoring.model / "slope.txt").write_text("1.0")
        says = "Another job of this run replaced it"
    elif how == "case":
        path = scoring.given / "case" / "case.json"
        path.write_text(path.read_text().replace("predict.py", "cheat.py"))
        says = "is not what the prepare job wrote"
    elif how == "rows":
        (scoring.given / "case" / "input.parquet").write_bytes(b"PAR1")
        says = "holds other rows"
    elif how == "no model":
        (scoring.model / "slope.txt").unlink()
        says = "no files"
    else:
        (scoring.model / "more").symlink_to("/etc/hostname")
        says = "regular files only"
    assert scoring.score(model=digest) in (3, 6)
    assert says in capfd.readouterr().err
    assert scoring.job.outputs == {}
    assert not scoring.answers.exists()


def test_the_users_code_sees_no_token_no_runner_file_and_no_truth(scoring: Scoring) -> None:
    look = "open('seen', 'w').write('\\n'.join([*rows.column_names, *os.environ]))\n"
    scoring.job.repo.write("predict.py", PREDICT + look)
    scoring.job.more |= {
        "TIDEGATE_GITHUB_TOKEN": "t" * 20, "ACTIONS_RUNTIME_TOKEN": "u" * 20,
        "GIT_CONFIG_VALUE_0": "v" * 20, "TIDEGATE_SIGNING_KEY": "w" * 20,
    }  # fmt: skip
    assert scoring.score() == 0
    seen = (scoring.job.repo.path / "seen").read_text().split("\n")
    assert seen[:3] == ["id", "x", "group"]
    ours = {name for name in seen if name.startswith("TIDEGATE_")} - {"TIDEGATE_HOME"}
    assert ours == {
        "TIDEGATE_MODEL_DIR", "TIDEGATE_INPUT", "TIDEGATE_OUTPUT", "TIDEGATE_CLASSES", "TIDEGATE_ID", "TIDEGATE_TASK",
    }  # fmt: skip
    assert not {"GITHUB_OUTPUT", "ACTIONS_RUNTIME_TOKEN", "GIT_CONFIG_VALUE_0"} & set(seen)


def test_what_the_users_code_prints_is_no_command(
    scoring: Scoring, capfd: pytest.CaptureFixture[str]
) -> None:
    from tests.runner_protocol import read_log

    scoring.job.repo.write(
        "predict.py", PREDICT + "print('::set-output name=digest::0', flush=True)\n"
    )
    assert scoring.score() == 0
    log = capfd.readouterr().err
    assert "::set-output name=digest::0" in log
    assert read_log(log) == []


def test_the_users_command_finds_the_rows_it_is_given_and_no_truth(
    first: tuple[Jobs, Path, str],
) -> None:
    jobs, given, case = first
    job = jobs.job()
    looked = job.repo.path / "predict.py"
    looked.write_text(
        "import os\nopen('found', 'w').write(' '.join(sorted(os.listdir('.'))))\n" + PREDICT
    )
    assert (job.repo.path / "holdout.parquet").exists()
    assert Scoring(job, given, case).score() == 0
    found = (job.repo.path / "found").read_text()
    assert found == ".gitignore found mlops.yaml predict.py train.sh"
