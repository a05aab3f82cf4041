"""How often a bad model passes and a good one is stopped: our gate, and the rules people ship.

Holdouts of 100 to 50,000 rows are drawn from populations whose true difference is known
(:mod:`benchmarks.worlds`): twice the margin worse, at the margin, equal, one margin better. Each
goes through the real gate; the peers (:mod:`benchmarks.peers`) see the same two numbers.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.curves import draw
from benchmarks.peers import PEERS
from benchmarks.worlds import WORLDS, Truth, World, drawn
from tidegate.core.config import Gate, Rule
from tidegate.core.gate import judge
from tidegate.core.model import Kind, Margin, Outcome

if TYPE_CHECKING:
    from tidegate.core.table import Predictions

    Shares = dict[tuple[str, Truth, int], float]

OURS, OURS_UNDECIDED = "Tidegate", "Tidegate, inconclusive"
SIZES = (100, 500, 2_000, 10_000, 50_000)
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "calibration.svg"


def main(runs: int = 400, picture: Path = PICTURE) -> None:
    """Print the table and draw the picture; ``runs`` holdouts a cell and metric."""
    shares: dict[str, Shares] = {}
    for number, world in enumerate(WORLDS, 1):
        sys.stderr.write(f"{number}/{len(WORLDS)} {world.metric}\n")
        shares[world.metric] = play(world, SIZES, runs)
    mean = {
        key: float(np.mean([one[key] for one in shares.values()]))
        for key in next(iter(shares.values()))
    }
    _table(mean, runs * len(WORLDS))
    for world in WORLDS:
        _ours(world, shares[world.metric])
    picture.write_text(draw(mean, SIZES), encoding="utf-8")


def play(world: World, sizes: tuple[int, ...], runs: int) -> Shares:
    """Return how often each rule passes, by the truth and the number of rows."""
    gate = Gate(rules=(Rule(metric=world.metric, margin=Margin(value=world.margin)),))
    passed, shares = Counter[str](), dict[tuple[str, Truth, int], float]()
    for truth in Truth:
        population = world.population(truth)
        size = world.sign * world.value(_truth(population), _champion(population))
        for n in sizes:
            rng = np.random.default_rng([n, WORLDS.index(world)])
            passed.clear()
            for _ in range(runs):
                passed.update(_verdicts(world, gate, drawn(population, n, rng), size))
            for name in (OURS, OURS_UNDECIDED, *PEERS):
                shares[name, truth, n] = passed[name] / runs
    return shares


def _verdicts(world: World, gate: Gate, table: Predictions, size: float) -> list[str]:
    """Return who lets this holdout's candidate pass."""
    verdict = judge(table, gate, task=world.task)
    (finding,) = (f for f in verdict.findings if f.kind is Kind.MARGIN)
    found = [OURS] if verdict.outcome is Outcome.PASS else []
    if verdict.outcome is Outcome.INCONCLUSIVE:
        found.append(OURS_UNDECIDED)
    if finding.candidate is None or finding.champion is None:
        return found  # no number: no rule passes it
    good, old = world.sign * finding.candidate, world.sign * finding.champion
    return found + [name for name, passes in PEERS.items() if passes(good, old, size)]


def _truth(table: Predictions) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    assert table.y_true is not None
    return table.y_true


def _champion(table: Predictions) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    assert table.champion is not None
    return table.champion


def _table(mean: Shares, runs: int) -> None:
    """Print passes of bad models and stops of good ones, over all metrics."""
    print(f"mean over {len(WORLDS)} metrics, {runs:,} holdouts a cell; margin 0.01 (0.02)")
    for title, truth, stopped in (
        ("passes a model that is 2 margins worse", Truth.WORSE, False),
        ("passes a model that is worse by the margin (promised: at most 5 %)", Truth.MARGIN, False),
        ("stops an equal model", Truth.EQUAL, True),
        ("stops a model that is 1 margin better", Truth.BETTER, True),
    ):
        print(f"\n{title:<68}" + "".join(f"{n:>9,}" for n in SIZES))
        for name in (OURS, *PEERS):
            cells = [mean[name, truth, n] for n in SIZES]
            shown = [1 - cell if stopped else cell for cell in cells]
            print(f"  {name:<66}" + "".join(f"{100 * cell:>8.1f}%" for cell in shown))
        if stopped:
            cells = [mean[OURS_UNDECIDED, truth, n] for n in SIZES]
            print(
                f"  {'(of these inconclusive: it says how many rows it needs)':<66}"
                + "".join(f"{100 * cell:>8.1f}%" for cell in cells)
            )


def _ours(world: World, shares: Shares) -> None:
    """Print our passes of one metric at each truth."""
    for truth in Truth:
        cells = "".join(f"{100 * shares[OURS, truth, n]:>8.1f}%" for n in SIZES)
        print(f"{world.metric + ' passes, ' + truth.name.lower():<68}{cells}")


if __name__ == "__main__":
    main()
