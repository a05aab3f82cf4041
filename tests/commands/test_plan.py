"""`tidegate plan`: its arguments, its text and its JSON."""

from __future__ import annotations

import argparse
import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from tidegate.commands import plan
from tidegate.core.config import Canary, Guard, GuardMetric
from tidegate.core.simulation import Traffic
from tidegate.errors import ConfigError, Exit
from tidegate.terminal import Terminal

if TYPE_CHECKING:
    from pathlib import Path

CANARY = Canary(deadline=7200.0)
LABELS = (Guard(metric=GuardMetric.LABEL_ERROR, margin=1.1),)


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    plan.add_arguments(parser)
    return parser.parse_args(arguments)


@pytest.fixture
def canary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Canary:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plan, "policy", lambda _: CANARY)
    return CANARY


def run(*arguments: str) -> Any:
    out = io.StringIO()
    as_json = "--json" in arguments
    terminal = Terminal(as_json=as_json, out=out, err=io.StringIO())
    assert plan.run(parsed(*arguments), terminal) == Exit.OK
    return json.loads(out.getvalue()) if as_json else out.getvalue()


@pytest.mark.parametrize(
    ("text", "per_minute"), [("600/min", 600), ("10/s", 600), ("90/h", 1.5), ("0.5 / s", 30)]
)
def test_traffic_is_read(text: str, per_minute: float) -> None:
    traffic = plan.expected_traffic(parsed("--traffic", text, "--error-rate", "2%"), CANARY)
    assert traffic == Traffic(per_minute=per_minute, rates={GuardMetric.ERROR_RATE: 0.02})


@pytest.mark.parametrize(
    "arguments",
    [
        ("--traffic", "600"), ("--traffic", "0/min"), ("--traffic", "-5/min"),
        ("--traffic", "6/fortnight"), ("--error-rate", "100%"), ("--error-rate", "-1%"),
        ("--error-rate", "nan"), ("--error-rate", "some"), ("--labelled", "101%"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_arguments_that_cannot_be_read_are_usage_errors(arguments: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match=f"{arguments[0]}: got '{arguments[1]}', expected") as e:
        plan.expected_traffic(parsed("=".join(arguments)), CANARY)
    assert "Write for example" in e.value.remedy


def test_observed_traffic_is_used_and_arguments_win() -> None:
    observed = Traffic(per_minute=90.0, rates={GuardMetric.ERROR_RATE: 0.03}, labelled=0.5)
    assert plan.expected_traffic(parsed(), CANARY, observed) == observed
    asked = plan.expected_traffic(parsed("--traffic", "5/s"), CANARY, observed)
    assert (asked.per_minute, asked.rates) == (300.0, observed.rates)


def test_label_guards_need_a_base_rate() -> None:
    with pytest.raises(ConfigError, match="no base rate"):
        plan.expected_traffic(parsed(), Canary(guards=LABELS))
    traffic = plan.expected_traffic(parsed("--label-error", "20%"), Canary(guards=LABELS))
    assert traffic.rates == {GuardMetric.LABEL_ERROR: 0.2}


@pytest.mark.usefixtures("canary")
def test_text_tells_what_to_expect_and_what_was_assumed() -> None:
    said = run("--traffic", "6000/min")
    assert said.startswith("At 6,000 requests per minute")
    assert "5 %  -> next step" in said
    assert "smallest regression taken back with 80 % probability within 120 min" in said
    assert "5x worse: 100 % taken back, after 6 min" in said
    assert "base rates of the champion: error_rate 1 %" in said


@pytest.mark.usefixtures("canary")
def test_too_little_traffic_is_said() -> None:
    said = run("--traffic", "3/min")
    assert "Traffic is too low for this policy" in said
    assert "on_expire says withdraw" in said


@pytest.mark.usefixtures("canary")
def test_json_has_the_same_figures_and_nulls_for_never() -> None:
    said = run("--traffic", "3/min", "--json")
    assert said["traffic"] == {"per_minute": 3.0, "rates": {"error_rate": 0.01}, "labelled": 1.0}
    assert said["equal_model"]["steps"][-1]["minutes"] == {"median": None, "high": None}
    assert said["equal_model"]["expired"] > 0.9
    assert set(said["guards"]) == {"error_rate"}
