"""A verdict's sentences, to the letter, and its JSON against the schema."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace
from itertools import product
from typing import Any

import jsonschema
import pytest

from tidegate.core.model import (
    Cause,
    Digests,
    Direction,
    Finding,
    Kind,
    Level,
    Margin,
    Outcome,
    Verdict,
    worst,
)
from tidegate.render.outcome import advice, basis
from tidegate.render.verdict import document, reason, rule, summary
from tidegate.render.verdict_table import text
from tidegate.resources import resource

_MARGIN = Finding(
    metric="roc_auc",
    kind=Kind.MARGIN,
    level=Level.HEADLINE,
    outcome=Outcome.PASS,
    cause=Cause.SHOWN,
    n=12_345,
    direction=Direction.HIGHER,
    candidate=0.912345,
    champion=0.909,
    difference=0.003345,
    lower=-0.001,
    upper=0.0077,
    margin=Margin(value=0.005),
)
_FLOOR = replace(_MARGIN, kind=Kind.FLOOR, limit=0.75, margin=None, lower=0.9, upper=0.92)
_NO_ANCHOR = Finding(
    metric="data",
    kind=Kind.CHECK,
    level=Level.DATA,
    outcome=Outcome.INCONCLUSIVE,
    cause=Cause.NO_ANCHOR,
    n=12_345,
    column="anchor",
    decides=False,
)
_LATENCY = Finding(
    metric="latency_p95_ms",
    kind=Kind.CEILING,
    level=Level.SYSTEM,
    outcome=Outcome.ERROR,
    cause=Cause.MISSING_MEASUREMENT,
    n=0,
    limit=20.0,
    direction=Direction.LOWER,
)


def _verdict(*findings: Finding) -> Verdict:
    return Verdict(
        outcome=worst(f.outcome for f in findings if f.decides),
        findings=findings,
        confidence=0.95,
        n=12_345,
        digests=Digests(candidate="c", champion="b"),
    )


@pytest.mark.parametrize(
    ("finding", "sentence"),
    [
        pytest.param(
            _MARGIN,
            "roc_auc: 0.9123 against the champion's 0.909, shown not worse than the margin "
            "(difference +0.00334, 95% bounds -0.001 to +0.0077, margin 0.005)",
            id="shown",
        ),
        pytest.param(
            replace(
                _MARGIN, outcome=Outcome.INCONCLUSIVE, cause=Cause.NOT_SHOWN, rows_needed=40_000
            ),
            "roc_auc: 0.9123 against the champion's 0.909, not shown to keep the margin "
            "(difference +0.00334, 95% bounds -0.001 to +0.0077, margin 0.005); "
            "about 40,000 rows would settle it",
            id="not shown",
        ),
        pytest.param(
            replace(
                _MARGIN,
                outcome=Outcome.REJECT,
                cause=Cause.HARMED,
                level=Level.SLICE,
                slice="region=north",
                p_harm=0.00123,
            ),
            "roc_auc in region=north: 0.9123 against the champion's 0.909, harm shown, p = 0.0012 "
            "after Holm (difference +0.00334, 95% bounds -0.001 to +0.0077, margin 0.005)",
            id="harmed slice",
        ),
        pytest.param(
            replace(_MARGIN, kind=Kind.ANCHOR, outcome=Outcome.REJECT, cause=Cause.VIOLATED),
            "roc_auc: 0.9123 against the anchor's 0.909, shown worse than the margin "
            "(difference +0.00334, 95% bounds -0.001 to +0.0077, margin 0.005)",
            id="anchor",
        ),
        pytest.param(
            replace(_MARGIN, outcome=Outcome.INCONCLUSIVE, cause=Cause.TOO_FEW_ROWS, minimum=50),
            "roc_auc: 12,345 rows are too few, at least 50 are needed",
            id="too few rows",
        ),
        pytest.param(
            replace(
                _MARGIN,
                outcome=Outcome.INCONCLUSIVE,
                cause=Cause.TOO_FEW_OF_A_CLASS,
                minimum=20,
                rows_needed=13_000,
            ),
            "roc_auc: fewer than 20 rows of one class among 12,345; needed: 20 of each, "
            "about 13,000 rows like these",
            id="too few of a class",
        ),
        pytest.param(
            replace(_MARGIN, outcome=Outcome.INCONCLUSIVE, cause=Cause.NO_CHAMPION, champion=None),
            "roc_auc: 0.9123, and no champion to compare with",
            id="first release",
        ),
        pytest.param(
            _FLOOR, "roc_auc: 0.9123 is at least 0.75 (95% bounds 0.9 to 0.92)", id="floor"
        ),
        pytest.param(
            replace(_FLOOR, outcome=Outcome.REJECT, cause=Cause.VIOLATED, limit=0.95),
            "roc_auc: 0.9123 is not at least 0.95 (95% bounds 0.9 to 0.92)",
            id="floor missed",
        ),
        pytest.param(_LATENCY, "latency_p95_ms: nobody measured it", id="not measured"),
        pytest.param(
            _NO_ANCHOR, "no anchor column: creep over many releases is not checked", id="no anchor"
        ),
        pytest.param(
            replace(_NO_ANCHOR, cause=Cause.NOT_A_NUMBER, n=3, column="candidate"),
            "column candidate: 3 rows are missing, NaN or infinite",
            id="NaN",
        ),
    ],
)
def test_a_sentence_says_what_was_found_and_by_which_numbers(
    finding: Finding, sentence: str
) -> None:
    assert reason(finding, 0.95) == sentence


@pytest.mark.parametrize(
    ("finding", "sentence"),
    [
        (_MARGIN, "roc_auc no more than 0.005 below the champion"),
        (
            replace(
                _MARGIN,
                direction=Direction.LOWER,
                margin=Margin(value=0.01, relative=True),
                slice="tier=a",
            ),
            "roc_auc no more than 1% above the champion in tier=a",
        ),
        (_LATENCY, "latency_p95_ms at most 20"),
    ],
)
def test_a_rule_is_told_in_words(finding: Finding, sentence: str) -> None:
    assert rule(finding) == sentence


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_a_sentence_of_one_line(cause: Cause) -> None:
    for level, kind, outcome in product(Level, Kind, Outcome):
        bare = Finding(
            metric="m", kind=kind, level=level, outcome=outcome, cause=cause, n=1, column="c"
        )
        sentence = reason(bare, 0.95)
        assert sentence
        assert "\n" not in sentence
        assert "None" not in sentence


@pytest.mark.parametrize(
    ("findings", "line"),
    [
        ((_MARGIN, _NO_ANCHOR), "the one rule is shown at 95% confidence on 12,345 rows"),
        ((_MARGIN, _FLOOR), "all 2 rules are shown at 95% confidence on 12,345 rows"),
        ((_MARGIN, _LATENCY), "latency_p95_ms: nobody measured it"),
        ((_LATENCY, _LATENCY), "latency_p95_ms: nobody measured it (and 1 more)"),
        ((_NO_ANCHOR,), "nothing was judged: no rule decides"),
    ],
)
def test_the_reason_is_the_first_finding_that_decides(
    findings: tuple[Finding, ...], line: str
) -> None:
    assert summary(_verdict(*findings)) == line


def _schema() -> Any:
    schema = json.loads(resource("schemas/verdict.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_json_document_keeps_its_schema() -> None:
    harmed = replace(_MARGIN, slice="a=b", level=Level.SLICE, p_harm=0.01, rows_needed=7, minimum=3)
    found = document(_verdict(_MARGIN, _FLOOR, _NO_ANCHOR, _LATENCY, harmed), ["a note"])
    _schema().validate(found)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_what_is_no_number_is_null() -> None:
    odd = replace(_MARGIN, lower=float("-inf"), upper=float("nan"))
    (finding,) = document(_verdict(odd))["findings"]
    assert (finding["lower"], finding["upper"]) == (None, None)
    assert (finding["margin"], finding["margin_relative"]) == (0.005, False)


def test_the_terminal_shows_the_verdict_first_and_leaves_out_quiet_slices() -> None:
    slices = [
        replace(_MARGIN, level=Level.SLICE, slice=f"g={i}", p_harm=1.0, decides=False)
        for i in range(30)
    ]
    harmed = replace(
        slices[7], p_harm=0.0, decides=True, outcome=Outcome.REJECT, cause=Cause.HARMED
    )
    lines = text(_verdict(_MARGIN, *slices, harmed), ["no mlops.yaml"]).splitlines()
    assert lines[0].startswith("REJECT: roc_auc in g=7: ")
    assert lines[1] == (
        "What to do: Find out what is different about that group of rows, and train again."
    )
    assert lines[2:4] == ["12,345 holdout rows, 95% confidence.", "no mlops.yaml"]
    assert "and 19 slices more, none of them shown harmed; --json has them all" in lines
    assert sum("✗ reject" in line and "g=7" in line for line in lines) == 1
    assert lines[-1].startswith("tidegate gate --explain 32 ")


def test_a_terminal_gets_no_escape_codes_and_columns_stay_aligned() -> None:
    names = ("\x1b[31mred\x1b[0m", "\u202egnp", "a\nb", "漢字" * 40, "é" * 300, "x" * 300)
    slices = [
        replace(_MARGIN, level=Level.SLICE, slice=f"g={name}", decides=False) for name in names
    ]
    shown = text(_verdict(_MARGIN, *slices))
    assert not {c for c in shown if unicodedata.category(c).startswith("C")} - {"\n"}
    table = [line for line in shown.splitlines() if line.endswith("12,345")]
    assert len(table) == 7
    assert len({_columns(line) for line in table}) == 1
    assert max(map(_columns, table)) < 160


def _columns(line: str) -> int:
    return len(line) + sum(unicodedata.east_asian_width(c) in "WF" for c in line)


@pytest.mark.parametrize("cause", Cause)
def test_every_verdict_says_what_to_do(cause: Cause) -> None:
    for level, kind, outcome in product(Level, Kind, Outcome):
        bare = replace(
            _LATENCY, metric="<b>", slice="<b>", column="<b>", level=level, kind=kind,
            outcome=outcome, cause=cause,
        )  # fmt: skip
        said = advice(_verdict(bare))
        assert said.endswith(".") or outcome is Outcome.PASS
        assert not {"<", "\n"} & set(said)


@pytest.mark.parametrize(
    ("finding", "sentence"),
    [
        (
            replace(_MARGIN, outcome=Outcome.INCONCLUSIVE, cause=Cause.NOT_SHOWN, rows_needed=40_000),
            "Judge it on about 40,000 holdout rows (there are 12,345), make it better, or accept a "
            "wider margin or limit.",
        ),
        (
            replace(_MARGIN, outcome=Outcome.REJECT, cause=Cause.VIOLATED),
            "Train a better model: more rows would not change this.",
        ),
        (
            replace(_MARGIN, outcome=Outcome.INCONCLUSIVE, cause=Cause.NO_CHAMPION),
            "Give one metric an at_least or at_most: a first release has nothing to be compared with.",
        ),
    ],
)  # fmt: skip
def test_the_advice_is_of_the_finding_that_decides(finding: Finding, sentence: str) -> None:
    assert advice(_verdict(finding)) == sentence


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"holdout_uses": None}, "12,345 holdout rows, 95% confidence"),
        ({"holdout_uses": 1}, "12,345 holdout rows, 95% confidence, decision 1 of this holdout"),
        (
            {"holdout_uses": 7},
            "12,345 holdout rows, decision 7 of this holdout; the 95% confidence is each decision's "
            "own, not that of all together",
        ),
        (
            {"holdout_uses": 7, "holdout_budget": 32},
            "12,345 holdout rows, 95% confidence, decision 7 of the 32 that this holdout may serve; the "
            "promise is of all 32 together, for candidates that no earlier answer has shaped",
        ),
        (
            {"holdout_uses": 7, "holdout_budget": 32, "adaptivity": "full"},
            "12,345 holdout rows, 95% confidence, decision 7 of the 32 that this holdout may serve; the "
            "promise is of all 32 together",
        ),
    ],
)
def test_what_a_verdict_rests_on(known: dict[str, Any], words: str) -> None:
    assert basis(replace(_verdict(_MARGIN), **known)) == words
