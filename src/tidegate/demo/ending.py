"""What a push came to, read from the ledger and the endpoint; and whether it is what it must be."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidegate.core.canary import GuardState
from tidegate.core.model import Outcome
from tidegate.core.story import tell
from tidegate.endpoint import measuring
from tidegate.endpoint.layout import Folder
from tidegate.endpoint.store import Reader
from tidegate.home import VERDICT
from tidegate.render.decision import guard_line
from tidegate.render.status import guards

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.book import Book
    from tidegate.core.state import Rollout, State
    from tidegate.demo.chapters import Chapter
    from tidegate.demo.stage import Stage

_ALWAYS = 2**62


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How one push ended. ``requests`` and ``errors`` are all that its version ever answered."""

    commit: str
    code: int
    outcome: str
    reason: str  # of the gate
    version: str | None
    phase: str | None
    harmed: tuple[str, ...]  # guards
    rule: str  # what stopped it; empty when nothing did
    seconds: float  # in which it had traffic
    requests: int
    errors: int
    quarantined: bool


def read(stage: Stage, book: Book, commit: str, code: int) -> Ending:
    """Read how the push of ``commit`` ended."""
    verdict = _verdict(stage.home.bundle(commit) / VERDICT)
    rollout = rollout_of(book.state, commit)
    harmed = tuple(g for g in guards(rollout) if g.state == GuardState.HARMED) if rollout else ()
    requests, errors = answered(stage, rollout.model.version) if rollout else (0, 0)
    rule = "; ".join(guard_line(guard) for guard in harmed)
    if not rule and verdict["outcome"] != Outcome.PASS:
        rule = f"gate: {_worst(verdict)}"
    return Ending(
        commit=commit,
        code=code,
        outcome=verdict["outcome"],
        reason=verdict["reason"],
        version=rollout.model.version if rollout else None,
        phase=str(rollout.phase) if rollout else None,
        harmed=tuple(str(guard.metric) for guard in harmed),
        rule=rule,
        seconds=tell(rollout, book.chain, book.frozen(rollout.id)).exposed if rollout else 0.0,
        requests=requests,
        errors=errors,
        quarantined=bool(rollout and rollout.model.digest in book.state.quarantined),
    )


def _verdict(path: Path) -> dict[str, Any]:
    """Return the gate's verdict; one without findings when it never came to that."""
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {"outcome": "none", "reason": "there is no verdict", "findings": []}


def _worst(verdict: dict[str, Any]) -> str:
    """Return the sentence of the first rule that was broken."""
    broken = (f for f in verdict["findings"] if f["outcome"] == verdict["outcome"])
    return next((str(finding["reason"]) for finding in broken), str(verdict["reason"]))


def rollout_of(state: State, commit: str) -> Rollout | None:
    """Return the newest rollout of a commit's model."""
    live = (state.rollout,) if state.rollout else ()
    return next((r for r in (*live, *reversed(state.past)) if r.model.commit == commit), None)


def answered(stage: Stage, version: str) -> tuple[int, int]:
    """Return how many requests a version got, and how many of them failed."""
    folder = Folder(stage.endpoint)
    measure = measuring.read(folder)
    if measure is None:
        return 0, 0
    with Reader(folder.store) as store:
        counts = store.traffic(measuring.traffic_key(measure), 0, _ALWAYS)
    mine = [count for (_, variant), count in counts.items() if variant == version]
    return sum(count[0] for count in mine), sum(count[1] for count in mine)


def problems(chapter: Chapter, ending: Ending, state: State) -> list[str]:
    """Return what is not as the story says; none when all is well."""
    bad = chapter.code != 0
    found = [
        (ending.code == chapter.code, f"exit code {ending.code}, not {chapter.code.value}"),
        (
            ending.outcome == chapter.outcome,
            f"the gate said {ending.outcome}, not {chapter.outcome}",
        ),
        (
            ending.phase == (chapter.phase and str(chapter.phase))
            or (chapter.number == 2 and ending.phase == "promoted"),  # its probation is over
            f"its rollout is {ending.phase}, not {chapter.phase}",
        ),
        (
            chapter.guard is None or str(chapter.guard) in ending.harmed,
            f"it was stopped by {ending.harmed or 'nothing'}, not by {chapter.guard}",
        ),
        (ending.quarantined is (chapter.guard is not None), "its quarantine is wrong"),
        (
            not bad or (state.champion is not None and state.champion.commit != ending.commit),
            "a bad model serves",
        ),
    ]
    return [f"push {chapter.number}: {text}" for fine, text in found if not fine]
