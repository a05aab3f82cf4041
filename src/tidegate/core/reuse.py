"""How often one holdout may decide, what each decision may claim, and how finely it may speak.

By default each decision claims its own confidence, and the count is told. With ``budget: H`` each is made
at alpha / H, so that all H together are wrong at most at alpha *if candidates do not depend on earlier
answers* (Bonferroni). The bounds are asymptotic; how well they hold that far out is simulated
(``benchmarks/tails.py``, ``tests/core/test_decision_simulation.py``). Candidates do depend on answers where people
read numbers: hence under a budget (and under guarantee exact, which counts "passed" and "did not pass"
only) a pull request is told no more than it must be. Numbers are rounded to whole standard errors of the paired difference, as in the Ladder without a
parameter (Blum and Hardt, "The Ladder: A Reliable Leaderboard for Machine Learning Competitions",
ICML 2015, figure 2): a change smaller than chance is told as none. That makes tuning to noise slow; it is not
a proof for any way of using the answers. Such a proof costs H log 2 in place of log H
(:func:`price_of_adaptivity`); ``guarantee: exact`` with ``adaptivity: full`` pays it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist
from typing import TYPE_CHECKING

from tidegate.core.checks import check
from tidegate.core.config import Adaptivity
from tidegate.core.model import Cause, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate.core.config import Gate
    from tidegate.core.model import Finding, Reuse, Verdict


def budget_of(gate: Gate) -> int | None:
    """Return how many decisions a holdout may serve; None: as many as one likes, each for itself."""
    return gate.budget if gate.exact is None else gate.exact.decisions


def each(gate: Gate) -> Gate:
    """Return the gate at the confidence of one decision of its budget."""
    if gate.budget is None:
        return gate
    return replace(gate, confidence=1.0 - (1.0 - gate.confidence) / gate.budget)


def spent(gate: Gate, reuse: Reuse | None, n: int) -> Iterator[Finding]:
    """Yield why this holdout may decide no more."""
    budget = budget_of(gate)
    if reuse is None or budget is None:
        return
    if reuse.decision > budget:
        yield replace(check(Cause.NO_DECISIONS_LEFT, n), minimum=budget)
    once = gate.exact is not None and gate.exact.adaptivity is Adaptivity.FIRST_CHANGE
    if once and reuse.passed_before:
        yield check(Cause.RETIRED, n)


def price_of_adaptivity(decisions: int, confidence: float) -> tuple[float, float]:
    """Return log(1 / delta) of one of ``decisions`` without and with full adaptivity.

    Rows needed grow with them: their ratio is what it costs to let each candidate depend on all
    earlier outcomes (ease.ml/ci, section 4).

    >>> [round(x, 1) for x in price_of_adaptivity(32, 0.95)]
    [6.5, 25.2]
    """
    one = -math.log(1.0 - confidence)
    return one + math.log(decisions), one + decisions * math.log(2.0)


def told(verdict: Verdict, gate: Gate) -> Verdict:
    """Return the verdict as a pull request may see it, with no number finer than chance.

    Outcomes stay. Under guarantee exact no number of the candidate is told at all.
    """
    if budget_of(gate) is None:
        return verdict
    findings = tuple(
        finding if finding.kind is Kind.CHECK else _coarse(finding, verdict, exact=bool(gate.exact))
        for finding in verdict.findings
    )
    return replace(verdict, findings=findings, rounded=True)


def _coarse(finding: Finding, verdict: Verdict, *, exact: bool) -> Finding:
    step = None if exact else _standard_error(finding, verdict.confidence)
    blank = replace(
        finding,
        candidate=None,
        difference=None,
        lower=None,
        upper=None,
        p_harm=None,
        rows_needed=None,
    )
    if step is None:
        return blank
    if finding.kind in (Kind.MARGIN, Kind.ANCHOR, Kind.IMPROVES):
        if finding.difference is None or finding.champion is None:
            return blank
        difference = round(finding.difference / step) * step
        return replace(blank, difference=difference, candidate=finding.champion + difference)
    value = finding.candidate
    return replace(blank, candidate=None if value is None else round(value / step) * step)


def _standard_error(finding: Finding, confidence: float) -> float | None:
    if finding.lower is None or finding.upper is None or finding.candidate is None:
        return None
    width = (finding.upper - finding.lower) / 2.0 / NormalDist().inv_cdf(confidence)
    return width if width > 0.0 else None
