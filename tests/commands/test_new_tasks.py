"""Models of several classes and rankings, from a commit to production, twice: a first one and a better one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.jobs import Jobs, hand_over
from tests.real_repo import Repo, SlopeTarget, Stage, training
from tidegate import bundles, verdicts
from tidegate.git import text

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

pytestmark = pytest.mark.real

N = 3000
CLASSES = ("low", "high", "mid")  # not in sorted order
PREDICT = """\
import json, os, pathlib
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
slope = float((pathlib.Path(os.environ["TIDEGATE_MODEL_DIR"]) / "slope.txt").read_text())
rows = pq.ParquetFile(os.environ["TIDEGATE_INPUT"]).read()
assert os.environ["TIDEGATE_TASK"] == "ranking" or not {"y", "weight"} & set(rows.column_names)
x = rows["x"].to_numpy()
"""
PREDICT_CLASSES = (
    PREDICT
    + """\
centres = {"low": 0.1, "mid": 0.5, "high": 0.9}
score = np.array([[-slope * 8 * abs(v - centres[c]) for c in json.loads(os.environ["TIDEGATE_CLASSES"])] for v in x])
answers = np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)
table = pa.table({"id": rows["id"], "prediction": pa.array(answers.tolist())})
pq.write_table(table, os.environ["TIDEGATE_OUTPUT"])
"""
)
PREDICT_SCORES = (
    PREDICT
    + """\
answers = slope * x + (1 - slope) * rows["noise"].to_numpy()
table = pa.table({"id": rows["id"], "prediction": answers})
pq.write_table(table, os.environ["TIDEGATE_OUTPUT"])
"""
)
WORTH = """\
import numpy as np
def worth(y_true, prediction, weight):
    sure = prediction[np.arange(len(y_true)), y_true.astype(int)]
    return np.average(sure, weights=weight)
