"""`tidegate plan` about the holdout: what it can show, and which rows to label."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.commands.test_plan import CANARY, parsed
from tidegate.commands import plan
from tidegate.core.config import Gate, Rule
from tidegate.core.gate import judge
from tidegate.core.model import Margin, Task
from tidegate.core.table import Predictions
from tidegate.errors import ConfigError, Exit
from tidegate.render.verdict import document
from tidegate.terminal import Terminal

if TYPE_CHECKING:
    from pathlib import Path

FILE = """\
version: 1
model: {name: m, task: binary}
data: {train: a.parquet, holdout: b.parquet, target: y, id: id}
train: {run: python train.py}
gate:
  rules:
    - {metric: accuracy, margin: 0.01}
    - {metric: log_loss, margin: 0.01}
    - {metric: roc_auc, margin: 1%}
  slices:
    - {by: [city], metric: accuracy, margin: 0.02}
"""


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plan, "policy", lambda _: CANARY)
    monkeypatch.setattr(plan, "_observed", lambda *_: None)
    rng = np.random.default_rng(1)
    rows = {"id": range(3200), "y": rng.integers(0, 2, 3200), "city": np.repeat(["a", "b"], 1600)}
    pq.write_table(
        pa.table({k: pa.array(list(v)) for k, v in rows.items()}), tmp_path / "b.parquet"
    )
    (tmp_path / "mlops.yaml").write_text(FILE)
    return tmp_path


def run(*arguments: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    terminal = Terminal(as_json="--json" in arguments, out=out, err=err)
    assert plan.run(parsed(*arguments), terminal) == Exit.OK
    return out.getvalue(), err.getvalue()


@pytest.mark.usefixtures("folder")
def test_each_margin_is_told_whether_the_holdout_supports_it() -> None:
    said, _ = run("--traffic", "6000/min")
    assert (
        "accuracy: TOO FEW for 0.01 (needs 6,183 / 8,564 rows); 3,200 rows can show 0.0139 or more"
        in said
    )
    assert "log_loss: 3,200 rows; its spread is known after the first verdict" in said
    assert "accuracy in city=a: enough for 0.02 (needs 3,092 / 4,282 rows of the holdout)" in said
    assert "1,600 rows can show 0.01966 or more" in said
    assert "At 6,000 requests per minute" in said


@pytest.mark.usefixtures("folder")
def test_another_disagreement_may_be_assumed() -> None:
    said = json.loads(run("--traffic", "6000/min", "--disagreement", "2%", "--json")[0])
    assert said["holdout"][0]["needed"] == [1237, 1713]
    assert said["holdout"][0]["enough"] is True


def test_an_earlier_verdict_tells_the_spreads(folder: Path) -> None:
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 2, 2000).astype(np.float64)
    scores = [
        np.clip(0.5 + 0.3 * (truth - 0.5) + rng.normal(0, 0.1, 2000), 0.01, 0.99) for _ in "ab"
    ]
    table = Predictions(y_true=truth, candidate=scores[0], champion=scores[1])
    gate = Gate(rules=(Rule(metric="log_loss", margin=Margin(value=0.01)),))
    verdict = judge(table, gate, task=Task.BINARY)
    (folder / "v.json").write_text(json.dumps(document(verdict)))
    said = json.loads(run("--traffic", "6000/min", "--verdict", "v.json", "--json")[0])
    loss = next(one for one in said["holdout"] if one["metric"] == "log_loss")
    assert loss["spread"]["seen"] is True
    assert loss["smallest"] > 0


def test_without_a_readable_holdout_the_rollout_is_planned_alone(folder: Path) -> None:
    (folder / "b.parquet").unlink()
    said, told = run("--traffic", "6000/min")
    assert said.startswith("At 6,000 requests per minute")
    assert "planned without the holdout" in told


# --- labels ---------------------------------------------------------------------------------


@pytest.fixture
def unlabelled(folder: Path) -> Path:
    rng = np.random.default_rng(3)
    champion = rng.random(1000)
    candidate = np.where(np.arange(1000) % 10 == 0, 1 - champion, champion)
    rows = {"id": [f"r{i}" for i in range(1000)], "candidate": candidate, "champion": champion}
    pq.write_table(pa.table(rows), folder / "u.parquet")
    return folder / "u.parquet"


def test_the_ids_worth_a_label_are_printed_and_nothing_else(unlabelled: Path) -> None:
    said, told = run("--label", str(unlabelled), "--budget", "40", "--margin", "0.05")
    names = said.split()
    assert len(names) == len(set(names)) == 40
    assert all(int(name[1:]) % 10 == 0 for name in names)
    assert "100 of 1,000 rows get different answers" in told
    assert "A margin of 0.05 needs 25 / 35 labels" in told
    assert run("--label", str(unlabelled), "--budget", "40")[0] == said


def test_labels_so_far_say_how_the_models_differ(unlabelled: Path, folder: Path) -> None:
    names = run("--label", str(unlabelled), "--budget", "50")[0].split()
    champion = dict(
        zip(*(pq.read_table(unlabelled)[c].to_pylist() for c in ("id", "champion")), strict=True)
    )
    truth = [int(champion[name] < 0.5) for name in names]  # the champion is wrong on all of them
    pq.write_table(pa.table({"id": names, "y_true": truth}), folder / "l.parquet")
    found: dict[str, Any] = json.loads(
        run("--label", str(unlabelled), "--labels", str(folder / "l.parquet"), "--json")[0]
    )["difference"]
    assert found["labels"] == 50
    assert 0.05 < found["lower"] < found["value"] < 0.1


def test_a_table_without_a_champion_says_so(folder: Path) -> None:
    pq.write_table(pa.table({"id": [1], "candidate": [0.5]}), folder / "u.parquet")
    with pytest.raises(ConfigError, match="no column 'champion'"):
        run("--label", str(folder / "u.parquet"))


@pytest.mark.parametrize("count", ["0", "-1", "x"])
def test_a_budget_is_a_whole_number(count: str) -> None:
    with pytest.raises(SystemExit):
        parsed("--label", "f", "--budget", count)
