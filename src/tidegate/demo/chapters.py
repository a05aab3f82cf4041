"""The five pushes of the story: what is changed, what is told, and what must come of it."""

from __future__ import annotations

from dataclasses import dataclass

from tidegate.core.config import GuardMetric
from tidegate.core.events import Phase
from tidegate.core.model import Outcome
from tidegate.errors import Exit


@dataclass(frozen=True, kw_only=True, slots=True)
class Chapter:
    """One push. ``message`` is its commit's subject and must be unique."""

    number: int
    name: str
    message: str
    overlay: str | None  # folder of examples/flight-delays whose files replace the user's
    before: str
    after: str
    code: Exit
    outcome: Outcome  # of the gate
    phase: Phase | None  # the rollout's, when the push has ended; None: there is none
    guard: GuardMetric | None = None  # that takes it back


CHAPTERS = (
    Chapter(
        number=1,
        name="first",
        message="Predict late arrivals: January, three features",
        overlay=None,
        before=(
            "Nothing serves yet. A first model cannot be compared with anybody, so the gate asks\n"
            "only its absolute rules: AUC at least 0.6, Brier score at most 0.22."
        ),
        after=(
            "The first model serves. It is also the anchor: until a model is shown better, later ones\n"
            "are compared with it, too, so that many small losses cannot add up."
        ),
        code=Exit.OK,
        outcome=Outcome.PASS,
        phase=Phase.PROMOTED,
    ),
    Chapter(
        number=2,
        name="better",
        message="Half a year and the weather",
        overlay="story/2-better",
        before=(
            "Six months instead of one, weather, boosted trees. Better on July; but is it on live\n"
            "traffic? 5 % of the requests find out first, then 25 %, then half. A step up needs\n"
            "evidence against many errors; promotion needs to be shown not worse, labels included."
        ),
        after=(
            "Promoted by evidence, and shown better than the anchor: it is the new one. For a probation\n"
            "the old version keeps 5 % of the traffic, and evidence could still take the new one back."
        ),
        code=Exit.OK,
        outcome=Outcome.PASS,
        phase=Phase.PROBATION,
    ),
    Chapter(
        number=3,
        name="worse",
        message="Drop the weather: fewer features to maintain",
        overlay="story/3-worse",
        before=(
            "A clean-up that costs accuracy. The gate compares both models on the same 28,293 flights\n"
            "of July; this one never reaches a passenger. (Version 2's probation goes on meanwhile.)"
        ),
        after="Rejected before any traffic. Production was not touched.",
        code=Exit.REJECTED,
        outcome=Outcome.REJECT,
        phase=None,
    ),
    Chapter(
        number=4,
        name="leaky",
        message="Use the departure delay: AUC 0.93",
        overlay="story/4-leaky",
        before=(
            "The instructive one. The departure delay is in every row of history, so offline the model\n"
            "is brilliant, and the gate has to believe it. But when a passenger asks, the flight has not\n"
            "left yet: the column is empty. No error, no slow answer, hardly more mistakes at the usual\n"
            "threshold; only the probabilities are worse, and only labels can show that."
        ),
        after=(
            "Taken back by its mean loss alone. The digest and its recipe are in quarantine: neither\n"
            "the model nor a retrain of the same commit comes back unless a person says so."
        ),
        code=Exit.REJECTED,
        outcome=Outcome.PASS,
        phase=Phase.REVERTED,
        guard=GuardMetric.LABEL_LOSS,
    ),
    Chapter(
        number=5,
        name="brittle",
        message="Use the timetable's planned minutes",
        overlay="story/5-brittle",
        before=(
            "Looks route and weekday up in the summer timetable. All of July is on it; some routes that\n"
            "opened in September are not, and there the model raises an exception: a 500 for the passenger."
        ),
        after="Taken back by its errors, before it was given more than the first step.",
        code=Exit.REJECTED,
        outcome=Outcome.PASS,
        phase=Phase.REVERTED,
        guard=GuardMetric.ERROR_RATE,
    ),
)
