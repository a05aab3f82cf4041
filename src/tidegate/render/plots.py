"""Pictures of both models' predictions as SVG: ROC, calibration, residuals, scores.

The candidate is drawn solid and filled, the champion dashed or hollow: never by colour alone. Each picture
has a box of its own (``viewBox``) that scales with the page between a phone and half a desk.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from tidegate.render.verdict import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tidegate.core.pictures import Bin, Drawn, Pictures, Spread

_WIDTH, _HEIGHT = 340, 272
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 330, 12, 232
_MINE, _THEIRS = "mine", "theirs"  # CSS classes


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A drawing with its title and what one has to know to read it."""

    title: str
    caption: str
    drawing: Markup


@dataclass(frozen=True, slots=True)
class _Axes:
    """Numbers to places in the box."""

    left: float
    right: float
    low: float
    high: float

    def x(self, value: float) -> float:
        part = (value - self.left) / (self.right - self.left)
        return _LEFT + min(max(part, 0.0), 1.0) * (_RIGHT - _LEFT)

    def y(self, value: float) -> float:
        part = (value - self.low) / (self.high - self.low)
        return _BOTTOM - min(max(part, 0.0), 1.0) * (_BOTTOM - _TOP)


def figures(pictures: Pictures) -> list[Figure]:
    """Return what there is to draw for the task, if anything."""
    models = pictures.models
    found = []
    if all(model.roc for model in models):
        found.append(_roc(models))
    if all(model.calibration for model in models):
        found.append(_calibration(models))
    if all(model.residuals for model in models):
        found.append(_residuals(models))
    if len(pictures.edges) > 1:
        found.append(_scores(models, pictures.edges))
    return found


def _roc(models: Sequence[Drawn]) -> Figure:
    axes = _Axes(0.0, 1.0, 0.0, 1.0)
    parts = [*_frame(axes, "false positive rate", "true positive rate"), _diagonal(axes)]
    parts += [
        _curve([(axes.x(x), axes.y(y)) for x, y in model.roc], _kind(model))
        for model in reversed(models)  # the candidate on top
    ]
    return Figure(
        title="ROC curve",
        caption="Nearer to the upper left is better; the thin line is guessing.",
        drawing=_box(parts, "ROC curves of both models"),
    )


def _calibration(models: Sequence[Drawn]) -> Figure:
    most = max(max(b.predicted, b.upper) for model in models for b in model.calibration)
    axes = _Axes(0.0, most or 1.0, 0.0, most or 1.0)
    parts = [*_frame(axes, "predicted", "came true"), _diagonal(axes)]
    for model in reversed(models):
        for each in model.calibration:
            x = axes.x(each.predicted)
            parts.append(_upright(x, axes.y(each.lower), axes.y(each.upper), _kind(model)))
            parts.append(_mark(x, axes.y(each.observed), _kind(model)))
    return Figure(
        title="Calibration",
        caption="On the thin line, what was predicted came true. Each mark stands for "
        f"{_rows(models[0].calibration)}, its line for the two-sided 95% interval.",
        drawing=_box(parts, "Calibration of both models"),
    )


def _residuals(models: Sequence[Drawn]) -> Figure:
    bands = [band for model in models for band in model.residuals]
    left, right = _room([band.predicted for band in bands])
    low, high = _room([0.0, *(q for band in bands for q in band.quantiles)])
    axes = _Axes(left, right, low, high)
    parts = _frame(axes, "predicted", "truth - predicted")
    parts.append(_line("zero", _LEFT, axes.y(0.0), _RIGHT, axes.y(0.0)))
    for model in reversed(models):
        shift = 3.0 if _kind(model) == _MINE else -3.0
        for band in model.residuals:
            x = axes.x(band.predicted) + shift
            at = [axes.y(q) for q in band.quantiles]
            parts.append(_upright(x, at[0], at[4], _kind(model)))
            parts.append(_upright(x, at[1], at[3], f"{_kind(model)} half"))
            parts.append(_mark(x, at[2], _kind(model)))
    return Figure(
        title="Residuals",
        caption="Above 0 the model predicted too little. The mark is the median of "
        f"{_rows(models[0].residuals)}, the thick line holds half of them, the thin one 90%.",
        drawing=_box(parts, "Residuals of both models by prediction"),
    )


