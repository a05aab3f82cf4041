"""Models that are timed side by side wait for each other, take turns, and do not wait for the dead."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real

TIMED = """
import json, sys, time
from pathlib import Path
import pyarrow as pa
from tidegate import score

class Slow:
    spans = []
    def score(self, rows):
        began = time.monotonic(); time.sleep(0.001)
        self.spans.append((began, time.monotonic()))

folder = Path(sys.argv[1])
ready = score._all_ready(folder, 2)
took = score._latency(Slow(), pa.table({"x": [1, 2, 3]}), folder if ready else None)
print(json.dumps({"ready": ready, "n": len(took), "spans": Slow.spans}))
"""


def test_two_models_are_never_timed_at_once_and_alternate(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TIMED, str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in "ab"]
    said = [json.loads(process.communicate(timeout=60)[0]) for process in both]
    assert [one["ready"] for one in said] == [True, True]
    assert [one["n"] for one in said] == [1000, 1000]
    marked = sorted((*span, who) for who, one in enumerate(said) for span in one["spans"])
    assert all(before[1] <= after[0] for before, after in pairwise(marked))
    changes = sum(before[2] != after[2] for before, after in pairwise(marked))
    assert changes >= 20  # of 51 turns each


def test_nobody_waits_for_a_model_that_failed(tmp_path: Path) -> None:
    (tmp_path / "apart").touch()
    began = time.monotonic()
    found = subprocess.run(
        [sys.executable, "-c", TIMED, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert json.loads(found.stdout)["ready"] is False
    assert time.monotonic() - began < 30
