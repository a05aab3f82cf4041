"""``tidegate gate`` from a file to an exit code, through the real command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tidegate.cli import main
from tidegate.errors import Exit
from tidegate.resources import resource

if TYPE_CHECKING:
    from pathlib import Path

_RULES = """\
version: 1
model: {name: m, task: binary}
data: {train: train.parquet, holdout: holdout.parquet, target: y, id: id}
train: {run: python train.py}
gate:
  rules:
    - {metric: roc_auc, margin: 0.05}
"""


def _columns(n: int = 2000, candidate: float = 1.0) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    truth = (rng.random(n) < 0.4).astype(np.int64)

    def model(noise: float) -> Any:
        return 1 / (1 + np.exp(-(2 * truth - 1 + noise * rng.normal(size=n))))

    return {
        "id": np.arange(n),
        "y_true": truth,
        "candidate": model(candidate),
        "champion": model(1.0),
        "region": np.where(rng.random(n) < 0.5, "north", "south"),
    }


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _gate(
    columns: dict[str, Any], capsys: pytest.CaptureFixture[str], *options: str
) -> tuple[int, dict[str, Any]]:
    pq.write_table(pa.table(columns), "p.parquet")
    code = main(["gate", "--predictions", "p.parquet", "--json", *options])
    out = capsys.readouterr().out
    found: dict[str, Any] = json.loads(out) if out else {}
    if found:
        schema = json.loads(resource("schemas/verdict.schema.json").read_text())
        jsonschema.Draft202012Validator(schema).validate(found)
    return code, found


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("columns", "code", "outcome"),
    [
        pytest.param(_columns(candidate=0.5), Exit.OK, "pass", id="better"),
        pytest.param(_columns(candidate=3.0), Exit.REJECTED, "reject", id="worse"),
        pytest.param(_columns(60), Exit.INCONCLUSIVE, "inconclusive", id="few rows"),
        pytest.param(
            {**_columns(), "candidate": np.full(2000, np.nan)}, Exit.NOT_JUDGED, "error", id="NaN"
        ),
        pytest.param(
            {**_columns(), "y_true": np.zeros(2000)}, Exit.NOT_JUDGED, "error", id="one class"
        ),
        pytest.param(
            {k: v for k, v in _columns().items() if k != "champion"},
            Exit.INCONCLUSIVE,
            "inconclusive",
            id="no champion, margins only",
        ),
    ],
)
def test_the_outcome_is_the_exit_code(
    columns: dict[str, Any], code: int, outcome: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found_code, found = _gate(columns, capsys)
    assert (found_code, found["outcome"]) == (code, outcome)
    assert found["notes"] == ["no mlops.yaml: default rules for binary"]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("change", "note", "metric", "relative"),
    [
        ({}, "binary", "roc_auc", False),
        ({"candidate": np.arange(2000) % 2}, "binary", "accuracy", False),
        ({"y_true": np.arange(2000) / 7}, "regression", "rmse", True),
        ({"y_true": None}, "generic", "mean", True),
    ],
)
def test_without_rules_the_defaults_of_the_task_apply(
    change: dict[str, Any],
    note: str,
    metric: str,
    relative: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    columns = {k: v for k, v in {**_columns(), **change}.items() if v is not None}
    _, found = _gate(columns, capsys)
    assert found["notes"] == [f"no mlops.yaml: default rules for {note}"]
    (finding,) = (f for f in found["findings"] if f["kind"] == "margin")
    assert (finding["metric"], finding["margin_relative"]) == (metric, relative)
    assert finding["margin"] == (0.01 if relative else 0.005)


def test_the_rules_of_mlops_yaml_apply_where_it_is(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "mlops.yaml").write_text(
        _RULES + "  slices:\n    - {by: [region], metric: roc_auc, margin: 0.2}\n"
    )
    code, found = _gate(_columns(), capsys)
    assert code == Exit.OK
    assert found["notes"] == []
    assert {f["slice"] for f in found["findings"]} == {None, "region=north", "region=south"}
    assert found["digests"]["rules"]


def test_a_measurement_comes_from_the_command_line(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "rules.yaml").write_text(_RULES + "    - {metric: latency_p95_ms, at_most: 20}\n")
    options = ("--config", "rules.yaml")
    assert _gate(_columns(), capsys, *options)[0] == Exit.NOT_JUDGED
    assert _gate(_columns(), capsys, *options, "--measured", "latency_p95_ms=12")[0] == Exit.OK
    assert (
        _gate(_columns(), capsys, *options, "--measured", "latency_p95_ms=21")[0] == Exit.REJECTED
    )


@pytest.mark.usefixtures("here")
def test_bad_input_ends_in_two_and_prints_no_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    columns = {k: v for k, v in _columns().items() if k != "candidate"}
    assert _gate(columns, capsys) == (Exit.USAGE, {})
    assert main(["gate", "--predictions", "none.parquet"]) == Exit.USAGE
    assert "none.parquet: No such file or directory" in capsys.readouterr().err


def test_a_slice_column_that_the_table_lacks_is_an_error_not_a_pass(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "mlops.yaml").write_text(
        _RULES + "  slices:\n    - {by: [country], metric: roc_auc, margin: 0.2}\n"
    )
    code, verdict = _gate(_columns(), capsys)
    assert (code, verdict["outcome"]) == (Exit.NOT_JUDGED, "error")


@pytest.mark.usefixtures("here")
def test_text_begins_with_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    pq.write_table(pa.table(_columns(candidate=0.5)), "p.parquet")
    assert main(["gate", "--predictions", "p.parquet"]) == Exit.OK
    first, second, third, *_ = capsys.readouterr().out.splitlines()
    assert first == "PASS: the one rule is shown at 95% confidence on 2,000 rows"
    assert second == "2,000 holdout rows, 95% confidence."
    assert third == "no mlops.yaml: default rules for binary"


def test_in_a_workflow_the_verdict_is_an_output_and_the_jobs_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "table.csv"
    rows = [f"{i},{i % 2},{0.9 if i % 2 else 0.1},{0.8 if i % 2 else 0.2}" for i in range(400)]
    table.write_text("\n".join(["id,y_true,candidate,champion", *rows]) + "\n")
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    main(["gate", "--predictions", str(table)])
    output, shown = ((tmp_path / n).read_text() for n in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"))
    outcome = output.splitlines()[1]
    assert output.startswith("outcome<<")
    assert outcome in ("pass", "inconclusive", "reject", "error")
    assert outcome in shown.lower()
    assert "roc_auc" in shown
