"""The ledger branch's page, as GitHub renders it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine import Engine
from tests.render.samples import Seen
from tidegate.core.events import Held
from tidegate.core.state import State
from tidegate.render.ledger import page

if TYPE_CHECKING:
    from pathlib import Path


def _page(engine: Engine) -> str:
    book = engine.ledger.read()
    return page("flight-delays", book.state, book.chain)


def _assert_spaced(text: str) -> None:
    """A heading, a quote, a list and a table each stand apart from what comes before and after."""
    lines = text.splitlines()
    for before, line, after in zip(["", *lines], lines, [*lines[1:], ""], strict=False):
        if line.startswith("#"):
            assert (before, after) == ("", ""), line
        for mark in ("> ", "- ", "| "):
            if line.startswith(mark):
                assert before == "" or before.startswith(mark[0]), line
                assert after == "" or after.startswith(mark[0]), line
    assert "\n\n\n" not in text
    assert text.endswith("branch.\n")


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine.make(tmp_path)


def test_an_empty_ledger_is_a_page_too() -> None:
    text = page("m", State(), ())
    _assert_spaced(text)
    assert text.startswith("# `m`\n\n**Nothing serves yet**.\n\n## Who served when\n\n| version |")
    assert "\n\nNothing yet.\n\n" in text


def test_what_serves_comes_first(engine: Engine) -> None:
    engine.serving()
    text = _page(engine)
    _assert_spaced(text)
    assert "\n\n**Version 1 serves** since 1970-01-12 13:46:40 UTC (commit `0000000`, " in text


def test_a_live_rollout_shows_its_evidence_below_the_note(engine: Engine) -> None:
    engine.serving()
    engine.request(engine.version(2))
    while "canary at 50 %" not in _page(engine):
        engine.tick(1)
    text = _page(engine)
    _assert_spaced(text)
    assert "> Live rollout r12: version 2 canary at 50 % (step 2).\n\n- error_rate: " in text


def test_a_hold_is_seen_and_its_words_are_harmless(engine: Engine) -> None:
    engine.serving()
    held = Held(until=None, hands_off=False, reason="</code><script>@team")
    engine.append(held, human=True)
    text = _page(engine)
    _assert_spaced(text)
    assert "> [!IMPORTANT]\n> Held by `ada`: `</code><script>@team`" in text
    seen = Seen.markdown(text)
    assert "script" not in {tag for tag, _ in seen.tags}
    assert "@team" not in "".join(seen.outside)


def test_tables_and_lists_are_tables_and_lists(engine: Engine) -> None:
    engine.serving()
    bad = engine.version(2)
    engine.metrics.rates = {"1": (0.01, 0.0), "2": (0.2, 0.0)}
    engine.request(bad)
    engine.run(30)
    text = _page(engine)
    _assert_spaced(text)
    tags = [tag for tag, _ in Seen.markdown(text).tags]
    assert [tags.count(tag) for tag in ("h1", "h2", "table", "ul")] == [1, 3, 2, 1]
    assert "| **reverted** | a guard shows harm beyond its margin |" in text
