"""A canary decision as a sentence for people and as a JSON document for machines."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tidegate.core.canary import Action, Cause, Decision
from tidegate.core.standing import GuardEvidence, GuardState
from tidegate.render.markdown import code

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tidegate.core.config import Canary

_EVENTS = {
    "error_rate": "errors",
    "slow_requests": "slow answers",
    "label_error": "mistakes",
    "label_loss": "mean loss",
}

_SIGNS = {GuardState.HARMED: "❌", GuardState.OPEN: "⏳"}

_SENTENCES = {
    Cause.HARM: "Worse than the margin: {guards}.",
    Cause.UNPROVEN: "Promoted unproven: the deadline passed and on_expire says promote; {guards}.",
    Cause.NOT_FRESH: "Deadline passed; on_expire says promote, but the evidence does not allow it: "
    "{guards}. Withdrawn.",
    Cause.HANDS_OFF: "Harm is shown, but a person told the machine to keep its hands off: {guards}.",
    Cause.HELD: "Held by a person.",
    Cause.WARMUP: "Warm-up: these minutes carry no evidence.",
    Cause.SAMPLE_RATIO: "The candidate does not get the share of requests that was configured. "
    "Check weights, retries and health checks.",
    Cause.TICK_GAP: "Nobody watched for too long; the step bakes again before traffic rises.",
    Cause.BAKING: "Baking: {baked} of {bake} minutes with requests on both sides.",
    Cause.FEW_REQUESTS: "Only {requests} of at least {least} candidate requests in this step.",
    Cause.NOT_SHOWN: "Not shown yet: {guards}.",
    Cause.LABELS_UNEQUAL: "Labels arrive unequally for the two models, so they decide nothing: "
    "{guards}.",
    Cause.LABELS_MISSING: "Promotion waits for labels, and none came yet: {guards}.",
    Cause.PROBATION: "Probation: promoted, and the same evidence can still take it back.",
    Cause.PROBATION_OVER: "Probation is over without a finding.",
}


def sentence(decision: Decision) -> str:
    """Return why this was decided, with the numbers, in one or two sentences."""
    chosen = [g for g in decision.guards if g.metric in decision.culprits]
    match decision.cause:
        case Cause.SHOWN:
            template = "{guards}. {next}."
        case Cause.NO_DATA if chosen:
            template = "No data: {names} not measured in both arms, so it cannot be promoted."
        case Cause.NO_DATA:
            template = "No data: the last closed minute was not measured in both arms."
        case Cause.DEADLINE:
            end = "Withdrawn" if decision.action is Action.EXPIRE else "Held: on_expire says hold"
            template = "The deadline passed without a decision: {guards}. " + end + "."
        case _:
            template = _SENTENCES[decision.cause]
    step_up = decision.action is Action.STEP_UP
    of_step = decision.cause in (Cause.SHOWN, Cause.NOT_SHOWN)
    return template.format(
        guards="; ".join(guard_line(g, of_step=of_step) for g in chosen or decision.guards),
        names=", ".join(f"{g.metric} is" for g in chosen),
        next="Next step" if step_up else "Promoted",
        baked=decision.baked,
        bake=decision.bake,
        requests=_count(decision.step_requests),
        least=_count(decision.min_requests),
    )


def guard_line(guard: GuardEvidence, *, of_step: bool = False) -> str:
    """Return one guard's numbers: counts, rates, ratio, limit, and what they come to.

    ``of_step``: against what the current step must exclude, instead of the guard's own margin.
    """
    name = str(guard.metric)
    if guard.candidate_rate is None or guard.champion_rate is None:
        return f"{name}: no data"
    if guard.metric == "label_loss":
        counts = (
            f"mean loss {guard.candidate_rate:.4g} over {_count(guard.candidate_n)} labels against "
            f"{guard.champion_rate:.4g} over {_count(guard.champion_n)}"
        )
    else:
        counts = (
            f"{_count(guard.candidate_events)} {_EVENTS[name]} in {_count(guard.candidate_n)} "
            f"({_percent(guard.candidate_rate)}) against {_count(guard.champion_events)} in "
            f"{_count(guard.champion_n)} ({_percent(guard.champion_rate)})"
        )
    what = "ratio" if guard.metric == "label_loss" else "odds"
    limit = guard.step_margin if of_step and guard.step_margin else guard.margin
    ratio = "" if guard.ratio is None else f"{what} {guard.ratio:.3g}x, "
    return f"{name}: {counts}, {ratio}limit {limit:g}x: {_verdict(guard, of_step=of_step)}"


def guard_row(guard: GuardEvidence) -> tuple[str, ...]:
    """Return one guard's numbers as cells of a Markdown table: name, champion, candidate, ratio, limit, what they come to."""
    what = "ratio" if guard.metric == "label_loss" else "odds"
    return (
        code(guard.metric),
        _rate(guard.metric, guard.champion_rate, guard.champion_n),
        _rate(guard.metric, guard.candidate_rate, guard.candidate_n),
        "-" if guard.ratio is None else f"{what} {guard.ratio:.3g}x",
        f"{guard.margin:g}x",
        "no data"
        if guard.state == GuardState.NO_DATA
        else f"{_SIGNS.get(guard.state, '✅')} {_verdict(guard, of_step=False)}",
    )


