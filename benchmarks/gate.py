"""The gate's speed: 5 paired metrics x (all rows + 20 slices), beside its limit and its peers.

Each figure is a process of its own: seconds of the work (imports left out, but for "whole process"),
best of three where it is ours or the limit's, and the process's peak memory.

* limit: what any comparison must do: read the columns and sort one of them.
* gate: `tidegate.predictions.read` and `judge`: values, paired one-sided bounds, all rows and slices; from 500 MB of
  columns on (30 M rows here) what the command line then does: `tidegate.streamed`, in parts, once.
* sklearn: its metrics in a paired bootstrap loop, overall and per slice.
* scipy: `scipy.stats.bootstrap`, paired, percentile, of the AUC's difference only, overall only.
* fairlearn: `MetricFrame(n_boot=...)` of both models by slice: no paired difference.
* mlflow: `mlflow.models.evaluate` of both models' static predictions: no interval, no slices, no AUC.

A bootstrap of 1,000 resamples is measured with a few and scaled up, marked "x". Peers that are not
installed are named as such. `python -m benchmarks.gate 10000 1000000` picks sizes,
`--ours` leaves the peers out. On a busy machine trust "cpu s", the seconds of all processors together.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tidegate.core.config import Gate, Rule, SliceRule
from tidegate.core.model import Margin, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tidegate.core.metrics.estimate import Floats
    from tidegate.core.model import Verdict

    Codes = np.ndarray[tuple[int, ...], np.dtype[np.integer[Any]]]

SIZES = (10_000, 100_000, 1_000_000, 10_000_000, 30_000_000)
_PART = 10_000_000  # rows that are made up at a time
METRICS = ("roc_auc", "log_loss", "accuracy", "f1", "brier")
RESAMPLES = 1000
GATE = Gate(
    rules=tuple(Rule(metric=m, margin=Margin(value=0.005)) for m in METRICS),
    slices=tuple(SliceRule(by=("region",), metric=m, margin=Margin(value=0.03)) for m in METRICS),
)
# Per size: resamples that are really drawn; 0: not run, it would take minutes.
DRAWN = {
    "sklearn": {10_000: 4, 100_000: 2, 1_000_000: 1, 10_000_000: 0},
    "scipy": {10_000: 20, 100_000: 5, 1_000_000: 2, 10_000_000: 0},
    "fairlearn": {10_000: 2, 100_000: 1, 1_000_000: 0, 10_000_000: 0},
    "mlflow": {10_000: 1, 100_000: 1, 1_000_000: 1, 10_000_000: 0},
}
SCALED = {"sklearn", "scipy", "fairlearn"}


def main() -> None:
    """Print a table per size; `--one NAME FILE DRAWN` is one figure, for ourselves."""
    if "--one" in sys.argv:
        name, file, drawn = sys.argv[sys.argv.index("--one") + 1 :]
        print(json.dumps(_one(name, Path(file), int(drawn))))
        return
    sizes = [int(a) for a in sys.argv if a.isdigit()] or SIZES
    print("5 metrics, 2 models, all rows and 20 slices. x: scaled up to 1,000 resamples")
    print(
        f"{'rows':>11} {'what':<15}{'seconds':>12}{'cpu s':>12}{'peak MB':>9}{'x limit':>10}{'x gate':>10}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            path = Path(folder) / f"{size}.parquet"
            write(path, size)
            _compare(path, size, {} if "--ours" in sys.argv else DRAWN)
            path.unlink()


def _compare(path: Path, size: int, peers: Mapping[str, Mapping[int, int]]) -> None:
    limit = _measured("limit", path, 0)
    gate = _measured("gate", path, 0)
    for what, found in (
        ("limit", limit),
        ("gate", gate),
        ("whole process", _measured("whole process", path, 0)),
    ):
        _row(size, what, found, limit, gate)
    for name, drawn in peers.items():
        if find_spec(name) is None:
            print(f"{size:>11,} {name:<15}not installed: pip install {name}")
        elif drawn.get(size, 0) == 0:
            print(f"{size:>11,} {name:<15}not run: minutes")
        else:
            found = _measured(name, path, drawn[size])
            if name in SCALED:
                found["seconds"] *= RESAMPLES / drawn[size]
                found["cpu"] *= RESAMPLES / drawn[size]
            _row(size, f"{name} x" if name in SCALED else name, found, limit, gate)


def _row(
    size: int, what: str, found: dict[str, float], limit: dict[str, float], gate: dict[str, float]
) -> None:
    seconds = found["seconds"]
    print(
        f"{size:>11,} {what:<15}{seconds:>12,.4f}{found['cpu']:>12,.4f}{found['mb']:>9,.0f}"
        f"{seconds / limit['seconds']:>10,.1f}{seconds / gate['seconds']:>10,.1f}",
        flush=True,
    )


def _measured(name: str, path: Path, drawn: int) -> dict[str, float]:
    """Run one figure in a process of its own; the whole process is timed from outside."""
    command = [sys.executable, "-m", "benchmarks.gate", "--one", name, str(path), str(drawn)]
    if name == "whole process":
        command = [sys.executable, "-c", _PROCESS, str(path)]
        return min((_timed(command) for _ in range(_times(path))), key=lambda one: one["seconds"])
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


_PROCESS = """
import sys
from pathlib import Path
from benchmarks.gate import judged, peak
judged(Path(sys.argv[1]))
print(peak())
"""


def _timed(command: list[str]) -> dict[str, float]:
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "cpu": busy, "mb": float(done.stdout)}


def _one(name: str, path: Path, drawn: int) -> dict[str, float]:
    work, times = _work(name, path, drawn)
    seconds, busy = _best(work, times)
    return {"seconds": seconds, "cpu": busy, "mb": peak()}


def peak() -> float:
    """Return the most memory that this process has had, in MiB.

    Not ``ru_maxrss``: a process that was started by a larger one inherits that one's on Linux.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines = status.read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def _work(name: str, path: Path, drawn: int) -> tuple[Callable[[], object], int]:
    if name == "limit":
        return lambda: np.sort(_column(pq.ParquetFile(path).read(), "candidate")), _times(path)
    if name == "gate":
        return lambda: judged(path), _times(path)
    table = pq.ParquetFile(path).read()
    truth, candidate, champion = (_column(table, c) for c in ("y_true", "candidate", "champion"))
    codes = np.unique(table.column("region").to_numpy(), return_inverse=True)[1]
    peer = {"sklearn": _sklearn, "scipy": _scipy, "fairlearn": _fairlearn, "mlflow": _mlflow}[name]
    return lambda: peer(truth, candidate, champion, codes, drawn), 1


