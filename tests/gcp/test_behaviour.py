"""Every row of the table is shown by a test."""

from __future__ import annotations

import importlib
from pathlib import Path

from tests.gcp import behaviour
from tests.gcp.rows import SHOWN


def test_every_row_is_exercised() -> None:
    for file in Path(__file__).parent.glob("test_*.py"):
        importlib.import_module(f"tests.gcp.{file.stem}")
    assert behaviour.RULES.keys() == SHOWN
