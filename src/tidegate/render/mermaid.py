"""Drawings that GitHub makes of text: numbers of ours only, never a word from outside.

Plain ``xychart-beta``, which GitHub has rendered since 2023.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.core.events import ENDS

if TYPE_CHECKING:
    from tidegate.core.story import Story

_BARS = 32
_UNITS = ((86_400.0, "days"), (3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))


def traffic(story: Story) -> str:
    """Return a bar chart of the candidate's share over time; nothing before the second change.

    A bar is as high as the largest share in its stretch of time, so that no exposure is lost
    between two of them; an ended rollout gets one bar more, with what is left.
    """
    turns = story.turns
    if len(turns) < 2 or story.peak == 0.0 or story.until <= turns[0].at:
        return ""
    start, span = turns[0].at, story.until - turns[0].at
    ends = [*(turn.at for turn in turns[1:]), story.until]
    width = span / _BARS
    bars = []
    for i in range(_BARS):
        low, high = start + i * width, start + (i + 1) * width
        shares = [
            turn.share
            for turn, end in zip(turns, ends, strict=True)
            if turn.at < high and end > low
        ]
        bars.append(max(shares, default=turns[-1].share))
    if story.rollout.phase in ENDS:
        bars.append(turns[-1].share)
    size, unit = next((u for u in _UNITS if span >= 2 * u[0]), _UNITS[-1])
    heights = ", ".join(f"{100 * bar:.4g}" for bar in bars)
    return (
        "```mermaid\n"
        "xychart-beta\n"
        '    title "Share of traffic"\n'
        f'    x-axis "{unit}" 0 --> {len(bars) * width / size:.3g}\n'
        '    y-axis "%" 0 --> 100\n'
        f"    bar [{heights}]\n"
        "```\n"
    )
