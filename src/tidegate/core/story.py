"""How one version's rollout went, told from the ledger: every change of traffic and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidegate.core.events import Ordered, Phase, Routed, Routing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tidegate.core.evidence import Series
    from tidegate.core.ledger import Event
    from tidegate.core.state import Rollout, State


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """One change of traffic. ``at`` is when the endpoint was seen to do it, in epoch seconds."""

    at: float
    phase: Phase
    step: int
    share: float  # of the candidate
    cause: str
    evidence: tuple[Mapping[str, Any], ...] = ()  # the guards' numbers that decided it


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """A rollout from its first request to its end, or to the ledger's newest event."""

    rollout: Rollout
    turns: tuple[Turn, ...]
    until: float
    requests: int  # that the candidate got in closed minutes
    ordered_by: str | None = None  # the person, when a person decided

    @property
    def exposed(self) -> float:
        """Seconds in which the candidate had any traffic."""
        ends = [*(turn.at for turn in self.turns[1:]), self.until]
        return sum(
            end - turn.at for turn, end in zip(self.turns, ends, strict=True) if turn.share > 0
        )

    @property
    def peak(self) -> float:
        """The candidate's largest share of traffic."""
        return max((turn.share for turn in self.turns), default=0.0)


def find(state: State, candidate: str) -> Rollout | None:
    """Return the newest rollout of the model with the digest ``candidate``, live ones first."""
    live = [state.rollout] if state.rollout is not None else []
    return next((r for r in (*live, *reversed(state.past)) if r.model.digest == candidate), None)


def tell(rollout: Rollout, chain: Sequence[Event], series: Series) -> Story:
    """Return how ``rollout`` went.

    Args:
        rollout: as the ledger's state holds it.
        chain: the ledger's events.
        series: the rollout's closed minutes, as they were written down.
    """
    newest = chain[-1].at if chain else rollout.requested_at
    arms = (minute.candidate for minute in series.minutes)
    return Story(
        rollout=rollout,
        turns=tuple(_turns(rollout, chain)),
        until=newest if rollout.ended_at is None else rollout.ended_at,
        requests=sum(arm.requests for arm in arms if arm is not None),
        ordered_by=next(
            (
                event.actor
                for event in reversed(chain)
                if isinstance(event.payload, Ordered) and event.payload.rollout == rollout.id
            ),
            None,
        ),
    )


def _turns(rollout: Rollout, chain: Sequence[Event]) -> Iterator[Turn]:
    """Yield each intent that the endpoint was then seen to follow."""
    intent: Routing | None = None
    for event in chain:
        match event.payload:
            case Routing() as routing if routing.rollout == rollout.id:
                intent = routing
            case Routed(rollout=name) if name == rollout.id and intent is not None:
                yield Turn(
                    at=event.at,
                    phase=Phase(intent.phase),
                    step=intent.step,
                    share=intent.traffic.get(rollout.model.version, 0.0),
                    cause=intent.cause,
                    evidence=intent.evidence,
                )
                intent = None
            case _:
                pass
