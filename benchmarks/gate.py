"""The gate's speed: 5 paired metrics x (all rows + 20 slices), against its limit and its peers.

The limit is what any comparison must do: read the columns and sort one of them. The peer is what
people write today: scikit-learn's metrics in a paired bootstrap loop, overall and per slice. One
resample of it is timed once and multiplied by 1,000: an extrapolation, not a measurement.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tidegate.core.config import Gate, Rule, SliceRule
from tidegate.core.gate import judge
from tidegate.core.model import Margin, Task
from tidegate.predictions import read

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tidegate.core.metrics.estimate import Floats

    Codes = np.ndarray[tuple[int, ...], np.dtype[np.integer[Any]]]

SIZES = (10_000, 100_000, 1_000_000)
METRICS = ("roc_auc", "log_loss", "accuracy", "f1", "brier")
RESAMPLES = 1000
GATE = Gate(
    rules=tuple(Rule(metric=m, margin=Margin(value=0.005)) for m in METRICS),
    slices=tuple(SliceRule(by=("region",), metric=m, margin=Margin(value=0.03)) for m in METRICS),
)


def main() -> None:
    """Print seconds and ratios for every size."""
    print("5 metrics, 2 models, paired bounds, all rows and 20 slices; seconds, best of 3")
    print(
        f"{'rows':>10}{'read':>9}{'sort':>9}{'judge':>9}{'read+judge : limit':>20}{'bootstrap : judge':>20}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            path = Path(folder) / f"{size}.parquet"
            _write(path, size)
            _compare(path, size)


def _compare(path: Path, size: int) -> None:
    table = read(path, task=Task.BINARY, by=["region"])
    reading = _best(lambda: read(path, task=Task.BINARY, by=["region"]))
    bare = _best(lambda: pq.ParquetFile(path).read())
    sorting = _best(lambda: np.sort(table.candidate))
    judging = _best(lambda: judge(table, GATE, task=Task.BINARY))
    assert table.y_true is not None
    assert table.champion is not None
    truth, champion, codes = table.y_true, table.champion, table.slices["region"][1]
    one = _best(lambda: _resample(truth, table.candidate, champion, codes), 1)
    limit = bare + sorting
    print(
        f"{size:>10,}{reading:>9.4f}{sorting:>9.4f}{judging:>9.4f}"
        f"{(reading + judging) / limit:>20.1f}{one * RESAMPLES / judging:>20,.0f}"
    )


def _write(path: Path, size: int) -> None:
    rng = np.random.default_rng(size)
    truth = (rng.random(size) < 0.3).astype(np.int8)
    score = 1.2 * truth + rng.normal(size=size) - 1
    share = 0.8 ** np.arange(20)  # from a fifth of the rows down to well under 1 %
    columns = {
        "id": np.arange(size),
        "y_true": truth,
        "candidate": 1 / (1 + np.exp(-score - 0.3 * rng.normal(size=size))),
        "champion": 1 / (1 + np.exp(-score - 0.3 * rng.normal(size=size))),
        "region": pa.array(rng.choice(20, size, p=share / share.sum()).astype(str)),
    }
    pq.write_table(pa.table(columns), path)


def _resample(truth: Floats, candidate: Floats, champion: Floats, codes: Codes) -> None:
    """Do one paired resample the usual way: five scikit-learn metrics, overall and per slice."""
    from sklearn import metrics

    y, c, b, group = truth, candidate, champion, codes
    rows = np.random.default_rng(0).integers(0, len(y), len(y))
    y, c, b, group = y[rows], c[rows], b[rows], group[rows]
    for chosen in (np.arange(len(y)), *(np.flatnonzero(group == code) for code in range(20))):
        for model in (c[chosen], b[chosen]):
            decision = model >= 0.5
            metrics.roc_auc_score(y[chosen], model)
            metrics.log_loss(y[chosen], model)
            metrics.brier_score_loss(y[chosen], model)
            metrics.accuracy_score(y[chosen], decision)
            metrics.f1_score(y[chosen], decision)


def _best(work: Callable[[], object], times: int = 3) -> float:
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


if __name__ == "__main__":
    main()
