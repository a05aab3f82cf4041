"""The pages on clouds and on the gate's rules say what is so: keys, defaults, examples, delays, prices, settings, links."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.smoke.settings import FIELDS
from tidegate.adapters.answers import datacapture, requestlog
from tidegate.adapters.compute import attempts, parcels
from tidegate.adapters.metrics import cloudwatch, command, live, monitoring, prometheus
from tidegate.core import prices
from tidegate.core.release import GAP
from tidegate.load import loads

TOP = Path(__file__).parents[1]
PAGES = {
    name: (TOP / "docs" / f"{name}.md").read_text()
    for name in ("sagemaker", "vertex", "metrics", "training", "gate-rules")
}
SCHEMA = json.loads((TOP / "schemas" / "mlops.schema.json").read_text())
TABLES = {
    "release.sagemaker": "sagemaker", "release.vertex": "vertex", "release.metrics": "metrics",
    "train.sagemaker": "training", "train.vertex": "training",
    **dict.fromkeys(("gate", *(f"gate.{part}" for part in ("rules[]", "slices[]", "gaps[]", "metrics[]", "exact"))), "gate-rules"),
}  # fmt: skip
HEAD = {
    "version": "version: 1",
    "model": "model: {name: flights, task: binary}",
    "data": "data: {train: a.parquet, holdout: b.parquet, target: late, id: flight_id}",
    "train": "train: {run: python train.py}",
    "gate": "gate: {rules: [{metric: roc_auc, margin: 0.01}]}",
}


def properties(path: str) -> dict[str, Any]:
    found: Any = SCHEMA
    for part in path.split("."):
        found = found["properties"][part.removesuffix("[]")]
        if part.endswith("[]"):
            found = SCHEMA["$defs"][found["items"]["$ref"].removeprefix("#/$defs/")]
    return dict(found["properties"])


def rows(path: str) -> dict[str, str]:
    """Return key -> row of the table that follows the line with the block's name."""
    after = PAGES[TABLES[path]].split(f"\n`{path}`:\n", 1)[1]
    table = re.match(r"\n(\|.*\n)+", after)
    assert table is not None, path
    lines = table[0].strip().splitlines()[2:]
    return {key: line for line in lines for key in re.findall(r"`(\w+)`", line.split("|")[1])}


@pytest.mark.parametrize("path", TABLES)
def test_each_key_of_the_schema_stands_in_its_table_with_its_default(path: str) -> None:
    schema, told = properties(path), rows(path)
    assert set(told) == set(schema)
    for key, one in schema.items():
        default = one.get("default")
        if default is not None:
            text = str(default).lower() if isinstance(default, bool) else str(default)
            assert re.search(rf"(?<![\w.]){re.escape(text)}(?![\w.])", told[key]), (key, default)


BLOCKS = [
    (name, block)
    for name, text in PAGES.items()
    for block in re.findall(r"^ *```yaml\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
]


@pytest.mark.parametrize(("name", "block"), BLOCKS)
def test_each_example_loads(name: str, block: str) -> None:
    indent = len(block) - len(block.lstrip(" "))
    block = "".join(line[indent:] for line in block.splitlines(keepends=True))
    own = set(re.findall(r"^(\w+):", block, re.MULTILINE))
    head = [line for key, line in HEAD.items() if key not in own]
    loaded = loads(f"{name}.md", "\n".join([*head, block]))
    told = ("as much as the job's role",) if "run: python counts.py" in block else ()
    assert len(loaded.warnings) == len(told)
    assert all(text in warning for text, warning in zip(told, loaded.warnings, strict=True))


def test_there_is_an_example_in_each_page() -> None:
    assert {name for name, _ in BLOCKS} == set(PAGES)


@pytest.mark.parametrize("cloud", FIELDS)
def test_the_settings_of_the_smoke_run_stand_in_the_clouds_page(cloud: str) -> None:
    after = PAGES[cloud].split("| Variable | |\n", 1)[1]
    table = after[: after.index("\n\n")]
    told = set(re.findall(r"(?:TIDEGATE_SMOKE)?_([A-Z_]+)`", table))
    assert {field.name.upper() for field in FIELDS[cloud]} <= told
    assert f"./dev smoke-{cloud}" in PAGES[cloud]
    assert f"./dev smoke-{cloud} " in (TOP / "dev").read_text()


def test_delays_are_those_of_the_sources() -> None:
    minutes = {
        "cloudwatch": cloudwatch.DELAY, "monitoring": monitoring.DELAY,
        "prometheus": prometheus.DELAY, "command": command.DELAY,
    }  # fmt: skip
    for source, seconds in minutes.items():
        number = f"{seconds / 60:.0f} minute" + ("s" if seconds > 60 else "")
        assert re.search(rf"\| `{source}` \|[^|]*\| {number} \|", PAGES["metrics"]), source
    assert "three minutes after its end" in PAGES["sagemaker"]
    assert cloudwatch.DELAY == 180
    assert "six minutes after its end" in PAGES["vertex"]
    assert monitoring.DELAY == 360
    read = (datacapture.DELAY, requestlog.DELAY)
    assert (
        f"| read after | {read[0] / 60:.0f} minutes | {read[1] / 60:.0f} minutes |"
        in PAGES["metrics"]
    )
    assert live.LABEL_DELAY == 300
    assert "within five minutes of `at`" in PAGES["metrics"]


def test_limits_are_those_of_the_code() -> None:
    metrics, training = PAGES["metrics"], PAGES["training"]
    assert f"{live.MOST_ANSWERS // 10**6} million answers" in metrics
    assert f"{live.FILL_ROWS:,} rows at most" in metrics
    assert f"more than {requestlog.AT_MOST // 10**9} GB" in metrics
    assert command.TIMEOUT == 120
    assert "It has two minutes" in metrics
    assert (parcels.MOST_BYTES >> 30, parcels.MOST_FILES) == (20, 200_000)
    assert "20 GB and 200,000 of them" in training
    assert attempts.ATTEMPTS == 5
    assert "five attempts of the same training" in training
    for page in ("sagemaker", "vertex"):
        assert f"after {GAP} minutes ({GAP} times `canary.interval`)" in PAGES[page]


@pytest.mark.parametrize(
    ("cloud", "machine"), [("sagemaker", "ml.m5.large"), ("vertex", "n1-standard-2")]
)
def test_what_a_rollout_costs_is_the_price_lists(cloud: str, machine: str) -> None:
    price = prices.hosting(cloud, machine)
    assert price is not None
    found = re.search(r"That is ([\d.]+) hours at \$([\d.]+),.*read on (\S+)\)", PAGES[cloud])
    assert found is not None
    assert float(found[2]) == price
    assert found[3] == prices.READ_ON
    told = re.search(rf"1 x {machine}\).*about \$([\d.]+)", PAGES[cloud])
    assert told is not None
    assert float(told[1]) == pytest.approx(float(found[1]) * price, abs=0.02)


@pytest.mark.parametrize("name", PAGES)
def test_each_page_is_linked_from_the_readme_and_links_to_what_is_there(name: str) -> None:
    assert f"](docs/{name}.md)" in (TOP / "README.md").read_text()
    for path, anchor in re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]*))?\)", PAGES[name]):
        target = TOP / "docs" / path if path else TOP / "docs" / f"{name}.md"
        assert target.exists(), path
        if anchor:
            titles = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in slugs, anchor
