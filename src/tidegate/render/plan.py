"""A plan's figures as text for people and as a JSON document for machines."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from tidegate.core.spending import Spending
from tidegate.render.decision import notes
from tidegate.render.spending import words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate.core.power import GuardPlan, Plan, RegressionPlan, Spread


def lines(plan: Plan, spending: Spending | None = None) -> Iterator[str]:
    """Yield the plan, line by line; ``spending``: of an equally good model, see :func:`expected`."""
    canary = plan.canary
    deadline = _minutes(canary.deadline / 60.0)
    yield f"At {plan.traffic.per_minute:,.4g} requests per minute ({plan.runs} simulated rollouts):"
    yield "  an equally good model passes      median       90 %"
    for at, step in enumerate(plan.steps):
        end = "promotion" if at == len(plan.steps) - 1 else "next step"
        when = f"{_when(step.minutes.median):>9}  {_when(step.minutes.high):>9}"
        yield f"    {100 * step.share:>5.3g} %  -> {end:<9}        {when}"
    yield (
        f"    promoted {_percent(plan.promoted)}, taken back by mistake {_percent(plan.reverted)}, "
        f"undecided after {deadline} {_percent(plan.expired)}"
    )
    if plan.expired > 0.5:
        yield (
            f"  Traffic is too low for this policy: most equally good models reach the deadline "
            f"({deadline}) without a decision, and then on_expire says {canary.on_expire}. A larger "
            "first step, a wider margin, a longer deadline or a higher negligible rate would help."
        )
    for guard in plan.guards:
        yield from _guard_lines(guard, deadline)
    if spending is not None:
        yield f"  an equally good model costs {words(spending)}"
    yield "Assumed:"
    for assumption in assumptions(plan):
        yield f"  - {assumption}"


def _guard_lines(guard: GuardPlan, deadline: str) -> Iterator[str]:
    yield f"  {guard.metric} (base {_percent(guard.base_rate)}, margin {guard.margin:.4g}x)"
    if guard.smallest is None:
        yield f"    no regression that was tried is taken back reliably within {deadline}"
    else:
        yield (
            f"    smallest regression taken back with 80 % probability within {deadline}: "
            f"about {guard.smallest:.2g}x"
        )
    for regression in guard.regressions:
        yield f"    {_regression_line(regression)}"


def _regression_line(regression: RegressionPlan) -> str:
    head = f"{regression.factor:.3g}x worse: {_percent(regression.reverted)} taken back"
    if regression.minutes.median is None:
        return f"{head}; {_percent(regression.promoted)} promoted"
    return (
        f"{head}, after {_pair(regression.minutes, _minutes)} "
        f"and {_pair(regression.exposed, _count)} requests (median, 95 %)"
    )


def assumptions(plan: Plan) -> Iterator[str]:
    """Yield what the figures rest on."""
    rates = ", ".join(f"{metric} {_percent(rate)}" for metric, rate in plan.traffic.rates.items())
    yield f"base rates of the champion: {rates}; they and the traffic stay as they are"
    yield "requests are independent, routed at random, and every minute is observed"
    yield "N times worse means N times the odds (label_loss: N times the mean, of 0/1 losses)"
    if any(guard.metric.startswith("label") for guard in plan.guards):
        within = _minutes(plan.canary.labels.within / 60.0)
        yield f"{_percent(plan.traffic.labelled)} of the answers get a label, after {within}"
        yield "label guards go on taking back during probation, at its holdback's shares"
    for guard in plan.canary.guards:
        if guard.negligible > 0:
            yield f"{guard.metric} under {_percent(guard.negligible)} is never taken back"
        if guard.metric not in plan.traffic.rates:
            yield f"{guard.metric} is not simulated: no base rate was given"
    if plan.simulated_per_minute < plan.traffic.per_minute:
        yield (
            f"simulated at {plan.simulated_per_minute:,.4g} requests per minute; "
            "with all of the traffic decisions come no later"
        )
    yield from (note.rstrip(".") for note in notes(plan.canary))


def expected(plan: Plan, machine: str, hourly: float | None) -> Spending | None:
    """Return what an equally good model costs until its probation is over: the median rollout.

    None where nobody bills the machine.
    """
    if not machine:
        return None
    median = plan.steps[-1].minutes.median
    canary = plan.canary.deadline / 3600 if median is None else median / 60
    holdback = 0.0 if median is None else plan.canary.probation.duration / 3600
    return Spending(machine=machine, canary=canary, holdback=holdback, hourly=hourly)


def document(plan: Plan, spending: Spending | None = None) -> dict[str, object]:
    """Return the plan as JSON values; null stands for "not before the deadline"."""
    return {
        "spending": None if spending is None else {**asdict(spending), "dollars": spending.dollars},
        "traffic": {
            "per_minute": plan.traffic.per_minute,
            "rates": {str(metric): rate for metric, rate in plan.traffic.rates.items()},
            "labelled": plan.traffic.labelled,
        },
        "runs": plan.runs,
        "equal_model": {
            "promoted": plan.promoted,
            "reverted": plan.reverted,
            "expired": plan.expired,
            "steps": [
                {"share": step.share, "minutes": asdict(step.minutes)} for step in plan.steps
            ],
            "exposed": asdict(plan.exposed),
        },
        "guards": {
            str(guard.metric): {
                "margin": guard.margin,
                "base_rate": guard.base_rate,
                "smallest_regression": guard.smallest,
                "regressions": [asdict(regression) for regression in guard.regressions],
            }
            for guard in plan.guards
        },
        "assumed": list(assumptions(plan)),
    }


def _pair(spread: Spread, text: object) -> str:
    assert callable(text)
    high = "not before the deadline" if spread.high is None else text(spread.high)
    return f"{text(spread.median)} ({high})"


def _when(minutes: float | None) -> str:
    return "never" if minutes is None else _minutes(minutes)


def _minutes(minutes: float) -> str:
    if minutes < 180:
        return f"{minutes:.3g} min"
    return f"{minutes / 60.0:.3g} h"


def _count(value: float) -> str:
    return f"{float(f'{value:.2g}'):,.0f}"


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"
