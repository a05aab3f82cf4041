"""How a finding's bounds were made, in a sentence a kind of metric."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.core.model import Finding, Kind, Level
from tidegate.errors import ConfigError
from tidegate.render.place import compares
from tidegate.render.verdict import percent

if TYPE_CHECKING:
    from tidegate.core.config import OwnMetric
    from tidegate.core.metrics.kinds import Kind as Formula
    from tidegate.core.model import Task, Verdict

_PAIRED = "Both models answered the same rows, so that the bounds are of the paired difference. "


def method(
    finding: Finding, verdict: Verdict, task: Task | None, own: tuple[OwnMetric, ...] = ()
) -> str:
    """Return how the bounds were made; without the task only what holds for every metric."""
    if finding.kind is Kind.CHECK:
        return "Values are looked at one by one, before any statistics."
    if finding.lower is None and finding.upper is None:
        return (
            "No bounds: there was nothing to estimate them from, or a plain number was asked for."
        )
    each = f"one-sided bounds, each at {percent(verdict.confidence)}"
    if verdict.adaptivity is not None and finding.level is Level.HEADLINE:
        return (
            f"Exact bounds of proportions that assume no distribution ({each}), with the error shared among "
            f"the rules and {verdict.holdout_budget or 0:,} decisions."
        )
    if finding.level is Level.SYSTEM:
        return f"Bounds of a quantile by order statistics: no distribution is assumed ({each})."
    paired = _PAIRED if compares(finding) else ""
    relative = ""
    if finding.margin is not None and finding.margin.relative:
        relative = (
            " The margin is a share of the reference's value, and the reference's own error counts, too: "
            "tested was candidate - k * reference."
        )
    return f"{paired}{_estimated(finding, task, own)} ({each}).{relative}"


def _estimated(finding: Finding, task: Task | None, own: tuple[OwnMetric, ...]) -> str:
    # Here and not above: the formulas load numpy.
    from tidegate.core.metrics.table import find

    if task is None:
        return "Bounds by the metric's formula"
    try:
        metric = find(finding.metric, task, own)
    except ConfigError:  # a verdict of other rules than today's
        return "Bounds by the metric's formula"
    return _by_formula(metric.entry.name, metric.kind)


def _by_formula(name: str, kind: Formula) -> str:
    from tidegate.core.metrics.kinds import Cells, Quantile, Queried, Ranked, Smooth

    match kind:
        case Ranked() if name == "roc_auc":
            return "DeLong's variance of the area under the curve, Student's quantile"
        case Ranked():
            return "How much each row moves the ranking's value (influence function), Student's quantile"
        case Smooth(marks=True) | Cells(marks=True):
            return (
                "A share of rows: a likelihood ratio for a difference (one row more won and one lost, after Bonett "
                "and Price), Agresti and Coull's interval for one share; never of zero width"
            )
        case Smooth() | Cells():
            return "How much each row moves the value (delta method), Student's quantile"
        case Quantile():
            return "How much each row moves the quantile (influence function), Student's quantile"
        case Queried():
            return "The mean over queries or items, each one unit, Student's quantile"
        case _:
            return "The user's own function on resamples, the same rows drawn for both models"
