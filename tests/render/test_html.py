"""The page: self-contained, hostile names inert, drawings that say what the numbers say."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.engine import Engine
from tests.render.samples import (
    ANCHOR,
    AUC,
    FLOOR,
    LATENCY,
    LOSS,
    Seen,
    drawn,
    reports,
    slices,
    verdict,
)
from tests.render.stories import pull_requests
from tidegate.core import story as stories
from tidegate.core.model import Cause, Direction, Finding, Kind, Margin, Outcome, Task
from tidegate.render import charts, heat
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


def _named(name: str, task: Task = Task.BINARY) -> Report:
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
        pictures=drawn(task, name),
    )


@pytest.mark.parametrize("task", [Task.BINARY, Task.MULTICLASS])
@pytest.mark.parametrize("name", _HOSTILE)
def test_a_hostile_name_changes_text_and_nothing_else(name: str, task: Task) -> None:
    seen, benign = Seen.page(html(_named(name, task))), Seen.page(html(_named("name", task)))
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
            if tag not in {"meta", "rect", "line", "circle", "polyline"}:
                stack.append(tag)
        elif tag[1:] not in {"rect", "line", "circle", "polyline"}:
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


@pytest.mark.parametrize(
    ("task", "titles"),
    [
        (Task.BINARY, ["ROC curve", "Calibration"]),
        (Task.MULTICLASS, ["Confusion"]),
        (Task.REGRESSION, ["Residuals"]),
        (Task.GENERIC, ["Scores"]),
    ],
)
def test_both_models_are_drawn_as_their_task_asks(task: Task, titles: list[str]) -> None:
    pictures = drawn(task)
    text = html(replace(reports()["pass"], pictures=pictures))
    assert (
        re.findall(r"<h3>(ROC curve|Calibration|Confusion|Residuals|Scores)</h3>", text) == titles
    )
    assert "<h2>Worst rows</h2>" in text
    assert f"<code>{pictures.worst[0].id}</code>" in text
    assert "nan" not in text
    alone = replace(pictures, models=pictures.models[:1], worst=())
    without = html(replace(reports()["first_release"], pictures=alone))
    assert "<h2>Both models</h2>" in without
    assert "production: dashed" not in without
    assert "<h2>Worst rows</h2>" not in without


def test_a_report_without_pictures_leaves_the_sections_out() -> None:
    text = html(reports()["pass"])
    assert "<h2>Both models</h2>" not in text
    assert "<h2>Worst rows</h2>" not in text


def test_the_map_of_slices_says_in_signs_what_it_says_in_colour() -> None:
    (found,) = heat.maps(reports()["reject"].slices)
    assert (found.metric, found.by, found.margin) == ("roc_auc", "airport", "0.03")
    worst, *_, best = found.tiles
    assert (worst.name, worst.sign, worst.words, worst.heat) == ("JFK", "✗", "-2×", "m3")
    assert (best.name, best.sign, best.words, best.heat) == ("A11", "", "+0.4×", "p1")
    few = replace(
        slices(1)[0], cause=Cause.TOO_FEW_ROWS, outcome=Outcome.INCONCLUSIVE, lower=None, upper=None
    )
    ((tile,),) = (each.tiles for each in heat.maps([few]))
    assert (tile.heat, tile.words) == ("none", "too few rows")


@pytest.mark.parametrize(
    ("kind", "direction", "limit", "value"),
    [
        (Kind.IMPROVES, Direction.HIGHER, 0.005, 0.0032),
        (Kind.IMPROVES, Direction.LOWER, 0.005, -0.0032),
        (Kind.GAP_MARGIN, Direction.HIGHER, -0.005, -0.0032),
    ],
)
def test_a_limit_is_on_its_side_of_equal(
    kind: Kind, direction: Direction, limit: float, value: float
) -> None:
    where = place(replace(AUC, kind=kind, direction=direction))
    assert where is not None
    assert (where.limit, where.value, where.compares) == (limit, value, True)


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
