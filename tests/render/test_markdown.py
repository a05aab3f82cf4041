"""Names from outside in Markdown: whatever they hold, they stay inside their code span."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.render.samples import AUC, NO_ANCHOR, RUN, Seen, slices, verdict
from tests.render.stories import Play
from tidegate.core.events import Ordered, ParityChecked, Phase
from tidegate.core.model import Cause, Outcome
from tidegate.render import comment as comments
from tidegate.render.check import check, rule_annotations
from tidegate.render.comment import comment
from tidegate.render.issue import TakenBack, issue, revert_pull
from tidegate.render.markdown import code, is_address, link, plain
from tidegate.render.report import Override, Report, RuleChange, Step, Unjudged

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.core.story import Story

_FRAGMENTS = (
    "`", "``", "```", "|", "\\", "\\|", "\n", "\r\n", "\n\n", "\n---\n", "\n# ", "\n> ", "\n- ",
    "<script>alert(1)</script>", "</code>", "</td></tr></table>", "<img src=x onerror=alert(1)>",
    "<!--", "-->", "<!-- tidegate:other -->", "<details>", "</details>", "<br>", "&lt;", "&#64;",
    "@octocat", "@org/team", "#1", "GH-1", "octo/repo#7", "3f2a9c1", "https://evil.example/x",
    "www.evil.example", "a@b.example", "[x](https://evil.example)", "![x](https://evil.example/i)",
    "[^1]", "[^1]: x", "$`x`$", "**", "__", "~~", ":tada:", "- [ ] ", "\u202e", "\u2066", "\u200b",
    "\ufeff", "\x00", "\x1b[31m", "\ud800", "\ue000", "\U0001f600", "é", "שלום", "  ", "\t", "name",
    "x" * 200, "`" * 130,
)  # fmt: skip


def _name(rng: random.Random) -> str:
    return "".join(rng.choice(_FRAGMENTS) for _ in range(rng.randint(1, 6)))


def _report(names: list[str]) -> Report:
    """Return a report with a name from outside at every place that takes one: 20 of them."""
    head = replace(
        AUC, metric=names[0], outcome=Outcome.REJECT, cause=Cause.VIOLATED, candidate=0.1
    )
    second = replace(head, metric=names[1], candidate=0.2)
    parts = [
        replace(finding, slice=names[2 + i], metric=names[9 - i])
        for i, finding in enumerate(slices(8))
    ]
    data = [replace(NO_ANCHOR, cause=Cause.SKEWED, column=name) for name in names[10:13]]
    digests = replace(verdict(head).digests, holdout=names[13])
    judged = replace(verdict(*data, head, second, *parts), digests=digests)
    # A parameter's name also sorts its row, so only the values come from outside here.
    params = dict(zip("abcd", names[14:18], strict=True))
    run = replace(RUN, params=params)
    return Report(
        model="m", verdict=judged, run=run, notes=(names[18],), champion=names[19], candidate="5"
    )


def _assert_harmless(rng: random.Random, comments: int) -> None:
    benign = Seen.markdown(comment(_report(["name"] * 20)))
    for _ in range(comments):
        names = [_name(rng) for _ in range(20)]
        seen = Seen.markdown(comment(_report(names)))
        assert seen.tags == benign.tags, names
        assert seen.outside == benign.outside, names
        assert seen.comments == [" tidegate:m "], names


def test_eight_thousand_hostile_names_change_nothing_but_code_spans() -> None:
    _assert_harmless(random.Random(1), 400)


@pytest.mark.heavy
def test_half_a_million_hostile_names_change_nothing_but_code_spans() -> None:
    _assert_harmless(random.Random(2), 25_000)


# --- what else is shown ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """A rollout that was taken back for its errors."""
    play = Play.begin(tmp_path_factory.mktemp("play"), bad=True)
    play.until(Phase.REVERTED)
    told = play.report().story
    assert told is not None
    return told


def _followed(names: list[str], story: Story) -> str:
    """Return the comment of a pull request with everything around a verdict: 20 names."""
    rollout = replace(
        story.rollout,
        cause=names[0],
        order=Ordered(verb="revert", rollout="r1", reason=names[1]),
        parity=ParityChecked(rollout="r1", ok=True, rows=1, worst=0.0, skewed=(names[2],)),
    )
    turns = tuple(
        replace(turn, cause=name) for turn, name in zip(story.turns, names[3:], strict=False)
    )
    changes = [RuleChange(key=names[i], before=names[i + 1], after=names[i + 2]) for i in (5, 8)]
    report = Report(
        model="m", verdict=verdict(AUC), notes=(names[11],), champion=names[12],
        candidate=names[13], story=replace(story, rollout=rollout, turns=turns, ordered_by=names[14]),
        override=Override(by=names[15], reason=names[16]), cost=names[17], commit=names[18],
        fork=True, own_rules=(*changes, RuleChange(key=names[19], before=None, after=None)),
        run_url="https://github.com/acme/churn/actions/runs/1",
    )  # fmt: skip
    return comment(report)


def _unjudged(names: list[str], _: Story) -> str:
    """Return the comment of a pull request without a verdict."""
    changes = [
        RuleChange(key=a, before=b, after=None) for a, b in zip(names[:8], names[8:16], strict=True)
    ]
    failed = Unjudged(step=Step.TRAIN, exit_code=1, why=names[16])
    return comment(
        Report.without_verdict(
            model="m", unjudged=failed, own_rules=tuple(changes), notes=(names[17],),
            cost=names[18], commit=names[19],
        )
    )  # fmt: skip


def _case(names: list[str], story: Story) -> TakenBack:
    """Return a rollout with a name from outside wherever the ledger has text."""
    model = replace(story.rollout.model, version=names[0], commit=names[1])
    baseline = replace(model, version=names[2], commit=names[3])
    rollout = replace(story.rollout, model=model, baseline=baseline, cause=names[4])
    evidence = tuple({**item, "metric": names[5]} for item in story.turns[-1].evidence)
    turns = (*story.turns[:-1], replace(story.turns[-1], evidence=evidence))
    return TakenBack(
        model="m", story=replace(story, rollout=rollout, turns=turns), serving=baseline,
        web="https://github.com/acme/churn", base=names[6], branch=names[7],
    )  # fmt: skip


def _issue(names: list[str], story: Story) -> str:
    return issue(_case(names, story)).body


def _revert(names: list[str], story: Story) -> str:
    return revert_pull(_case(names, story)).body


def _summary(names: list[str], _: Story) -> str:
    report = replace(_report(names), commit="c" * 40)
    return check(report).summary


_SURFACES = {
    "comment": (_followed, [" tidegate:m "]),
    "unjudged": (_unjudged, [" tidegate:m "]),
    "issue": (_issue, [" tidegate:m:r12 "]),
    "revert": (_revert, []),
    "summary": (_summary, []),
}


def _shape(seen: Seen) -> list[tuple[str, tuple[str, ...]]]:
    """Return elements and their attributes; addresses are looked at by themselves."""
    return [(tag, tuple(key for key, _ in attributes)) for tag, attributes in seen.tags]


def _addresses(seen: Seen) -> list[str]:
    return [str(value) for _, attributes in seen.tags for key, value in attributes if key == "href"]


def _assert_contained(surface: str, story: Story, times: int) -> None:
    render, markers = _SURFACES[surface]
    rng = random.Random(surface)
    benign = Seen.markdown(render(["name"] * 20, story))
    assert benign.comments == markers
    for _ in range(times):
        names = [_name(rng) for _ in range(20)]
        seen = Seen.markdown(render(names, story))
        inert = (
            _shape(seen) == _shape(benign)
            and seen.outside == benign.outside
            and seen.comments == markers
            and all(a.startswith("https://github.com/acme/churn/") for a in _addresses(seen))
        )
        assert inert, names  # the lists themselves would take pytest minutes to compare


@pytest.mark.parametrize("surface", _SURFACES)
def test_four_thousand_hostile_names_a_surface_stay_in_their_spans(
    surface: str, story: Story
) -> None:
    _assert_contained(surface, story, 200)


@pytest.mark.heavy
@pytest.mark.parametrize("surface", _SURFACES)
def test_a_hundred_thousand_hostile_names_a_surface_stay_in_their_spans(
    surface: str, story: Story
) -> None:
    _assert_contained(surface, story, 5000)


@pytest.mark.parametrize("surface", _SURFACES)
def test_the_property_would_notice_a_name_outside_its_span(
    surface: str, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tidegate.render import decision, ledger
    from tidegate.render import issue as issues

    for module in (comments, issues, ledger, decision):
        monkeypatch.setattr(module, "code", plain)
    comments._page.cache_clear()
    issues._page.cache_clear()
    try:
        with pytest.raises((AssertionError, IndexError)):  # tags in disorder are an escape, too
            _assert_contained(surface, story, 20)
    finally:
        comments._page.cache_clear()
        issues._page.cache_clear()


def test_titles_and_annotations_are_one_line_of_visible_text(story: Story, tmp_path: Path) -> None:
    path = tmp_path / "mlops.yaml"
    path.write_text("gate: {rules: [{metric: x}]}\n")
    rng = random.Random(3)
    for _ in range(100):
        names = [_name(rng) for _ in range(20)]
        report = replace(_report(names), commit="c" * 40)
        case = _case(names, story)
        notes = rule_annotations(report.verdict, path, "mlops.yaml")
        said = [check(report).title, issue(case).title, revert_pull(case).title]
        for text in (*said, *(n.title for n in notes), *(n.message for n in notes)):
            assert text == plain(text, 1000)
            assert len(text) <= 1000


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)", "https://a.example/) [x](https://evil.example", "https://a/ b",
        "https://a.example/<b>", 'https://a.example/"', "https://a@evil.example/", "//a.example",
        "https://a.example/\n", "https://a.example/`", "https://a.example/|", "", "https://" + "a" * 9000,
    ],
)  # fmt: skip
def test_only_a_plain_address_becomes_a_link(url: str) -> None:
    assert not is_address(url)
    assert link("Run", url) == "Run"
    report = Report(model="m", verdict=verdict(AUC), run_url=url, report_url=url)
    assert not _addresses(Seen.markdown(comment(report)))


@pytest.mark.parametrize("fragment", _FRAGMENTS)
def test_each_hostile_fragment_alone_stays_in_its_span(fragment: str) -> None:
    for text in (fragment, f"a{fragment}", f"{fragment}b"):
        seen = Seen.markdown(f"| a |\n| --- |\n| {code(text)} |\n")
        assert "".join(seen.codes).strip() == re.sub("`{20,}", "`" * 20, plain(text)), text
        assert "".join(seen.outside).split() == ["a"], text


def test_the_property_would_notice_a_name_without_its_span(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comments, "code", plain)
    comments._page.cache_clear()  # it holds the function that it was made with
    try:
        with pytest.raises(AssertionError):
            _assert_harmless(random.Random(1), 5)
    finally:
        comments._page.cache_clear()


def test_a_fence_is_never_longer_than_a_reader_takes() -> None:
    for count in range(1, 130):
        seen = Seen.markdown(f"{code('`' * count + '<img>')}\n")
        assert [tag for tag, _ in seen.tags] == ["p", "code", "/code", "/p"], count


def test_text_is_cut_to_its_longest_length() -> None:
    assert plain("x" * 500) == "x" * 119 + "…"
    assert code("x" * 500, 10) == "`xxxxxxxxx…`"
    assert code("\x00\u200b") == "` `"
