"""``verdict.json``: what was written is read back, and nothing else is."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.render.samples import AUC, reports, verdict
from tidegate import verdicts
from tidegate.core.model import Cause, Outcome
from tidegate.errors import NotJudgedError
from tidegate.render.verdict import document

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_EDITS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a better headline": (lambda d: d.update(outcome="pass"), "but the findings come to reject"),
    "an unknown outcome": (lambda d: d.update(outcome="great"), "got 'great', expected one of"),
    "a missing key": (lambda d: d.pop("digests"), "expected the key 'digests'"),
    "an extra key": (lambda d: d.update(approved=True), "an unknown key 'approved'"),
    "an unknown cause": (lambda d: d["findings"][0].update(cause="luck"), "'luck' is not a valid"),
    "text for a number": (lambda d: d["findings"][0].update(candidate="0.9"), "a number"),
    "no finding that decides": (lambda d: d.update(findings=[]), "the findings come to error"),
}


@pytest.mark.parametrize("name", reports())
def test_what_was_written_is_read_back(name: str, tmp_path: Path) -> None:
    judged = reports()[name].verdict
    (tmp_path / "v.json").write_text(json.dumps(document(judged, ["a note"])))
    assert verdicts.read(tmp_path / "v.json") == (judged, ("a note",))


@pytest.mark.parametrize(("edit", "says"), _EDITS.values(), ids=_EDITS)
def test_an_edited_verdict_is_refused(
    edit: Callable[[dict[str, Any]], object], says: str, tmp_path: Path
) -> None:
    data = document(verdict(replace(AUC, outcome=Outcome.REJECT, cause=Cause.VIOLATED)))
    edit(data)
    _refused(tmp_path, json.dumps(data), says)


@pytest.mark.parametrize(
    ("number", "says"),
    [
        ("NaN", "NaN is not a number"),
        ("-Infinity", "-Infinity is not a number"),
        ("1e999", "1e999 is not a number"),
        ("1" * 40, "is not a number"),
        ("1" * 9000, "not JSON"),
    ],
)
def test_what_is_no_number_is_refused(number: str, says: str, tmp_path: Path) -> None:
    text = json.dumps(document(verdict(replace(AUC, candidate=0.125))))
    _refused(tmp_path, text.replace("0.125", number), says)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, "\ufeff{}"])
def test_what_is_no_verdict_is_refused(text: str, tmp_path: Path) -> None:
    _refused(tmp_path, text, "")


def test_no_file_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(NotJudgedError, match="there is no verdict yet") as caught:
        verdicts.read(tmp_path / "v.json")
    assert "tidegate run" in caught.value.remedy


def _refused(folder: Path, text: str, says: str) -> None:
    path = folder / "v.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(NotJudgedError) as caught:
        verdicts.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert says in str(caught.value)
    assert "tidegate gate" in caught.value.remedy
