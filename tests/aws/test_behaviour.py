"""The table of behaviour: every rule has a source, and a test."""

from __future__ import annotations

import importlib
from collections import Counter
from pathlib import Path

from tests.aws.behaviour import TABLE

KNOWN = {"documented", "seen", "assumed", "ours"}


def exercised() -> set[str]:
    """Return the rows that the tests beside this one say they exercise."""
    found: set[str] = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        module = importlib.import_module(f"tests.aws.{path.stem}")
        for test in vars(module).values():
            found |= set(getattr(test, "rows", ()))
    return found


def test_every_row_is_exercised_and_every_exercise_has_a_row() -> None:
    assert exercised() == {row.name for row in TABLE}


def test_rows_have_a_name_of_their_own_and_a_source() -> None:
    assert not [name for name, number in Counter(row.name for row in TABLE).items() if number > 1]
    for row in TABLE:
        assert row.known in KNOWN, row.name
        assert row.source.startswith("https://"), row.name
        assert row.rule.endswith("."), row.name
