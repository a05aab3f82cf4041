"""The two checks on the comparison itself."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.core.sequential.shares import Coverage, SampleRatio


def test_a_sound_split_is_hardly_ever_called_off() -> None:
    rng, off = np.random.default_rng(5), 0
    for _ in range(60):
        check = SampleRatio.start()
        for share in (0.05, 0.25, 0.5, 0.95):
            for _ in range(20):
                n = int(rng.poisson(600))
                k = int(rng.binomial(n, share))
                check = check.add(candidate=k, champion=n - k, share=share)
        off += check.off
    assert off <= 1


@pytest.mark.parametrize(
    ("candidate", "champion"),
    [(0, 600), (60, 540), (15, 585)],
    ids=["never-applied", "twice", "half"],
)
def test_a_split_that_is_not_the_configured_one_is_found(candidate: int, champion: int) -> None:
    check = SampleRatio.start()
    for _ in range(10):
        check = check.add(candidate=candidate, champion=champion, share=0.05)
    assert check.off


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_of_nothing_or_all_says_nothing(share: float) -> None:
    check = SampleRatio.start().add(candidate=5, champion=5, share=share)
    assert check.log_e_max == 0


def test_equal_labelling_is_hardly_ever_called_unequal() -> None:
    rng, unequal = np.random.default_rng(6), 0
    for _ in range(60):
        check = Coverage.start()
        for _ in range(40):
            labelled = (int(rng.binomial(30, 0.6)), int(rng.binomial(570, 0.6)))
            check = check.add(answers=(30, 570), labelled=labelled)
        unequal += check.unequal
    assert unequal <= 1


@pytest.mark.parametrize("labelled", [(5, 342), (29, 342)], ids=["fewer", "more"])
def test_unequal_labelling_is_found_in_either_direction(labelled: tuple[int, int]) -> None:
    check = Coverage.start()
    for _ in range(20):
        check = check.add(answers=(30, 570), labelled=labelled)
    assert check.unequal


def test_no_labels_at_all_are_not_unequal() -> None:
    check = Coverage.start()
    for _ in range(500):
        check = check.add(answers=(30, 570), labelled=(0, 0))
    assert not check.unequal
