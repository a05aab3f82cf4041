"""What a person is told when the machine took a version back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.render.samples import Seen
from tests.render.stories import Play
from tidegate.core.events import Phase
from tidegate.render.issue import TakenBack, branch_of, issue, revert_link, revert_pull

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def case(tmp_path: Path) -> TakenBack:
    """Version 2, taken back for its errors."""
    play = Play.begin(tmp_path, bad=True)
    play.until(Phase.REVERTED)
    return play.taken_back()


def test_the_title_names_version_and_guard_and_the_marker_is_the_first_line(
    case: TakenBack,
) -> None:
    made = issue(case, ("incident",))
    assert made.title == "m version 2 was taken back: error_rate"
    assert made.marker == f"<!-- tidegate:m:{case.story.rollout.id} -->"
    assert made.body.splitlines()[0] == made.marker
    assert made.labels == ("incident",)


def test_the_body_holds_the_evidence_the_exposure_and_what_serves(case: TakenBack) -> None:
    body = issue(case).body
    assert (
        "| `error_rate` | 4.91 %<br>of 1,710 | 20 %<br>of 90 | odds 4.84x | 1.5x "
        "| ❌ harm shown (evidence 305, 100 needed) |" in body
    )
    assert "| in traffic | from 1970-01-12 13:47:40 to 1970-01-12 13:53:40 UTC |" in body
    assert "| exposed | at least 150 requests, at up to 5 % of the traffic |" in body
    assert "| serves now | version `1`, commit `0000000` |" in body
    assert f"| commit | `{2:040x}` |" in body
    assert "| pull request | #12 |" in body
    assert "[the ledger](https://github.com/acme/churn/tree/tidegate-ledger/m)" in body
    assert '`tidegate release --retry 2 --reason "why it is safe now"`' in body


def test_it_says_the_same_whenever_it_is_made(case: TakenBack) -> None:
    assert issue(case) == issue(replace(case))


def test_the_way_back_is_the_best_there_is(case: TakenBack) -> None:
    bare = replace(case, pull=None)
    assert revert_link(bare)[1] == f"https://github.com/acme/churn/commit/{2:040x}"
    assert revert_link(case)[1] == "https://github.com/acme/churn/pull/12"
    proposed = replace(case, branch="b", proposal="https://github.com/acme/churn/pull/13")
    assert revert_link(proposed)[1] == "https://github.com/acme/churn/pull/13"


def test_the_prefilled_link_opens_a_pull_request_from_the_pushed_branch(case: TakenBack) -> None:
    pushed = replace(case, branch=branch_of("m", "r12"), base="release/1 & 2")
    address = urlsplit(revert_link(pushed)[1])
    assert address.path == ("/acme/churn/compare/release/1%20%26%202...tidegate-revert/m-r12")
    asked = parse_qs(address.query)
    assert asked["expand"] == ["1"]
    assert asked["title"] == ["Revert #12: m version 2 was taken back"]
    assert f"{2:040x}" in asked["body"][0]
    assert f"]({revert_link(pushed)[1]})" in issue(pushed).body


def test_the_pull_request_says_what_it_takes_back_and_why(case: TakenBack) -> None:
    made = revert_pull(replace(case, branch="tidegate-revert/m-r12"))
    assert (made.branch, made.base) == ("tidegate-revert/m-r12", "main")
    assert made.title == "Revert #12: m version 2 was taken back"
    assert "| `error_rate` | 4.91 %<br>of 1,710 | 20 %<br>of 90 | odds 4.84x |" in made.body
    with pytest.raises(ValueError, match="needs a branch"):
        revert_pull(case)


@pytest.mark.parametrize("version", ["2; rm -rf ~", "$(id)", "v 2", "`id`", "٢"])
def test_the_command_to_copy_never_holds_an_odd_version(case: TakenBack, version: str) -> None:
    rollout = case.story.rollout
    odd = replace(rollout, model=replace(rollout.model, version=version))
    body = issue(replace(case, story=replace(case.story, rollout=odd))).body
    assert "`tidegate release --retry VERSION --reason" in body


def test_it_is_plain_elements(case: TakenBack) -> None:
    seen = Seen.markdown(issue(case).body)
    assert {tag.lstrip("/") for tag, _ in seen.tags} <= {
        "blockquote", "p", "strong", "code", "table", "thead", "tbody", "tr", "th", "td", "br",
        "h3", "ol", "li", "a", "pre",
    }  # fmt: skip
    assert seen.comments == [f" tidegate:m:{case.story.rollout.id} "]