def _rate(metric: str, rate: float | None, n: int) -> str:
    if rate is None:
        return "-"
    shown = f"{rate:.4g}" if metric == "label_loss" else _percent(rate)
    return f"{shown}<br>of {_count(n)}"


def _verdict(guard: GuardEvidence, *, of_step: bool) -> str:
    state = guard.step_state if of_step else guard.state
    log_shown = guard.log_not_worse
    if of_step and guard.log_step_up is not None:
        log_shown = guard.log_step_up
    suspended = ", suspended" if guard.suspended else ""
    match state:
        case GuardState.HARMED:
            odds = _odds(guard.log_harm, guard.harm_threshold)
            return f"harm shown{suspended} (evidence {odds})"
        case GuardState.SHOWN:
            return f"not worse{suspended} (evidence {_odds(log_shown, guard.promote_threshold)})"
        case GuardState.NEGLIGIBLE:
            evidence = _odds(log_shown, guard.promote_threshold)
            return f"under {_percent(guard.negligible)}, negligible (evidence {evidence})"
        case GuardState.OPEN | GuardState.NO_DATA:
            more = guard.more_requests
            wait = "" if more is None else f", about {_about(more)} more requests if it is as good"
            return f"open{suspended}{wait}"


def document(decision: Decision) -> dict[str, object]:
    """Return the decision as JSON values; numbers that do not exist are null, never NaN."""
    return {
        "minute": decision.minute,
        "action": str(decision.action),
        "cause": str(decision.cause),
        "reason": sentence(decision),
        "step": decision.step,
        "baked_minutes": decision.baked,
        "step_requests": decision.step_requests,
        "alerts": [str(alert) for alert in decision.alerts],
        "evidence": {str(guard.metric): guard_document(guard) for guard in decision.guards},
    }


def guard_document(guard: GuardEvidence) -> dict[str, object]:
    """Return one guard's numbers as JSON values. Evidence is in natural logarithms."""
    values: Mapping[str, object] = {
        "state": str(guard.state),
        "step_state": str(guard.step_state),
        "suspended": guard.suspended,
        "margin": guard.margin,
        "negligible": guard.negligible,
        "candidate_n": guard.candidate_n,
        "candidate_events": guard.candidate_events,
        "candidate_rate": guard.candidate_rate,
        "champion_n": guard.champion_n,
        "champion_events": guard.champion_events,
        "champion_rate": guard.champion_rate,
        "ratio": guard.ratio,
        "log_e_harm": guard.log_harm,
        "harm_threshold": guard.harm_threshold,
        "log_e_not_worse": guard.log_not_worse,
        "promote_threshold": guard.promote_threshold,
        "step_margin": guard.step_margin,
        "log_e_step_up": guard.log_step_up,
        "more_requests": guard.more_requests,
    }
    return {name: _json(value) for name, value in values.items()}


def notes(canary: Canary) -> Iterable[str]:
    """Yield what a reader of the policy should know before relying on it."""
    for guard in canary.guards:
        if guard.margin <= 1.0:
            exception = (
                f" (only one whose rate is shown to be under {_percent(guard.negligible)})"
                if guard.negligible > 0
                else ""
            )
            yield (
                f"{guard.metric}: with margin {guard.margin:.2f}x an equally good model cannot be "
                f"promoted, only a better one{exception}."
            )


def _json(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.10g}") if math.isfinite(value) else None
    return value


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"


def _odds(log_e: float, threshold: float) -> str:
    shown = "over 1,000" if log_e > math.log(1000.0) else f"{math.exp(log_e):.3g}"
    return f"{shown}, {math.exp(threshold):.3g} needed"


def _about(value: float) -> str:
    return _count(float(f"{value:.2g}"))
