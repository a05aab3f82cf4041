"""The comment to the letter, and its size under any load."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

import tidegate.render
from tests.engine import POLICY, Engine
from tests.render.samples import AUC, GOLDEN, NO_ANCHOR, RUN, Seen, reports, slices, verdict
from tests.render.stories import ARTIFACT, RUN_URL, Play, pull_requests
from tidegate.core import story as stories
from tidegate.core.events import Ordered, Phase
from tidegate.core.model import Cause, Level, Outcome
from tidegate.render.comment import LIMIT, comment, job_summary
from tidegate.render.report import Report, RuleChange, Step, Unjudged
from tidegate.render.verdict import document

_GITHUB = 65_536
_ALLOWED = {
    "blockquote", "p", "strong", "code", "table", "thead", "tbody", "tr", "th", "td", "br", "h3",
    "ul", "li", "details", "summary",
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in reports() if name != "error"])
def test_the_comment_is_as_agreed(name: str) -> None:
    """``python -m tests.render.samples`` writes the files anew."""
    assert comment(reports()[name]) == (GOLDEN / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "alert", "line"),
    [
        ("pass", "TIP", "passed.** All 5 rules are shown at 95% confidence on 28,456 rows."),
        ("reject", "CAUTION", "rejected.** `roc_auc`: 0.7209 against the champion's 0.7389"),
        ("inconclusive", "WARNING", "about 61,000 rows would settle it. These rows cannot tell"),
        ("error", "IMPORTANT", "not judged.** `latency_p95_ms`: nobody measured it."),
        ("first_release", "TIP", "It may go on as the first release."),
    ],
)
def test_marker_alert_and_reason_come_first(name: str, alert: str, line: str) -> None:
    marker, box, verdict_line, *_ = comment(reports()[name]).splitlines()
    assert marker == "<!-- tidegate:flight-delays -->"
    assert box == f"> [!{alert}]"
    assert line in verdict_line


@pytest.mark.parametrize(("noticed", "shown"), [(1, 1), (4, 4), (5, 3), (12, 3)])
def test_what_was_only_noticed_about_the_data_does_not_hide_the_rest(
    noticed: int, shown: int
) -> None:
    told = [replace(NO_ANCHOR, cause=Cause.CONSTANT, column=f"c{n}") for n in range(noticed)]
    breaks = replace(NO_ANCHOR, cause=Cause.KIND_CHANGED, column="broken", decides=True)
    text = comment(Report(model="m", verdict=verdict(AUC, *told, breaks)))
    open_to_all = text[: text.index("<details>")]
    assert sum(f"`c{n}`" in open_to_all for n in range(noticed)) == shown
    assert "`broken`" in open_to_all
    assert (f"{noticed - shown} notes more on the data" in text) == (noticed > shown)
    assert all(f"`c{n}`" in text for n in range(noticed))


@pytest.mark.parametrize("name", reports())
def test_only_plain_elements_and_no_attribute_but_alignment(name: str) -> None:
    seen = Seen.markdown(comment(reports()[name]))
    assert {tag.lstrip("/") for tag, _ in seen.tags} <= _ALLOWED
    assert {attribute for _, attributes in seen.tags for attribute in attributes} <= {
        ("align", "right")
    }
    opened = [tag for tag, _ in seen.tags if tag == "details"]
    assert len(opened) == sum(tag == "/details" for tag, _ in seen.tags) == 3


def test_the_summary_is_the_comment_without_its_marker() -> None:
    report = reports()["pass"]
    marker = "<!-- tidegate:flight-delays -->\n"
    assert marker + job_summary(report) == comment(report)


@pytest.mark.parametrize("letter", ["x", "`", "|", "\U0001f600"])
def test_the_comment_fits_whatever_it_holds(letter: str) -> None:
    name = letter * 300
    many = [
        replace(finding, slice=f"{name}{i}", metric=name) for i, finding in enumerate(slices(5000))
    ]
    heads = [
        replace(AUC, metric=name, outcome=Outcome.REJECT, cause=Cause.VIOLATED) for _ in range(300)
    ]
    run = replace(RUN, params={f"{name}{i}": name for i in range(1000)})
    notes = (name,) * 100
    report = Report(model="m", verdict=verdict(*heads, *many), run=run, notes=notes)
    text = comment(report)
    assert len(text) < _GITHUB
    assert len(text.encode()) <= LIMIT
    assert "\nLeft out for length: " in text
    assert text.endswith("; all of it is in `verdict.json` and `run.json`.\n")
    tags = [tag for tag, _ in Seen.markdown(text).tags]
    assert tags.count("details") == tags.count("/details")


def test_details_give_way_row_by_row_and_say_so() -> None:
    text = comment(Report(model="m", verdict=verdict(AUC, *slices(5000))))
    kept = text.count("\n- ✅ ") + text.count("\n- ⚠️ ")
    assert len(text) > 0.9 * LIMIT
    assert f"Left out for length: {5001 - kept:,} of 5,001 findings" in text


def test_a_rule_that_failed_is_seen_among_hundreds() -> None:
    failed = replace(AUC, metric="brier", outcome=Outcome.REJECT, cause=Cause.VIOLATED)
    text = comment(Report(model="m", verdict=verdict(*[AUC] * 300, failed)))
    assert (
        "| `brier` | 0.7389 | 0.7421 | +0.0032<br>+0.0011 to +0.0053 | 0.005 | ❌ reject |" in text
    )
    assert "and 271 rules more, listed below." in text


def test_slices_are_eight_at_most_with_the_worst_first() -> None:
    harmed = replace(
        slices(1)[0], slice="airport=JFK", outcome=Outcome.REJECT, cause=Cause.HARMED, decides=True,
        p_harm=0.01,
    )  # fmt: skip
    critical = replace(
        slices(1)[0], slice="airport=LGA", level=Level.CRITICAL, outcome=Outcome.INCONCLUSIVE,
        cause=Cause.NOT_SHOWN, decides=True, p_harm=None,
    )  # fmt: skip
    text = comment(Report(model="m", verdict=verdict(AUC, *slices(30), critical, harmed)))
    rows = re.findall(r"^\| `airport=(\w+)`", text, flags=re.MULTILINE)
    assert rows[:4] == ["JFK", "LGA", "A00", "A01"]
    assert len(rows) == 8
    assert "32 of 32 slices could be compared; blocking: 2." in text


def test_a_slice_that_nobody_compared_is_not_called_unharmed() -> None:
    few = replace(
        slices(1)[0], cause=Cause.TOO_FEW_ROWS, lower=None, upper=None, p_harm=None, minimum=200
    )  # fmt: skip
    text = comment(Report(model="m", verdict=verdict(AUC, *slices(3), few)))
    assert "3 of 4 slices could be compared; harm is shown in none of them." in text
    assert "| too few rows |" in text


def test_a_name_that_could_close_the_marker_is_refused() -> None:
    with pytest.raises(ValueError, match="not a model name"):
        Report(model="m --> <script>", verdict=verdict(AUC))


def test_a_model_taken_back_is_no_success_whatever_the_gate_said(tmp_path: Path) -> None:
    engine = Engine.make(tmp_path)
    engine.serving()
    bad = engine.version(2)
    engine.metrics.rates = {"1": (0.01, 0.0), "2": (0.2, 0.0)}
    engine.metrics.filled = {"x": (4000, 0)}
    engine.request(bad)
    engine.run(30)
    text = comment(_with_story(engine, bad.digest))
    assert "> [!CAUTION]\n> **`m`: passed, then taken back.**" in text
    assert "Taken back after 6 min and at least 150 requests at up to 5 %" in text
    assert "| 0 % | taken back | a guard shows harm beyond its margin |" in text
    assert "\nEvidence at the last change of traffic.\n" in text
    assert "- column `x` is filled in the holdout and empty in live requests" in text
    # An unchanged ledger gives the same comment: nobody is notified of nothing.
    assert text == comment(_with_story(engine, bad.digest))


def test_a_live_canary_and_a_persons_decision_are_told(tmp_path: Path) -> None:
    engine = Engine.make(tmp_path)
    engine.serving()
    second = engine.version(2)
    engine.request(second, POLICY)
    engine.run(4)
    assert "Version 2 canary at 5 % (step 1)." in comment(_with_story(engine, second.digest))
    rollout = engine.state.rollout
    assert rollout is not None
    engine.append(
        Ordered(verb="revert", rollout=rollout.id, reason="@oncall <b>"), human=True
    )  # fmt: skip
    engine.run(2)
    text = comment(_with_story(engine, second.digest))
    assert "passed, then taken back" in text
    assert "Ordered by `ada`: `@oncall <b>`." in text


def _with_story(engine: Engine, digest: str) -> Report:
    book = engine.ledger.read()
    rollout = stories.find(book.state, digest)
    assert rollout is not None
    told = stories.tell(rollout, book.chain, book.frozen(rollout.id))
    return Report(model="m", verdict=verdict(AUC), story=told)


def test_one_place_turns_a_metric_into_text() -> None:
    """``render.verdict`` does; charts place pixels, the other modules speak of traffic and time."""
    folder = Path(tidegate.render.__file__).parent
    formats = re.compile(r":[+,]*\.\d[efg%]|\bround\(|\|\s*round|%\.\d")
    modules = ("comment.py", "html.py", "report.py", "verdict_table.py")
    for path in [*map(folder.joinpath, modules), *folder.glob("templates/*.j2")]:
        assert not formats.search(path.read_text(encoding="utf-8")), path.name


def test_the_comment_and_the_json_say_the_same_reason() -> None:
    judged = reports()["reject"].verdict
    assert str(document(judged)["reason"]) in comment(reports()["reject"]).replace("`", "")


# --- what a pull request is told beside its verdict -----------------------------------------


def test_time_cost_and_links_are_told() -> None:
    text = comment(pull_requests()["pass"])
    assert "- trained and judged in 5 min 12 s; cost: `11 runner minutes`\n" in text
    assert f"\n[Run]({RUN_URL}) · [full report]({ARTIFACT}) · commit `3f2a9c1`\n" in text


def test_a_pull_request_that_changes_its_rules_is_told_so_with_the_difference() -> None:
    text = comment(pull_requests()["own_rules"])
    assert (
        "### This pull request changes its own rules\n\nIt is judged by the base branch's" in text
    )
    assert "| `gate.rules[roc_auc].margin` | `0.005` | `0.05` |\n" in text
    assert "| `gate.rules[log_loss]` | `margin: 1%` | not set |\n" in text
    assert "| `gate.confidence` | not set | `0.9` |\n" in text
    assert text.index("changes its own rules") < text.index("| metric | production |")


def test_a_fork_is_told_what_it_could_not_be_judged_by() -> None:
    reports = pull_requests()
    alone, judged = comment(reports["fork_alone"]), comment(reports["fork"])
    assert "From a fork: absolute rules only, because production's model was not at hand." in alone
    assert (
        "From a fork: judged against a copy of production's model. It is judged fully on merge."
        in judged
    )
    assert "From a fork" not in comment(reports["pass"])


def test_who_let_it_through_stands_beside_the_verdict() -> None:
    text = comment(pull_requests()["override"])
    assert "**`flight-delays`: rejected, let through by a person.**" in text
    assert "\nLet through by `ada`: `a known bad holdout`\n" in text


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("code", [None, 0, 137])
def test_what_failed_is_named_with_its_exit_code_and_the_run(step: Step, code: int | None) -> None:
    failed = Report.without_verdict(
        model="m", unjudged=Unjudged(step=step, exit_code=code), run_url=RUN_URL
    )
    text = comment(failed)
    assert text.startswith("<!-- tidegate:m -->\n> [!IMPORTANT]\n> **`m`: not judged.** ")
    assert ("with exit code" in text) == (code is not None)
    assert f"is in the log of the [run]({RUN_URL})." in text
    assert "| metric |" not in text
    assert "<details>" not in text


def test_every_step_has_words_of_its_own() -> None:
    words = {Unjudged(step=step).sentence for step in Step}
    assert len(words) == len(Step)


def test_thousands_of_changed_rules_are_cut_with_a_word() -> None:
    change = RuleChange(key="k" * 200, before="|" * 200, after="`" * 200)
    for report in (pull_requests()["pass"], pull_requests()["unjudged"]):
        text = comment(replace(report, own_rules=(change,) * 5000))
        assert len(text.encode()) <= LIMIT
        assert "and 4,970 changes more." in text


def test_a_live_canary_shows_the_newest_numbers_and_what_to_expect(tmp_path: Path) -> None:
    play = Play.begin(tmp_path)
    play.engine.metrics.requests = 600
    play.until(Phase.CANARY)
    for _ in range(60):
        decision = play.engine.tick(1).wait.decision
        if decision is not None and decision.cause == "not_shown":
            break
    report = play.report(decision=decision)
    text = comment(report)
    assert "**`m`: passed, now in canary at 25 %.**" in text
    assert "\nNot shown yet. Expected: about " in text
    assert " to the next decision if it is as good and traffic stays the same." in text
    assert "| `error_rate` | 4.9 %<br>of 5,670 | 5.59 %<br>of 930 |" in text
    assert "Evidence at the newest pass." in text
    # Of 600 requests a minute one in four is the candidate's.
    assert report.story is not None
    assert report.story.pace is not None
    assert report.story.pace * 60 == pytest.approx(150, rel=0.3)


def test_numbers_of_a_pass_are_not_shown_once_the_rollout_has_ended(tmp_path: Path) -> None:
    play = Play.begin(tmp_path, bad=True)
    decision = play.until(Phase.CANARY)
    play.until(Phase.REVERTED)
    text = comment(play.report(decision=decision))
    assert "Evidence at the last change of traffic." in text
    assert "Expected:" not in text


def test_a_withdrawn_model_is_no_success(tmp_path: Path) -> None:
    report = Play.begin(tmp_path).report()
    assert report.story is not None
    ended = replace(report.story.rollout, phase=Phase.WITHDRAWN)
    text = comment(replace(report, story=replace(report.story, rollout=ended)))
    assert "> [!WARNING]\n> **`m`: passed, then withdrawn.**" in text


def test_what_a_person_undid_is_told(tmp_path: Path) -> None:
    report = Play.begin(tmp_path).report()
    assert report.story is not None
    ended = replace(report.story.rollout, phase=Phase.PROMOTED, ended_at=1.0)
    told = replace(report.story, rollout=ended, dismissed_at=1_000_000.0)
    text = comment(replace(report, story=told))
    assert "> [!CAUTION]\n> **`m`: passed, promoted, then taken back by a person.**" in text
    assert "A person took it back at 1970-01-12 13:46:40 UTC." in text
