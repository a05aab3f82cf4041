"""``gate.checks``: what loads and what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.test_load import GOOD, problems
from tidegate.core.config import Checks
from tidegate.load import load

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "checks"),
    [
        ("", Checks()),
        ("  checks: {}\n", Checks()),
        (
            "  checks: {contract: error, overlap: told, label_shift: 0.2, drift: 0.25}\n",
            Checks(contract="error", overlap="told", label_shift=0.2, drift=0.25),
        ),
    ],
)
def test_what_is_not_said_is_told_and_overlap_decides(
    tmp_path: Path, text: str, checks: Checks
) -> None:
    (tmp_path / "mlops.yaml").write_text(GOOD + text)
    assert load(tmp_path / "mlops.yaml").gate.checks == checks


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{contract: errors}", "got 'errors', expected one of error, told; did you mean 'error'?"),
        ("{overlap: no}", "got 'no', expected one of error, told, off"),
        ("{label_shift: 0}", "got 0, expected more than 0"),
        ("{label_shift: 20%}", "got '20%', expected a number"),
        ("{drift: 101}", "got 101, expected at most 100"),
        ("{drfit: 0.25}", "got an unknown key 'drfit', expected one of contract, drift, label_shift, "
         "overlap; did you mean 'drift'?"),
    ],
)  # fmt: skip
def test_a_bad_check_says_where_what_and_how_to_fix(
    tmp_path: Path, text: str, expected: str
) -> None:
    (line,) = problems(tmp_path, GOOD + f"  checks: {text}\n")
    where = f"gate.checks.{text[1:].partition(':')[0]}: "
    assert line.startswith("8:")
    assert where + expected in line
