"""Many slices at once: how often chance stops an equal model, and how often harm in one is found.

Five metrics in twenty groups, from a fifth of the rows down to half a per cent. Once both models are equal everywhere;
once the candidate answers one group of a tenth of the rows with much more noise. Beside our gate: the
plain comparison in every group (what TFMA's sliced thresholds and a loop over groups do), and a test of 5 % in
every group without a correction.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from benchmarks.worlds import WORLDS, Truth, drawn
from tidegate.core.config import Gate, Rule, SliceRule
from tidegate.core.gate import judge
from tidegate.core.model import Cause, Finding, Level, Margin, Outcome, Task, Verdict
from tidegate.core.table import Predictions

METRICS = ("roc_auc", "log_loss", "accuracy", "f1", "brier")
SIZES = (2_000, 10_000, 50_000)
GATE = Gate(
    rules=(Rule(metric="roc_auc", margin=Margin(value=0.02)),),
    slices=tuple(SliceRule(by=("region",), metric=m, margin=Margin(value=0.0)) for m in METRICS),
)
PLAIN, UNCORRECTED, OURS = "plain comparison in each", "5 % test in each, uncorrected", "Tidegate"


def main(runs: int = 200) -> None:
    """Print how often each rule stops the model; ``runs`` holdouts a cell."""
    print(f"5 metrics x 20 slices, {runs} holdouts a cell; harm beyond a margin of 0 counts")
    for title, harmed in (
        ("stops a model that is equal everywhere", False),
        ("stops a model that is worse in one group", True),
    ):
        print(f"\n{title:<48}" + "".join(f"{n:>10,}" for n in SIZES))
        cells = [play(n, runs, harmed=harmed) for n in SIZES]
        for name in (PLAIN, UNCORRECTED, OURS):
            print(f"  {name:<46}" + "".join(f"{100 * cell[name] / runs:>9.1f}%" for cell in cells))


def play(n: int, runs: int, *, harmed: bool) -> Counter[str]:
    """Return how many of the runs each rule stops."""
    population, rng = WORLDS[0].population(Truth.EQUAL), np.random.default_rng([n, 7])
    share = 0.82 ** np.arange(20)
    names = tuple(f"r{code:02}" for code in range(20))
    stopped = Counter[str]()
    for _ in range(runs):
        rows = drawn(population, n, rng)
        codes = rng.choice(20, n, p=share / share.sum())
        candidate = rows.candidate
        if harmed:
            noise = rng.normal(0.0, 1.5, n)
            worse = 1.0 / (1.0 + np.exp(-(np.log(candidate / (1.0 - candidate)) + noise)))
            candidate = np.where(codes == 3, worse, candidate)
        table = Predictions(
            y_true=rows.y_true,
            candidate=candidate,
            champion=rows.champion,
            slices={"region": (names, codes)},
        )
        stopped.update(_stopped(judge(table, GATE, task=Task.BINARY)))
    return stopped


def _stopped(verdict: Verdict) -> list[str]:
    slices = [f for f in verdict.findings if f.level is Level.SLICE]
    plain = any(_worse(f) for f in slices)
    # An upper bound (oriented) below 0 is a one-sided test of 5 %.
    alone = any(_shown_worse(f) for f in slices)
    ours = any(f.cause is Cause.HARMED and f.outcome is Outcome.REJECT for f in slices)
    found = ((PLAIN, plain), (UNCORRECTED, alone), (OURS, ours))
    return [name for name, stops in found if stops]


def _worse(finding: Finding) -> bool:
    if finding.difference is None:
        return False
    lower_is_better = finding.direction is not None and finding.direction.value == "lower"
    return (finding.difference > 0.0) if lower_is_better else (finding.difference < 0.0)


def _shown_worse(finding: Finding) -> bool:
    if finding.lower is None or finding.upper is None:
        return False
    lower_is_better = finding.direction is not None and finding.direction.value == "lower"
    return finding.lower > 0.0 if lower_is_better else finding.upper < 0.0


if __name__ == "__main__":
    main()
