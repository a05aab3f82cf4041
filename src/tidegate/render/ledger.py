"""The ledger for people: one sentence an event, and the page that GitHub renders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from tidegate.core.events import (
    Alerted,
    Anchored,
    Deployed,
    Gap,
    Heartbeat,
    Held,
    Judged,
    Looked,
    Ordered,
    Overridden,
    ParityChecked,
    Phase,
    Published,
    Refused,
    Registered,
    Requested,
    Resumed,
    Routed,
    Routing,
)
from tidegate.core.spending import spent
from tidegate.render.decision import guard_line
from tidegate.render.markdown import code
from tidegate.render.spending import words
from tidegate.render.status import guards, headline, serving
from tidegate.render.words import CAUSES, cause, lasting, share, when

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.core.events import Payload
    from tidegate.core.ledger import Event
    from tidegate.core.state import Rollout, State

_ROUTED = {
    Phase.CANARY: "canary",
    Phase.PROBATION: "promotion, with a holdback for the probation",
    Phase.PROMOTED: "all traffic",
    Phase.REVERTED: "taken back and quarantined",
    Phase.WITHDRAWN: "withdrawn",
    Phase.SUPERSEDED: "superseded",
}
_RECENT = 40


def describe(payload: Payload, quote: Callable[[str], str] = str) -> str:  # noqa: C901, PLR0911, PLR0912 (one sentence an event)
    """Return what happened, in one sentence. ``quote`` makes a person's words harmless."""
    match payload:
        case Judged(outcome=outcome, candidate=candidate, commit=commit):
            return f"the gate judged {candidate[:12]} (commit {commit[:7]}): {outcome}"
        case Looked(outcome=outcome, candidate=candidate, pull=pull):
            where = "a pull request" if pull is None else f"pull request #{pull}"
            return (
                f"{where} was judged ({candidate[:12]}): {outcome}; advice, one look at the holdout"
            )
        case Overridden(candidate=candidate, reason=reason):
            return f"the verdict on {candidate[:12]} was overridden: {quote(reason)}"
        case Registered(model=model):
            return f"version {model.version} registered ({model.digest[:12]})"
        case Requested(model=model, retry=retry, reason=reason):
            again = f"; its quarantine is lifted: {quote(reason)}" if retry else ""
            return f"version {model.version} is to be released{again}"
        case Deployed():
            return "the variant is up, without traffic"
        case ParityChecked(ok=ok, rows=rows, worst=worst, skewed=columns):
            found = "answers as offline" if ok else "does not answer as offline"
            skew = f"; empty in live requests: {', '.join(map(quote, columns))}" if columns else ""
            return f"served model {found} on {rows} rows (largest difference {worst:.1g}){skew}"
        case Refused(cause=why, reason=said):
            what = f": {quote(said)}" if said else ""
            return f"refused before any traffic: {cause(why)}{what}"
        case Routing(phase=phase, traffic=traffic, cause=why):
            split = ", ".join(f"version {v} {share(s)}" for v, s in traffic.items())
            return f"{_ROUTED[Phase(phase)]} ({split}): {cause(why)}"
        case Routed():
            return "the endpoint does so"
        case Heartbeat():
            return "watched; nothing to do"
        case Gap(seconds=seconds, tripped=tripped):
            gate = "; the dead-man's switch had shut the gate" if tripped else ""
            return f"nobody watched for {lasting(seconds)}{gate}: the step bakes again"
        case Published(champion=champion, challenger=challenger):
            return f"registry aliases: champion {champion or '-'}, challenger {challenger or '-'}"
        case Ordered(verb=verb, reason=reason):
            return f"ordered: {verb}: {quote(reason)}"
        case Held(until=until, hands_off=off, reason=reason):
            end = f" until {when(until)}" if until else ""
            return f"held{end}{', hands off' if off else ''}: {quote(reason)}"
        case Resumed(reason=reason):
            return f"handed back to the machine: {quote(reason)}"
        case Alerted(cause=why):
            return f"alert: {cause(why)}"
        case Anchored(model=model, reason=reason):
            return f"the anchor is version {model.version} now: {quote(reason)}"


def log_line(event: Event) -> str:
    """Return one line of ``tidegate log``."""
    who = f"  [{event.actor}]" if event.human else ""
    return f"{when(event.at)}  {event.type:<10}  {describe(event.payload)}{who}"


def why(code_or_words: str) -> str:
    """Return a cause in words; a person's own words are quoted."""
    return CAUSES.get(code_or_words) or code(code_or_words)


_PAGES = Environment(
    loader=PackageLoader("tidegate.render"),
    undefined=StrictUndefined,
    autoescape=False,  # noqa: S701 (Markdown; whatever comes from outside goes through `code`)
    trim_blocks=True,
    lstrip_blocks=True,
)
_PAGES.filters.update(code=code, when=when, lasting=lasting, cause=cause, why=why)
_PAGES.globals.update(
    code=code, describe=describe, headline=headline, guard_line=guard_line, guards=guards
)


def page(name: str, state: State, chain: tuple[Event, ...]) -> str:
    """Return the ledger branch's README: what serves, the live rollout, history."""
    shown = [event for event in chain if not isinstance(event.payload, Heartbeat | Routed)]
    text = _PAGES.get_template("ledger.md.j2").render(
        name=name,
        state=state,
        serving=serving(state),
        since=_since(state),
        events=list(reversed(shown))[:_RECENT],
        total=len(chain),
        head=chain[-1].hash if chain else "",
        billed=any(rollout.request.machine for rollout in state.past),
        cost=lambda rollout: _cost(rollout, chain[-1].at),
    )
    return f"{text}\n"


def _cost(rollout: Rollout, now: float) -> str:
    """Return what a rollout costs, in words; nothing where nobody bills it."""
    spending = spent(rollout, now)
    return "" if spending is None else words(spending, code)


def _since(state: State) -> str:
    if state.champion is None:
        return "."
    commit, digest = code(state.champion.commit[:7]), code(state.champion.digest[:12])
    return f" since {when(state.tenures[-1].since)} UTC (commit {commit}, model {digest})."
