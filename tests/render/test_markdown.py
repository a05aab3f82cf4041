"""Names from outside in Markdown: whatever they hold, they stay inside their code span."""

from __future__ import annotations

import random
import re
from dataclasses import replace

import pytest

from tests.render.samples import AUC, NO_ANCHOR, RUN, Seen, slices, verdict
from tidegate.core.model import Cause, Outcome
from tidegate.render.comment import comment
from tidegate.render.markdown import code, plain
from tidegate.render.report import Report

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


def test_twenty_thousand_hostile_names_change_nothing_but_code_spans() -> None:
    _assert_harmless(random.Random(1), 1000)


@pytest.mark.heavy
def test_half_a_million_hostile_names_change_nothing_but_code_spans() -> None:
    _assert_harmless(random.Random(2), 25_000)


@pytest.mark.parametrize("fragment", _FRAGMENTS)
def test_each_hostile_fragment_alone_stays_in_its_span(fragment: str) -> None:
    for text in (fragment, f"a{fragment}", f"{fragment}b"):
        seen = Seen.markdown(f"| a |\n| --- |\n| {code(text)} |\n")
        assert "".join(seen.codes).strip() == re.sub("`{20,}", "`" * 20, plain(text)), text
        assert "".join(seen.outside).split() == ["a"], text


def test_the_property_would_notice_a_name_without_its_span(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.render.comment.code", plain)
    with pytest.raises(AssertionError):
        _assert_harmless(random.Random(1), 5)


def test_a_fence_is_never_longer_than_a_reader_takes() -> None:
    for count in range(1, 130):
        seen = Seen.markdown(f"{code('`' * count + '<img>')}\n")
        assert [tag for tag, _ in seen.tags] == ["p", "code", "/code", "/p"], count


def test_text_is_cut_to_its_longest_length() -> None:
    assert plain("x" * 500) == "x" * 119 + "…"
    assert code("x" * 500, 10) == "`xxxxxxxxx…`"
    assert code("\x00\u200b") == "` `"