def _scores(models: Sequence[Drawn], edges: Sequence[float]) -> Figure:
    most = max(max(model.scores) for model in models) or 1
    axes = _Axes(edges[0], edges[-1], 0.0, float(most))
    parts = _frame(axes, "score", "rows")
    for model in reversed(models):
        corners = []
        for left, right, count in zip(edges, edges[1:], model.scores, strict=False):
            corners += [(axes.x(left), axes.y(count)), (axes.x(right), axes.y(count))]
        parts.append(_curve(corners, _kind(model)))
    return Figure(
        title="Scores",
        caption="Rows by score; the outer steps also hold what lies beyond them.",
        drawing=_box(parts, "Distribution of both models' scores"),
    )


def _kind(model: Drawn) -> str:
    return _MINE if model.role == "candidate" else _THEIRS


def _room(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis: all values, with a twentieth to spare."""
    low, high = min(values), max(values)
    spare = 0.05 * ((high - low) or abs(high) or 1.0)
    return low - spare, high + spare


def _ticks(low: float, high: float) -> list[float]:
    """Return three to six round numbers between the ends.

    >>> _ticks(0.0, 0.91), _ticks(-13.0, 40.0)
    ([0.0, 0.2, 0.4, 0.6, 0.8], [0.0, 20.0, 40.0])
    """
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * power for unit in (1, 2, 5, 10) if unit * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _rows(bands: Sequence[Bin] | Sequence[Spread]) -> str:
    """Return how many rows a band has: "400 rows", "380 to 400 rows"."""
    fewest, most = min(b.n for b in bands), max(b.n for b in bands)
    return f"{most:,} rows" if fewest == most else f"{fewest:,} to {most:,} rows"


# --- parts ----------------------------------------------------------------------------------


def _box(parts: Iterable[Markup], label: str) -> Markup:
    return Markup('<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, _HEIGHT, label, Markup("").join(parts)
    )  # fmt: skip


def _frame(axes: _Axes, across: str, up: str) -> list[Markup]:
    """Draw both axes with three numbers each, and what they are."""
    parts: list[Markup] = []
    for y in _ticks(axes.low, axes.high):
        parts.append(_line("grid", _LEFT, axes.y(y), _RIGHT, axes.y(y)))
        parts.append(_text(_LEFT - 6, axes.y(y) + 4, number(y), "end"))
    for x in _ticks(axes.left, axes.right):
        parts.append(_line("grid", axes.x(x), _TOP, axes.x(x), _BOTTOM))
        parts.append(_text(axes.x(x), _BOTTOM + 16, number(x), "middle"))
    parts.append(_text((_LEFT + _RIGHT) / 2, _HEIGHT - 6, f"{across} →", "middle"))
    turned = '<text class="faint" transform="translate({:.1f} {:.1f}) rotate(-90)" text-anchor="middle">{} →</text>'
    parts.append(Markup(turned).format(10, (_TOP + _BOTTOM) / 2, up))  # noqa: S704 (ours)
    return parts


def _diagonal(axes: _Axes) -> Markup:
    return _line("zero", axes.x(axes.left), axes.y(axes.low), axes.x(axes.right), axes.y(axes.high))


def _curve(points: Sequence[tuple[float, float]], kind: str) -> Markup:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return Markup('<polyline class="{}" points="{}"/>').format(kind, path)


def _mark(x: float, y: float, kind: str) -> Markup:
    return Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="4"/>').format(kind, x, y)


def _upright(x: float, top: float, bottom: float, kind: str) -> Markup:
    return _line(kind, x, top, x, bottom)


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    line = Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>')
    return line.format(kind, x1, y1, x2, y2)


def _text(x: float, y: float, words: str, anchor: str) -> Markup:
    return Markup('<text class="faint" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        x, y, anchor, words
    )
