"""Drawings that GitHub makes of text: numbers of ours only, never a word from outside.

Plain ``xychart-beta``, which GitHub has rendered since 2023; tried with mermaid 10 and 11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidegate.core.story import Story

_BARS = 32
_TOPS = (10, 25, 50, 100)  # percent
_LOOKS = '%%{init: {"xyChart": {"height": 260}, "themeVariables": {"xyChart": {"plotColorPalette": "#388bfd"}}}}%%'
_UNITS = ((86_400.0, "days"), (3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))


def traffic(story: Story) -> str:
    """Return a bar chart of the candidate's share over time; nothing before its second step.

    A bar is as high as the largest share in its stretch of time, so that no exposure is lost
    between two of them; the last one is what holds now.
    """
    turns = story.turns
    if len({turn.share for turn in turns if turn.share > 0}) < 2 or story.until <= turns[0].at:
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
    bars.append(turns[-1].share)
    top = next(top for top in _TOPS if 100 * story.peak <= top or top == _TOPS[-1])
    size, unit = next((u for u in _UNITS if span >= 2 * u[0]), _UNITS[-1])
    heights = ", ".join(f"{100 * bar:.4g}" for bar in bars)
    return (
        "```mermaid\n"
        f"{_LOOKS}\n"
        "xychart-beta\n"
        '    title "Share of traffic"\n'
        f'    x-axis "{unit}" 0 --> {len(bars) * width / size:.3g}\n'
        f'    y-axis "%" 0 --> {top}\n'
        f"    bar [{heights}]\n"
        "```\n"
    )
