"""Counts that a command of the user's prints: taken as they must be, or refused with the line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tidegate.adapters.metrics.command import CommandCounts, parse
from tidegate.core.evidence import Arm
from tidegate.core.model import Task
from tidegate.errors import OutsideError
from tidegate.ports import Measure

if TYPE_CHECKING:
    from pathlib import Path

MEASURE = Measure(
    interval=60.0, slower_than=0.2, task=Task.BINARY, clip=None, label_source=None, label_every=600
)
VERSIONS = ("6", "7")
LINE = '{"minute": 600, "version": "7", "requests": 600, "errors": 4, "slow": 12}'


def read(text: str) -> dict[tuple[int, str], Arm]:
    return parse(text, VERSIONS, 10, 20, MEASURE)


def test_a_line_is_an_arm() -> None:
    text = (
        f'{LINE}\n\n{{"minute": 600, "version": "6", "requests": 2, "errors": 0, "slow": null}}\n'
    )
    assert read(text) == {
        (10, "7"): Arm(requests=600, errors=4, slow=12),
        (10, "6"): Arm(requests=2, errors=0, slow=None),
    }


def test_without_requests_there_is_no_arm() -> None:
    assert read('{"minute": 600, "version": "7", "requests": 0, "errors": 0}') == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(('"requests": 600', '"requests": -1'), "requests", id="negative"),
        pytest.param(('"requests": 600', '"requests": NaN'), "not finite", id="nan"),
        pytest.param(('"requests": 600', '"requests": 1e999'), "not finite", id="infinite"),
        pytest.param(('"requests": 600', '"requests": 600.0'), "whole number", id="a float"),
        pytest.param(('"requests": 600', '"requests": true'), "whole number", id="a truth value"),
        pytest.param(('"requests": 600', '"requests": "600"'), "whole number", id="a text"),
        pytest.param(('"errors": 4', '"errors": 601'), "more `errors`", id="more errors"),
        pytest.param(('"slow": 12', '"slow": 601'), "more `slow`", id="more slow answers"),
        pytest.param(('"version": "7"', '"version": "8"'), "not asked for", id="unknown version"),
        pytest.param(('"version": "7"', '"version": 7'), "not asked for", id="a number as version"),
        pytest.param(('"minute": 600', '"minute": 601'), "multiple of 60", id="between minutes"),
        pytest.param(('"minute": 600', '"minute": 540'), "not asked for", id="too early"),
        pytest.param(('"minute": 600', '"minute": 1200'), "not asked for", id="too late"),
        pytest.param((', "errors": 4', ""), "`errors` is missing", id="no errors"),
        pytest.param(('"slow"', '"slwo"'), "unknown key", id="misspelt"),
        pytest.param((LINE, "[]"), "no object", id="a list"),
        pytest.param((LINE, "requests: 7"), "line 3", id="no JSON"),
        pytest.param((LINE, "[" * 100_000), "line 3", id="deep"),
    ],
)
def test_anything_else_is_refused_with_its_line(change: tuple[str, str], said: str) -> None:
    good = LINE.replace("600,", "660,", 1)
    with pytest.raises(OutsideError) as caught:
        read(f"{good}\n\n{LINE.replace(*change)}\n")
    assert "line 3" in str(caught.value)
    assert said in str(caught.value)


def test_a_minute_that_is_told_twice_is_refused() -> None:
    with pytest.raises(OutsideError, match="line 2"):
        read(f"{LINE}\n{LINE}\n")


@pytest.mark.real
def test_the_command_is_told_what_is_asked_and_sees_no_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("TIDEGATE_GITHUB_TOKEN", "hidden")
    monkeypatch.setenv("MY_MONITORING_TOKEN", "given")
    (tmp_path / "counts.py").write_text(
        "import json, os, sys\n"
        "seen = {k: v for k, v in os.environ.items() if k.startswith(('AWS', 'TIDEGATE', 'MY_'))}\n"
        "seen.pop('TIDEGATE_COUNTS')\n"
        "print(json.dumps(seen), file=sys.stderr)\n"
        f"print('''{LINE}''')\n"
    )
    source = CommandCounts(f"{sys.executable} counts.py  # ours", tmp_path)
    assert source.counts(VERSIONS, 10, 20, MEASURE) == {
        (10, "7"): Arm(requests=600, errors=4, slow=12)
    }
    seen = capfd.readouterr().err
    assert "hidden" not in seen
    for wanted in (
        '"TIDEGATE_FROM": "600"', '"TIDEGATE_TO": "1200"', '"TIDEGATE_INTERVAL": "60"',
        '"TIDEGATE_VERSIONS": "6 7"', '"TIDEGATE_SLOWER_THAN": "0.2"', '"MY_MONITORING_TOKEN": "given"',
    ):  # fmt: skip
        assert wanted in seen


@pytest.mark.real
@pytest.mark.parametrize(
    ("command", "said"),
    [
        pytest.param("exit 3", "exit code 3", id="fails"),
        pytest.param("sleep 30", "longer than", id="takes too long"),
        pytest.param("echo nonsense", "line 1", id="prints something else"),
        pytest.param("printf '\\377'", "no text", id="prints no text"),
    ],
)
def test_a_command_that_fails_is_an_outside_error(tmp_path: Path, command: str, said: str) -> None:
    source = CommandCounts(command, tmp_path, timeout=1.0)
    with pytest.raises(OutsideError, match=said):
        source.counts(VERSIONS, 10, 20, MEASURE)


@pytest.mark.real
def test_a_command_that_prints_nothing_has_seen_nothing(tmp_path: Path) -> None:
    assert CommandCounts("true", tmp_path).counts(VERSIONS, 10, 20, MEASURE) == {}
