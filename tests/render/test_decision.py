"""What people read of a decision, and what machines do."""

from __future__ import annotations

import json
import string
from dataclasses import replace

import pytest

from tidegate.core.canary import Cause, Decision
from tidegate.core.config import Canary, Guard, GuardMetric
from tidegate.core.evidence import Arm, Minute
from tidegate.core.replay import replay
from tidegate.render.decision import document, notes, sentence

GOOD = Arm(requests=570, errors=6)


def last(candidate: Arm, minutes: int, canary: Canary | None = None) -> Decision:
    rows = [Minute(index=i, champion=GOOD, candidate=candidate) for i in range(minutes)]
    return replay(canary or Canary(), rows)[-1]


def test_a_revert_says_what_regressed_and_how_sure_it_is() -> None:
    assert sentence(last(Arm(requests=30, errors=9), 60)) == (
        "Worse than the margin: error_rate: 27 errors in 90 (30 %) against 18 in 1,710 (1.05 %), "
        "odds 40.3x, limit 1.25x: harm shown (evidence 849, 100 needed)."
    )


def test_a_hold_says_how_far_it_is() -> None:
    assert sentence(last(Arm(requests=30, errors=0), 13)) == (
        "Baking: 10 of 30 minutes with requests on both sides."
    )
    assert sentence(last(Arm(requests=30, errors=0), 2)) == (
        "Warm-up: these minutes carry no evidence."
    )


def test_a_step_up_speaks_of_the_steps_limit() -> None:
    text = sentence(last(Arm(requests=30, errors=0), 33))
    assert "limit 4x: not worse" in text or "limit 4x: under 0.5 %, negligible" in text
    assert text.endswith("Next step.")


def test_an_open_guard_says_about_how_many_requests_are_missing() -> None:
    decision = last(Arm(requests=60, errors=1), 120)
    assert decision.cause is Cause.NOT_SHOWN
    assert "more requests if it is as good" in sentence(decision)


def test_a_guard_without_columns_says_so() -> None:
    slow = Guard(metric=GuardMetric.SLOW_REQUESTS, margin=1.25, slower_than=0.25)
    assert sentence(last(GOOD, 60, Canary(guards=(slow,)))) == (
        "No data: slow_requests is not measured in both arms, so it cannot be promoted."
    )


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_a_complete_sentence(cause: Cause) -> None:
    decision = replace(last(Arm(requests=60, errors=1), 120), cause=cause)
    text = sentence(decision)
    assert text.endswith(".")
    assert text[0] in string.ascii_uppercase or text.startswith("error_rate")
    assert "{" not in text
    assert "nan" not in text


def test_the_document_is_plain_json_without_nan() -> None:
    for minutes in (1, 4, 40):
        text = json.dumps(document(last(Arm(requests=0, errors=0), minutes)), allow_nan=False)
        assert json.loads(text)["evidence"]["error_rate"]["candidate_rate"] is None


def test_the_document_holds_every_number_of_the_sentence() -> None:
    values = document(last(Arm(requests=30, errors=9), 60))
    assert values["action"] == "revert"
    assert values["cause"] == "harm"
    evidence = values["evidence"]
    assert isinstance(evidence, dict)
    numbers = evidence["error_rate"]
    assert numbers["candidate_n"] == 90
    assert numbers["log_e_harm"] >= numbers["harm_threshold"]


def test_a_margin_of_one_is_noted() -> None:
    guard = Guard(metric=GuardMetric.LABEL_ERROR, margin=1.0)
    assert list(notes(Canary(guards=(guard,)))) == [
        "label_error: with margin 1.00x an equally good model cannot be promoted, only a better one."
    ]
    assert list(notes(Canary())) == []