def judged(path: Path) -> Verdict:
    """Judge a table as the command line does."""
    from tidegate import streamed
    from tidegate.core.gate import judge
    from tidegate.core.model import Digests
    from tidegate.core.system import Measurements
    from tidegate.predictions import read

    large = streamed.find(path, by=["region"])
    if large is not None:
        return large.judge(GATE, Task.BINARY, measured=Measurements(), digests=Digests())
    return judge(read(path, task=Task.BINARY, by=["region"]), GATE, task=Task.BINARY)


def _times(path: Path) -> int:
    """Return how often a figure is taken: half a minute's work once."""
    return 3 if pq.ParquetFile(path).metadata.num_rows <= _PART else 1


def _column(table: Any, name: str) -> Floats:
    values: Floats = table.column(name).to_numpy()
    return values


def write(path: Path, size: int) -> None:
    """Write the table that is judged: two models of one signal, 20 groups down to well under 1 %."""
    rng = np.random.default_rng(size)
    writer: pq.ParquetWriter | None = None
    for start in range(0, size, _PART):
        table = _made_up(rng, start, min(_PART, size - start))
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def _made_up(rng: np.random.Generator, start: int, size: int) -> Any:
    truth = (rng.random(size) < 0.3).astype(np.int8)
    score = 1.2 * truth + rng.normal(size=size) - 1
    share = 0.8 ** np.arange(20)
    region = pa.DictionaryArray.from_arrays(
        rng.choice(20, size, p=share / share.sum()).astype(np.int8), [str(i) for i in range(20)]
    )
    columns = {
        "id": np.arange(start, start + size),
        "y_true": truth,
        "candidate": 1 / (1 + np.exp(-score - 0.3 * rng.normal(size=size))),
        "champion": 1 / (1 + np.exp(-score - 0.3 * rng.normal(size=size))),
        "region": region.cast(pa.string()),
    }
    return pa.table(columns)


