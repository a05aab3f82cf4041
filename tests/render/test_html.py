"""The page: self-contained, hostile names inert, drawings that say what the numbers say."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.engine import Engine
from tests.render.samples import ANCHOR, AUC, FLOOR, LATENCY, LOSS, Seen, reports, slices, verdict
from tests.render.stories import pull_requests
from tidegate.core import story as stories
from tidegate.core.model import Cause, Finding, Margin, Outcome
from tidegate.render import charts
from tidegate.render.html import html
from tidegate.render.place import Place, place
from tidegate.render.report import Report

if TYPE_CHECKING:
    from pathlib import Path

_HOSTILE = (
    "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "' onload='alert(1)",
    "{{ 7 * 7 }}", "{% raw %}", "</style><style>*{display:none}", "-->", "]]>", "&lt;b&gt;",
    "https://evil.example/x.png", "javascript:alert(1)", "\u202egnp.exe", "\x00\u200b", "a\nb",
)  # fmt: skip
_LOADS = {"src", "href", "srcset", "data", "poster", "action", "formaction", "background", "style"}
_ELEMENTS = {"script", "link", "img", "iframe", "object", "embed", "form", "base", "foreignobject"}


def _named(name: str) -> Report:
    findings = [
        replace(finding, slice=name, metric=name, outcome=outcome, cause=cause, decides=decides)
        for finding in (AUC, FLOOR, LATENCY, *slices(3))
        for outcome, cause, decides in [(Outcome.REJECT, Cause.VIOLATED, True)]
    ]
    report = reports()["pass"]
    assert report.run is not None
    return replace(
        report,
        verdict=verdict(*findings),
        notes=(name,),
        champion=name,
        candidate=name,
        run=replace(report.run, params={name: name}, environment={name: name}),
    )


@pytest.mark.parametrize("name", _HOSTILE)
def test_a_hostile_name_changes_text_and_nothing_else(name: str) -> None:
    seen, benign = Seen.page(html(_named(name))), Seen.page(html(_named("name")))
    elements = [tag for tag, _ in seen.tags]
    assert elements == [tag for tag, _ in benign.tags]
    for (tag, attributes), (_, expected) in zip(seen.tags, benign.tags, strict=True):
        assert [key for key, _ in attributes] == [key for key, _ in expected], tag
        # Only the words for a screen reader are a name's.
        differing = {k for (k, v), (_, e) in zip(attributes, expected, strict=True) if v != e}
        assert differing <= {"aria-label"}, tag


@pytest.mark.parametrize("name", [*reports(), "hostile"])
def test_nothing_is_loaded_and_nothing_runs(name: str) -> None:
    text = html(reports()[name]) if name in reports() else html(_named(_HOSTILE[1]))
    seen = Seen.page(text)
    assert not {tag for tag, _ in seen.tags} & _ELEMENTS
    assert not {key for _, attributes in seen.tags for key, _ in attributes} & _LOADS
    assert not [key for _, attributes in seen.tags for key, _ in attributes if key.startswith("on")]
    assert "url(" not in text
    assert "@import" not in text
    assert "://" not in text
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert policy in str(seen.tags)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pass", "Passed"),
        ("reject", "Rejected"),
        ("inconclusive", "Inconclusive"),
        ("error", "Not judged"),
        ("first_release", "nothing yet"),
    ],
)
def test_the_verdict_is_said_in_words(name: str, words: str) -> None:
    seen = Seen.page(html(reports()[name]))
    assert words in " ".join(seen.outside)
    assert [tag for tag, _ in seen.tags].count("svg") > 0


def test_elements_are_closed_in_order() -> None:
    stack: list[str] = []
    for tag, _ in Seen.page(html(reports()["reject"])).tags:
        if not tag.startswith("/"):
            if tag not in {"meta", "rect", "line", "circle"}:
                stack.append(tag)
        elif tag[1:] not in {"rect", "line", "circle"}:
            assert stack.pop() == tag[1:]
    assert stack == []


def test_thousands_of_slices_are_cut_with_a_word() -> None:
    text = html(Report(model="m", verdict=verdict(AUC, *slices(5000))))
    assert "200 of 5,000, verdict.json has them all" in text
    assert len(text) < 400_000


def test_a_rollout_is_drawn_with_its_evidence(tmp_path: Path) -> None:
    engine = Engine.make(tmp_path)
    engine.serving()
    bad = engine.version(2)
    engine.metrics.rates = {"1": (0.01, 0.0), "2": (0.2, 0.0)}
    engine.request(bad)
    engine.run(30)
    book = engine.ledger.read()
    rollout = stories.find(book.state, bad.digest)
    assert rollout is not None
    story = stories.tell(rollout, book.chain, book.frozen(rollout.id))
    text = html(Report(model="m", verdict=verdict(AUC), story=story))
    assert "Passed, then taken back" in text
    assert text.count('class="block"') == 2  # 5 %, then nothing
    assert 'aria-label="evidence for harm"' in text
    assert "harm shown (evidence 734, 100 needed)" in text


def test_a_page_without_a_verdict_says_what_failed_and_shows_the_changed_rules() -> None:
    seen = Seen.page(html(pull_requests()["unjudged"]))
    said = " ".join(seen.outside)
    assert "Training failed with exit code 137. Something is wrong" not in said
    assert "Training failed with exit code 137. Production is untouched." in said
    assert "It is judged by the base branch's" in said
    assert "gate.rules[roc_auc].margin" in seen.codes


# --- places and drawings --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("finding", "expected"),
    [
        pytest.param(
            AUC,
            Place(value=0.0032, lower=0.0011, upper=0.0053, limit=-0.005, compares=True),
            id="more is better",
        ),
        pytest.param(
            replace(LOSS, champion=0.5),
            Place(value=0.0041, lower=0.0019, upper=0.0063, limit=-0.005, compares=True),
            id="less is better, relative margin",
        ),
        pytest.param(
            replace(LOSS, champion=-0.5),
            Place(value=0.0041, lower=0.0019, upper=0.0063, limit=-0.005, compares=True),
            id="a margin of a negative reference",
        ),
        pytest.param(
            FLOOR,
            Place(value=0.7421, lower=0.7365, upper=0.7477, limit=0.7, compares=False),
            id="floor",
        ),
        pytest.param(
            LATENCY,
            Place(value=-12.4, lower=-12.8, upper=-12.1, limit=-20.0, compares=False),
            id="ceiling",
        ),
        pytest.param(replace(AUC, difference=None), None, id="nothing measured"),
    ],
)
def test_right_is_better_whatever_the_metric(finding: Finding, expected: Place | None) -> None:
    assert place(finding) == expected


def _xs(svg: str, kind: str) -> list[float]:
    return [float(x) for x in re.findall(rf'class="{kind}" x1="([\d.]+)%"', svg)]


@pytest.mark.parametrize("finding", [AUC, ANCHOR, LOSS, FLOOR, LATENCY])
def test_what_passes_is_drawn_right_of_its_limit(finding: Finding) -> None:
    where = place(finding)
    assert where is not None
    svg = str(charts.interval(where, limit="margin", tone="good", label="x"))
    (limit,) = _xs(svg, "limit")
    bounds = [float(x) for x in re.findall(r'<line x1="([\d.]+)%"', svg)]
    assert limit >= 24.9  # room for its label
    assert all(limit < x <= 100 for x in bounds)
    assert "← worse" in svg
    assert "better →" in svg


@pytest.mark.parametrize(
    ("lower", "upper"), [(None, None), (None, 0.1), (-0.1, None), (0.0, 0.0), (-1e300, 1e300)]
)
def test_any_bounds_can_be_drawn(lower: float | None, upper: float | None) -> None:
    finding = replace(AUC, lower=lower, upper=upper, margin=Margin(value=0.0), difference=0.0)
    where = place(finding)
    assert where is not None
    svg = str(charts.interval(where, limit="0", tone="open", label="x"))
    assert "nan" not in svg
    assert "inf" not in svg
    assert charts.in_margins(where) is None  # no margin to measure by


def test_a_bar_is_in_margins_and_cut_at_the_edge() -> None:
    where = charts.in_margins(Place(value=-0.06, lower=-9.0, upper=0.0, limit=-0.03, compares=True))
    assert where == Place(value=-2.0, lower=-300.0, upper=0.0, limit=-1.0, compares=True)
    svg = str(charts.bar(where, charts.shared([where]), tone="bad", label="x"))
    assert '<line x1="0.00%" x2="50.00%"' in svg


def test_a_meter_is_full_at_what_is_needed_and_never_over() -> None:
    widths = [
        re.findall(r'class="fill"[^>]* width="([\d.]+)%"', str(charts.meter(e, 4.0, tone="", label="")))
        for e in (-1.0, 2.0, 4.0, 9.0)
    ]  # fmt: skip
    assert widths == [["0.00"], ["50.00"], ["100.00"], ["100.00"]]


def test_a_label_in_a_drawing_is_text() -> None:
    where = place(AUC)
    assert where is not None
    svg = str(charts.interval(where, limit="<b>", tone="good", label='"><script>'))
    assert "<b>" not in svg
    assert "<script>" not in svg


def test_a_rollout_that_ended_in_the_instant_it_began_still_has_a_timeline() -> None:
    """Times are epoch seconds: nothing smaller than a second may be added to keep a width."""
    now = 1_795_399_891.12
    drawn = charts.timeline([charts.Stretch(now, now, 1.0, "100 %")], tone="traffic", label="x")
    assert "<svg" in drawn
