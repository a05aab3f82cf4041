"""A table read in parts: the verdict of the whole, errors wherever they are, memory that does not grow."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tidegate import streamed
from tidegate.cli import main
from tidegate.core.config import Gate, Rule, SliceRule
from tidegate.core.gate import judge
from tidegate.core.model import Cause, Digests, Margin, Outcome, Task
from tidegate.core.system import Measurements
from tidegate.errors import ConfigError, Exit, NotJudgedError
from tidegate.predictions import read

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.core.model import Verdict

METRICS = ("roc_auc", "average_precision", "log_loss", "accuracy", "f1")
MARGIN = Margin(value=0.02)
GATE = Gate(
    rules=tuple(Rule(metric=m, margin=MARGIN) for m in METRICS),
    slices=tuple(SliceRule(by=("region",), metric=m, margin=MARGIN) for m in METRICS),
)
AUC = Gate(rules=(Rule(metric="roc_auc", margin=MARGIN),))
GROUP = 3000  # rows of a row group, of a batch and of a table but for the large one


@pytest.fixture(autouse=True)
def _in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "FROM_BYTES", 0)


def _columns(n: int = 3 * GROUP) -> dict[str, Any]:
    rng = np.random.default_rng(4)
    truth = (rng.random(n) < 0.3).astype(np.int8)
    signal = 1.2 * truth + rng.normal(size=n) - 1
    models = [1 / (1 + np.exp(-signal - 0.3 * rng.normal(size=n))) for _ in range(2)]
    region = np.array(["n", "s", "e", None], dtype=object)[rng.integers(0, 4, n)]
    region[-1] = "last"
    ids = np.arange(n)
    return {
        "id": ids,
        "y_true": truth,
        "candidate": models[0],
        "champion": models[1],
        "region": region,
    }


def _write(folder: Path, columns: dict[str, Any], rows: int = GROUP) -> Path:
    path = folder / "p.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=rows)
    return path


def _judge(path: Path, gate: Gate = GATE, task: Task = Task.BINARY) -> Verdict:
    found = streamed.find(
        path, by=gate.columns, whole=streamed.needs(gate, task, group=False, weight=False)
    )
    assert found is not None
    return found.judge(gate, task, measured=Measurements(), digests=Digests())


def test_the_verdict_is_that_of_the_whole_table(tmp_path: Path) -> None:
    path = _write(tmp_path, _columns(300_000), 20_000)
    parts = _judge(path)
    whole = judge(read(path, task=Task.BINARY, by=["region"]), GATE, task=Task.BINARY)
    assert (parts.outcome, parts.n) == (whole.outcome, 300_000)
    mine = {(f.metric, f.slice, f.column): f for f in parts.findings}
    theirs = {(f.metric, f.slice, f.column): f for f in whole.findings}
    assert set(mine) == set(theirs)
    for key, a in mine.items():
        b = theirs[key]
        assert (a.outcome, a.cause, a.n, a.decides) == (b.outcome, b.cause, b.n, b.decides), key
        if b.candidate is None:
            continue
        # What bins leave in doubt of value and error; average precision is steep among the highest scores.
        slack = {"roc_auc": 1e-4, "average_precision": 5e-4}.get(a.metric, 1e-9)
        assert a.candidate == pytest.approx(b.candidate, abs=slack), key
        assert (a.lower is None) == (b.lower is None), key
        if (
            a.lower is not None
            and b.lower is not None
            and a.upper is not None
            and b.upper is not None
        ):
            assert b.lower - slack <= a.lower <= b.lower + 1e-6, key
            assert b.upper - 1e-6 <= a.upper <= b.upper + slack, key


def test_the_command_line_reads_large_tables_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = _write(tmp_path, _columns())
    code = main(["gate", "--predictions", str(path), "--json", "--html", "page.html"])
    found = json.loads(capsys.readouterr().out)
    assert code == Exit.INCONCLUSIVE  # the default margin is 0.005, and rows are few
    assert found["notes"] == ["no mlops.yaml: default rules for binary", "a large table: read in parts, without pictures"]  # fmt: skip
    assert (tmp_path / "page.html").stat().st_size > 1000
    assert main(["gate", "--predictions", str(path), "--explain", "roc_auc"]) == code


@pytest.mark.parametrize(
    ("task", "metric", "margin"),
    [
        (Task.REGRESSION, "rmse", Margin(value=0.01, relative=True)),
        (Task.REGRESSION, "r2", MARGIN),
        (Task.GENERIC, "mean", Margin(value=0.01, relative=True)),
    ],
    ids=["rmse", "r2", "mean"],
)
def test_numbers_that_are_no_probabilities_are_those_of_the_whole_table(
    tmp_path: Path, task: Task, metric: str, margin: Margin
) -> None:
    columns = _columns(40_000)
    for name in ("y_true", "candidate", "champion"):
        columns[name] = 50.0 + 10.0 * columns[name]
    columns["anchor"] = columns["champion"] + 0.1
    gate = Gate(rules=(Rule(metric=metric, margin=margin),))
    path = _write(tmp_path, columns)
    parts, whole = _judge(path, gate, task), judge(read(path, task=task), gate, task=task)
    assert len(parts.findings) == len(whole.findings) == 2  # champion and anchor
    for a, b in zip(parts.findings, whole.findings, strict=True):
        assert (a.outcome, a.cause, a.n) == (b.outcome, b.cause, b.n)
        assert (a.candidate, a.champion) == pytest.approx((b.candidate, b.champion), abs=1e-9)
        assert (a.lower, a.upper) == pytest.approx((b.lower, b.upper), abs=1e-9)


@pytest.mark.parametrize(
    ("column", "value", "cause"),
    [
        ("candidate", np.nan, Cause.NOT_A_NUMBER),
        ("champion", np.inf, Cause.NOT_A_NUMBER),
        ("candidate", 1.2, Cause.OUT_OF_RANGE),
        ("y_true", 2, Cause.OUT_OF_RANGE),
    ],
)
def test_a_bad_value_in_the_last_row_is_an_error(
    tmp_path: Path, column: str, value: float, cause: Cause
) -> None:
    columns = _columns()
    columns[column][-1] = value
    verdict = _judge(_write(tmp_path, columns))
    assert verdict.outcome is Outcome.ERROR
    assert [(f.column, f.cause, f.n) for f in verdict.findings] == [(column, cause, 1)]


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda c: c | {"y_true": np.zeros(len(c["id"]))}, Cause.ONE_CLASS),
        (lambda c: c | {"candidate": np.full(len(c["id"]), 0.5)}, Cause.CONSTANT),
        (lambda c: c | {"champion": c["candidate"]}, Cause.SAME_MODEL),
        (lambda c: {k: v for k, v in c.items() if k != "region"}, Cause.MISSING_COLUMN),
    ],
    ids=["one class", "constant", "same model", "no slice column"],
)
def test_what_means_nothing_is_an_error_of_all_rows(
    tmp_path: Path, change: Any, cause: Cause
) -> None:
    verdict = _judge(_write(tmp_path, change(_columns())))
    assert verdict.outcome is Outcome.ERROR
    assert {f.n for f in verdict.findings if f.cause is cause} == {3 * GROUP}


def _descending(ids: Any) -> Any:
    return ids[::-1].copy()


def _text(ids: Any) -> Any:
    return np.array([f"row-{i}" for i in ids], dtype=object)


@pytest.mark.parametrize("make", [lambda ids: ids.copy(), _descending, _text], ids=["up", "down", "text"])  # fmt: skip
def test_an_id_that_occurs_in_two_row_groups_is_an_error(tmp_path: Path, make: Any) -> None:
    columns = _columns()
    columns["id"] = make(columns["id"])
    assert _judge(_write(tmp_path, columns), AUC).n == 3 * GROUP
    columns["id"][-1] = columns["id"][7]
    with pytest.raises(ConfigError, match=r"(7|8992|'row-7') occurs more than once") as error:
        _judge(_write(tmp_path, columns), AUC)
    assert error.value.exit_code == Exit.USAGE


def test_a_missing_id_or_truth_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "BATCH", GROUP)
    columns = _columns()
    truth = columns["y_true"].astype(object)
    truth[-1] = None
    with pytest.raises(ConfigError, match=r"1 of 3,000 rows have no truth .* from row 6,001 on"):
        _judge(_write(tmp_path, columns | {"y_true": truth}), AUC)
    ids = columns["id"].astype(object)
    ids[-1] = None
    with pytest.raises(ConfigError, match="1 of 3,000 rows have no id"):
        _judge(_write(tmp_path, columns | {"id": ids}), AUC)


def test_too_many_values_over_all_parts_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamed, "BATCH", 800)
    columns = _columns()
    columns["region"] = _text(columns["id"] // 8)  # 100 a part, 1,125 together
    with pytest.raises(ConfigError, match="'region' has over 1,000 different values"):
        _judge(_write(tmp_path, columns))


def test_a_file_cut_short_in_its_last_row_group_is_an_error(tmp_path: Path) -> None:
    path = _write(tmp_path, _columns())
    start = pq.ParquetFile(path).metadata.row_group(2).column(2).data_page_offset
    with path.open("r+b") as stream:
        stream.seek(start)
        stream.write(b"\xff" * 400)
    with pytest.raises(ConfigError, match="not a readable Parquet file"):
        _judge(path, AUC)


def test_a_file_that_changes_while_it_is_read_is_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = streamed.find(_write(tmp_path, _columns()))
    assert found is not None
    monkeypatch.setattr(streamed, "_state", lambda path: (0, path.stat().st_mtime_ns))
    with pytest.raises(NotJudgedError, match="has changed while it was read"):
        found.judge(AUC, Task.BINARY, measured=Measurements(), digests=Digests())


def test_too_much_doubt_is_not_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.core.sums.bins.MOST_BINS", 8)
    monkeypatch.setattr("tidegate.core.sums.bins.LEAST_BINS", 8)
    with pytest.raises(NotJudgedError, match=r"roc_auc: .* in doubt by 0\.\d+, expected at most a fifth") as error:  # fmt: skip
        _judge(_write(tmp_path, _columns()), AUC)
    assert "random sample" in error.value.remedy


def test_what_needs_all_rows_is_read_whole_up_to_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _write(tmp_path, _columns())
    assert streamed.find(path, whole="the metric ks") is None
    monkeypatch.setattr(streamed, "MOST_WHOLE", 1000)
    with pytest.raises(
        ConfigError, match=r"the metric ks needs all rows at once, and its 9,000 rows"
    ):
        streamed.find(path, whole="the metric ks")
    lists = {"id": [1, 2], "y_true": ["a", "b"], "candidate": [[0.5] * 90] * 2}
    with pytest.raises(ConfigError, match="a column of lists needs all rows at once"):
        streamed.find(_write(tmp_path, lists))


def test_small_tables_are_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "FROM_BYTES", 500_000_000)
    assert streamed.find(_write(tmp_path, _columns())) is None


_PEAK = """
import sys
from pathlib import Path
from benchmarks.gate import peak
from tests.test_streamed import AUC, _judge
from tidegate import streamed
streamed.FROM_BYTES = 0
assert _judge(Path(sys.argv[1]), AUC).n == int(sys.argv[2])
print(peak())
"""


@pytest.mark.heavy
@pytest.mark.real
def test_twice_the_rows_take_no_more_memory(tmp_path: Path) -> None:
    peaks = []
    path = tmp_path / "p.parquet"
    for parts in (8, 16):
        table = pa.table({k: v for k, v in _columns(250_000).items() if k not in {"id", "region"}})
        with pq.ParquetWriter(path, table.schema.append(pa.field("id", pa.int64()))) as writer:
            for part in range(parts):
                ids = pa.array(np.arange(250_000)[::-1] + part * 250_000)  # not ascending: by files
                writer.write_table(table.append_column("id", ids))
        command = [sys.executable, "-c", _PEAK, str(path), str(parts * 250_000)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks.append(float(done.stdout))
    assert peaks[1] - peaks[0] < 10.0, peaks