def _sklearn(y: Floats, c: Floats, b: Floats, codes: Codes, drawn: int) -> None:
    """Do paired resamples the usual way: five scikit-learn metrics, overall and per slice."""
    from sklearn import metrics

    rng = np.random.default_rng(0)
    for _ in range(drawn):
        rows = rng.integers(0, len(y), len(y))
        for chosen in (rows, *(rows[codes[rows] == code] for code in range(20))):
            for model in (c[chosen], b[chosen]):
                decision = model >= 0.5
                metrics.roc_auc_score(y[chosen], model)
                metrics.log_loss(y[chosen], model)
                metrics.brier_score_loss(y[chosen], model)
                metrics.accuracy_score(y[chosen], decision)
                metrics.f1_score(y[chosen], decision)


def _scipy(y: Floats, c: Floats, b: Floats, _codes: Codes, drawn: int) -> None:
    from scipy.stats import bootstrap
    from sklearn.metrics import roc_auc_score

    def difference(truth: Floats, mine: Floats, other: Floats) -> float:
        return float(roc_auc_score(truth, mine) - roc_auc_score(truth, other))

    bootstrap(
        (y, c, b),
        difference,
        paired=True,
        vectorized=False,
        n_resamples=drawn,
        method="percentile",
        batch=1,
        rng=np.random.default_rng(0),
    )


def _fairlearn(y: Floats, c: Floats, b: Floats, codes: Codes, drawn: int) -> None:
    from sklearn import metrics

    frame = import_module("fairlearn.metrics").MetricFrame

    def decided(metric: Callable[[Any, Any], float]) -> Callable[[Floats, Floats], float]:
        return lambda truth, model: metric(truth, model >= 0.5)

    wanted = {
        "roc_auc": metrics.roc_auc_score,
        "log_loss": metrics.log_loss,
        "brier": metrics.brier_score_loss,
        "accuracy": decided(metrics.accuracy_score),
        "f1": decided(metrics.f1_score),
    }
    for model in (c, b):
        frame(
            metrics=wanted,
            y_true=y,
            y_pred=model,
            sensitive_features=codes,
            n_boot=drawn,
            ci_quantiles=[0.05, 0.95],
            random_state=0,
        )


def _mlflow(y: Floats, c: Floats, b: Floats, _codes: Codes, _drawn: int) -> None:
    import mlflow
    import pandas as pd

    with tempfile.TemporaryDirectory() as folder:
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        # The default experiment of such a store keeps its pictures in ./mlruns.
        named = mlflow.create_experiment("gate", artifact_location=f"{folder}/artifacts")
        for model in (c, b):
            with mlflow.start_run(experiment_id=named):
                data = pd.DataFrame({"y": y, "p": (model >= 0.5).astype(int)})
                mlflow.models.evaluate(
                    data=data, targets="y", predictions="p", model_type="classifier"
                )


def _best(work: Callable[[], object], times: int) -> tuple[float, float]:
    """Return the least seconds, and the least seconds of all processors together."""
    seconds, busy = [], []
    for _ in range(times):
        began, worked = time.perf_counter(), time.process_time()
        work()
        seconds.append(time.perf_counter() - began)
        busy.append(time.process_time() - worked)
    return min(seconds), min(busy)


if __name__ == "__main__":
    main()
