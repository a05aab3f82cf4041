"""How one version's rollout went, told from the ledger: every change of traffic and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidegate.core.events import Ordered, Phase, Routed, Routing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tidegate.core.evidence import Series
    from tidegate.core.ledger import Event
    from tidegate.core.state import Rollout, State, Tenure


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
    dismissed_at: float | None = None  # promoted, and taken back by a person later on

    @property
    def exposed(self) -> float:
        """Seconds in which the candidate had any traffic."""
        ends = [*(turn.at for turn in self.turns[1:]), self.until]
        return sum(
            end - turn.at for turn, end in zip(self.turns, ends, strict=True) if turn.share > 0
        )

    @property
    def pace(self) -> float | None:
        """The candidate's requests per second at its present share; None while nobody can tell."""
        if not self.turns or not self.requests:
            return None
        ends = [*(turn.at for turn in self.turns[1:]), self.until]
        carried = sum(
            (end - turn.at) * turn.share for turn, end in zip(self.turns, ends, strict=True)
        )
        return self.requests / carried * self.turns[-1].share if carried > 0 else None

    @property
    def peak(self) -> float:
        """The candidate's largest share of traffic."""
        return max((turn.share for turn in self.turns), default=0.0)


def find(state: State, candidate: str) -> Rollout | None:
    """Return the newest rollout of the model with the digest ``candidate``, live ones first."""
    live = [state.rollout] if state.rollout is not None else []
    return next((r for r in (*live, *reversed(state.past)) if r.model.digest == candidate), None)


def tell(
    rollout: Rollout, chain: Sequence[Event], series: Series, tenures: Sequence[Tenure] = ()
) -> Story:
    """Return how ``rollout`` went.

    Args:
        rollout: as the ledger's state holds it.
        chain: the ledger's events.
        series: the rollout's closed minutes, as they were written down.
        tenures: who served when; without them nobody can tell that a promotion was undone.
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
        dismissed_at=dismissed(rollout, tenures),
    )


def dismissed(rollout: Rollout, tenures: Sequence[Tenure]) -> float | None:
    """Return when a person took back what ``rollout`` had promoted; None where nobody did."""
    if rollout.phase is not Phase.PROMOTED or rollout.ended_at is None:
        return None
    for tenure in reversed(tenures):
        if tenure.model.digest == rollout.model.digest and tenure.since <= rollout.ended_at:
            return None if tenure.healthy else tenure.until
    return None


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