"""


def classes_of(x: npt.NDArray[np.float64], slope: float) -> npt.NDArray[np.float64]:
    centres = {"low": 0.1, "mid": 0.5, "high": 0.9}
    score = np.array([[-slope * 8 * abs(v - centres[c]) for c in CLASSES] for v in x])
    found: npt.NDArray[np.float64] = np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)
    return found


@dataclass
class ClassesTarget(SlopeTarget):
    """Answers as the models it was given do: a probability of each class."""

    def ask(self, version: str, rows: pa.Table) -> npt.NDArray[np.float64]:
        return classes_of(rows["x"].to_numpy(), self.slopes[version])


@dataclass
class ScoresTarget(SlopeTarget):
    """Answers as the models it was given do: a score."""

    def ask(self, version: str, rows: pa.Table) -> npt.NDArray[np.float64]:
        slope = self.slopes[version]
        return np.asarray(slope * rows["x"].to_numpy() + (1 - slope) * rows["noise"].to_numpy())


def stage(
    root: Path, monkeypatch: pytest.MonkeyPatch, target: SlopeTarget, predict: str, **changes: Any
) -> Stage:
    rng = np.random.default_rng(3)
    x = rng.uniform(size=N)
    noisy = x + rng.normal(size=N) * 0.1
    columns = {
        "id": [f"r{i}" for i in range(N)], "x": x, "noise": rng.uniform(size=N),
        "user": rng.integers(0, 600, N), "weight": rng.choice([0.5, 1.0, 2.0], N),
        "y": np.where(noisy < 0.33, "low", np.where(noisy < 0.66, "mid", "high")),
        "grade": np.floor(np.clip(noisy, 0, 0.99) * 3),
        "region": rng.choice(["n", "s"], N),
    }  # fmt: skip
    repo = Repo.make(root, slope=0.3, **changes)
    pq.write_table(pa.table(columns), repo.path / "holdout.parquet")
    train = pa.table({**columns, "id": [f"t{i}" for i in range(N)], "x": rng.uniform(size=N)})
    pq.write_table(train.slice(0, 500), repo.path / "train.parquet")
    repo.write("predict.py", predict)
    repo.write("worth.py", WORTH)
    repo.commit(training(0.3))
    return Stage(repo, target=target).enter(monkeypatch)


def classes_stage(root: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Stage:
    settings = {
        "model": {"name": "coin", "task": "multiclass", "classes": list(CLASSES)},
        "data__group": "user",
        "data__weight": "weight",
        "gate": {
            "metrics": [
                {"name": "worth", "run": "worth.py:worth", "direction": "higher", "low": 0}
            ],
            "rules": [
                {"metric": "log_loss", "at_most": 1.2, "margin": 0.02},
                {"metric": "accuracy", "at_least": 0.5, "margin": 0.02},
                {"metric": "worth", "at_least": 0.4, "margin": 0.02},
            ],
            "slices": [{"by": ["region"], "metric": "accuracy", "margin": 0.2, "min_rows": 50}],
        },
    }
    return stage(root, monkeypatch, ClassesTarget(), PREDICT_CLASSES, **{**settings, **changes})


def test_a_model_of_several_classes_is_released_and_a_better_one_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = classes_stage(tmp_path, monkeypatch)
    assert stage.tidegate("run", "--through-probation") == 0
    stage.push(1.0)
    assert stage.tidegate("run", "--through-probation") == 0
    assert stage.outcomes() == [("1", "promoted"), ("2", "promoted")]
    bundle = stage.repo.bundle
    assert bundles.classes(bundle) == CLASSES
    table = pq.read_table(bundle / "predictions.parquet")
    rows = pq.read_table(stage.repo.path / "holdout.parquet")
    answers = np.array(table["candidate"].to_pylist())
    assert np.allclose(answers, classes_of(rows["x"].to_numpy(), 1.0), rtol=0, atol=1e-12)
    verdict = json.loads((bundle / "verdict.json").read_text())
    found = {f["metric"]: f for f in verdict["findings"] if f["level"] == "headline"}
    right = np.array([CLASSES[k] for k in answers.argmax(axis=1)]) == rows["y"].to_numpy()
    sure = [
        answer[CLASSES.index(y)] for answer, y in zip(answers, rows["y"].to_pylist(), strict=True)
    ]
    weight = rows["weight"].to_numpy()
    for metric, marks in (("accuracy", right), ("worth", sure)):
        expected = float(np.average(marks, weights=weight))
        assert found[metric]["candidate"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.heavy
def test_a_worse_model_of_several_classes_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = classes_stage(tmp_path, monkeypatch)
    stage.push(1.0)
    assert stage.tidegate("run", "--through-probation") == 0
    stage.push(0.05)
    assert stage.tidegate("run") == 1
    assert stage.target.read().traffic() == {"1": 1.0}


def test_a_truth_of_no_class_is_named_before_anything_is_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    model = {"name": "coin", "task": "multiclass", "classes": ["low", "mid"]}
    stage = classes_stage(tmp_path, monkeypatch, model=model)
    assert stage.tidegate("run", "--no-release") == 2
    assert "got the class 'high'" in capfd.readouterr().err


def test_a_verdict_without_what_its_own_metric_measured_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stage = classes_stage(tmp_path, monkeypatch)
    assert stage.tidegate("run", "--no-release") == 0
    (stage.repo.bundle / "measured.f64").write_bytes(b"")
    assert stage.tidegate("gate") == 6
    assert "measured.f64" in capfd.readouterr().err


def test_a_metric_of_ones_own_crosses_the_jobs_with_classes_groups_and_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = classes_stage(tmp_path / "stage", monkeypatch)
    text(stage.repo.path, "push", "--quiet", "--force", "origin", "HEAD:main")
    jobs = Jobs(tmp_path / "run", stage.repo, stage.repo.head)
    given, job = hand_over(jobs), jobs.job()
    assert job.tidegate("decide", *given.arguments(job.temp / "decided")) == 0
    verdict, _ = verdicts.read(job.temp / "decided" / "page" / "verdict.json")
    worth = next(f for f in verdict.findings if f.metric == "worth")
    rows = pq.read_table(stage.repo.path / "holdout.parquet")
    sure = classes_of(rows["x"].to_numpy(), 0.3)[
        np.arange(N), [CLASSES.index(y) for y in rows["y"].to_pylist()]
    ]
    assert worth.candidate == pytest.approx(np.average(sure, weights=rows["weight"].to_numpy()))


@pytest.mark.heavy
def test_a_ranking_is_released_and_a_better_one_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = [
        {"metric": "ndcg@5", "at_least": 0.4, "margin": 0.02},
        {"metric": "mrr", "margin": 0.05},
    ]
    stage_ = stage(
        tmp_path, monkeypatch, ScoresTarget(), PREDICT_SCORES,
        model={"name": "coin", "task": "ranking"}, data__target="grade", data__group="user",
        gate={"rules": rules},
    )  # fmt: skip
    assert stage_.tidegate("run", "--through-probation") == 0
    stage_.push(0.9)
    assert stage_.tidegate("run", "--through-probation") == 0
    assert stage_.outcomes() == [("1", "promoted"), ("2", "promoted")]
