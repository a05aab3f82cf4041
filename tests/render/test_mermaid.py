"""The chart of traffic: bars of numbers, nothing else."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.render.stories import Play
from tidegate.core.events import Phase
from tidegate.core.story import Story, Turn
from tidegate.render.mermaid import traffic

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def story(tmp_path: Path) -> Story:
    """A rollout that waits for its first traffic."""
    told = Play.begin(tmp_path).report().story
    assert told is not None
    return told


def _told(story: Story, *shares: float, every: float = 60.0) -> Story:
    turns = tuple(
        Turn(at=1000.0 + every * i, phase=Phase.CANARY, step=i, share=share, cause="shown")
        for i, share in enumerate(shares)
    )
    return replace(story, turns=turns, until=1000.0 + every * len(shares))


def _bars(text: str) -> list[float]:
    found = re.search(r"bar \[(.*)\]", text)
    assert found
    return [float(number) for number in found[1].split(", ")]


@pytest.mark.parametrize("shares", [(), (0.05,), (0.05, 0.0), (0.05, 0.0, 0.05), (0.0, 0.0)])
def test_one_step_needs_no_chart(story: Story, shares: tuple[float, ...]) -> None:
    assert traffic(_told(story, *shares)) == ""


def test_bars_follow_the_share_and_end_with_what_holds_now(story: Story) -> None:
    bars = _bars(traffic(_told(story, 0.05, 0.25, 0.95, 0.0)))
    assert bars == [5.0] * 8 + [25.0] * 8 + [95.0] * 8 + [0.0] * 9


def test_a_short_exposure_is_not_lost_between_two_bars(story: Story) -> None:
    told = _told(story, 0.05, 0.5, 0.05)
    brief = tuple(
        replace(turn, at=at) for turn, at in zip(told.turns, (0, 5000, 5001), strict=True)
    )
    bars = _bars(traffic(replace(told, turns=brief, until=100_000)))
    assert bars.count(50.0) == 1


@pytest.mark.parametrize(
    ("shares", "every", "axes"),
    [
        ((0.01, 0.05), 30, '"seconds" 0 --> 61.9|"%" 0 --> 10'),
        ((0.05, 0.25), 600, '"minutes" 0 --> 20.6|"%" 0 --> 25'),
        ((0.05, 0.26), 7200, '"hours" 0 --> 4.12|"%" 0 --> 50'),
        ((0.05, 1.0), 90_000, '"days" 0 --> 2.15|"%" 0 --> 100'),
    ],
)
def test_axes_fit_time_and_share(
    story: Story, shares: tuple[float, ...], every: float, axes: str
) -> None:
    text = traffic(_told(story, *shares, every=every))
    for axis in axes.split("|"):
        assert f"-axis {axis}\n" in text


def test_there_are_only_words_of_ours(story: Story) -> None:
    lines = traffic(_told(story, 0.05, 0.25)).splitlines()
    assert (lines[0], lines[2], lines[-1]) == ("```mermaid", "xychart-beta", "```")
    assert len(lines) == 8
