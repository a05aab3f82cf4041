"""How often a bound is wrong where a budget of decisions needs it: far out in the tail.

Six metrics (:mod:`benchmarks.worlds`), candidates that are worse by exactly the margin: how often one of 8 decisions, each at
alpha / 8, passes, beside the 5 % that are promised for all of them together.
"""

from __future__ import annotations

import numpy as np

from benchmarks.worlds import WORLDS, Truth, World, drawn
from tidegate.core.metrics.table import find
from tidegate.core.rows import Rows
from tidegate.core.table import CANDIDATE, CHAMPION

SIZES = (500, 2_000, 10_000)
BUDGET, ALPHA = 8, 0.05


def main(runs: int = 20_000) -> None:
    """Print the rate of every metric and size, from ``runs`` holdouts each."""
    print(f"any of {BUDGET} decisions passes a model worse by the margin; {runs:,} holdouts a cell")
    print(f"{'':<12}" + "".join(f"{n:>9,}" for n in SIZES))
    for world in WORLDS:
        print(f"{world.metric:<12}", end="", flush=True)
        for n in SIZES:
            print(f"{1 - (1 - passed(world, n, runs)) ** BUDGET:>9.1%}", end="", flush=True)
        print()


def passed(world: World, n: int, runs: int) -> float:
    """Return how often a margin that is just broken is called kept, at ``ALPHA / BUDGET``."""
    population, metric = world.population(Truth.MARGIN), find(world.metric, world.task)
    rng = np.random.default_rng([n, 7])
    wrong = 0
    for _ in range(runs):
        found = Rows(drawn(population, n, rng)).contrast(metric, CANDIDATE, CHAMPION)
        if found is not None and found.known:
            slack = found.affine(metric.sign, world.margin)
            wrong += slack.lower(1.0 - ALPHA / BUDGET) > 0.0
    return wrong / runs


if __name__ == "__main__":
    main()
