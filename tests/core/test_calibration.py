"""The gate's promises over many slices, metrics and sizes, and the peers' rules as they are written."""

from __future__ import annotations

import pytest
from benchmarks import calibration, slices
from benchmarks.peers import PEERS
from benchmarks.worlds import WORLDS, Truth, World
from scipy import stats

SEEDS = 1e-4  # one false alarm in 10,000 such tests


def most(runs: int, rate: float) -> int:
    return int(stats.binom.ppf(1 - SEEDS, runs, rate))


def test_chance_among_a_hundred_slices_does_not_stop_an_equal_model_and_harm_does() -> None:
    runs = 50
    equal = slices.play(2_000, runs, harmed=False)
    assert equal[slices.OURS] <= most(runs, 0.05)
    assert equal[slices.PLAIN] == runs, "the world is one in which plain rules fail"
    assert equal[slices.UNCORRECTED] > most(runs, 0.05)
    harmed = slices.play(6_000, 20, harmed=True)
    assert harmed[slices.OURS] >= 16


@pytest.mark.heavy
@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.metric)
def test_at_the_margin_a_model_passes_as_often_as_promised_at_every_size(world: World) -> None:
    runs, sizes = 2_000, (200, 500, 2_000, 10_000)
    shares = calibration.play(world, sizes, runs)
    for n in sizes:
        assert shares[calibration.OURS, Truth.MARGIN, n] * runs <= most(runs, 0.055)
        assert shares[calibration.OURS, Truth.WORSE, n] <= 0.03
    assert shares[calibration.OURS, Truth.EQUAL, 10_000] > 0.85
    assert shares[calibration.OURS, Truth.BETTER, 10_000] > 0.99


@pytest.mark.heavy
def test_chance_among_slices_at_full_size() -> None:
    runs = 1_000
    for n in (2_000, 10_000):
        assert slices.play(n, runs, harmed=False)[slices.OURS] <= most(runs, 0.05)


@pytest.mark.parametrize(
    ("good", "old", "passes"),
    [
        (0.80, 0.80, {"not smaller", "TFX", "mlops-stacks", "AWS", "evidently"}),
        (0.7999, 0.80, {"mlops-stacks", "AWS", "evidently"}),
        (0.80001, 0.80, {"greater", "not smaller", "TFX", "MLflow, laxest", "mlops-stacks", "AWS", "evidently"}),
        (0.71, 0.80, {"mlops-stacks", "evidently"}),
        (0.99, 0.80, {"greater", "not smaller", "TFX", "MLflow", "mlops-stacks", "AWS"}),
    ],
)  # fmt: skip
def test_the_peers_say_what_they_say(good: float, old: float, passes: set[str]) -> None:
    said = {name for name, rule in PEERS.items() if rule(good, old, 0.80)}
    assert said == {name for name in PEERS if any(name.startswith(begin) for begin in passes)}
