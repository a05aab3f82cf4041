"""The page on data checks names every finding and key, with its default, and its example loads."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tidegate.core.model import Cause
from tidegate.load import loads

TOP = Path(__file__).parents[1]
PAGE = (TOP / "docs" / "data-checks.md").read_text()
OURS = list(Cause)[list(Cause).index(Cause.NO_PROFILE) :]


def test_each_finding_of_these_checks_has_its_row() -> None:
    told = set(re.findall(r"^\|[^|]*\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert told == {str(cause) for cause in OURS}


def test_each_key_has_its_row() -> None:
    schema = json.loads((TOP / "schemas" / "mlops.schema.json").read_text())
    keys = schema["properties"]["gate"]["properties"]["checks"]["properties"]
    told = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert told == set(keys)


def test_the_example_loads() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    head = (
        "version: 1\nmodel: {name: m, task: binary}\ntrain: {run: x}\n"
        "data: {train: a.parquet, holdout: b.parquet, target: y, id: id}\n"
    )
    assert loads("mlops.yaml", head + example).config.gate.checks.drift == 0.25
