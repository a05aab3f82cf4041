"""The check run: what its conclusion lets through, and which line it points at."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.render.samples import ANCHOR, AUC, FLOOR, LATENCY, LOSS, NO_ANCHOR, reports, verdict
from tests.render.stories import pull_requests
from tidegate.core.model import Cause, Kind, Level, Outcome
from tidegate.core.notices import Conclusion, Severity
from tidegate.load import load
from tidegate.problems import BadConfigError
from tidegate.render.check import (
    MOST,
    check,
    identical,
    name_of,
    problem_annotations,
    rule_annotations,
)
from tidegate.render.comment import job_summary
from tidegate.render.report import Report

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.core.model import Finding

_COMMIT = "3f2a9c1e" * 5
_CONFIG = """\
version: 1
model: {name: m, task: binary}
data:
  train: t.parquet
gate:
  rules:
    - metric: log_loss
      margin: 1%
    - metric: roc_auc
      at_least: 0.7
      margin: 0.005
    - {metric: latency_p95_ms, at_most: 20}
  slices:
    - by: [airport]
      metric: roc_auc
      margin: 0.03
    - by: [airport, month]
      metric: roc_auc
      margin: 0.05
"""


@pytest.mark.parametrize(
    ("name", "conclusion"),
    [
        ("pass", Conclusion.SUCCESS),
        ("first_release", Conclusion.SUCCESS),
        ("inconclusive", Conclusion.ACTION_REQUIRED),
        ("reject", Conclusion.FAILURE),
        ("error", Conclusion.FAILURE),
    ],
)
def test_only_a_pass_is_let_through(name: str, conclusion: Conclusion) -> None:
    report = replace(reports()[name], commit=_COMMIT, run_url="https://github.com/a/b/runs/1")
    made = check(report)
    assert made.conclusion is conclusion
    assert made.summary == job_summary(report)
    assert len(made.summary) <= 65_535
    assert (made.name, made.commit) == ("tidegate/flight-delays", _COMMIT)
    assert made.url == "https://github.com/a/b/runs/1"


def test_every_outcome_has_a_conclusion_and_success_is_for_a_pass_alone() -> None:
    for outcome in Outcome:
        bare = replace(verdict(AUC), outcome=outcome)
        made = check(Report(model="m", verdict=bare, commit=_COMMIT))
        assert (made.conclusion is Conclusion.SUCCESS) == (outcome is Outcome.PASS)


def test_without_a_verdict_the_check_fails_and_says_what_failed() -> None:
    made = check(pull_requests()["unjudged"])
    assert made.conclusion is Conclusion.FAILURE
    assert made.title == "Not judged: training failed with exit code 137"


def test_the_title_is_the_verdicts_line_on_one_line() -> None:
    worse = replace(AUC, metric="a\nb" * 300, outcome=Outcome.REJECT, cause=Cause.VIOLATED)
    title = check(Report(model="m", verdict=verdict(worse), commit=_COMMIT)).title
    assert title.startswith("Rejected: a ba b")
    assert len(title) <= 200
    assert "\n" not in title


def test_a_check_without_a_commit_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a commit"):
        check(Report(model="m", verdict=verdict(AUC)))


def _failed(finding: Finding, **more: object) -> Finding:
    return replace(finding, outcome=Outcome.REJECT, cause=Cause.VIOLATED, decides=True, **more)  # type: ignore[arg-type]


_SLICE = {"level": Level.SLICE}


@pytest.mark.parametrize(
    ("finding", "line"),
    [
        pytest.param(_failed(LOSS), 8, id="a margin"),
        pytest.param(_failed(FLOOR), 10, id="a floor"),
        pytest.param(_failed(AUC), 11, id="the margin of the same rule"),
        pytest.param(_failed(ANCHOR), 11, id="against the anchor"),
        pytest.param(_failed(LATENCY), 12, id="a ceiling, in a flow mapping"),
        pytest.param(_failed(AUC, **_SLICE, slice="airport=JFK"), 16, id="a slice"),
        pytest.param(_failed(AUC, **_SLICE, slice="airport=JFK, month=1"), 19, id="by two columns"),
        pytest.param(_failed(AUC, **_SLICE, slice="hour=1"), 13, id="a slice of no rule here"),
        pytest.param(_failed(AUC, metric="brier"), 6, id="a rule that the file does not have"),
        pytest.param(_failed(NO_ANCHOR), 3, id="the data"),
        pytest.param(
            replace(NO_ANCHOR, cause=Cause.NO_MARGIN, decides=True), 6, id="no rule compares"
        ),
    ],
)
def test_a_failing_rule_points_at_its_line(finding: Finding, line: int, tmp_path: Path) -> None:
    path = tmp_path / "mlops.yaml"
    path.write_text(_CONFIG)
    (note,) = rule_annotations(verdict(finding), path, "models/m/mlops.yaml")
    assert (note.path, note.line) == ("models/m/mlops.yaml", line)


def test_only_what_blocks_is_annotated_the_worst_first(tmp_path: Path) -> None:
    path = tmp_path / "mlops.yaml"
    path.write_text(_CONFIG)
    open_ = replace(LOSS, outcome=Outcome.INCONCLUSIVE, cause=Cause.NOT_SHOWN)
    quiet = replace(LATENCY, outcome=Outcome.REJECT, decides=False)
    notes = rule_annotations(verdict(open_, FLOOR, quiet, _failed(AUC)), path, "mlops.yaml")
    assert [(n.line, n.severity) for n in notes] == [(11, Severity.FAILURE), (8, Severity.WARNING)]
    assert notes[0].title == "reject: roc_auc no more than 0.005 below the champion"
    assert notes[0].message.startswith("roc_auc: 0.7421 against the champion's 0.7389, shown worse")


def test_there_are_never_more_annotations_than_github_takes(tmp_path: Path) -> None:
    path = tmp_path / "mlops.yaml"
    path.write_text(_CONFIG)
    notes = rule_annotations(verdict(*[_failed(AUC)] * 80), path, "mlops.yaml")
    assert len(notes) == MOST == 50
    report = Report(model="m", verdict=verdict(_failed(AUC)), commit=_COMMIT)
    assert len(check(report, [*notes, *notes]).annotations) == MOST
    lines = [f"mlops.yaml:{i}:1: x: got y, expected z" for i in range(1, 81)]
    assert len(problem_annotations(BadConfigError(lines), "mlops.yaml")) == MOST


@pytest.mark.parametrize("content", [None, b"\xff", b"a: [", b"gate: 1", b"gate: {rules: [1]}"])
def test_a_file_that_cannot_be_read_costs_no_verdict(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "mlops.yaml"
    if content is not None:
        path.write_bytes(content)
    notes = rule_annotations(verdict(_failed(AUC)), path, "mlops.yaml")
    assert [note.line for note in notes] == ([1] if content and b"gate" in content else [])


def test_problems_stand_at_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "mlops.yaml"
    path.write_text(_CONFIG)
    with pytest.raises(BadConfigError) as caught:
        load(path)
    notes = problem_annotations(caught.value, "models/m/mlops.yaml")
    assert {note.path for note in notes} == {"models/m/mlops.yaml"}
    missing = next(note for note in notes if note.message.startswith("data.holdout"))
    assert (missing.line, missing.severity) == (4, Severity.FAILURE)


def test_the_model_that_serves_already_reports_success() -> None:
    made = identical("m", _COMMIT, "`7`", "https://x/runs/1")
    assert (made.name, made.conclusion) == (name_of("m"), Conclusion.SUCCESS)
    assert "`` `7` ``" in made.summary


def test_every_kind_of_finding_has_a_key() -> None:
    from tidegate.render.check import _LIMITS

    assert set(_LIMITS) == set(Kind) - {Kind.CHECK}
