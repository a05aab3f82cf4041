"""What a report says of training that a service did, and billed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.render.samples import RUN, Seen, reports
from tidegate.render.comment import comment
from tidegate.render.html import html
from tidegate.render.rollout import bill

if TYPE_CHECKING:
    from tidegate.render.report import Report

ELSEWHERE = replace(
    RUN, compute="sagemaker ml.m5.large", job="tidegate-x", billed_seconds=180.0, cost_usd=0.00575
)


def report(**changes: object) -> Report:
    return replace(reports()["pass"], run=replace(ELSEWHERE, **changes))  # type: ignore[arg-type]


def test_where_it_was_trained_and_what_that_cost_stands_beside_the_time() -> None:
    text = comment(report())
    assert (
        "- trained in 48 s on `sagemaker ml.m5.large`, 3 min billed, about $0.0057; the model is"
        in text
    )
    assert "sagemaker ml.m5.large, 3 min billed, about $0.0057" in html(report())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"cost_usd": None}, "3 min billed, at an unknown price"),
        ({"billed_seconds": None, "cost_usd": None}, "at an unknown price"),
        ({"cost_usd": 12.5}, "3 min billed, about $12.50"),
    ],
)
def test_an_unknown_price_is_unknown_and_not_nothing(changes: dict[str, object], says: str) -> None:
    assert bill(replace(ELSEWHERE, **changes)) == says  # type: ignore[arg-type]


def test_training_on_the_runner_says_nothing_of_a_bill() -> None:
    assert "billed" not in comment(reports()["pass"])
    assert "price" not in comment(reports()["pass"])


def test_a_hostile_machine_s_name_stays_text() -> None:
    name = "](https://evil.example) <img src=x>"
    benign = Seen.page(html(report()))
    seen = Seen.page(html(report(compute=name)))
    assert [tag for tag, _ in seen.tags] == [tag for tag, _ in benign.tags]
    assert f"`{name}`" in comment(report(compute=name))
