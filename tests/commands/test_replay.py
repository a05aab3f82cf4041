"""`tidegate replay`, from a file to an exit code."""

from __future__ import annotations

import argparse
import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from tidegate.commands import replay
from tidegate.core.config import Canary, Guard, GuardMetric
from tidegate.errors import ConfigError, Exit
from tidegate.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def counts(path: Path, candidate: Callable[[int], tuple[int, int] | None], minutes: int) -> Path:
    rows = ["minute,variant,requests,errors"]
    for index in range(minutes):
        if (pair := candidate(index)) is not None:
            rows += [f"{index},champion,570,6", f"{index},candidate,{pair[0]},{pair[1]}"]
    path.write_text("\n".join(rows) + "\n")
    return path


def run(*arguments: str) -> tuple[Exit, Any]:
    parser, out = argparse.ArgumentParser(), io.StringIO()
    replay.add_arguments(parser)
    code = replay.run(
        parser.parse_args(arguments), Terminal(as_json="--json" in arguments, out=out)
    )
    return code, json.loads(out.getvalue()) if "--json" in arguments else out.getvalue()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


STORIES: dict[str, tuple[Callable[[int], tuple[int, int] | None], int, Exit, str, int, int]] = {
    "clean-is-promoted": (lambda _: (60, 0), 200, Exit.OK, "promote", 92, 93 * 60),
    "bad-is-reverted": (lambda _: (60, 9), 200, Exit.REJECTED, "revert", 5, 6 * 60),
    "unfinished-is-held": (lambda _: (60, 0), 50, Exit.INCONCLUSIVE, "hold", 49, 50 * 60),
    "ending-on-a-step-is-held": (lambda _: (60, 0), 33, Exit.INCONCLUSIVE, "hold", 32, 33 * 60),
    "silence-is-held": (
        lambda i: (60, 0) if i in (0, 300) else None, 301, Exit.INCONCLUSIVE, "hold", 300, 120,
    ),
    "undecided-expires": (lambda _: (76, 1), 1500, Exit.INCONCLUSIVE, "expire", 1439, 1440 * 76),
}  # fmt: skip


@pytest.mark.parametrize(
    ("candidate", "minutes", "code", "outcome", "minute", "exposed"), STORIES.values(), ids=STORIES
)
def test_outcomes(
    tmp_path: Path, candidate: Callable[[int], tuple[int, int] | None], minutes: int,
    code: Exit, outcome: str, minute: int, exposed: int,
) -> None:  # fmt: skip
    path = counts(tmp_path / "counts.csv", candidate, minutes)
    got, said = run("--counts", str(path), "--json")
    assert (got, said["outcome"], said["minute"]) == (code, outcome, minute)
    assert said["requests_exposed"] == exposed
    assert [decision["minute"] for decision in said["decisions"]] == list(range(minute + 1))
    assert {"action", "reason", "evidence"} <= set(said["decisions"][0])


def test_text_tells_the_story(tmp_path: Path) -> None:
    code, said = run("--counts", str(counts(tmp_path / "counts.csv", lambda _: (60, 0), 200)))
    assert code == Exit.OK
    assert [line.split()[2] for line in said.splitlines()[:-1]] == [
        "hold", "hold", "step_up", "hold", "step_up", "hold", "promote",
    ]  # fmt: skip
    assert said.splitlines()[-1] == (
        "Outcome: promote at minute 92; the candidate answered 5,580 requests."
    )


def test_a_guard_without_columns_is_said_plainly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Guard(metric=GuardMetric.SLOW_REQUESTS, margin=1.0, slower_than=0.25)
    monkeypatch.setattr(replay, "policy", lambda _: Canary(guards=(slow,)))
    path = counts(tmp_path / "counts.csv", lambda _: (60, 0), 100)
    code, said = run("--counts", str(path), "--json")
    assert (code, said["outcome"]) == (Exit.INCONCLUSIVE, "hold")
    assert said["notes"] == [
        (
            "slow_requests: with margin 1.00x an equally good model cannot be promoted, "
            "only a better one."
        ),
        "slow_requests: the counts have no column slow, so nothing can be promoted.",
    ]


def test_a_bad_file_is_a_usage_error(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text("minute,variant,requests\n")
    with pytest.raises(ConfigError, match="'errors' is missing") as caught:
        run("--counts", str(path), "--json")
    assert caught.value.exit_code == Exit.USAGE
