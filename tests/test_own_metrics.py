"""The user's own metrics, computed by the user's own file in a process of its own."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.test_load import problems
from tidegate import own_metrics
from tidegate.cli import main
from tidegate.errors import ConfigError, NotJudgedError
from tidegate.load import load
from tidegate.predictions import read

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.core.config import Config
    from tidegate.core.table import Predictions

CONFIG = """\
version: 1
model: {name: churn, task: binary}
data: {train: a.parquet, holdout: b.parquet, target: y, id: id}
train: {run: python train.py}
gate:
  metrics:
    - {name: profit, run: "lib/metrics.py:profit", direction: higher, low: -2, high: 2}
  rules:
    - {metric: profit, margin: 0.05}
  slices:
    - {by: [region], metric: profit, margin: 0.2}
"""
PROFIT = """\
import numpy as np
def profit(y_true, prediction, weight):
    asked = prediction > 0.5
    return np.average(np.where(asked, np.where(y_true == 1, 1.0, -1.0), 0.0), weights=weight)
"""
ABOUT = own_metrics.About(holdout="1" * 64, rules="2" * 64, models=("3" * 64, "4" * 64))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(5)
    n = 1000
    x = rng.uniform(size=n)
    table = {
        "id": np.arange(n), "y_true": (rng.uniform(size=n) < x).astype(int), "candidate": x,
        "champion": np.clip(x + rng.normal(size=n) * 0.3, 0, 1), "region": np.where(x * 7 % 1 > 0.5, "n", "s"),
    }  # fmt: skip
    pq.write_table(pa.table(table), tmp_path / "p.parquet")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "metrics.py").write_text(PROFIT)
    (tmp_path / "mlops.yaml").write_text(CONFIG)
    return tmp_path


def loaded(folder: Path) -> tuple[Predictions, Config]:
    config = load(folder / "mlops.yaml")
    return read(folder / "p.parquet", task=config.model.task, by=["region"]), config


def measure(folder: Path, timeout: float = 60.0) -> Path:
    table, config = loaded(folder)
    into = folder / "into"
    own_metrics.measure(table, config, ABOUT, code=folder, into=into, timeout=timeout)
    return into


@pytest.mark.real
def test_a_ready_table_is_judged_by_a_metric_of_ones_own(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        f"--predictions={folder / 'p.parquet'}",
        f"--config={folder / 'mlops.yaml'}",
        "--json",
    ]
    assert main(["gate", *options]) == 0
    verdict = json.loads(capsys.readouterr().out)
    (headline,) = [
        f for f in verdict["findings"] if f["metric"] == "profit" and f["level"] == "headline"
    ]
    table = pq.read_table(folder / "p.parquet").to_pandas()
    worth = np.where(table["candidate"] > 0.5, np.where(table["y_true"] == 1, 1.0, -1.0), 0.0)
    assert headline["candidate"] == pytest.approx(worth.mean())
    assert headline["lower"] < headline["difference"] < headline["upper"]
    slices = {f["slice"] for f in verdict["findings"] if f["level"] == "slice"}
    assert slices == {"region=n", "region=s"}


@pytest.mark.real
def test_what_was_measured_is_read_for_what_it_was_measured_on(folder: Path) -> None:
    into, (table, config) = measure(folder), loaded(folder)
    found = own_metrics.measured(into, table, config.gate, ABOUT)
    assert set(found) == {("profit", None), ("profit", "region=n"), ("profit", "region=s")}
    assert found["profit", None].draws.shape == (1000, 2)
    for about in (
        replace(ABOUT, holdout="9" * 64),
        replace(ABOUT, rules="9" * 64),
        replace(ABOUT, models=ABOUT.models[::-1]),
    ):
        with pytest.raises(NotJudgedError, match="other models, rows or rules"):
            own_metrics.measured(into, table, config.gate, about)
    values = into / own_metrics.VALUES
    whole = values.read_bytes()
    values.write_bytes(whole[:-8])
    with pytest.raises(NotJudgedError, match="not the 48,048 bytes"):
        own_metrics.measured(into, table, config.gate, ABOUT)
    values.write_bytes(np.array([3.0], dtype="<f8").tobytes() + whole[8:])
    with pytest.raises(NotJudgedError, match="profit is 3, outside of -2 to 2"):
        own_metrics.measured(into, table, config.gate, ABOUT)
    (into / own_metrics.MEASURED).unlink()
    with pytest.raises(NotJudgedError, match=r"measured\.json"):
        own_metrics.measured(into, table, config.gate, ABOUT)


def test_another_function_is_another_rule(folder: Path) -> None:
    _, config = loaded(folder)
    before = own_metrics.rules_of(config, folder)
    assert own_metrics.rules_of(config, folder) == before
    (folder / "lib" / "metrics.py").write_text(PROFIT + "\n")
    assert own_metrics.rules_of(config, folder) != before


BAD = {
    "an exception": (
        "def profit(*_): raise ValueError('no price')",
        "profit: ValueError: no price",
    ),
    "no number": ("def profit(*_): return 'much'", "profit: TypeError: got str, expected a number"),
    "no function": ("price = 3", "lib/metrics.py: there is no function profit"),
    "no Python": ("def profit(", r"lib/metrics.py: SyntaxError: '\(' was never closed"),
}


@pytest.mark.real
@pytest.mark.parametrize(("code", "says"), BAD.values(), ids=BAD)
def test_a_function_that_fails_is_not_judged(folder: Path, code: str, says: str) -> None:
    (folder / "lib" / "metrics.py").write_text(code)
    with pytest.raises(NotJudgedError, match=says):
        measure(folder)


@pytest.mark.real
def test_a_function_without_end_is_ended(folder: Path) -> None:
    (folder / "lib" / "metrics.py").write_text("import time\ndef profit(*_): time.sleep(600)")
    with pytest.raises(NotJudgedError, match="took longer than 2 s"):
        measure(folder, timeout=2.0)


@pytest.mark.real
def test_a_function_sees_no_credentials(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    (folder / "lib" / "metrics.py").write_text(
        "import os\ndef profit(*_): raise ValueError(os.environ.get('AWS_SECRET_ACCESS_KEY'))"
    )
    with pytest.raises(NotJudgedError, match="profit: ValueError: None"):
        measure(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "lib" / "metrics.py").unlink()
    with pytest.raises(ConfigError, match=r"lib/metrics\.py: no such file"):
        measure(folder)


def test_a_job_that_holds_a_token_computes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("TIDEGATE_GITHUB_TOKEN", "ghs_x")
    with pytest.raises(ConfigError, match="in a job that holds a token"):
        measure(folder)


METRIC = CONFIG.splitlines()[6]
CASES = {
    "a name that is taken": (
        METRIC.replace("profit", "roc_auc", 1),
        "7:14: gate.metrics[0].name: got roc_auc, which is there already, expected a name of its own",
    ),
    "two of one name": (
        f"{METRIC}\n{METRIC}",
        "8:14: gate.metrics[1].name: got a second metric profit, expected a name of its own",
    ),
    "a range without width": (
        METRIC.replace("low: -2", "low: 2"),
        "7:85: gate.metrics[0].high: got 2, expected more than low (2)",
    ),
    "a file elsewhere": (
        METRIC.replace("lib/", "../"),
        "7:27: gate.metrics[0].run: got '../metrics.py:profit', expected a file below the folder of "
        "mlops.yaml and a function in it, such as metrics.py:profit. It is called with (y_true, "
        "prediction, weight), numpy arrays, and returns a number",
    ),
    "no direction": (
        METRIC.replace(", direction: higher", ""),
        "7:7: gate.metrics[0].direction: got nothing, expected the key 'direction'",
    ),
}


@pytest.mark.parametrize(("metric", "line"), CASES.values(), ids=CASES)
def test_a_bad_metric_of_ones_own_says_where_and_why(
    tmp_path: Path, metric: str, line: str
) -> None:
    assert line in problems(tmp_path, CONFIG.replace(METRIC, metric))


def test_a_misspelt_metric_is_told_of_ones_own(tmp_path: Path) -> None:
    (line,) = problems(
        tmp_path, CONFIG.replace("metric: profit, margin: 0.05", "metric: proft, margin: 0.05")
    )
    assert "did you mean 'profit'?" in line
